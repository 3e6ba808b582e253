"""The sequencer of a layer that passes a window by, channel by channel, and keeps the earlier rows."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from amaranth import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring

from headrace.hdl.area.part import Control, Part, ring_parts, served, varied
from headrace.hdl.arithmetic.geometry import PassingGroup, Window, merges, passing_groups
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat, counter, table
from headrace.hdl.lanes.fold import in_turn
from headrace.hdl.lanes.steps import MAC_STAGES, MacSteps
from headrace.hdl.layers.collect import Collect, collect_part, collected, collecting
from headrace.hdl.layers.layer import State
from headrace.hdl.layers.merge import merge
from headrace.hdl.storage.ring import Ring
from headrace.hdl.timing.channel import Channel, Process, Scheduler
from headrace.hdl.timing.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class Passing:
    """A sequencer of a layer that computes channel by channel, and holds only the earlier rows.

    A ring turns with the channels and keeps, of each, the values that the next window still needs. The rows
    of a group are brought together first, in registers; then each output takes ``ceil(taps / p_in)`` steps of
    one cycle for each column that a lane serves. A group that completes no window takes one step per channel.

    Frames may overlap (:class:`Merge`).

    Parameters
    ----------
    formats : input and output :class:`RowFormat`
    window : :class:`Window`
    p_in : :class:`int`
        Taps used per step.
    patience : :class:`int`
        Cycles to wait for the next frame's first group, if the last output row can be made with it.
    pipelined : :class:`bool`
        Whether the lanes are.
    """

    formats: tuple[RowFormat, RowFormat]
    window: Window
    p_in: int
    patience: int
    pipelined: bool

    def __post_init__(self) -> None:
        if not 1 <= self.p_in <= self.window.taps:
            raise ValueError(f"p_in must be 1 to the {self.window.taps} taps, not {self.p_in!r}")
        assert self.formats[0].group <= self.window.kernel[0]

    @property
    def groups(self) -> list[PassingGroup]:
        i, _ = self.formats
        return passing_groups(self.window, i.height, i.group)

    @property
    def selects(self) -> int:
        """Steps of an output."""
        return self.window.selects(self.p_in)

    @property
    def kept(self) -> int:
        """Rows kept of each channel."""
        return max(0, self.window.kernel[0] - self.formats[0].group)

    def describe(self, m: Module, platform: object, i: stream.Interface, *, pad: int, lanes: Sequence[Any],
                 may_step: Value, finished: Value, taken: Value) -> tuple[Value, Value, MacSteps]:
        """Add the gateware to a layer.

        Parameters
        ----------
        lanes : sequence of components
            With members ``x``, ``select``, ``first`` and ``step``; see :class:`MacLane`.
        may_step : :class:`Value`
            A step may be taken.
        finished : :class:`Signal`
            Driven high where an output is complete, until it is :py:`taken`.
        taken : :class:`Value`
            The output can be taken in this cycle.

        Returns
        -------
        :class:`Value`, :class:`Value`, :class:`MacSteps`
            High in the steps in which the lanes compute; in those after which the weights of the output come
            once more, for the next columns; and what the lanes are told.
        """
        (x, o), groups = self.formats, self.groups
        i, arriving = self._collect(m, platform, i)
        advance, valid, ends, group_ends = Signal(), Signal(), Signal(), Signal()
        group = Signal(range(len(groups)))
        arrives = table([any(g.arrives) for g in groups], group)
        emits = table([g.emits for g in groups], group)
        select, _, select_last = counter(m, self.selects, advance, name="select")
        fold, _, fold_last = counter(m, o.fold, advance & select_last, name="fold")
        output_last = select_last & fold_last if o.fold > 1 else select_last
        _, _, copy_last = counter(m, o.channels // x.channels, advance & output_last, name="copy")
        channel, _, channel_last = counter(m, x.channels, ends, name="channel")
        next_frame = merge(m, i.valid, groups, x.channels, self.patience, group=group, channel=channel,
                           ends=ends, group_ends=group_ends)
        with m.If(group_ends):
            m.d.sync += group.eq(Mux(group == len(groups) - 1, next_frame.takes_next, group + 1))

        waits = arrives & ~next_frame.passed
        steps = MacSteps(m, possible=valid, computes=emits, first=select == 0, finishes=emits & select_last,
                         finished=finished, taken=taken, pipelined=self.pipelined)
        m.d.comb += [
            valid.eq(may_step & (~waits | i.valid) & ~next_frame.hesitates),
            advance.eq(steps.step & emits),
            ends.eq(steps.step & (~emits | (output_last & copy_last))),
            group_ends.eq(ends & channel_last),
            i.ready.eq(ends & (waits | next_frame.joins)),
        ]
        columns = self._window(m, platform, arriving, passed=next_frame.passed, ends=ends)
        for lane, operands in zip(lanes, self._operands(m, columns, group, fold, pad), strict=True):
            m.d.comb += [value.eq(operand) for value, operand in zip(lane.x, operands, strict=True)]
            m.d.comb += lane.select.eq(select)
            steps.tell(lane)
        return advance, select_last & ~fold_last if o.fold > 1 else Const(0), steps

    def _collect(self, m: Module, platform: object, i: Any) -> tuple[Any, list[list[Any]]]:
        """Return the input and what it has of each column, the rows of a group together."""
        x, _ = self.formats
        if not x.in_parts:
            return i, [[value] for value in i.payload]
        takes, words = collected(self.groups, x)
        collect = Collect(i=x, takes=takes, words=words)
        place(m, platform, "collect", collect)
        wiring.connect(m, wiring.flipped(i), collect.i)
        return collect.o, [[*collect.o.payload[column]] for column in range(x.width)]

    def _window(self, m: Module, platform: object, arriving: list[list[Any]], *, passed: Value,
                ends: Value) -> list[list[Any]]:
        """Return what the window sees of each column: the earlier rows, then the group that arrives."""
        x, _ = self.formats
        if not self.kept:
            return arriving
        held = Ring(word=data.ArrayLayout(x.shape, self.kept), columns=x.width, depth=x.channels)
        place(m, platform, "held", held)
        m.d.comb += held.shift.eq(ends)
        columns = [[*word, *values] for word, values in zip(held.o, arriving, strict=True)]
        for word, entering, values in zip(held.o, held.i, columns, strict=True):
            m.d.comb += [value.eq(Mux(passed, same, newer)) for value, same, newer
                         in zip(entering, word, values[x.group:], strict=True)]
        return columns

    def _operands(self, m: Module, columns: list[list[Any]], group: Value, fold: Value,
                  pad: int) -> Iterator[list[Value]]:
        """Yield what each lane sees, with padding outside the image."""
        (x, o), window, padding = self.formats, self.window, Const(pad, self.formats[0].shape)
        for tap in window.tap_rows:
            inside = Signal(name=f"inside{tap}")  # a table is described anew wherever it is used
            m.d.comb += inside.eq(table([g.inside[tap] for g in self.groups], group))
            for column in range(x.width):
                masked = Signal(x.shape, name=f"x{column}_{tap}")
                m.d.comb += masked.eq(Mux(inside, columns[column][tap], padding))
                columns[column][tap] = masked
        for seen in in_turn(m, fold, o.lanes, window.columns(x.width), dict(enumerate(columns)),
                            [padding] * window.kernel[0]):
            yield [rows[tap] for tap in window.tap_rows for rows in seen]

    def state(self) -> State:
        row = self.formats[0].row_bits
        kept = row * self.kept
        return State(kept, kept, row * min(self.kept, self.window.stays))

    def control(self, counters: Sequence[int], state: int, **more: float) -> Control:
        """Say what the layer's own module costs, with further counters, bits of state and features."""
        (i, o), groups = self.formats, self.groups
        masked, merged = varied([self.window.seen(group.inside) for group in groups]), merges(groups)
        counters = [len(groups), self.selects, o.channels // i.channels, i.channels, o.fold, *counters]
        if merged:
            counters.append(i.channels + 1)
            if self.patience:
                counters.append(self.patience + 1)
        bits, rows = i.width * i.shape.width, len(self.window.tap_rows)
        return Control("window", counters, tables=len(groups) * masked, state=state, features={
            "merge": merged, "pass": merged * bits * self.kept, "mask": bits * masked,
            "served": served(o.fold, self.window.reached(o.lanes), rows * i.shape.width), **more})

    def modules(self) -> Iterator[Part]:
        i, _ = self.formats
        if i.in_parts:
            yield collect_part(i, i.group, i.channels if i.group > 1 else 1)
        if self.kept:
            yield from ring_parts("held", self.kept * i.shape.width, i.width, i.channels)

    def processes(self, i: Channel, done: Channel, scheduler: Scheduler, *, begin: int) -> list[Process]:
        """Say when groups are taken and outputs done, from the cycle of the first possible step."""
        x, _ = self.formats
        if not x.in_parts:
            return [self._passes(i, done, begin)]
        takes, words = collected(self.groups, x)
        whole = Channel(scheduler)
        return [collecting(i, whole, x, takes, words), self._passes(whole, done, begin)]

    def _passes(self, i: Channel, done: Channel, time: int) -> Process:
        (x, y), groups = self.formats, self.groups
        joins, last = merges(groups), len(groups) - 1
        selects, copies = self.selects, y.channels // x.channels * y.fold
        number, ahead = 0, 0
        pipeline = Pipeline(done, MAC_STAGES) if self.pipelined else None
        while True:
            group, joined = groups[number], 0
            for channel in range(x.channels):
                waits = any(group.arrives) and channel >= ahead
                may_join = joins and number == last and joined == channel
                if waits:
                    while i.offered is None:
                        yield i
                    time = max(time, i.offered)
                elif may_join and self.patience:
                    if i.offered is None:
                        i.ask(time + self.patience)
                        yield i
                    waited = time + self.patience
                    time = waited if i.offered is None else min(waited, max(time, i.offered))
                if pipeline is not None:
                    for _ in range(copies if group.emits else 1):
                        time = 1 + (yield from pipeline.steps(time, selects if group.emits else 1,
                                                              finish=group.emits))
                elif group.emits:
                    for _ in range(copies):
                        done.offer(time + selects - 1)
                        while done.offered is not None:
                            yield done
                        time = done.taken + 1
                else:
                    time += 1
                if waits:
                    i.take(time - 1)
                elif may_join:
                    if i.offered is None:
                        i.ask(time - 1)
                        yield i
                    if i.offered is not None and i.offered < time:
                        i.take(time - 1)
                        joined += 1
                if pipeline is not None:
                    yield from pipeline.settle()
            if number < last:
                number, ahead = number + 1, 0
            else:
                number, ahead = (1, 0) if joined == x.channels else (0, joined)
