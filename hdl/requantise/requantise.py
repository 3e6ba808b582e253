# amaranth: UnusedElaboratable=no
"""From sums to activations: the requantiser of a layer."""
from collections.abc import Iterator
from itertools import cycle

from amaranth import Module, Shape
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Part
from headrace.hdl.base.component import Component
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.lanes.steps import SCALE_STAGES
from headrace.hdl.requantise.area import scale_parts
from headrace.hdl.requantise.readout import Readout
from headrace.hdl.requantise.scale import Scale
from headrace.hdl.requantise.scale_lane import Scaling
from headrace.hdl.requantise.serialise import Serialise
from headrace.hdl.timing.channel import Channel, Process, Scheduler
from headrace.hdl.timing.pipeline import Pipeline, register


class Requantise(Component):
    """Turn finished sums into a stream of rows: :class:`Serialise` or :class:`Readout`, then :class:`Scale`.

    Parameters
    ----------
    sum : :class:`Shape`
        Shape of a sum.
    count : :class:`int`
        Sums that arrive together in each lane.
    o, scaling, steps
        As in :class:`Scale`.
    readout : :class:`int`
        Columns that a requantiser serves in turn, a divisor of ``o.fold``: there are so many times as many
        lanes as in the output, whose own fold is what is left of ``o.fold``. Several sums arrive together
        only where that is 1 and rows leave by themselves.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(ArrayLayout(sum, count), o.lanes * readout)))`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, sum: Shape, count: int, o: RowFormat, scaling: Scaling, steps: int,
                 readout: int = 1) -> None:
        if readout < 1 or o.fold % readout:
            raise ValueError(f"Readout must be a divisor of the output's fold of {o.fold}, not {readout!r}")
        if count > 1 and (o.fold != readout or o.group > 1):
            raise ValueError(f"Sums must come one by one where lanes serve columns or rows in turn, not "
                             f"{count!r} together")
        self.sums: Serialise | Readout
        if readout == 1:
            self.sums = Serialise(shape=sum, count=count, o=o)
        else:
            self.sums = Readout(shape=sum, count=count, readout=readout, o=o)
        self.scale = Scale(operands={"sum": sum}, o=o, scaling=scaling, steps=steps)
        super().__init__(lambda: {
            "i": In(stream.Signature(data.ArrayLayout(data.ArrayLayout(sum, count), o.lanes * readout))),
            "o": Out(o.signature)})

    @property
    def _name(self) -> str:
        return "readout" if isinstance(self.sums, Readout) else "serialise"

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place(m, platform, self._name, self.sums)
        place(m, platform, "scale", self.scale)
        wiring.connect(m, wiring.flipped(self.i), self.sums.i)
        wiring.connect(m, self.sums.o, self.scale.i)
        wiring.connect(m, self.scale.o, wiring.flipped(self.o))
        return m

    def processes(self, i: Channel, o: Channel, scheduler: Scheduler) -> list[Process]:
        """When sums and beats move."""
        if not self.scale.format.pipelined:
            return [self._in_turn(i, o)]
        scaled = Channel(scheduler)
        return [self._in_stages(i, scaled), register(scaled, o, pipelined=True)]

    def _in_stages(self, i: Channel, scaled: Channel) -> Process:
        words, steps = cycle(self.sums.counts), self.scale.digits.steps
        pipeline, time, room = Pipeline(scaled, SCALE_STAGES), 0, 0  # and when the next word may be taken
        while True:
            while i.offered is None:
                yield i
            i.take(max(i.offered, room))
            time = max(time, i.taken + 1)
            for _ in range(next(words)):
                time = 1 + (yield from pipeline.steps(time, 1, finish=steps == 1))
                room = time - 1  # with the first step of the last beat
                if steps > 1:
                    time = 1 + (yield from pipeline.steps(time, steps - 1, finish=True))
                yield from pipeline.settle()

    def _in_turn(self, i: Channel, o: Channel) -> Process:
        words, steps = cycle(self.sums.counts), self.scale.digits.steps
        done = 0  # cycle in which the last sum was taken to be scaled
        while True:
            while i.offered is None:
                yield i
            time = max(i.offered, done)
            i.take(time)
            for _ in range(next(words)):
                while o.offered is not None:
                    yield o
                time = done = max(time + steps, o.taken)
                o.offer(done + 1)

    def parts(self, module: str) -> Iterator[Part]:
        """What it costs."""
        yield from self.sums.parts(f"{module}__{self._name}")
        yield from scale_parts(f"{module}__scale", self.scale)
