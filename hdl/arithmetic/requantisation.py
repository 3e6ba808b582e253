"""Requantisation constants, and what the hardware computes with them.

The rules of a requantiser, a sum (or two addends) to an activation, are those of
:class:`Requantisation` and :class:`AddRequantisation`. Both have the same last part, on a scaled sum
``z``::

    q = z >> shift
    if tie is not None and (z & (2**shift - 1)) >> tie == 0 and (q ^ parity) & 1:
        q -= 1
    y = min(max(q, lo), hi)

With ``tie``, an odd ``q`` (even, if ``parity`` is 1) counts only ``2**tie`` above its step. This is
rounding half to even: what lies in the band of ``2**tie`` above a step is a tie. ``y`` is monotonic in
``z`` with the band or without.
"""
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer]


def _round(z: npt.NDArray[Any], shift: int, tie: int | None, parity: int, lo: int, hi: int,
           ) -> npt.NDArray[np.int64]:
    q = z >> shift
    if tie is not None:
        q = q - (((z & ((1 << shift) - 1)) >> tie == 0) & ((q ^ parity) & 1 == 1))
    y: npt.NDArray[np.int64] = np.clip(q, lo, hi).astype(np.int64)
    return y


def _exact(*bounds: int) -> type:
    """The fastest type that holds a sum of products below these bounds."""
    return np.int64 if sum(bounds) < 1 << 62 else object


def signed_width(*values: int) -> int:
    """Bits of a two's complement number that holds each of `values`."""
    return 1 + max((v if v >= 0 else ~v).bit_length() for v in values)


@dataclass(frozen=True, kw_only=True)
class Requantisation:
    """``z = s * multipliers[c] + offsets[c]``, rounded as the module says; ``s`` is a sum of channel ``c``.

    The sum is that of raw activations times weights: the zero points and the bias are in the offset. One
    multiplier and offset alone serve every channel. The result of each ``(channel, sum, delta)`` of
    ``corrections``, which are sorted, is ``delta`` higher than that (after saturation).
    """

    shift: int
    tie: int | None
    parity: int
    multipliers: tuple[int, ...]
    offsets: tuple[int, ...]
    lo: int
    hi: int
    corrections: tuple[tuple[int, int, int], ...] = ()

    @property
    def multiplier_width(self) -> int:
        """Bits of the widest multiplier, which is unsigned."""
        return max(self.multipliers).bit_length()

    @property
    def offset_width(self) -> int:
        """Bits of the widest offset, which is signed."""
        return signed_width(*self.offsets)

    def model(self, s: Integers, axis: int = 0) -> npt.NDArray[np.int64]:
        """Compute what the hardware computes. The channels of `s` are along `axis`."""
        s = np.moveaxis(np.asarray(s), axis, -1)
        dtype = _exact(int(np.abs(s).max(initial=0)) * max(self.multipliers),
                       max(map(abs, self.offsets)))
        z: npt.NDArray[Any] = (s.astype(dtype) * np.array(self.multipliers, dtype)
                               + np.array(self.offsets, dtype))
        y = _round(z, self.shift, self.tie, self.parity, self.lo, self.hi)
        for channel, values in groupby(self.corrections, key=itemgetter(0)):
            _, sums, deltas = np.array(list(values)).T
            part = channel if len(self.multipliers) > 1 else slice(None)
            place = np.searchsorted(sums, s[..., part]).clip(max=len(sums) - 1)
            y[..., part] += np.where(sums[place] == s[..., part], deltas[place], 0)
        return np.moveaxis(y, -1, axis)


@dataclass(frozen=True, kw_only=True)
class AddRequantisation:
    """``z = a * multipliers[0] + b * multipliers[1] + offset``, rounded as the module says.

    The addends are raw activations: the zero points are in the offset. The result of each
    ``(a, b, delta)`` of ``corrections`` is ``delta`` higher than that (after saturation). For a difference
    ``mirror - b`` stands in the place of ``b``. This is ``b`` with all bits inverted: ``mirror`` is -1 of
    signed activations, and of unsigned ones the greatest.
    """

    shift: int
    tie: int | None
    parity: int
    multipliers: tuple[int, int]
    offset: int
    lo: int
    hi: int
    corrections: tuple[tuple[int, int, int], ...] = ()
    mirror: int | None = None

    @property
    def multiplier_width(self) -> int:
        """Bits of the wider multiplier; both are unsigned."""
        return max(self.multipliers).bit_length()

    @property
    def offset_width(self) -> int:
        """Bits of the offset, which is signed."""
        return signed_width(self.offset)

    def model(self, a: Integers, b: Integers) -> npt.NDArray[np.int64]:
        """Compute what the hardware computes."""
        dtype = _exact(256 * sum(self.multipliers), abs(self.offset))
        second: npt.NDArray[Any] = b.astype(dtype)
        if self.mirror is not None:
            second = self.mirror - second
        z: npt.NDArray[Any] = (a.astype(dtype) * self.multipliers[0]
                               + second * self.multipliers[1] + np.array(self.offset, dtype))
        y = _round(z, self.shift, self.tie, self.parity, self.lo, self.hi)
        if self.corrections:
            delta = np.zeros((256, 256), np.int64)
            for a_value, b_value, by in self.corrections:
                delta[a_value, b_value] = by  # negative values count from the end
            y += delta[a, b]
        return y
