"""The sequencer of a layer that passes a window by, channel by channel, and keeps the earlier rows."""
from collections.abc import Sequence
from typing import Any

from amaranth import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring

from headrace.hdl.arithmetic.geometry import PassingGroup, Window, merges, passing_groups
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat, counter, table
from headrace.hdl.lanes.fold import in_turn
from headrace.hdl.lanes.steps import MacSteps
from headrace.hdl.layers.collect import Collect
from headrace.hdl.storage.ring import Ring


def pass_window(m: Module, platform: object, i: stream.Interface, *, formats: tuple[RowFormat, RowFormat],
                window: Window, pad: int, lanes: Sequence[Any], p_in: int, patience: int, may_step: Value,
                finished: Value, taken: Value, pipelined: bool) -> tuple[Value, Value, MacSteps]:
    """Describe a layer that computes channel by channel, and holds only the earlier rows.

    A ring turns with the channels and keeps, of each, the values that the next window still needs. The rows
    of a group are brought together first, in registers; then each output takes ``ceil(taps / p_in)`` steps of
    one cycle for each column that a lane serves. A group that completes no window takes one step per channel.

    Where the bottom padding makes a group of its own, the next frame's first group passes with it, as long as
    it is there: its channels enter the ring as those of the last output leave. The first channel that is not
    there after :py:`patience` cycles ends this, the outputs go on alone, and afterwards the ring turns past
    the channels that are in already. So a frame that has come is finished whether or not another follows.

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
    pipelined : :class:`bool`
        Whether the lanes are.

    Returns
    -------
    :class:`Value`, :class:`Value`, :class:`MacSteps`
        High in the steps in which the lanes compute; in those after which the weights of the output come once
        more, for the next columns; and what the lanes are told.
    """
    (x, o), kernel = formats, window.kernel[0]
    groups = passing_groups(window, x.height, x.group)
    assert x.group <= kernel
    arriving: list[list[Any]] = [[value] for value in i.payload]
    if x.in_parts:
        takes, words = collected(groups, x)
        collect = Collect(i=x, takes=takes, words=words)
        place(m, platform, "collect", collect)
        wiring.connect(m, wiring.flipped(i), collect.i)
        i = collect.o
        arriving = [[*i.payload[column]] for column in range(x.width)]

    advance, valid, ends, group_ends = Signal(), Signal(), Signal(), Signal()
    group = Signal(range(len(groups)))
    arrives = table([any(g.arrives) for g in groups], group)
    emits = table([g.emits for g in groups], group)
    select, _, select_last = counter(m, -(-window.taps // p_in), advance, name="select")
    fold, _, fold_last = counter(m, o.fold, advance & select_last, name="fold")
    output_last = select_last & fold_last if o.fold > 1 else select_last
    _, _, copy_last = counter(m, o.channels // x.channels, advance & output_last, name="copy")
    channel, _, channel_last = counter(m, x.channels, ends, name="channel")

    joins, takes_next, passed, hesitates = Signal(), Signal(), Signal(), Signal()
    if merges(groups):
        ahead = Signal(range(x.channels + 1))  # channels of the next frame's first group in the ring already
        m.d.comb += [
            joins.eq((group == len(groups) - 1) & (ahead == channel)),
            takes_next.eq(joins & ends & i.valid),
            passed.eq((group == 0) & (channel < ahead)),
        ]
        with m.If(group_ends & (takes_next | (group == 0))):
            m.d.sync += ahead.eq(0)
        with m.Elif(takes_next):
            m.d.sync += ahead.eq(ahead + 1)
        if patience:
            waited = Signal(range(patience + 1))
            m.d.comb += hesitates.eq(joins & ~i.valid & (waited != patience))
            with m.If(takes_next | group_ends):
                m.d.sync += waited.eq(0)
            with m.Elif(hesitates):
                m.d.sync += waited.eq(waited + 1)
    with m.If(group_ends):
        m.d.sync += group.eq(Mux(group == len(groups) - 1, takes_next, group + 1))

    waits = arrives & ~passed
    steps = MacSteps(m, possible=valid, computes=emits, first=select == 0, finishes=emits & select_last,
                     finished=finished, taken=taken, pipelined=pipelined)
    m.d.comb += [
        valid.eq(may_step & (~waits | i.valid) & ~hesitates),
        advance.eq(steps.step & emits),
        ends.eq(steps.step & (~emits | (output_last & copy_last))),
        group_ends.eq(ends & channel_last),
        i.ready.eq(ends & (waits | joins)),
    ]

    # What the window sees of each column: the earlier rows, then the group that arrives.
    columns = arriving
    if (kept := kernel - x.group) > 0:
        held = Ring(word=data.ArrayLayout(x.shape, kept), columns=x.width, depth=x.channels)
        place(m, platform, "held", held)
        m.d.comb += held.shift.eq(ends)
        columns = [[*word, *values] for word, values in zip(held.o, arriving, strict=True)]
        for word, entering, values in zip(held.o, held.i, columns, strict=True):
            m.d.comb += [value.eq(Mux(passed, same, newer)) for value, same, newer
                         in zip(entering, word, values[x.group:], strict=True)]
    padding = Const(pad, x.shape)
    for tap in range(kernel):
        inside = Signal(name=f"inside{tap}")  # a table is described anew wherever it is used
        m.d.comb += inside.eq(table([g.inside[tap] for g in groups], group))
        for column in range(x.width):
            masked = Signal(x.shape, name=f"x{column}_{tap}")
            m.d.comb += masked.eq(Mux(inside, columns[column][tap], padding))
            columns[column][tap] = masked
    view = in_turn(m, fold, o.lanes, window.columns(x.width), dict(enumerate(columns)), [padding] * kernel)
    for lane, seen in zip(lanes, view, strict=True):
        operands = [rows[tap] for tap in range(kernel) for rows in seen]
        m.d.comb += [value.eq(operand) for value, operand in zip(lane.x, operands, strict=True)]
        m.d.comb += lane.select.eq(select)
        steps.tell(lane)
    return advance, select_last & ~fold_last if o.fold > 1 else Const(0), steps


def collected(groups: Sequence[PassingGroup], x: RowFormat) -> tuple[list[tuple[bool, ...]], int]:
    """Return ``takes`` and ``words`` of what brings together the rows of each group, and their columns."""
    if x.group == 1:
        return [(True,)], 1
    return [group.arrives for group in groups if any(group.arrives)], x.channels
