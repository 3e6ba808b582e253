"""The sequencer of a layer that takes one operand per step, from where it lies."""
from dataclasses import dataclass
from math import gcd

from amaranth import Const, Module, Mux, Signal, Value, signed

from headrace.hdl.area.part import halvings, varied
from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.base.rows import RowFormat, counter, table
from headrace.hdl.lanes.steps import MAC_STAGES, MacSteps
from headrace.hdl.layers.row_memory import MemoryRows, RowMemory
from headrace.hdl.requantise.requantise import Requantise
from headrace.hdl.storage.rom import Rom
from headrace.hdl.timing.channel import Channel, Process, Queue
from headrace.hdl.timing.pipeline import Pipeline, first_step


@dataclass(frozen=True)
class Loop:
    """What the loops tell memory, ROM and lane of a step.

    Attributes
    ----------
    channel, tap_y, tap_x : :class:`Value`
        Of the operand.
    begins : :class:`Value`
        It is the first of an output, or of a bit of the weights.
    plane : :class:`Value`
        Which bit.
    row : :class:`Value`
        Of the output.
    again : :class:`Value`
        High in the last step of an output whose weights come once more, for the next column.
    output_ends, columns_end, row_ends, row_last : :class:`Value`
        High in the last step of an output and of a row; while an output is of the last column or row.
    steps : :class:`MacSteps`
    """

    channel: Value
    tap_y: Value
    tap_x: Value
    begins: Value
    plane: Value
    row: Value
    output_ends: Value
    columns_end: Value
    row_ends: Value
    row_last: Value
    steps: MacSteps

    @property
    def again(self) -> Value:
        return self.output_ends & ~self.columns_end


@dataclass(frozen=True, kw_only=True)
class Loops:
    """A sequencer of a step for each tap: output row, output channel, column, bit, input channel, taps.

    Parameters
    ----------
    formats : input and output :class:`RowFormat`
    window : :class:`Window`
    depthwise : :class:`bool`
        An output is of one input channel, and the loop of input channels is outside that of outputs.
    planes : :class:`int`
        Steps of a tap: bits of a weight that are taken one by one.
    pipelined : :class:`bool`
        Whether the lane is.
    """

    formats: tuple[RowFormat, RowFormat]
    window: Window
    depthwise: bool
    planes: int
    pipelined: bool

    @property
    def inner(self) -> int:
        """Input channels of an output."""
        return 1 if self.depthwise else self.formats[0].channels

    @property
    def outer(self) -> int:
        """Input channels whose outputs follow each other."""
        return self.formats[0].channels if self.depthwise else 1

    @property
    def copies(self) -> int:
        """Output channels of the same input channels."""
        return self.formats[1].channels // self.outer

    @property
    def span(self) -> int:
        """Steps of an output."""
        return self.planes * self.inner * self.window.taps

    @property
    def depth(self) -> int:
        """Words of weights."""
        return self.formats[1].channels * self.span

    @property
    def _inside(self) -> list[list[bool]]:
        """Which taps of each output row are in the image."""
        i, o = self.formats
        window = self.window
        return [window.seen(window.inside(window.first_row(row), i.height)) for row in range(o.height)]

    @property
    def pads_rows(self) -> bool:
        return not all(map(all, self._inside))

    @property
    def pads_columns(self) -> bool:
        i, _ = self.formats
        return any(None in taps for taps in self.window.columns(i.width))

    @property
    def varied_taps(self) -> int:
        """Rows of the window that are inside for some output rows only."""
        return varied(self._inside)

    def counters(self) -> list[int]:
        _, o = self.formats
        outputs = (self.copies, self.outer) if self.depthwise else (self.copies,)
        taps = len(self.window.tap_columns), len(self.window.tap_rows)
        return [*taps, self.planes, self.inner, o.width, *outputs, o.height,
                self.depth]

    def state(self, places: int) -> int:
        """Return the bits of where the window is: those that a stride never changes are constants."""
        (i, o), window = self.formats, self.window
        steps = gcd(window.stride[0], i.height - (o.height - 1) * window.stride[0])
        above = max(0, (places - 1).bit_length() - halvings(steps))
        begin = 0
        if o.width > 1 and (self.pads_columns or window.stride[1] > 1):  # else it counts the columns
            reached = max((o.width - 1) * window.stride[1] + window.kernel[1], i.width)
            begin = reached.bit_length() + 1 if self.pads_columns else (i.width - 1).bit_length()
            begin -= halvings(window.stride[1])
        return above + begin

    def process(self, memory: RowMemory, landed: Queue, free: Queue, sums: Channel) -> Process:
        """Say when sums are finished and rows given up."""
        _, o = self.formats
        time, held = first_step(self.depth), 0
        pipeline = Pipeline(sums, 1 + (MAC_STAGES if self.pipelined else 0))
        while True:
            for needs, frees in zip(memory.needs, memory.frees, strict=True):
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

    def describe(self, m: Module, rom: Rom, rows: MemoryRows, requantise: Requantise) -> Loop:
        """Add the gateware to a layer."""
        (_, o), rows_of_taps, columns_of_taps = self.formats, self.window.tap_rows, self.window.tap_columns
        row_ends = Signal()
        ready, last, begins, first = Signal(), Signal(), Signal(), Signal()
        steps = MacSteps(m, possible=ready, computes=Const(1), first=first, finishes=last, fetch=1,
                         finished=requantise.i.valid, taken=requantise.i.ready, pipelined=self.pipelined)
        tap_x, _, tap_x_last = counter(m, len(columns_of_taps), steps.step, name="tap_column")
        tap_y, _, tap_y_last = counter(m, len(rows_of_taps), steps.step & tap_x_last, name="tap_row")
        taps_end = steps.step & tap_x_last & tap_y_last
        inner, _, inner_last = counter(m, self.inner, taps_end, name="inner")
        plane, _, plane_last = counter(m, self.planes, taps_end & inner_last, name="plane")
        output_ends = taps_end & inner_last & plane_last
        _, _, serves_last = counter(m, o.width, output_ends, name="column")
        channel_ends = output_ends & serves_last
        _, _, copy_last = counter(m, self.copies, channel_ends, name="output")
        outer, _, outer_last = counter(m, self.outer, channel_ends & copy_last, name="channel")
        row, _, row_last = counter(m, o.height, row_ends, name="row")
        m.d.comb += [
            row_ends.eq(channel_ends & copy_last & outer_last),
            ready.eq(rom.valid & rows.there(row)),
            begins.eq((tap_x == 0) & (tap_y == 0) & (inner == 0)),
            first.eq(begins & (plane == 0)),
            last.eq(tap_x_last & tap_y_last & inner_last & plane_last),
        ]
        rows.give_up(row, ends=row_ends)
        return Loop(channel=outer if self.depthwise else inner, tap_y=tap_y, tap_x=tap_x, begins=begins,
                    plane=plane, row=row, output_ends=output_ends, columns_end=serves_last, row_ends=row_ends,
                    row_last=row_last, steps=steps)

    def origin(self, m: Module, loop: Loop, places: int) -> tuple[Value, Value]:
        """Return the place of the window's first row, which may be in the padding, and its first column."""
        (i, o), (_, across), (down, aside) = self.formats, self.window.kernel, self.window.stride
        top, left, _, _ = self.window.pads
        above = Signal(range(places), init=-top % places)
        next_frame = i.height - (o.height - 1) * down
        with m.If(loop.row_ends):
            m.d.sync += above.eq(above + Mux(loop.row_last, next_frame % places, down % places))
        begin: Value = Const(0)
        if o.width > 1 or left:
            most = max((o.width - 1) * aside + across, i.width)
            begin = Signal(signed(most.bit_length() + 1), init=-left, name="begin")
            with m.If(loop.output_ends):
                m.d.sync += begin.eq(Mux(loop.columns_end, -left, begin + aside))
        return above, begin

    def place(self, loop: Loop) -> tuple[Value, Value]:
        """Return row and column of the window that have the tap of a step."""
        pairs = (self.window.tap_rows, loop.tap_y), (self.window.tap_columns, loop.tap_x)
        row, column = (tap if places.step == 1 else table(places, tap) for places, tap in pairs)
        return row, column

    def inside(self, m: Module, loop: Loop, column: Value) -> Value:
        """Return whether the tap is in the image."""
        i, _ = self.formats
        row_inside = Signal(name="seen")
        with m.Switch(loop.tap_y):
            for tap, rows in enumerate(zip(*self._inside, strict=True)):
                with m.Case(tap):
                    m.d.comb += row_inside.eq(table(rows, loop.row))
        if self.pads_columns:
            return row_inside & (column.as_unsigned() < i.width)  # what is negative is large
        return row_inside
