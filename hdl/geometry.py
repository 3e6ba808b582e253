"""Which input rows and columns a moving window sees, and when."""
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.int64]

@dataclass(frozen=True)
class Window:
    """How a kernel moves over an image. Pairs are (vertical, horizontal)."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, bottom, right

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        top, left, bottom, right = self.pads
        return ((height + top + bottom - self.kernel[0]) // self.stride[0] + 1,
                (width + left + right - self.kernel[1]) // self.stride[1] + 1)

    def columns(self, width: int) -> list[list[int | None]]:
        """Return the input column under each horizontal tap of each output column; None is padding."""
        _, lanes = self.output_size(1 << 30, width)
        starts = [lane * self.stride[1] - self.pads[1] for lane in range(lanes)]
        return [[column if 0 <= column < width else None
                 for column in range(start, start + self.kernel[1])] for start in starts]

    def first_row(self, output_row: int) -> int:
        """Return the topmost input row of an output row's window; negative in the top padding."""
        return output_row * self.stride[0] - self.pads[0]

    def inside(self, first: int, height: int) -> list[bool]:
        """Return which vertical taps of a window that starts at row :py:`first` lie in the image."""
        return [0 <= first + tap < height for tap in range(self.kernel[0])]

    def view(self, x: Image, pad: int) -> Image:
        """Return what each output position sees of a C x H x W image: C x Kh x Kw x H_out x W_out."""
        top, left, bottom, right = self.pads
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=pad)
        seen = np.lib.stride_tricks.sliding_window_view(padded, self.kernel, axis=(1, 2))
        return np.moveaxis(seen[:, ::self.stride[0], ::self.stride[1]], (1, 2), (3, 4))


@dataclass(frozen=True)
class PassingGroup:
    """A group of rows that passes a window layer, or padding in its place."""

    arrives: tuple[bool, ...]  # which rows of the group belong to the image
    emits: bool  # the window that ends with this group is an output row
    inside: list[bool]


def first_group(window: Window, height: int, group: int) -> int:
    """Return how many rows of the image come in the first group that has any."""
    return next(filter(None, (sum(g.arrives) for g in passing_groups(window, height, group))))


def merges(groups: list[PassingGroup]) -> bool:
    """Whether the last group, all padding, can pass together with the next frame's first."""
    *_, before = groups[0].arrives
    return (len(groups) > 1 and groups[-1].emits and not any(groups[-1].arrives)
            and not groups[0].emits and before and sum(groups[0].arrives) == 1)


def passing_groups(window: Window, height: int, group: int) -> list[PassingGroup]:
    """Return the groups that a layer takes through a window of ``K`` rows, :py:`group` rows at a time.

    Groups are aligned so that every output row's window ends with a group. The first and the last may be
    shorter, or all padding.
    """
    rows, _ = window.output_size(height, 1 << 30)
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


@dataclass(frozen=True)
class GroupRow:
    """One turn of a layer that holds its window: ``stride`` rows enter, one output row leaves.

    The first turns of a frame may only fill the window (no output), the last may enter nothing (bottom
    padding) or only drop rows that no window reaches.
    """

    lands: bool  # at least one row of the image belongs to this group
    enters: bool  # the window moves on
    emits: bool
    inside: list[bool]


@dataclass(frozen=True)
class LandingRow:
    """An input row of such a layer: its slot among the landing rows, or None if no window needs it."""

    slot: int | None
    completes: bool  # the last row of its group


def holding(height: int, group: int, first: int) -> Window:
    """Return the window of a layer that holds each group of rows, the first of them shorter."""
    above = group - first
    return Window((group, 1), (group, 1), (above, 0, -(height + above) % group, 0))


def group_rows(window: Window, height: int) -> tuple[list[GroupRow], list[LandingRow]]:
    """Return the turns of a layer that holds a window of ``K`` rows, and its input rows."""
    (kernel, _), (stride, _), (top, _, _, _) = window.kernel, window.stride, window.pads
    rows, _ = window.output_size(height, 1 << 30)
    kept = min(kernel, stride)
    turn = min(0, -((kernel - 1 - top) // stride))  # the first whose window reaches row 0
    groups: list[GroupRow] = []
    landing: list[LandingRow] = []
    while turn < rows or len(landing) < height:
        group = [turn * stride - top + kernel - stride + index for index in range(stride)]
        members = [row for row in group if 0 <= row < height]
        for row in members:
            slot = row - group[0] - (stride - kept)
            landing.append(LandingRow(slot=slot if slot >= 0 and turn < rows else None,
                                      completes=row == members[-1]))
        groups.append(GroupRow(lands=bool(members), enters=turn < rows, emits=0 <= turn < rows,
                               inside=window.inside(window.first_row(turn), height)))
        turn += 1
    return groups, landing
