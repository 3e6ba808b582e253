# amaranth: UnusedElaboratable=no
"""The sum or the difference of two streams."""
from collections.abc import Iterator, Sequence

from amaranth import Module
from amaranth.lib import wiring

from headrace.hdl.area.part import Control, Part
from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.arithmetic.requantisation import AddRequantisation
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.lanes.steps import SCALE_STAGES
from headrace.hdl.layers.elementwise import Elementwise, meet
from headrace.hdl.layers.shortcut import shortcut_parts
from headrace.hdl.requantise.area import scale_parts
from headrace.hdl.requantise.scale import Scale
from headrace.hdl.timing.channel import Channel, Process, Scheduler
from headrace.hdl.timing.pipeline import Pipeline, register


class Add(Elementwise):
    """``y = sat((a * M_a + b * M_b + offset) >> shift)``: adds two streams beat by beat in :class:`Scale`.

    Parameters
    ----------
    scaling : :class:`AddRequantisation`
        With a ``mirror``, of a difference.
    steps : :class:`int`
        Cycles that one beat may take.
    a, b, o, rows
        As in :class:`Elementwise`.
    """

    def __init__(self, *, a: RowFormat, b: RowFormat, o: RowFormat, scaling: AddRequantisation, steps: int,
                 rows: Sequence[int]) -> None:
        self.scaling = scaling
        self.scale = Scale(operands={"a": a.shape, "b": b.shape}, o=o,
                           scaling=scaling, steps=steps)
        super().__init__(a=a, b=b, o=o, rows=rows)

    def model(self, *images: Image) -> Image:
        """Compute the sum, or the difference, of two images, bit for bit."""
        a, b = images
        return self.scaling.model(a, b)

    def control(self) -> Control:
        return Control("add")

    def modules(self, rings: str) -> Iterator[Part]:
        yield from shortcut_parts(("a", "b"), self.formats[:-1], self.rows, rings)
        yield from scale_parts("scale", self.scale)

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        operands, processes = self.operands(inputs, scheduler)
        if not self.formats[-1].pipelined:
            return [*processes, self._adds(operands, o)]
        scaled = Channel(scheduler)
        return [*processes, self._adds_in_stages(operands, scaled), register(scaled, o, pipelined=True)]

    def _adds(self, operands: Sequence[Channel], o: Channel) -> Process:
        time = 0
        while True:
            time = yield from meet(operands, time)
            while o.offered is not None:
                yield o
            time = max(time + self.scale.digits.steps - 1, o.taken)
            for operand in operands:
                operand.take(time)
            time += 1
            o.offer(time)

    def _adds_in_stages(self, operands: Sequence[Channel], scaled: Channel) -> Process:
        steps = self.scale.digits.steps
        pipeline, time = Pipeline(scaled, SCALE_STAGES), 0
        while True:
            time = yield from meet(operands, time)
            time = yield from pipeline.steps(time, 1, finish=steps == 1)
            for operand in operands:
                operand.take(time)
            time += 1
            if steps > 1:
                time = 1 + (yield from pipeline.steps(time, steps - 1, finish=True))
            yield from pipeline.settle()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place(m, platform, "scale", self.scale)
        wiring.connect(m, self.scale.o, wiring.flipped(self.o))
        a, b = self.place_operands(m, platform)
        m.d.comb += [self.scale.i.valid.eq(a.valid & b.valid),
                     a.ready.eq(self.scale.i.ready), b.ready.eq(self.scale.i.ready)]
        for lane, x, y in zip(self.scale.i.payload, a.payload, b.payload, strict=True):
            m.d.comb += [lane.a.eq(x), lane.b.eq(y)]
        return m
