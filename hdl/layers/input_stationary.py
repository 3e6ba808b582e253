# amaranth: UnusedElaboratable=no
"""The layer that holds its sums: 1x1 convolution that narrows."""
from collections.abc import Iterator, Sequence

import numpy as np
from amaranth import Const, Module, Shape, Signal, Value
from amaranth.lib import data, wiring

from headrace.hdl.area.part import Control, Part, controlled, ring_parts, rom_part, served
from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.arithmetic.requantisation import Requantisation
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat, counter
from headrace.hdl.lanes.area import Lanes, told_stages
from headrace.hdl.lanes.fold import in_turn
from headrace.hdl.lanes.pair import place_lanes
from headrace.hdl.lanes.steps import MAC_STAGES, MacSteps
from headrace.hdl.layers.collect import Collect, collect_part, collecting
from headrace.hdl.layers.drain import Drain, draining
from headrace.hdl.layers.layer import RomShape, State
from headrace.hdl.layers.requantised import Requantised
from headrace.hdl.storage.rom import Rom, pack
from headrace.hdl.timing.channel import Channel, Process, Scheduler
from headrace.hdl.timing.pipeline import Pipeline, first_step


class InputStationary(Requantised):
    """1x1 convolution whose lanes hold the unfinished sums of all outputs.

    An operand is used for all outputs as it arrives and then dropped: ``ceil(C_out / p_out) * o.fold`` steps
    of one cycle for every ``p_in`` operands of each column. With the last of a row each step finishes
    ``p_out`` sums. They go to the requantiser at once, or, with :py:`drain`, to a ring that it empties while
    the next row starts.

    Parameters
    ----------
    weights : sequence of shape [C_out][C_in]
    p_in, p_out : :class:`int`
        Operands used and outputs computed per step: a divisor of ``C_in``, and at most ``C_out``; ``p_out``
        is 1 where the output is folded.
    drain : :class:`bool`
        Keep finished sums in a ring of their own.
    i, o, weight, sum, scaling, requantise_steps, readout, paired
        As in :class:`Requantised`.
    """

    def __init__(self, *, i: RowFormat, o: RowFormat, weight: Shape, weights: Sequence[Sequence[int]],
                 sum: Shape, p_in: int, p_out: int, drain: bool, scaling: Requantisation,
                 requantise_steps: int, readout: int = 1, paired: bool = False) -> None:
        if i.channels % p_in:
            raise ValueError(f"p_in must divide the {i.channels} input channels, not {p_in!r}")
        if not 1 <= p_out <= o.channels:
            raise ValueError(f"p_out must be 1 to the {o.channels} output channels, not {p_out!r}")
        if o.fold > readout and p_out > 1:
            raise ValueError(f"p_out must be 1 where columns are folded, not {p_out!r}")
        super().__init__(i=i, o=o, sum=sum, scaling=scaling, requantise_steps=requantise_steps,
                         readout=readout, p_out=p_out)
        self.weight, self.weights = weight, weights
        self.p_in, self.p_out, self.paired = p_in, p_out, paired
        self.groups, self.turns = i.channels // p_in, -(-o.channels // p_out)
        self.collects = p_in > 1 or i.fold > 1  # beats into words
        self.depth = self.turns * self.computing[1].fold  # words of unfinished sums
        self.drains = drain and self.depth > 1

    def rom_words(self) -> list[int]:
        """Return the weights in the order of the steps, ``p_out * p_in`` per word."""
        padded = np.zeros((self.turns * self.p_out, self.groups * self.p_in), np.int64)
        padded[:len(self.weights)] = self.weights
        steps = padded.reshape(self.turns, self.p_out, self.groups, self.p_in).transpose(2, 0, 1, 3)
        return [pack(step.ravel(), self.weight.width) for group in steps for step in group]

    def model(self, *images: Image) -> Image:
        """Compute a C_out x H x W image from a C_in x H x W one, bit for bit."""
        (x,) = images
        return self.scaling.model(np.tensordot(np.array(self.weights), x, 1))

    @property
    def rom(self) -> RomShape:
        return RomShape(self.groups * self.turns, self.p_in * self.p_out * self.weight.width)

    def state(self) -> State:
        _, o = self.computing
        held = self.turns * self.p_out * o.width * self.sum.width
        return State(held * (1 + self.drains), 0, o.channels * o.width * self.sum.width)

    def control(self) -> Control:
        i, o = self.computing
        state = told_stages(self.rom.width, constant=self.rom.depth == 1) if o.pipelined else 0
        counters = self.turns, self.groups, self.rom.depth, o.fold
        return Control("input-stationary", counters, state=state, features={
            "served": served(o.fold, o.lanes, self.p_in * i.shape.width)})

    def modules(self, rings: str) -> Iterator[Part]:
        i, o = self.computing
        yield rom_part("rom", self.rom.depth, self.rom.width)
        yield from Lanes(count=o.lanes, x=i.shape, weight=self.weight, sum=self.sum, operands=self.p_in,
                         p_in=self.p_in, p_out=self.p_out, depth=self.depth, paired=self.paired,
                         pipelined=o.pipelined).parts()
        if self.drains:
            yield controlled("drain", Control("drain", counters=(self.depth,), state=1))
            yield from ring_parts("drain__ring", self.sum.width * self.p_out, o.lanes, self.depth)
        if self.collects:
            yield collect_part(i, self.p_in, 1)
        yield from self.requantise.parts("requantise")

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        (i,) = inputs
        sums = Channel(scheduler)
        processes = self.requantise.processes(sums, o, scheduler)
        if self.drains:
            finished = Channel(scheduler)
            processes.append(draining(finished, sums, self.depth))
            sums = finished
        if self.collects:
            collected = Channel(scheduler)
            processes.append(collecting(i, collected, self.computing[0], [[True] * self.p_in], 1))
            i = collected
        return [*processes, self._sums(i, sums)]

    def _sums(self, i: Channel, sums: Channel) -> Process:
        time = first_step(self.groups * self.turns)
        pipeline = Pipeline(sums, MAC_STAGES) if self.computing[1].pipelined else None
        while True:
            for group in range(self.groups):
                while i.offered is None:
                    yield i
                time = max(time, i.offered)
                finish = group == self.groups - 1
                if pipeline is not None:
                    for _ in range(self.depth):
                        time = 1 + (yield from pipeline.steps(time, 1, finish=finish))
                elif not finish:
                    time += self.depth
                else:
                    for _ in range(self.depth):
                        sums.offer(time)
                        while sums.offered is not None:
                            yield sums
                        time = sums.taken + 1
                i.take(time - 1)
                if pipeline is not None:
                    yield from pipeline.settle()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.computing
        rom = Rom(width=self.p_in * self.p_out * self.weight.width, words=self.rom_words(), waits=o.pipelined)
        place(m, platform, "rom", rom)
        self.place_requantiser(m, platform)
        finished = self.requantise.i
        if self.drains:
            drain = Drain(word=data.ArrayLayout(self.sum, self.p_out), lanes=o.lanes, depth=self.depth)
            place(m, platform, "drain", drain)
            wiring.connect(m, drain.o, self.requantise.i)
            finished = drain.i

        operands = self.i
        if self.collects:
            collect = Collect(i=i, takes=[[True] * self.p_in])
            place(m, platform, "collect", collect)
            wiring.connect(m, wiring.flipped(self.i), collect.i)
            operands = collect.o

        last, first = Signal(), Signal()
        steps = MacSteps(
            m, possible=operands.valid & rom.valid, computes=Const(1), first=first, finishes=last,
            finished=finished.valid, taken=finished.ready, pipelined=o.pipelined)
        step = steps.step
        fold, _, fold_last = counter(m, o.fold, step, name="fold")
        turn_ends = step & fold_last if o.fold > 1 else step
        turn, _, turn_last = counter(m, self.turns, turn_ends, name="turn")
        group, _, group_last = counter(m, self.groups, turn_ends & turn_last, name="group")
        address, following, _ = counter(m, len(rom.words), turn_ends, name="address")
        weight = steps.weights(rom, address, following)
        m.d.comb += [
            first.eq(group == 0),
            last.eq(group_last),
            operands.ready.eq(turn_ends & turn_last),
        ]
        lanes = place_lanes(
            m, platform, o.lanes, paired=self.paired, x=i.shape, weight=self.weight, sum=self.sum,
            operands=self.p_in, p_in=self.p_in, p_out=self.p_out, depth=self.depth,
            pipelined=o.pipelined)
        columns = {column: [Value.cast(value)] for column, value in enumerate(operands.payload)}
        view = in_turn(m, fold, o.lanes, [[column] for column in columns], columns, columns[0])
        for lane, ((seen,),), total in zip(lanes, view, finished.payload, strict=True):
            m.d.comb += lane.x.eq(seen)
            m.d.comb += [lane.weight.eq(weight), total.eq(lane.sum)]
            steps.tell(lane)
        return m
