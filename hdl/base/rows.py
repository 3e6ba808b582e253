"""Rows: how a feature map travels between layers."""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth import Array, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream

from headrace.hdl.arithmetic.geometry import Window


@dataclass(frozen=True)
class RowFormat:
    """A feature map as a stream of rows.

    One beat is one channel of one image row, all columns side by side. Order: group of rows by group of
    rows, from top to bottom; inside a group, channel by channel; inside a channel, row by row; inside a row,
    :py:`fold` beats of :py:`lanes` columns each, from left to right. With a fold of 1 a beat is the whole
    row. A group is what a window that moves over the rows sees of them, by default one; groups may overlap.
    """

    channels: int
    height: int
    lanes: int
    shape: Shape  # of one activation
    fold: int = 1
    together: Window = Window()  # of rows
    pipelined: bool = False  # ready never follows from the reader's in the same cycle, and lanes have stages

    def __post_init__(self) -> None:
        if self.fold < 1:
            raise ValueError(f"Fold must be a positive integer, not {self.fold!r}")

    def gathered(self, beats: int) -> "RowFormat":
        """Return the same with so many beats of a row side by side in one."""
        if beats < 1 or self.fold % beats:
            raise ValueError(f"Beats must divide the fold of {self.fold}, not {beats!r}")
        return replace(self, lanes=self.lanes * beats, fold=self.fold // beats)

    @property
    def group(self) -> int:
        """Rows of a group, but for what of its window is outside the image."""
        return self.together.kernel[0]

    @property
    def groups(self) -> list[range]:
        """The rows of each group."""
        count, _ = self.together.output_size(self.height, 1)
        starts = map(self.together.first_row, range(count))
        return [range(max(start, 0), min(start + self.group, self.height)) for start in starts]

    def order(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return row, channel and fold step of each beat of a frame."""
        beats = [(row, channel, step) for rows in self.groups for channel in range(self.channels)
                 for row in rows for step in range(self.fold)]
        rows, channels, steps = np.array(beats).T
        return rows, channels, steps

    @property
    def in_parts(self) -> bool:
        """Whether what a channel has in the rows of a group comes in several beats."""
        return self.group > 1 or self.fold > 1

    @property
    def row_beats(self) -> int:
        """Beats of one row."""
        return self.channels * self.fold

    @property
    def width(self) -> int:
        return self.lanes * self.fold

    @property
    def row_bits(self) -> int:
        """Bits of one row, all channels."""
        return self.channels * self.width * self.shape.width

    @property
    def beats(self) -> int:
        """Beats of one frame."""
        return sum(map(len, self.groups)) * self.row_beats

    @property
    def layout(self) -> data.ArrayLayout:
        return data.ArrayLayout(self.shape, self.lanes)

    @property
    def signature(self) -> stream.Signature:
        return stream.Signature(self.layout)


def counter(m: Module, limit: int, advance: Any, *, name: str) -> tuple[Value, Value, Value]:
    """Count 0 .. limit-1 and around whenever :py:`advance`; return value, next value and whether last."""
    if limit == 1:
        return Const(0), Const(0), Const(1)
    value = Signal(range(limit), name=name)
    following = Signal(range(limit), name=f"{name}_next")
    last = Signal(name=f"{name}_last")
    m.d.comb += last.eq(value == limit - 1)
    m.d.comb += following.eq(value)
    with m.If(advance):
        m.d.comb += following.eq(Mux(last, 0, value + 1))
    m.d.sync += value.eq(following)
    return value, following, last


def channel_end(m: Module, format_: RowFormat, done: Value) -> Value:
    """Return whether the beat that moves when :py:`done` is the last of its channel in a group of rows."""
    if format_.group > 1:
        beats = [len(rows) * format_.fold for rows in format_.groups]
        group_done, ends = Signal(), Signal(name="channel_end")
        group, _, _ = counter(m, len(beats), group_done, name="group")
        beat = Signal(range(max(beats)))
        m.d.comb += ends.eq(done & (beat == table([count - 1 for count in beats], group)))
        with m.If(done):
            m.d.sync += beat.eq(Mux(ends, 0, beat + 1))
        _, _, group_last = counter(m, format_.channels, ends, name="group_channel")
        m.d.comb += group_done.eq(ends & group_last)
        return ends
    if format_.fold > 1:
        _, _, fold_last = counter(m, format_.fold, done, name="fold")
        return done & fold_last
    return done


def replayed(m: Module, limit: int, advance: Any, *, again: Value, back: int,
             name: str) -> tuple[Value, Value]:
    """Return value and next value of a :func:`counter` that goes :py:`back` where it says `again`."""
    if limit == 1:
        return Const(0), Const(0)
    value, following = Signal(range(limit), name=name), Signal(range(limit), name=f"{name}_next")
    m.d.comb += following.eq(value)
    with m.If(advance):
        m.d.comb += following.eq(Mux(again, value - back, Mux(value == limit - 1, 0, value + 1)))
    m.d.sync += value.eq(following)
    return value, following


def table(values: Sequence[int | bool], index: Value) -> Value:
    """Return ``values[index]``; of no cost where all values are alike."""
    width = Shape.cast(range(max(values) + 1)).width
    if len(set(values)) == 1:
        return Const(int(values[0]), max(width, 1))
    return Array(Const(int(value), width) for value in values)[index]
