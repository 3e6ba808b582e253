"""Several sums, one after another."""
from collections.abc import Iterator

from amaranth import Module, Mux, Shape, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part, controlled
from headrace.hdl.base.component import Component
from headrace.hdl.base.rows import RowFormat, counter


class Serialise(Component):
    """Take words of several sums per lane and pass them on one after another, held in registers.

    Parameters
    ----------
    shape : :class:`Shape`
        Shape of a sum.
    count : :class:`int`
        Sums in a word.
    o : :class:`RowFormat`
        Whose channels are the sums of a row. Where ``count`` does not divide them, the end of the row's last
        word is left out.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(ArrayLayout(shape, count), lanes)))`
    o : :py:`Out(stream.Signature(ArrayLayout(StructLayout({"sum": shape}), lanes)))`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, shape: Shape, count: int, o: RowFormat) -> None:
        self.shape, self.count, self.lanes = shape, count, o.lanes
        # How many there are in each word.
        self.counts = [min(count, o.channels - start) for start in range(0, o.channels, count)]
        super().__init__(lambda: {
            "i": In(stream.Signature(data.ArrayLayout(data.ArrayLayout(shape, count), o.lanes))),
            "o": Out(stream.Signature(data.ArrayLayout(data.StructLayout({"sum": shape}), o.lanes))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal.like(self.i.payload, reset_less=True)
        sent, taken = Signal(), Signal()
        _, _, short = counter(m, len(self.counts), taken, name="word")
        left = Signal(range(self.count))  # sums behind the first
        last = left == 0
        m.d.comb += [
            sent.eq(self.o.valid & self.o.ready),
            self.i.ready.eq(~self.o.valid | sent & last),
            taken.eq(self.i.valid & self.i.ready),
        ]
        with m.If(sent & last):
            m.d.sync += self.o.valid.eq(0)
        with m.If(taken):
            m.d.sync += [self.o.valid.eq(1), left.eq(Mux(short, self.counts[-1], self.count) - 1)]
        with m.Elif(sent):
            m.d.sync += left.eq(left - 1)
        for lane in range(self.lanes):
            m.d.comb += self.o.payload[lane].sum.eq(held[lane][0])
            for index in range(self.count):
                following = held[lane][index + 1] if index < self.count - 1 else held[lane][index]
                with m.If(taken | sent):
                    m.d.sync += held[lane][index].eq(Mux(taken, self.i.payload[lane][index], following))
        return m

    def parts(self, module: str) -> Iterator[Part]:
        """What it costs."""
        bits = self.lanes * self.shape.width
        ragged = len(self.counts) if self.counts[-1] < self.count else 1
        yield controlled(module, Control(
            "serialise", counters=(self.count, ragged), state=bits * self.count + 1,
            gathers=bits * self.count, features={"bits": bits * (self.count - 1)}))
