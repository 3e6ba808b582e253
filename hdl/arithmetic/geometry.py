"""Which input rows and columns a moving window sees, and when."""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.int64]

@dataclass(frozen=True)
class Window:
    """How a kernel moves over an image. Pairs are (vertical, horizontal)."""

    kernel: tuple[int, int] = (1, 1)  # rows and columns from the first to the last
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, bottom, right
    dilation: tuple[int, int] = (1, 1)  # from tap to tap

    @property
    def tap_rows(self) -> range:
        """The rows of the kernel that have taps."""
        return range(0, self.kernel[0], self.dilation[0])

    @property
    def tap_columns(self) -> range:
        return range(0, self.kernel[1], self.dilation[1])

    @property
    def taps(self) -> int:
        return len(self.tap_rows) * len(self.tap_columns)

    def selects(self, p_in: int) -> int:
        """Return the steps in which all taps are used, so many in each."""
        return -(-self.taps // p_in)

    @property
    def enters(self) -> int:
        """Rows that are new to the kernel as it moves down."""
        return min(self.kernel[0], self.stride[0])

    @property
    def stays(self) -> int:
        """Rows that the kernel has passed and taps see again."""
        stride = self.stride[0]
        return sum(any(later in self.tap_rows for later in range(row - stride, -1, -stride))
                   for row in range(self.kernel[0]))

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        top, left, bottom, right = self.pads
        return ((height + top + bottom - self.kernel[0]) // self.stride[0] + 1,
                (width + left + right - self.kernel[1]) // self.stride[1] + 1)

    def columns(self, width: int) -> list[list[int | None]]:
        """Return the input column under each horizontal tap of each output column; None is padding."""
        _, lanes = self.output_size(1 << 30, width)
        starts = [lane * self.stride[1] - self.pads[1] for lane in range(lanes)]
        return [[start + tap if 0 <= start + tap < width else None for tap in self.tap_columns]
                for start in starts]

    def reached(self, lanes: int) -> int:
        """Return how many columns neighbour lanes see together."""
        if self.dilation[1] == 1:
            return (lanes - 1) * self.stride[1] + self.kernel[1]
        return len({lane * self.stride[1] + tap for lane in range(lanes) for tap in self.tap_columns})

    def first_row(self, output_row: int) -> int:
        """Return the topmost input row of an output row's window; negative in the top padding."""
        return output_row * self.stride[0] - self.pads[0]

    def last_rows(self, rows: int) -> list[int]:
        """Return the lowest input row of the window of each of so many output rows, padding counted."""
        return [self.first_row(row) + self.kernel[0] - 1 for row in range(rows)]

    def inside(self, first: int, height: int) -> list[bool]:
        """Return which rows of a window that starts at row :py:`first` lie in the image."""
        return [0 <= first + row < height for row in range(self.kernel[0])]

    def seen(self, rows: Sequence[bool]) -> list[bool]:
        """Return what is said of the rows of a window for those that have taps."""
        return [rows[row] for row in self.tap_rows]

    def view(self, x: Image, pad: int) -> Image:
        """Return what each output position sees of a C x H x W image: C x Kh x Kw x H_out x W_out."""
        top, left, bottom, right = self.pads
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=pad)
        seen = np.lib.stride_tricks.sliding_window_view(padded, self.kernel, axis=(1, 2))
        placed = seen[:, ::self.stride[0], ::self.stride[1], ::self.dilation[0], ::self.dilation[1]]
        return np.moveaxis(placed, (1, 2), (3, 4))


@dataclass(frozen=True)
class PassingGroup:
    """A group of rows that passes a window layer, or padding in its place."""

    arrives: tuple[bool, ...]  # which rows of the group belong to the image
    emits: bool  # the window that ends with this group is an output row
    inside: list[bool]


def strides(window: Window, height: int) -> Window:
    """Return how the rows of an image go in groups, one for each stride of a window that they pass later.

    The first and the last group may be shorter.
    """
    stride = window.stride[0]
    first = next(filter(None, (sum(group.arrives) for group in passing_groups(window, height, stride))))
    above = stride - first
    return Window((stride, 1), (stride, 1), (above, 0, -(height + above) % stride, 0))


def whole(window: Window) -> Window:
    """Return how rows go in groups, one for each place of a window; they overlap if it steps by less."""
    top, _, bottom, _ = window.pads
    return Window((window.kernel[0], 1), (window.stride[0], 1), (top, 0, bottom, 0))


def merges(groups: list[PassingGroup]) -> bool:
    """Whether the last group, all padding, can pass together with the next frame's first."""
    return len(groups) > 1 and groups[-1].emits and not any(groups[-1].arrives) and not groups[0].emits


@lru_cache(maxsize=1 << 10)  # planners ask often
def passing_groups(window: Window, height: int, group: int) -> list[PassingGroup]:
    """Return the groups that a layer takes through a window of ``K`` rows, :py:`group` rows at a time.

    Groups are aligned so that every output row's window ends with a group. The first and the last may be
    shorter, or all padding. Groups of ``K`` rows that overlap are whole windows.
    """
    rows, _ = window.output_size(height, 1 << 30)
    if group == window.kernel[0] > window.stride[0]:
        return [PassingGroup(arrives=tuple(inside), emits=True, inside=inside) for inside in (
            window.inside(window.first_row(row), height) for row in range(rows))]
    first_end = window.first_row(0) + window.kernel[0] - 1
    assert group in (1, window.stride[0])
    per_output = window.stride[0] // group
    start = min(0, -(first_end // group))  # the first group that reaches row 0
    stop = max((rows - 1) * per_output, -((first_end - height + 1) // group)) + 1
    result = []
    for number in range(start, stop):
        end = first_end + number * group
        emits = number >= 0 and number % per_output == 0 and number // per_output < rows
        result.append(PassingGroup(
            arrives=tuple(0 <= row < height for row in range(end - group + 1, end + 1)),
            emits=emits, inside=window.inside(end - window.kernel[0] + 1, height)))
    return result


def rows_in_turn(window: Window, height: int) -> tuple[list[int], list[int]]:
    """Return how many rows must be there for each output row, and how many are given up after it.

    Those that are there begin with the first that was not given up. What is given up must have come, also
    rows that no window reaches.
    """
    rows, _ = window.output_size(height, 1 << 30)
    firsts = [max(0, min(window.first_row(row), height)) for row in range(rows)] + [height]
    lasts = [*(min(window.first_row(row) + window.kernel[0], height) for row in range(rows - 1)), height]
    frees = [after - first for first, after in zip(firsts, firsts[1:], strict=False)]
    needs = [max(last - first, free) for last, first, free in zip(lasts, firsts, frees, strict=False)]
    return needs, frees


@dataclass(frozen=True)
class HeldGroup:
    """One turn of a layer that holds its window: ``stride`` rows enter, or padding in their place.

    The first turns of a frame may only fill the window.
    """

    lands: tuple[bool, ...]  # which landing rows it takes
    emits: bool
    inside: list[bool]


@dataclass(frozen=True)
class LandingRow:
    """An input row of such a layer."""

    slot: int | None  # among the rows of its group; None if no window needs it
    completes: bool  # the last row of its group


@lru_cache(maxsize=1 << 10)  # planners ask often
def held_groups(window: Window, height: int) -> tuple[list[HeldGroup], list[LandingRow]]:
    """Return the turns of a layer that holds a window of ``K`` rows, and its input rows.

    The rows of a group that enter the window land side by side; rows that no window needs land nowhere.
    """
    (kernel, _), (stride, _), (top, _, _, _) = window.kernel, window.stride, window.pads
    rows, _ = window.output_size(height, 1 << 30)
    first = min(0, -((kernel - 1 - top) // stride))  # the first turn whose window reaches row 0
    rows_in = [LandingRow(slot=None, completes=False)] * height
    groups = []
    for turn in range(first, rows):
        landing = range(turn * stride - top + kernel - window.enters, turn * stride - top + kernel)
        for slot, row in enumerate(landing):
            if 0 <= row < height:
                rows_in[row] = LandingRow(slot, completes=row == min(landing[-1], height - 1))
        groups.append(HeldGroup(lands=tuple(0 <= row < height for row in landing), emits=turn >= 0,
                                inside=window.inside(window.first_row(turn), height)))
    return groups, rows_in
