# amaranth: UnusedElaboratable=no
"""The layer whose rows are in a memory with an address: any convolution, by a lane alone."""
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from amaranth import Const, Module, Mux, Shape, Value

from headrace.hdl.area.part import Control, Part, rom_part
from headrace.hdl.arithmetic.geometry import Image, Window
from headrace.hdl.arithmetic.requantisation import Requantisation
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat, replayed
from headrace.hdl.lanes.area import Lanes, told_stages
from headrace.hdl.lanes.bit_lane import BitLane
from headrace.hdl.lanes.lane import MacLane
from headrace.hdl.layers.layer import RomShape, State
from headrace.hdl.layers.loops import Loop, Loops
from headrace.hdl.layers.requantised import Requantised
from headrace.hdl.layers.row_memory import MemoryRows, RowMemory
from headrace.hdl.storage.rom import Rom, pack
from headrace.hdl.timing.channel import Channel, Process, Scheduler


class Addressed(Requantised):
    """A convolution, dense or depthwise, of one lane that serves all columns in turn.

    For small devices whose registers do not hold the rows: they are kept in block RAM. That has a write port,
    which headrace's own definition excludes, so it is never there unless asked for.

    Each output takes a step for each of its taps, one cycle each, in which the operand is read where it lies.
    So there is nothing to choose from among columns, nothing to turn and no order to keep: all kinds of
    convolution are the same loops over row, output channel, column, input channel and taps. Rows land while
    those before them are in use; a row is given up after the last output row that needs it.

    Parameters
    ----------
    i, o : :class:`RowFormat`
        One lane in the output, rows by themselves in both. A beat of several columns is written one by one.
    window : :class:`Window`
    pad : :class:`int`
        What stands outside the image.
    depthwise : :class:`bool`
        ``sum[o]`` is of channel ``o // m`` alone, where the depth multiplier ``m`` is the outputs per input
        channel; otherwise of all.
    weights : sequence of shape [C_out][(C_in or 1) * taps]
        Taps in the order channel, row, column.
    serial : :class:`bool`
        The lane multiplies by one bit of a weight per step (:class:`BitLane`): a step for each bit of each
        tap.
    weight, sum, scaling, requantise_steps
        As in :class:`Requantised`.
    """

    def __init__(self, *, i: RowFormat, o: RowFormat, window: Window, pad: int, depthwise: bool,
                 weight: Shape, weights: Sequence[Sequence[int]], sum: Shape, scaling: Requantisation,
                 requantise_steps: int, serial: bool = False) -> None:
        if o.lanes != 1 or o.group != 1:
            raise ValueError(f"Rows must leave by themselves, column by column, not {o!r}")
        if i.group != 1:
            raise ValueError(f"Rows must come by themselves, not {i!r}")
        super().__init__(i=i, o=o, sum=sum, scaling=scaling, requantise_steps=requantise_steps)
        self.window, self.pad, self.depthwise = window, pad, depthwise
        self.weight, self.weights = weight, weights
        self.serial, self.planes = serial, weight.width if serial else 1
        self.lane_pipelined = o.pipelined and not serial  # a bit's adder needs no stages
        self.memory = RowMemory(format=i, window=window)
        self.loops = Loops(formats=(i, o), window=window, depthwise=depthwise, planes=self.planes,
                           pipelined=self.lane_pipelined)

    def rom_words(self) -> list[int]:
        """Return the weights in the order of the steps."""
        weights = np.asarray(self.weights).tolist()
        if self.serial:
            return [tap >> bit & 1 for taps in weights for bit in reversed(range(self.planes))
                    for tap in taps]
        return [pack([tap], self.weight.width) for taps in weights for tap in taps]

    def model(self, *images: Image) -> Image:
        """Compute a C_out x H_out x W_out image from a C_in x H x W one, bit for bit."""
        (x,) = images
        i, o = self.formats
        seen, weights = self.window.view(x, self.pad), np.array(self.weights, np.int64)
        if self.depthwise:
            seen = np.repeat(seen, o.channels // i.channels, axis=0)
            sums = np.einsum("cij,cijhw->chw", weights.reshape(seen.shape[:3]), seen)
        else:
            sums = np.tensordot(weights, seen.reshape(-1, *seen.shape[3:]), 1)
        return self.scaling.model(sums)

    @property
    def rom(self) -> RomShape:
        return RomShape(self.loops.depth, self.weight.width // self.planes)

    @property
    def steps_per_product(self) -> int:
        return self.planes

    def state(self) -> State:
        row = self.formats[0].row_bits
        least = row * self.window.stays
        return State(row * self.memory.places, least, least)

    def own_part(self) -> Part:
        return replace(super().own_part(), memory=(self.memory.depth, self.formats[0].shape.width))

    @property
    def pads(self) -> bool:
        return self.loops.pads_columns or self.loops.pads_rows

    def control(self) -> Control:
        (i, o), memory, loops, depth = self.formats, self.memory, self.loops, self.rom.depth
        state = memory.state() + loops.state(memory.places) + self.pads + 3 + 2 * self.serial
        if self.lane_pipelined:
            state += (depth - 1).bit_length() + told_stages(self.weight.width, constant=depth == 1)
        return Control("addressed", [*memory.counters(), *loops.counters()], state=state,
                       tables=o.height * (loops.varied_taps + (len(set(memory.needs)) > 1)), features={
            "beat": memory.beat, "pad": self.pads * i.shape.width, "depthwise": self.depthwise})

    def modules(self, rings: str) -> Iterator[Part]:
        operand = self.formats[0].shape
        yield replace(rom_part("rom", self.rom.depth, self.rom.width), block=True)
        if self.serial:
            yield Part(module="lane", kind="bit-lane", state=self.sum.width,
                       features={"sum": self.sum.width, "x": operand.width})
        else:
            yield from Lanes(count=1, x=operand, weight=self.weight, sum=self.sum, operands=1, p_in=1,
                             pipelined=self.lane_pipelined).parts()
        yield from self.requantise.parts("requantise")

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        (i,), sums = inputs, Channel(scheduler)
        landed, free = self.memory.queues(scheduler)
        return [self.memory.process(i, landed, free), self.loops.process(self.memory, landed, free, sums),
                *self.requantise.processes(sums, o, scheduler)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self.place_requantiser(m, platform)
        rom = Rom(width=self.weight.width // self.planes, words=self.rom_words(), waits=True, block=True)
        place(m, platform, "rom", rom)
        lane = self._lane()
        place(m, platform, "lane", lane)
        rows = MemoryRows(m, self.i, self.memory)
        loop = self.loops.describe(m, rom, rows, self.requantise)
        operand = self._operand(m, platform, rows, loop)
        self._compute(m, lane, loop, operand, loop.steps.weights(rom, *replayed(
            m, len(rom.words), loop.steps.step, again=loop.again, back=self.loops.span - 1, name="address")))
        return m

    def _operand(self, m: Module, platform: object, rows: MemoryRows, loop: Loop) -> Value:
        """Return what is under the tap of a step, a step later: a word of memory or padding."""
        above, begin = self.loops.origin(m, loop, self.memory.places)
        down, across = self.loops.place(loop)
        column, steps = begin + across, loop.steps
        inside = self.loops.inside(m, loop, column)
        word = rows.read(platform, column, loop.channel, above + down, steps.moves)
        if not self.pads:
            return word
        return Mux(steps.behind(inside, 1, name="inside"), word, Const(self.pad, self.formats[0].shape))

    def _compute(self, m: Module, lane: Any, loop: Loop, operand: Value, weight: Value) -> None:
        steps = loop.steps
        m.d.comb += self.requantise.i.payload[0].eq(lane.sum)
        if self.serial:
            doubled = steps.behind(loop.begins, 1, name="doubled")
            negative = steps.behind(loop.plane == 0, 1, name="negative")
            m.d.comb += [lane.x.eq(operand), lane.bit.eq(weight), lane.doubled.eq(doubled),
                         lane.negative.eq(negative & self.weight.signed)]
        else:
            m.d.comb += [lane.x[0].eq(operand), lane.weight.eq(weight)]
        steps.tell(lane)

    def _lane(self) -> Any:
        i, _ = self.formats
        if self.serial:
            return BitLane(x=i.shape, sum=self.sum)
        return MacLane(x=i.shape, weight=self.weight, sum=self.sum, operands=1, p_in=1, p_out=1,
                       pipelined=self.lane_pipelined)
