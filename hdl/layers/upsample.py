"""Nearest-neighbour enlargement by whole factors."""
from collections.abc import Iterator, Sequence
from dataclasses import replace

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part, ring_parts
from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat, counter
from headrace.hdl.layers.layer import Layer, State
from headrace.hdl.storage.ring import Ring
from headrace.hdl.timing.channel import Channel, Process, Scheduler


class Upsample(Layer):
    """``y[c][i][j] = x[c][i // factors[0]][j // factors[1]]``.

    Columns are repeated by wires. A row passes through at once, and enters a ring of its beats, from which it
    is repeated while the next one waits. One beat per cycle leaves; latency is zero.

    Parameters
    ----------
    i : :class:`RowFormat`
    factors : :class:`tuple` of two :class:`int`
        Vertical and horizontal. At least 1.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(stream.Signature(ArrayLayout(i.shape, i.lanes * factors[1])))`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, factors: tuple[int, int]) -> None:
        if min(factors) < 1:
            raise ValueError(f"Factors must be positive integers, not {factors!r}")
        self.factors = factors
        self.formats = i, replace(i, height=i.height * factors[0], lanes=i.lanes * factors[1])
        wide = data.ArrayLayout(i.shape, i.lanes * factors[1])
        super().__init__({"i": In(i.signature), "o": Out(stream.Signature(wide))})

    def model(self, *images: Image) -> Image:
        """Compute a C x (H * factors[0]) x (W * factors[1]) image from a C x H x W one."""
        (x,) = images
        return x.repeat(self.factors[0], axis=1).repeat(self.factors[1], axis=2)

    @property
    def rom(self) -> None:
        return None

    @property
    def _bits(self) -> int:
        """Of a row that is repeated."""
        return self.formats[0].row_bits if self.factors[0] > 1 else 0

    def state(self) -> State:
        return State(self._bits, 0, self._bits)

    def control(self) -> Control:
        (i, _), down = self.formats, self.factors[0]
        return Control("upsample", (i.row_beats, down) if down > 1 else (), features={
            "bits": i.lanes * i.shape.width if down > 1 else 0})

    def modules(self, rings: str) -> Iterator[Part]:
        i, _ = self.formats
        if self.factors[0] > 1:
            yield from ring_parts("held", i.shape.width, i.lanes, i.row_beats)

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        return [self._repeat(inputs[0], o)]

    def _repeat(self, i: Channel, o: Channel) -> Process:
        time = 0
        while True:
            for passed in range(self.factors[0]):
                for _ in range(self.formats[0].row_beats):
                    if passed == 0:
                        while i.offered is None:
                            yield i
                        time = max(time, i.offered)
                    o.offer(time)
                    while o.offered is not None:
                        yield o
                    if passed == 0:
                        i.take(o.taken)
                    time = o.taken + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        (i, _), (down, across) = self.formats, self.factors
        row, moves, enters = Signal(i.layout), Signal(), Signal()
        _, _, channel_last = counter(m, i.row_beats if down > 1 else 1, moves, name="channel")
        passed, _, _ = counter(m, down, moves & channel_last, name="passed")
        m.d.comb += [
            enters.eq(passed == 0),
            self.o.valid.eq(self.i.valid | ~enters),
            self.i.ready.eq(enters & self.o.ready),
            moves.eq(self.o.valid & self.o.ready),
        ]
        if down == 1:
            m.d.comb += row.eq(self.i.payload)
        else:
            held = Ring(word=i.shape, columns=i.lanes, depth=i.row_beats)
            place(m, platform, "held", held)
            m.d.comb += [row.eq(Mux(enters, self.i.payload.as_value(), held.o.as_value())),
                         held.i.eq(row), held.shift.eq(moves)]
        m.d.comb += [y.eq(row[lane // across]) for lane, y in enumerate(self.o.payload)]
        return m
