# amaranth: UnusedElaboratable=no
"""The product of a stream and a vector that comes once per frame: squeeze and excite."""
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from amaranth import Module, Mux, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part, controlled, ring_parts
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat, counter
from headrace.hdl.layers.layer import State
from headrace.hdl.layers.mul import Mul
from headrace.hdl.storage.ring import Ring
from headrace.hdl.timing.channel import Channel, Process, Scheduler


class Repeat(wiring.Component):
    """Give a vector again with every row of a map: each value with all columns of its channel.

    In the first row of a frame what comes is passed on as it comes, and kept in a ring that turns from then
    on. A vector of the next frame waits for the first row of that.

    Parameters
    ----------
    i : :class:`RowFormat`
        Of the vector: one column and one row.
    o : :class:`RowFormat`
        Of the map, with the shape of the vector's values.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, o: RowFormat) -> None:
        if (i.width, i.height, i.channels) != (1, 1, o.channels):
            raise ValueError(f"A vector of {o.channels} values must come, not {i.channels} x {i.height} x "
                             f"{i.width}")
        self.formats = i, o
        super().__init__({"i": In(i.signature), "o": Out(o.signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.formats
        moves = self.o.valid & self.o.ready
        _, _, fold_last = counter(m, o.fold, moves, name="fold")
        _, _, channel_last = counter(m, o.channels, moves & fold_last, name="channel")
        row, _, _ = counter(m, o.height, moves & fold_last & channel_last, name="row")
        first, word = row == 0, Value.cast(self.i.payload)
        if o.height > 1:
            held = Ring(word=i.shape, columns=1, depth=i.channels)
            place(m, platform, "held", held)
            word = Mux(first, word, Value.cast(held.o))
            m.d.comb += [Value.cast(held.i).eq(word), held.shift.eq(moves & fold_last)]
        m.d.comb += [self.o.valid.eq(~first | self.i.valid),
                     self.i.ready.eq(first & self.o.ready & fold_last)]
        m.d.comb += [value.eq(word) for value in self.o.payload]
        return m

    def process(self, i: Channel, o: Channel) -> Process:
        """When values move."""
        _, format = self.formats
        while True:
            for _ in range(format.channels):
                while i.offered is None:
                    yield i
                come = i.offered
                for _ in range(format.fold):
                    o.offer(max(come, o.taken + 1))
                    while o.offered is not None:
                        yield o
                i.take(o.taken)
            for _ in range((format.height - 1) * format.row_beats):
                o.offer(o.taken + 1)
                while o.offered is not None:
                    yield o

    def parts(self, module: str) -> Iterator[Part]:
        """What it costs."""
        i, o = self.formats
        yield controlled(module, Control("repeat", counters=(o.fold, o.channels, o.height),
                                         features={"bits": i.shape.width * (o.height > 1)}))
        if o.height > 1:
            yield from ring_parts(f"{module}__held", i.shape.width, 1, i.channels)


class Gate(Mul):
    """``s = (a - a_zp) * (b - b_zp)``, where ``b`` is a vector of one value for each channel of ``a``.

    The rows of ``a`` are held until the vector is there: a whole frame where that follows from them all.
    Parameters as in :class:`Mul`.
    """

    def __init__(self, *, a: RowFormat, b: RowFormat, **options: Any) -> None:
        self.repeat = Repeat(i=b, o=replace(a, shape=b.shape))
        super().__init__(a=a, b=b, **options)

    def state(self) -> State:
        a, b, _ = self.formats
        vector = b.row_bits * (a.height > 1)
        least = a.row_bits * min(self.rows[0], a.height)  # the vector may follow from all that wait
        return State(super().state().kept + vector, 0, least + vector)

    def modules(self, rings: str) -> Iterator[Part]:
        yield from super().modules(rings)
        yield from self.repeat.parts("repeat")

    def operands(self, inputs: Sequence[Channel],
                 scheduler: Scheduler) -> tuple[list[Channel], list[Process]]:
        (a, b), processes = super().operands(inputs, scheduler)
        repeated = Channel(scheduler)
        return [a, repeated], [*processes, self.repeat.process(b, repeated)]

    def place_operands(self, m: Module, platform: object) -> Sequence[Any]:
        a, b = super().place_operands(m, platform)
        place(m, platform, "repeat", self.repeat)
        wiring.connect(m, wiring.flipped(b) if b is self.b else b, self.repeat.i)
        return a, self.repeat.o
