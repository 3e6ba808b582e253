# amaranth: UnusedElaboratable=no
"""The layer that passes a window by: depthwise convolution, maximum and average pooling."""
from collections.abc import Sequence
from typing import Any

import numpy as np
from amaranth import Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.collect import Collect
from headrace.hdl.fold import in_turn
from headrace.hdl.geometry import Image, PassingGroup, Window, merges, passing_groups
from headrace.hdl.hierarchy import Layer, place, place_copies
from headrace.hdl.lane import MaxLane
from headrace.hdl.lane_pair import place_lanes
from headrace.hdl.requantisation import Requantisation
from headrace.hdl.ring import Ring
from headrace.hdl.rom import Rom, pack
from headrace.hdl.rows import RowFormat, counter, replayed, table
from headrace.hdl.scale import Requantise


def pass_window(m: Module, platform: object, i: stream.Interface, *, formats: tuple[RowFormat, RowFormat],
                window: Window, pad: int, lanes: Sequence[Any], p_in: int, patience: int, may_step: Value,
                finished: Value, taken: Value) -> tuple[Value, Value]:
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
        Driven high in the step that completes an output, until it is :py:`taken`.
    taken : :class:`Value`
        The output can be taken in this cycle.

    Returns
    -------
    :class:`Value`, :class:`Value`
        High in the steps in which the lanes compute; in those after which the weights of the output come once
        more, for the next columns.
    """
    (x, o), kernel = formats, window.kernel[0]
    groups = passing_groups(window, x.height, x.group)
    assert x.group <= kernel
    arriving: list[list[Any]] = [[value] for value in i.payload]
    if x.group > 1 or x.fold > 1:
        takes, words = collected(groups, x)
        collect = Collect(i=x, takes=takes, words=words)
        place(m, platform, "collect", collect)
        wiring.connect(m, wiring.flipped(i), collect.i)
        i = collect.o
        arriving = [[*i.payload[column]] for column in range(x.width)]

    step, advance, valid, ends, group_ends = Signal(), Signal(), Signal(), Signal(), Signal()
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
    m.d.comb += [
        valid.eq(may_step & (~waits | i.valid) & ~hesitates),
        finished.eq(valid & emits & select_last),
        step.eq(valid & (~emits | ~select_last | taken)),
        advance.eq(step & emits),
        ends.eq(step & (~emits | (output_last & copy_last))),
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
    first = select == 0
    view = in_turn(m, fold, o.lanes, window.columns(x.width), dict(enumerate(columns)), [padding] * kernel)
    for lane, seen in zip(lanes, view, strict=True):
        operands = [rows[tap] for tap in range(kernel) for rows in seen]
        m.d.comb += [value.eq(operand) for value, operand in zip(lane.x, operands, strict=True)]
        m.d.comb += [lane.select.eq(select), lane.first.eq(first), lane.step.eq(advance)]
    return advance, select_last & ~fold_last if o.fold > 1 else Const(0)


def collected(groups: Sequence[PassingGroup], x: RowFormat) -> tuple[list[tuple[bool, ...]], int]:
    """Return ``takes`` and ``words`` of what brings together the rows of each group, and their columns."""
    if x.group == 1:
        return [(True,)], 1
    return [group.arrives for group in groups if any(group.arrives)], x.channels


class Depthwise(Layer):
    """``sum[o] = sum over kh, kw of x[o // m][kh][kw] * weight[o][kh][kw]``, then :class:`Requantise`.

    Timing as in :func:`pass_window`. The depth multiplier ``m`` is the outputs per input channel. Without
    weights, every weight is 1: average pooling.

    Parameters
    ----------
    i, o : :class:`RowFormat`
    window : :class:`Window`
    pad : :class:`int`
        What stands outside the image.
    p_in : :class:`int`
        Taps used per step.
    patience : :class:`int`
        Cycles to wait for the next frame's first row, if the last output row can be made with it.
    weight : :class:`Shape`
        Shape of a weight.
    weights : sequence of shape [C_out][taps], or None
    sum : :class:`Shape`
        Shape that holds every finished sum; unfinished ones may wrap.
    paired : :class:`bool`
        Neighbour lanes share multipliers (:class:`LanePair`); not without weights.
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

    def __init__(self, *, i: RowFormat, o: RowFormat, window: Window, pad: int, p_in: int,
                 weights: Sequence[Sequence[int]] | None, sum: Shape, scaling: Requantisation,
                 requantise_steps: int, patience: int = 0, paired: bool = False,
                 weight: Shape = unsigned(1)) -> None:  # noqa: B008
        if not 1 <= p_in <= window.taps:
            raise ValueError(f"p_in must be 1 to the {window.taps} taps, not {p_in!r}")
        if o.channels % i.channels:
            raise ValueError(f"the {i.channels} input channels must divide the output's, not {o.channels!r}")
        self.formats = i, o
        self.window, self.pad, self.p_in, self.patience = window, pad, p_in, patience
        self.selects = -(-window.taps // p_in)  # steps of an output
        self.rom_depth = 1 if weights is None else o.channels * self.selects
        self.weight, self.weights, self.sum = weight, weights, sum
        self.paired = paired
        self.scaling = scaling
        self.requantise = Requantise(sum=sum, count=1, o=o, scaling=scaling,
                                     steps=requantise_steps)
        super().__init__({"i": In(i.signature), "o": Out(o.signature)})

    def rom_words(self) -> list[int]:
        """Return the weights in the order of the steps, ``p_in`` per word."""
        if self.weights is None:
            return [pack([1] * self.p_in, self.weight.width)]
        return [pack(taps[start:start + self.p_in], self.weight.width)
                for taps in self.weights for start in range(0, self.window.taps, self.p_in)]

    def model(self, x: Image) -> Image:
        """Compute a C_out x H_out x W_out image from a C_in x H x W one, bit for bit."""
        i, o = self.formats
        seen = np.repeat(self.window.view(x, self.pad), o.channels // i.channels, axis=0)
        weights = np.ones(seen.shape[:3]) if self.weights is None else np.array(self.weights)
        weights = weights.astype(np.int64).reshape(seen.shape[:3])
        return self.scaling.model(np.einsum("cij,cijhw->chw", weights, seen))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.formats
        place(m, platform, "requantise", self.requantise)
        wiring.connect(m, self.requantise.o, wiring.flipped(self.o))
        rom = Rom(width=self.p_in * self.weight.width, words=self.rom_words())
        place(m, platform, "rom", rom)
        lanes = place_lanes(
            m, platform, o.lanes, paired=self.paired, x=i.shape, weight=self.weight, sum=self.sum,
            operands=self.window.taps, p_in=self.p_in, p_out=1)
        advance, again = pass_window(
            m, platform, self.i, formats=self.formats, window=self.window, pad=self.pad, lanes=lanes,
            p_in=self.p_in, patience=self.patience, may_step=rom.valid, finished=self.requantise.i.valid,
            taken=self.requantise.i.ready)
        m.d.comb += rom.address.eq(replayed(m, len(rom.words), advance, again=again, back=self.selects - 1,
                                            name="address"))
        for lane, total in zip(lanes, self.requantise.i.payload, strict=True):
            m.d.comb += [lane.weight.eq(rom.data), total.eq(lane.sum)]
        return m


class MaxPool(Layer):
    """``y[c] = max over kh, kw of x[c][kh][kw]``, held in an output register.

    Timing as in :func:`pass_window`.

    Parameters
    ----------
    i, o : :class:`RowFormat`
    window : :class:`Window`
    p_in : :class:`int`
        Taps used per step.
    patience : :class:`int`
        Cycles to wait for the next frame's first row, if the last output row can be made with it.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, o: RowFormat, window: Window, p_in: int, patience: int = 0) -> None:
        if not 1 <= p_in <= window.taps:
            raise ValueError(f"p_in must be 1 to the {window.taps} taps, not {p_in!r}")
        self.formats = i, o
        self.window, self.p_in, self.patience = window, p_in, patience
        self.selects = -(-window.taps // p_in)  # steps of an output
        self.pad = -(1 << i.shape.width - 1) if i.shape.signed else 0  # never the greatest
        super().__init__({"i": In(i.signature), "o": Out(o.signature)})

    def model(self, x: Image) -> Image:
        """Compute a C x H_out x W_out image from a C x H x W one, bit for bit."""
        y: Image = self.window.view(x, self.pad).max(axis=(1, 2))
        return y

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.formats
        finished, taken = Signal(), Signal()
        lanes = place_copies(m, platform, "lane", lambda: MaxLane(
            x=i.shape, operands=self.window.taps, p_in=self.p_in), o.lanes)
        pass_window(m, platform, self.i, formats=self.formats, window=self.window, pad=self.pad,
                    lanes=lanes, p_in=self.p_in, patience=self.patience, may_step=Const(1),
                    finished=finished, taken=taken)
        payload = Signal(o.layout, reset_less=True)
        m.d.comb += [self.o.payload.eq(payload), taken.eq(~self.o.valid | self.o.ready)]
        with m.If(taken):
            m.d.sync += self.o.valid.eq(finished)
            m.d.sync += [y.eq(lane.max) for y, lane in zip(payload, lanes, strict=True)]
        return m
