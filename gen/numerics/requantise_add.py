"""Constants that realise ONNX Runtime's float32 addition and subtraction exactly.

Over the pairs of raw activations ``(a, b)`` the hardware's ``z = a * M[0] + b * M[1] + offset`` has to
reach the threshold of the rule's result ``y`` and to miss that of ``y + 1``; thresholds are those of
:mod:`headrace.gen.numerics.requantise`. All 65,536 pairs are looked at.
"""
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from headrace.gen.ir.graph import Add, Quantisation, Sub, Tensor
from headrace.gen.numerics.lines import Integers, least_failing, roundest
from headrace.gen.numerics.rules import AddRule, SubRule
from headrace.hdl.arithmetic.requantisation import AddRequantisation

MAX_SHIFT = 32
_NEAREST_SHIFT = 26  # float32 has 24 bits
_BANDS = range(1, 21)  # tie bands, 2**-band of a step
_NEIGHBOURS = sorted(product(range(-2, 3), repeat=2), key=lambda by: abs(by[0]) + abs(by[1]))


def rule(node: Add | Sub, a: Tensor, b: Tensor, y: Tensor) -> AddRule | SubRule:
    """Return the rule of an addition or a subtraction."""
    zero_points = a.quantisation.zero_point, b.quantisation.zero_point, y.quantisation.zero_point
    if isinstance(node, Add):
        return AddRule(node.factors, zero_points, node.lo, node.hi)
    scales = (np.float32(a.quantisation.scale), np.float32(b.quantisation.scale),
              np.float32(y.quantisation.scale))
    return SubRule(scales, zero_points, node.lo, node.hi)


def add(node: Add | Sub, a: Tensor, b: Tensor, y: Tensor) -> AddRequantisation:
    """Find the constants of an addition or a subtraction, and prove them."""
    return search(rule(node, a, b, y), a.quantisation, b.quantisation)


def search(rule: AddRule | SubRule, a: Quantisation, b: Quantisation) -> AddRequantisation:
    """Find the constants with the least shift, without a tie band if possible, and prove them.

    Where the ratio of two scales is simple, float32 may round what ought to be ties irregularly. Then no
    constants do, and pairs remain to be corrected.
    """
    mirror = b.lo + b.hi if isinstance(rule, SubRule) else None
    candidates = _Candidates(rule, *pairs(a, b), mirror)
    result = candidates.exact(None) or min(
        filter(None, map(candidates.exact, _BANDS)), key=lambda form: form.shift, default=None)
    if result is None:
        result = min(map(candidates.nearest, (None, *_BANDS)), key=lambda form: len(form.corrections))
    prove(rule, result, a, b)
    return result


def pairs(a: Quantisation, b: Quantisation) -> tuple[Integers, Integers]:
    """Return all pairs of activations."""
    grid = np.meshgrid(np.arange(a.lo, a.hi + 1), np.arange(b.lo, b.hi + 1), indexing="ij")
    return grid[0].ravel(), grid[1].ravel()


def prove(rule: AddRule | SubRule, constants: AddRequantisation, a: Quantisation, b: Quantisation) -> None:
    """Assert that the constants give the rule's result for every pair."""
    grid = pairs(a, b)
    if not (constants.model(*grid) == rule(*grid)).all():
        raise AssertionError("wrong constants of an addition")


@dataclass(frozen=True, eq=False)
class _Points:
    """Pairs that all have to reach a level, or all have to miss one."""

    a: Integers
    b: Integers  # as it is multiplied, mirrored or not
    level: Integers
    parity: int = field(kw_only=True)

    def __getitem__(self, index: npt.NDArray[np.bool_] | list[int]) -> "_Points":
        return _Points(self.a[index], self.b[index], self.level[index], parity=self.parity)

    def offsets(self, factors: tuple[int, int], shift: int, band: int | None) -> Integers:
        """Return the offset that puts each pair on the threshold of its level."""
        tie = 0 if band is None else ((self.level ^ self.parity) & 1) << shift - band
        return (self.level << shift) + tie - factors[0] * self.a - factors[1] * self.b


class _Candidates:
    def __init__(self, rule: AddRule | SubRule, a: Integers, b: Integers, mirror: int | None) -> None:
        y = rule(a, b)
        self.rule, self.a, self.b, self.y, self.mirror = rule, a, b, y, mirror
        second = b if mirror is None else mirror - b
        self.reached = _Points(a, second, y, parity=rule.parity)[y > rule.lo]
        self.missed = _Points(a, second, y + 1, parity=rule.parity)[y < rule.hi]

    def form(self, factors: tuple[int, int], offset: int, shift: int, band: int | None,
             ) -> AddRequantisation:
        return AddRequantisation(
            shift=shift, tie=None if band is None else shift - band, parity=self.rule.parity,
            multipliers=factors, offset=offset, lo=self.rule.lo, hi=self.rule.hi, mirror=self.mirror)

    def exact(self, band: int | None) -> AddRequantisation | None:
        """Find the least shift at which multipliers next to the factors do, with this tie band.

        Pairs that have ruled out a candidate are held against the next ones first.
        """
        if self.y.min() == self.y.max():
            return self.form((0, 0), int(self.y[0]), 0, None)
        reached, missed = [0], [0]
        for shift in range(band or 0, MAX_SHIFT + 1):
            near = [round(float(factor) * 2**shift) for factor in self.rule.factors]
            for by in _NEIGHBOURS:
                factors = max(near[0] + by[0], 0), max(near[1] + by[1], 0)
                if (self.reached[reached].offsets(factors, shift, band).max()
                        >= self.missed[missed].offsets(factors, shift, band).min()):
                    continue
                at_least = self.reached.offsets(factors, shift, band)
                below = self.missed.offsets(factors, shift, band)
                if at_least.max() < below.min():
                    offset = roundest(int(at_least.max()), int(below.min()) - 1)
                    return self.form(factors, offset, shift, band)
                reached.append(int(at_least.argmax()))
                missed.append(int(below.argmin()))
        return None

    def nearest(self, band: int | None) -> AddRequantisation:
        """Take the factors themselves, and correct the pairs that are wrong."""
        shift = _NEAREST_SHIFT
        factors = round(float(self.rule.factors[0]) * 2**shift), round(float(self.rule.factors[1]) * 2**shift)
        _, offset = least_failing(self.reached.offsets(factors, shift, band),
                                  self.missed.offsets(factors, shift, band))
        form = self.form(factors, offset, shift, band)
        delta = self.y - form.model(self.a, self.b)
        wrong = np.flatnonzero(delta)
        return replace(form, corrections=tuple(zip(
            self.a[wrong].tolist(), self.b[wrong].tolist(), delta[wrong].tolist(), strict=True)))
