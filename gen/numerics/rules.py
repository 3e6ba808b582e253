"""ONNX Runtime's float32 arithmetic, which the hardware has to reproduce."""
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Rule:
    """The channels of a layer: the float32 rule, and the sums that inputs can lead to."""

    multiplier: npt.NDArray[np.float32]
    bias: Integers
    lowest: Integers
    highest: Integers
    zero_point: int
    lo: int
    hi: int
    zero_point_first: bool = False  # added before rounding
    divisors: tuple[np.float32, ...] = ()  # one after the other, behind the multiplier

    def __call__(self, s: Integers) -> Integers:
        """Evaluate as ONNX Runtime does. `s` is channels x anything."""
        with np.errstate(over="ignore", under="ignore"):
            y = (s + self.bias[:, None]).astype(np.float32) * self.multiplier[:, None]
            for divisor in self.divisors:
                y = y / divisor
        if self.zero_point_first:
            y = np.rint(y + np.float32(self.zero_point))
        else:
            y = np.rint(y) + np.float32(self.zero_point)
        limited: Integers = np.clip(y, self.lo, self.hi).astype(np.int64)
        return limited

    @property
    def parity(self) -> int:
        """Lowest bit of the results that ties go to."""
        return 0 if self.zero_point_first else self.zero_point & 1

    @property
    def slope(self) -> npt.NDArray[np.float64]:
        """Results per sum, not rounded."""
        return self.multiplier.astype(np.float64) / np.prod(self.divisors, dtype=np.float64)

    @property
    def span(self) -> int:
        return int((self.highest - self.lowest).max())

    @property
    def levels(self) -> Integers:
        return np.arange(self.lo + 1, self.hi + 1)

    def thresholds(self, shift: int, tie: int | None) -> Integers:
        """Return the ``z`` from which on the hardware's result is at least `levels`."""
        odd = (self.levels ^ self.parity) & 1
        return (self.levels << shift) + (0 if tie is None else odd << tie)

    def steps(self) -> Integers:
        """Return the first reachable ``s`` with ``y(s) >= k`` for `levels`; `highest + 1` if none."""
        levels, lowest, highest = self.levels, self.lowest[:, None], self.highest[:, None]
        slope = np.maximum(self.slope[:, None], 2.0**-100)
        about = (levels - self.zero_point - 0.5) / slope - self.bias[:, None]
        slack = 2.0**-13 / slope + 2  # float32 rounds sum, product and quotients
        below = np.clip(about - slack, lowest - 1, highest).astype(np.int64)
        above = np.clip(about + slack, lowest, highest + 1).astype(np.int64)
        while (above - below > 1).any():
            middle = (above + below) >> 1
            reached = self(middle) >= levels
            above, below = np.where(reached, middle, above), np.where(reached, below, middle)
        return above


@dataclass(frozen=True, eq=False)
class AddRule:
    """ONNX Runtime's QLinearAdd, as its kernel for x86-64 (AVX2 with FMA) computes it."""

    factors: tuple[np.float32, np.float32]
    zero_points: tuple[int, int, int]  # of a, b and y
    lo: int
    hi: int

    @property
    def parity(self) -> int:
        """Lowest bit of the results that ties go to."""
        return 0

    def __call__(self, a: Integers, b: Integers) -> Integers:
        f, (a_zero, b_zero, y_zero) = self.factors, self.zero_points
        zeros = fma(f[0], np.array(a_zero), f[1] * np.float32(b_zero))
        fixed = np.float32(y_zero) - zeros
        y = np.rint(fma(f[0], a, fma(f[1], b, fixed)))
        return np.clip(y, self.lo, self.hi).astype(np.int64)


@dataclass(frozen=True, eq=False)
class SubRule:
    """DequantizeLinear, Sub and QuantizeLinear: ONNX Runtime has no integer kernel for differences."""

    scales: tuple[np.float32, np.float32, np.float32]  # of a, b and y
    zero_points: tuple[int, int, int]
    lo: int
    hi: int

    @property
    def factors(self) -> tuple[float, float]:
        """Results per step of each operand, not rounded."""
        a, b, y = map(float, self.scales)
        return a / y, b / y

    @property
    def parity(self) -> int:
        """Lowest bit of the results that ties go to."""
        return self.zero_points[2] & 1

    def __call__(self, a: Integers, b: Integers) -> Integers:
        (a_zero, b_zero, y_zero), (a_scale, b_scale, y_scale) = self.zero_points, self.scales
        with np.errstate(over="ignore", under="ignore"):
            real = (a - a_zero).astype(np.float32) * a_scale - (b - b_zero).astype(np.float32) * b_scale
            y = np.rint(real / y_scale) + np.float32(y_zero)
        return np.clip(y, self.lo, self.hi).astype(np.int64)


def fma(x: np.float32, y: Integers, z: Floats | np.float32) -> Floats:
    """``x * y + z``, rounded to float32 once."""
    scaled = np.float64(x) * y  # exact
    total = np.asarray(scaled + z)
    part = total - scaled
    error = (scaled - (total - part)) + (z - part)  # exact: what rounding to float64 lost
    toward = np.nextafter(total, np.copysign(np.inf, error))
    even = total.view(np.int64) & 1 == 0
    return np.where((error != 0) & even, toward, total).astype(np.float32)  # odd: more follows
