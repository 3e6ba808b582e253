# amaranth: UnusedElaboratable=no
"""The layer whose rows are in a memory with an address: any convolution, by a lane alone."""
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import gcd
from typing import Any

import numpy as np
from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part, halvings, rom_part, varied
from headrace.hdl.arithmetic.geometry import Image, Window, rows_in_turn
from headrace.hdl.arithmetic.requantisation import Requantisation
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat, counter, replayed, table
from headrace.hdl.lanes.area import Lanes, told_stages
from headrace.hdl.lanes.bit_lane import BitLane
from headrace.hdl.lanes.lane import MacLane
from headrace.hdl.lanes.steps import MAC_STAGES, MacSteps
from headrace.hdl.layers.layer import Layer, RomShape, State
from headrace.hdl.requantise.requantise import Requantise
from headrace.hdl.storage.block_memory import block_memory
from headrace.hdl.storage.rom import Rom, pack
from headrace.hdl.timing.channel import Channel, Process, Queue, Scheduler
from headrace.hdl.timing.pipeline import Pipeline, first_step


class Addressed(Layer):
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
    weight : :class:`Shape`
        Shape of a weight.
    weights : sequence of shape [C_out][(C_in or 1) * taps]
        Taps in the order channel, row, column.
    serial : :class:`bool`
        The lane multiplies by one bit of a weight per step (:class:`BitLane`): a step for each bit of each
        tap.
    sum : :class:`Shape`
        Shape that holds every finished sum; unfinished ones may wrap.
    scaling : :class:`Requantisation`
    requantise_steps : :class:`int`
        Cycles the requantiser may take per output.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, o: RowFormat, window: Window, pad: int, depthwise: bool,
                 weight: Shape, weights: Sequence[Sequence[int]], sum: Shape, scaling: Requantisation,
                 requantise_steps: int, serial: bool = False) -> None:
        if o.lanes != 1 or o.group != 1:
            raise ValueError(f"Rows must leave by themselves, column by column, not {o!r}")
        if i.group != 1:
            raise ValueError(f"Rows must come by themselves, not {i!r}")
        self.formats = i, o
        self.window, self.pad, self.depthwise = window, pad, depthwise
        self.weight, self.weights, self.sum, self.scaling = weight, weights, sum, scaling
        self.inner = 1 if depthwise else i.channels
        self.serial, self.planes = serial, weight.width if serial else 1
        self.span = self.planes * self.inner * window.taps  # steps of an output
        self.rom_depth = o.channels * self.span
        self.lane_pipelined = o.pipelined and not serial  # a bit's adder needs no stages
        self.needs, self.frees = rows_in_turn(window, i.height)
        # There is a place for one row more, and for all that a window reaches in the padding.
        self.places = 1 << max(*self.needs, window.kernel[0]).bit_length()
        self.requantise = Requantise(sum=sum, count=1, o=o, scaling=scaling, steps=requantise_steps)
        super().__init__({"i": In(i.signature), "o": Out(o.signature)})

    @property
    def depth(self) -> int:
        """Words of the memory: places, channels and columns have bits of the address to themselves."""
        i, _ = self.formats
        return self.places << (i.channels - 1).bit_length() + (i.width - 1).bit_length()

    @property
    def pads_rows(self) -> bool:
        i, o = self.formats
        return not all(all(self.window.inside(self.window.first_row(row), i.height))
                       for row in range(o.height))

    @property
    def pads_columns(self) -> bool:
        i, _ = self.formats
        return any(None in taps for taps in self.window.columns(i.width))

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
        return RomShape(self.rom_depth, self.weight.width // self.planes)

    @property
    def steps_per_product(self) -> int:
        return self.planes

    def state(self) -> State:
        i, _ = self.formats
        row = i.channels * i.width * i.shape.width
        least = row * max(0, self.window.kernel[0] - self.window.stride[0])
        return State(row * self.places, least, least)

    def own_part(self) -> Part:
        return replace(super().own_part(), memory=(self.depth, self.formats[0].shape.width))

    def control(self) -> Control:
        (i, o), window, places = self.formats, self.window, self.places
        outputs = (o.channels // i.channels, i.channels) if self.depthwise else (o.channels,)
        counters = [i.width, i.channels, places, places + 1, *reversed(window.kernel), self.planes,
                    self.inner, o.width, *outputs, o.height, self.rom_depth]
        beat = i.lanes * i.shape.width if i.lanes > 1 else 0
        # Where the window is: bits that a stride never changes are constants.
        steps = gcd(window.stride[0], i.height - (o.height - 1) * window.stride[0])
        above = max(0, (places - 1).bit_length() - halvings(steps))
        begin = 0
        if o.width > 1 and (self.pads_columns or window.stride[1] > 1):  # else it counts the columns
            reached = max((o.width - 1) * window.stride[1] + window.kernel[1], i.width)
            begin = reached.bit_length() + 1 if self.pads_columns else (i.width - 1).bit_length()
            begin -= halvings(window.stride[1])
        masked = varied([window.inside(window.first_row(row), i.height) for row in range(o.height)])
        padded = self.pads_columns or self.pads_rows
        state = beat + (i.lanes.bit_length() if beat else 0) + above + begin
        if self.lane_pipelined:
            depth = self.rom_depth
            state += (depth - 1).bit_length() + told_stages(self.weight.width, constant=depth == 1)
        return Control("addressed", counters, tables=o.height * (masked + (len(set(self.needs)) > 1)),
                       state=state + padded + 3 + 2 * self.serial, features={
            "beat": beat, "pad": padded * i.shape.width, "depthwise": self.depthwise})

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
        (i,) = inputs
        landed, free, sums = Queue(scheduler), Queue(scheduler, [0] * self.places), Channel(scheduler)
        return [self._lands(i, landed, free), self._outputs(landed, free, sums),
                *self.requantise.processes(sums, o, scheduler)]

    def _lands(self, i: Channel, landed: Queue, free: Queue) -> Process:
        format, _ = self.formats
        time = 0
        while True:
            room: int | None = None
            for _ in range(format.row_beats):
                while i.offered is None:
                    yield i
                if format.lanes > 1:  # taken at once, then written column by column
                    i.take(max(time, i.offered))
                    time = i.taken + 1
                if room is None:
                    while not free.times:
                        yield free
                    room = free.times.popleft()
                if format.lanes > 1:
                    time = max(time, room) + format.lanes
                else:
                    i.take(max(time, room, i.offered))
                    time = i.taken + 1
            landed.tell(time)

    def _outputs(self, landed: Queue, free: Queue, sums: Channel) -> Process:
        _, o = self.formats
        time, held = first_step(self.rom_depth), 0
        pipeline = Pipeline(sums, 1 + (MAC_STAGES if self.lane_pipelined else 0))
        while True:
            for needs, frees in zip(self.needs, self.frees, strict=True):
                while held < needs:
                    while not landed.times:
                        yield landed
                    time = max(time, landed.times.popleft())
                    held += 1
                for _ in range(o.channels * o.fold):
                    time = 1 + (yield from pipeline.steps(time, self.span, finish=True))
                    yield from pipeline.settle()
                held -= frees
                for _ in range(frees):
                    free.tell(time)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        (i, o), (kernel, across), (down, aside) = self.formats, self.window.kernel, self.window.stride
        place(m, platform, "requantise", self.requantise)
        wiring.connect(m, self.requantise.o, wiring.flipped(self.o))
        rom = Rom(width=self.weight.width // self.planes, words=self.rom_words(), waits=True, block=True)
        place(m, platform, "rom", rom)
        lane = self._lane()
        place(m, platform, "lane", lane)

        # Rows land in one place after another, as long as there is one.
        landed, row_ends = Signal(), Signal()  # a row
        held = Signal(range(self.places + 1))  # rows that have landed and were not given up
        written, value = self._columns(m, held != self.places)
        column, _, column_last = counter(m, i.width, written, name="landing_column")
        channel, _, channel_last = counter(m, i.channels, written & column_last, name="landing_channel")
        m.d.comb += landed.eq(written & column_last & channel_last)
        landing, _, _ = counter(m, self.places, landed, name="landing")

        # The loops: output row, output channel, column, bit, input channel, row and column of the window.
        ready, last, begins, first = Signal(), Signal(), Signal(), Signal()
        steps = MacSteps(m, possible=ready, computes=Const(1), first=first, finishes=last, fetch=1,
                         finished=self.requantise.i.valid, taken=self.requantise.i.ready,
                         pipelined=self.lane_pipelined)
        tap_x, _, tap_x_last = counter(m, across, steps.step, name="tap_column")
        tap_y, _, tap_y_last = counter(m, kernel, steps.step & tap_x_last, name="tap_row")
        taps_end = steps.step & tap_x_last & tap_y_last
        inner, _, inner_last = counter(m, self.inner, taps_end, name="inner")
        plane, _, plane_last = counter(m, self.planes, taps_end & inner_last, name="plane")
        output_ends = taps_end & inner_last & plane_last
        _, _, serves_last = counter(m, o.width, output_ends, name="column")
        channel_ends = output_ends & serves_last
        _, _, copy_last = counter(m, o.channels // i.channels if self.depthwise else o.channels,
                                  channel_ends, name="output")
        outer, _, outer_last = counter(m, i.channels if self.depthwise else 1, channel_ends & copy_last,
                                       name="channel")
        row, _, row_last = counter(m, o.height, row_ends, name="row")
        m.d.comb += [
            row_ends.eq(channel_ends & copy_last & outer_last),
            ready.eq(rom.valid & (held >= table(self.needs, row))),
            begins.eq((tap_x == 0) & (tap_y == 0) & (inner == 0)),
            first.eq(begins & (plane == 0)),
            last.eq(tap_x_last & tap_y_last & inner_last & plane_last),
        ]
        m.d.sync += held.eq(held + landed - Mux(row_ends, table(self.frees, row), 0))

        # Where the window is: the place of its first row, which may be in the padding, and its first column.
        top, left, _, _ = self.window.pads
        above = Signal(range(self.places), init=-top % self.places)
        next_frame = i.height - (o.height - 1) * down
        with m.If(row_ends):
            m.d.sync += above.eq(above + Mux(row_last, next_frame % self.places, down % self.places))
        begin: Value = Const(0)
        if o.width > 1 or left:
            most = max((o.width - 1) * aside + across, i.width)
            begin = Signal(signed(most.bit_length() + 1), init=-left, name="begin")
            with m.If(output_ends):
                m.d.sync += begin.eq(Mux(serves_last, -left, begin + aside))
        at_x = begin + tap_x
        inside = self._row_inside(m, row, tap_y)
        if self.pads_columns:
            inside &= at_x.as_unsigned() < i.width  # what is negative is large

        word = block_memory(
            m, platform, "rows", width=i.shape.width, depth=self.depth,
            write=(self._address(column, channel, landing), value, written),
            read=(self._address(at_x, outer if self.depthwise else inner, above + tap_y), steps.moves))
        operand: Value = word
        if self.pads_columns or self.pads_rows:
            operand = Mux(steps.behind(inside, 1, name="inside"), word, Const(self.pad, i.shape))
        weight = steps.weights(rom, *replayed(
            m, len(rom.words), steps.step, again=output_ends & ~serves_last, back=self.span - 1,
            name="address"))
        m.d.comb += self.requantise.i.payload[0].eq(lane.sum)
        if self.serial:
            m.d.comb += [lane.x.eq(operand), lane.bit.eq(weight),
                         lane.doubled.eq(steps.behind(begins, 1, name="doubled")),
                         lane.negative.eq(steps.behind(plane == 0, 1, name="negative") & self.weight.signed)]
        else:
            m.d.comb += [lane.x[0].eq(operand), lane.weight.eq(weight)]
        steps.tell(lane)
        return m

    def _lane(self) -> Any:
        i, _ = self.formats
        if self.serial:
            return BitLane(x=i.shape, sum=self.sum)
        return MacLane(x=i.shape, weight=self.weight, sum=self.sum, operands=1, p_in=1, p_out=1,
                       pipelined=self.lane_pipelined)

    def _address(self, column: Value, channel: Value, place_: Value) -> Value:
        """Return where a column of a channel of a row lies."""
        i, _ = self.formats
        bits = (i.width - 1).bit_length(), (i.channels - 1).bit_length(), (self.places - 1).bit_length()
        parts = zip((column, channel, place_), bits, strict=True)
        return Cat((value | Const(0, width))[:width] for value, width in parts if width)

    def _row_inside(self, m: Module, row: Value, tap: Value) -> Value:
        """Return whether a row of the window is in the image."""
        i, o = self.formats
        seen = Signal()
        tables = [self.window.inside(self.window.first_row(each), i.height) for each in range(o.height)]
        with m.Switch(tap):
            for index, column in enumerate(zip(*tables, strict=True)):
                with m.Case(index):
                    m.d.comb += seen.eq(table(column, row))
        return seen

    def _columns(self, m: Module, room: Value) -> tuple[Value, Value]:
        """Return whether a column is written and its value, the columns of a beat one after another."""
        i, _ = self.formats
        if i.lanes == 1:
            m.d.comb += self.i.ready.eq(room)
            return self.i.valid & room, Value.cast(self.i.payload[0])
        beat = Signal(i.lanes * i.shape.width, reset_less=True)
        left = Signal(range(i.lanes + 1))
        written = Signal()
        m.d.comb += [self.i.ready.eq(left == 0), written.eq((left != 0) & room)]
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += [beat.eq(self.i.payload), left.eq(i.lanes)]
        with m.Elif(written):
            m.d.sync += [beat.eq(beat >> i.shape.width), left.eq(left - 1)]
        return written, beat[:i.shape.width]
