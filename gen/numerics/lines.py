"""Lines that pass between two rows of points, exactly.

A channel's points are ``(steps[k], thresholds[k])``, which a line has to reach, and
``(steps[k] - 1, thresholds[k])``, which it has to miss. Only those with ``steps <= highest`` and
``steps - 1 >= lowest`` count. Arrays are channels x points; thresholds are the same for all channels.
"""
from bisect import bisect_left
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Interval: TypeAlias = tuple[int, int, int, int]  # open, with ends p / q: p, q, p, q

_FAR = 1 << 62


def slopes(steps: Integers, thresholds: Integers, lowest: Integers, highest: Integers,
           ) -> list[Interval | None]:
    """Return the slopes of each channel's lines from 0 on, an open interval; None if there are none.

    It begins below 0 if a level line passes, and ends far above where nothing limits it.
    """
    origin = lowest[:, None]
    reached, missed = steps - origin, steps - origin - 1
    has_reached, has_missed = steps <= highest[:, None], steps > origin
    thresholds = thresholds - thresholds.min()
    height = int(thresholds.max())
    assert fits(height, int((highest - lowest).max()))

    def end(sign: int, start: int) -> tuple[Integers, Integers, npt.NDArray[np.bool_]]:
        """Newton's method from one side on a convex function: how far apart the points hold the line.

        Every step goes to the slope at which the two points in conflict agree.
        """
        p, q = np.full(len(steps), start), np.ones(len(steps), np.int64)
        empty = np.zeros(len(steps), np.bool_)
        active = np.arange(len(steps))
        while len(active):
            at_p, at_q, row = p[active, None], q[active, None], np.arange(len(active))
            at_least = np.where(has_reached[active], thresholds * at_q - reached[active] * at_p, -_FAR)
            below = np.where(has_missed[active], thresholds * at_q - missed[active] * at_p, _FAR)
            i, j = at_least.argmax(1), below.argmin(1)
            conflict = at_least[row, i] > below[row, j]
            active, i, j = active[conflict], i[conflict], j[conflict]
            rise = sign * (thresholds[i] - thresholds[j])
            run = sign * (reached[active, i] - missed[active, j])
            lost = (run <= 0) | (rise <= 0)
            empty[active[lost]] = True
            active = active[~lost]
            p[active], q[active] = rise[~lost], run[~lost]
        return p, q, empty

    low_p, low_q, low_empty = end(1, 0)
    high_p, high_q, high_empty = end(-1, 2 * height + 2)
    level = (np.where(has_reached, thresholds, -_FAR).max(1)
             < np.where(has_missed, thresholds, _FAR).min(1))
    low_p[level] = -1
    empty = low_empty | high_empty | (low_p * high_q >= high_p * low_q)
    ends = np.stack([low_p, low_q, high_p, high_q], axis=1).tolist()
    return [None if nothing else tuple(interval)
            for nothing, interval in zip(empty, ends, strict=True)]


def fits(height: int, span: int) -> bool:
    """Whether :py:`slopes()` can compute with thresholds this high and sums this far apart."""
    return 4 * (height + 1) * (span + 2) < _FAR


def multiplier(interval: Interval, bits: int) -> int | None:
    """Return the roundest slope with so many fraction bits, times ``2**bits``, if there is any."""
    low_p, low_q, high_p, high_q = interval
    least = (low_p << bits) // low_q + 1
    most = -(-(high_p << bits) // high_q) - 1
    return roundest(least, most) if least <= most else None


def least_bits(interval: Interval, most: int) -> int:
    """Return the least number of fraction bits of a slope inside; ``most + 1`` if it is higher."""
    return bisect_left(range(most + 1), True, key=lambda bits: multiplier(interval, bits) is not None)


def offsets(steps: Integers, thresholds: Integers, lowest: Integers, highest: Integers,
            multipliers: list[int]) -> list[int]:
    """Return the roundest offset of each channel's line; the line's slope must be a possible one."""
    reach = int(max(abs(lowest).max(), abs(highest).max())) + 1
    far = reach * max(multipliers) + int(abs(thresholds).max()) + 1
    dtype: Any = np.int64 if far < _FAR else object
    factors = np.array(multipliers, dtype)[:, None]
    at_least = thresholds - factors * steps.astype(dtype)
    below = at_least + factors
    at_least = np.where(steps <= highest[:, None], at_least, -2 * far).max(1)
    below = np.where(steps > lowest[:, None], below, 2 * far).min(1)
    return [roundest(least, most - 1)
            for least, most in zip(at_least.tolist(), below.tolist(), strict=True)]


def line_steps(thresholds: Integers, lowest: int, highest: int, factor: int, offset: int,
               ) -> Integers:
    """Return where a line first reaches each threshold; ``highest + 1`` if not before."""
    room = thresholds.astype(object) - offset
    first = -(-room // factor) if factor else np.where(room <= 0, lowest, highest + 1)
    steps: Integers = np.clip(first, lowest, highest + 1).astype(np.int64)
    return steps


def compromise(steps: Integers, thresholds: Integers, lowest: int, highest: int, about: int,
               ) -> tuple[int, int, int]:
    """Find a line with a slope near `about` whose steps differ little from those of one channel.

    Return the number of sums between, the slope and the offset.
    """
    choices = []
    for factor in range(max(about - 4, 0), about + 5):
        at_least = thresholds - factor * steps.astype(object)
        _, offset = least_failing(at_least[steps <= highest], (at_least + factor)[steps > lowest])
        between = abs(line_steps(thresholds, lowest, highest, factor, offset) - steps)
        choices.append((int(between.sum()), factor, offset))
    return min(choices)


def least_failing(at_least: Any, below: Any) -> tuple[int, int]:
    """Find the offset that is too small for the fewest of `at_least` or too large for `below`.

    Return their number and the offset.
    """
    at_least, below = np.sort(at_least), np.sort(below)
    offset = np.concatenate([at_least, below - 1])
    failed = (len(at_least) - np.searchsorted(at_least, offset, "right")
              + np.searchsorted(below, offset, "right"))
    best = failed.argmin()
    return int(failed[best]), int(offset[best])


def roundest(least: int, most: int) -> int:
    """Return the integer of ``least .. most`` with the most trailing zeros."""
    if least <= 0 <= most:
        return 0
    zeros = ((least - 1) ^ most).bit_length() - 1
    return most >> zeros << zeros
