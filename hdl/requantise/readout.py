# amaranth: UnusedElaboratable=no
"""Sums of several columns, read out one after another."""
from collections.abc import Iterator
from typing import Any

from amaranth import Array, Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part, controlled
from headrace.hdl.base.component import Component
from headrace.hdl.base.hierarchy import place_copies
from headrace.hdl.base.rows import RowFormat, counter


class HeldSums(wiring.Component):
    """Sums in registers, one of which is read.

    Members
    -------
    i : :py:`In(ArrayLayout(shape, count))`
        Loaded where :py:`load` is high.
    load : :py:`In(1)`
    index : :py:`In(range(count))`
        Of the sum that is read, in the same cycle.
    o : :py:`Out(shape)`
    """

    i: Any
    load: Signal
    index: Signal
    o: Signal

    def __init__(self, *, shape: Shape, count: int) -> None:
        super().__init__({"i": In(data.ArrayLayout(shape, count)), "load": In(1), "index": In(range(count)),
                          "o": Out(shape)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal.like(self.i, reset_less=True)
        with m.If(self.load):
            m.d.sync += held.eq(self.i)
        m.d.comb += self.o.eq(Array(held)[self.index])
        return m


class Readout(Component):
    """Take words of sums from more lanes than the output has, and pass their columns on a part at a time.

    As an image sensor reads its columns out past few converters. A word is held in registers; each of its
    outputs leaves in :py:`readout` beats of neighbour columns, from left to right, before the next output
    does: the order of :class:`RowFormat` where :py:`o.fold` is the fold of the lanes times ``readout``. A
    beat leaves in every cycle, and the next word is taken with the last of them.

    Parameters
    ----------
    shape : :class:`Shape`
        Shape of a sum.
    count : :class:`int`
        Sums of a lane in a word.
    readout : :class:`int`
        Columns that a lane of the output serves in turn, at least 2.
    o : :class:`RowFormat`
        Whose channels are the sums of a row. Where ``count`` does not divide them, the end of the row's last
        word is left out.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(ArrayLayout(shape, count), o.lanes * readout)))`
    o : :py:`Out(stream.Signature(ArrayLayout(StructLayout({"sum": shape}), o.lanes)))`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, shape: Shape, count: int, readout: int, o: RowFormat) -> None:
        if readout < 2:
            raise ValueError(f"Readout must be at least 2, not {readout!r}")
        self.shape, self.count, self.readout, self.lanes = shape, count, readout, o.lanes
        # How many beats there are in each word.
        self.counts = [min(count, o.channels - start) * readout for start in range(0, o.channels, count)]
        super().__init__(lambda: {
            "i": In(stream.Signature(data.ArrayLayout(data.ArrayLayout(shape, count), o.lanes * readout))),
            "o": Out(stream.Signature(data.ArrayLayout(data.StructLayout({"sum": shape}), o.lanes))),
        })

    @property
    def depth(self) -> int:
        """Sums that are held for a lane of the output."""
        return self.count * self.readout

    @property
    def ragged(self) -> bool:
        """Whether the row's last word is shorter."""
        return self.counts[-1] < self.depth

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = place_copies(m, platform, "column", lambda: HeldSums(shape=self.shape, count=self.depth),
                            self.lanes)
        sent, taken, last = Signal(), Signal(), Signal()
        index = Signal(range(self.depth))
        m.d.comb += [
            sent.eq(self.o.valid & self.o.ready),
            self.i.ready.eq(~self.o.valid | sent & last),
            taken.eq(self.i.valid & self.i.ready),
        ]
        before_last: Any = self.depth - 2  # so that whether it is the last comes from a register
        if self.ragged:
            short = Signal()
            _, _, row_ends = counter(m, len(self.counts), taken, name="word")
            with m.If(taken):
                m.d.sync += short.eq(row_ends)
            before_last = Mux(short, self.counts[-1] - 2, self.depth - 2)
        with m.If(sent & last):
            m.d.sync += self.o.valid.eq(0)
        with m.If(taken):
            m.d.sync += [self.o.valid.eq(1), index.eq(0), last.eq(0)]
        with m.Elif(sent):
            m.d.sync += [index.eq(index + 1), last.eq(index == before_last)]
        for lane, column in enumerate(held):
            # Of each output the columns of one part after another.
            m.d.comb += [column.i[output * self.readout + part].eq(
                self.i.payload[part * self.lanes + lane][output])
                for output in range(self.count) for part in range(self.readout)]
            m.d.comb += [column.load.eq(taken), column.index.eq(index), self.o.payload[lane].sum.eq(column.o)]
        return m

    def parts(self, module: str) -> Iterator[Part]:
        """What it costs."""
        width = self.shape.width
        counters = (self.depth, len(self.counts)) if self.ragged else (self.depth,)
        yield controlled(module, Control("readout", counters=counters, state=2 + self.ragged))
        yield Part(module=f"{module}__column", kind="readout-column", copies=self.lanes,
                   state=self.depth * width, gathers=self.depth * width,
                   features={"bits": (self.depth - 1) * width})
