"""Requantiser constants that realise ONNX Runtime's float32 rule exactly.

The rule of a channel, ``y(s) = sat(rint(f32(s + bias) * multiplier) + zero_point)``, is a monotonic
step function of the integer sum ``s``. The hardware's ``y`` (see
:mod:`headrace.hdl.arithmetic.requantisation`) is monotonic in ``z = s * M + offset``, and at least ``k`` from
``z = T[k]`` on::

    T[k] = k * 2**shift                where k - zero_point is even, or without a tie band
    T[k] = k * 2**shift + 2**tie       where it is odd

Both are equal at every reachable ``s`` if, for each ``k``, ``z >= T[k]`` at the first ``s`` with
``y(s) >= k`` and ``z < T[k]`` at the last ``s`` before it. So a line must pass between two rows of
points, at most 255 each. The slopes of such lines are an open interval that does not depend on the
shift; :mod:`headrace.gen.numerics.lines` finds it, and the least shift that puts a slope inside.

In some channels there is no such line: float32 rounds the quotients next to a half that are large
to the half, and those that are small not. There the sums beside a step that come out wrong are
listed to be corrected.
"""
from collections import Counter
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from headrace.gen.ir.graph import Conv, GlobalAveragePool, Mul, Pool, Tensor
from headrace.gen.numerics.lines import (
    Integers,
    Interval,
    compromise,
    fits,
    least_bits,
    line_steps,
    multiplier,
    offsets,
    slopes,
)
from headrace.gen.numerics.ranges import Range
from headrace.gen.numerics.rules import Rule
from headrace.hdl.arithmetic.requantisation import Requantisation

MAX_SHIFT = 40
_BANDS = range(1, 21)  # of ties; float32 takes what is within 2**-17 of a half for one
_CORRECTION = 3  # bits of a multiplier that cost as much as a sum to correct
_DIGITS = 21  # bits of a multiplier that leaves few sums to correct


def rule(node: Conv | Pool | GlobalAveragePool | Mul, x: Tensor, y: Tensor, sums: Range) -> Rule:
    """Return the rule of a node for sums in this range; one channel stands for all but in a convolution."""
    zero_points, limits = (x.quantisation.zero_point, y.quantisation.zero_point), (node.lo, node.hi)
    if isinstance(node, Conv):
        zeros = node.weight.reshape(len(node.weight), -1).sum(1, dtype=np.int64) * zero_points[0]
        return Rule(node.multiplier, node.bias - zeros, sums.lo, sums.hi, zero_points[1], *limits)
    every = sums.hull()
    if isinstance(node, GlobalAveragePool):
        return Rule(np.array([node.multiplier], np.float32), np.array([-x.height * x.width * zero_points[0]]),
                    every.lo, every.hi, zero_points[1], *limits)
    if isinstance(node, Mul):
        return Rule(np.array([node.multiplier], np.float32), np.zeros(1, np.int64), every.lo, every.hi,
                    zero_points[1], *limits, zero_point_first=True)
    taps = node.window.taps
    return Rule(np.array([x.quantisation.scale], np.float32), np.array([-taps * zero_points[0]]), every.lo,
                every.hi, zero_points[1], *limits, zero_point_first=True,
                divisors=(np.float32(taps), np.float32(y.quantisation.scale)))


def search(rule: Rule) -> Requantisation:
    """Find the constants that cost the hardware least, and prove them."""
    steps = rule.steps()
    if rule.lo == rule.hi:
        zeros = (0,) * len(steps)
        return Requantisation(shift=0, tie=None, parity=0, lo=rule.lo, hi=rule.hi,
                              multipliers=zeros, offsets=zeros)
    best: _Form | None = None
    few = slice(None, None, max(1, len(steps) // 16))
    for band in (None, *_BANDS):
        fine = band or 0
        thresholds = rule.thresholds(fine, None if band is None else 0)
        if best and best.cost <= fine or not fits(int(np.ptp(thresholds)), rule.span):
            break
        if band is not None:  # most bands are far too wide, as a few channels show
            tried = slopes(steps[few], thresholds, rule.lowest[few], rule.highest[few])
            if tried.count(None) > len(tried) // 2:
                continue
        form = _form(rule, band, slopes(steps, thresholds, rule.lowest, rule.highest))
        if best is None or form.cost < best.cost:
            best = form
        if band is None and None not in form.slopes:
            break
    assert best is not None
    result = _constants(rule, steps, best)
    if len(steps) == 1 and result.corrections:
        return min(result, _average(rule, steps), key=_cost)
    return result


def _cost(constants: Requantisation) -> int:
    """What one channel's constants cost, in bits of a multiplier."""
    return len(constants.corrections) * _CORRECTION + constants.multiplier_width


def _average(rule: Rule, steps: Integers) -> Requantisation:
    """Find constants of one channel, as an average has, that need corrections: few, and a short multiplier.

    Float32 puts ties of an average on either side of their step here and there: no band fits all of them.
    """
    found = []
    slope, lowest, highest = float(rule.slope[0]), int(rule.lowest[0]), int(rule.highest[0])
    least = max(0, -int(np.frexp(slope)[1]))
    for band, bits in product((None, *_BANDS[:12]), range(least, least + _DIGITS, 2)):
        shift = bits + (band or 0)
        thresholds = rule.thresholds(shift, None if band is None else bits)
        if shift <= MAX_SHIFT:
            wrong, *line = compromise(steps[0], thresholds, lowest, highest, round(slope * 2**shift))
            cost = wrong * _CORRECTION + line[0].bit_length()
            found.append((cost, shift, bits, band is None, *line))
    _, shift, tie, bandless, factor, offset = min(found)
    result = Requantisation(shift=shift, tie=None if bandless else tie, parity=rule.parity, lo=rule.lo,
                            hi=rule.hi, multipliers=(factor,), offsets=(offset,))
    result = replace(result, corrections=_corrections(rule, steps, result, [0]))
    prove(rule, result)
    return result


@dataclass(frozen=True)
class _Form:
    """What the channels of a layer share, and the possible slopes of each, times ``2**-bits``.

    The cost is in bits of the multipliers. The tie band adds to a lane about as much as one; sums
    that need a correction add a comparator, and constants for each.
    """

    band: int | None  # the tie band is 2**-band of a step
    slopes: list[Interval | None]
    bits: int
    cost: int

    def shift(self, more: int = 0) -> tuple[int, int | None]:
        """Return shift and tie bit for so many bits more than enough."""
        bits = self.bits + more
        return (bits, None) if self.band is None else (bits + self.band, bits)


def _form(rule: Rule, band: int | None, found: list[Interval | None]) -> _Form:
    """Choose the bits: enough for every channel, or for all but the few that need most."""
    most = MAX_SHIFT - (band or 0)
    needs = [most + 1 if interval is None else least_bits(interval, most) for interval in found]
    order = sorted(range(len(needs)), key=lambda channel: -needs[channel])
    impossible = sum(need > most for need in needs)
    choices, precise = [], 0
    for dropped, channel in enumerate([*order, None][:impossible + 9]):
        if dropped >= impossible:
            bits = max(precise, 0 if channel is None else needs[channel])
            sums = dropped if band else dropped + 2 * impossible  # several ties each
            choices.append((bits + (4 + sums if sums else 0), bits))
        if channel is not None:
            exponent = int(np.frexp(rule.slope[channel])[1])
            precise = min(max(precise, _DIGITS - exponent - (band or 0)), most)
    cost, bits = min(choices)
    return _Form(band, found, bits, cost + (0 if band is None else band + 1))


def _constants(rule: Rule, steps: Integers, form: _Form) -> Requantisation:
    factors = {channel: factor for channel, interval in enumerate(form.slopes)
               if interval and (factor := multiplier(interval, form.bits)) is not None}
    rest = [channel for channel in range(len(steps)) if channel not in factors]
    more, constants = _compromises(rule, steps, form, rest)
    shift, tie = form.shift(more)
    if factors:
        rows, scaled = list(factors), [factor << more for factor in factors.values()]
        added = offsets(steps[rows], rule.thresholds(shift, tie), rule.lowest[rows],
                        rule.highest[rows], scaled)
        constants |= dict(zip(rows, zip(scaled, added, strict=True), strict=True))
    chosen = [constants[channel] for channel in range(len(steps))]
    result = Requantisation(
        shift=shift, tie=tie, parity=rule.parity, lo=rule.lo, hi=rule.hi,
        multipliers=tuple(factor for factor, _ in chosen),
        offsets=tuple(offset for _, offset in chosen))
    result = replace(result, corrections=_corrections(rule, steps, result, rest))
    prove(rule, result)
    return result


def _compromises(rule: Rule, steps: Integers, form: _Form, rest: list[int],
                 ) -> tuple[int, dict[int, tuple[int, int]]]:
    """Find multiplier and offset of the channels that remain, and how many bits more they need."""
    best: tuple[int, int, dict[int, tuple[int, int]]] = 0, 0, {}
    for more in range(6 if rest else 0):
        shift, tie = form.shift(more)
        thresholds = rule.thresholds(shift, tie)
        found = {channel: compromise(
            steps[channel], thresholds, int(rule.lowest[channel]), int(rule.highest[channel]),
            round(float(rule.slope[channel]) * 2**shift)) for channel in rest}
        failed = [count for count, *_ in found.values()]
        cost = more + 4 * max(failed) + sum(failed)
        if not best[2] or cost < best[0]:
            best = cost, more, {channel: choice[1:] for channel, choice in found.items()}
    return best[1:]


def _corrections(rule: Rule, steps: Integers, constants: Requantisation, channels: list[int],
                 ) -> tuple[tuple[int, int, int], ...]:
    """List the sums between a step of the rule and the same step of the constants."""
    result = []
    for channel in channels:
        taken = line_steps(rule.thresholds(constants.shift, constants.tie), rule.lowest[channel],
                           rule.highest[channel], constants.multipliers[channel],
                           constants.offsets[channel])
        wrong = Counter[int]()
        for right, other in zip(steps[channel].tolist(), taken.tolist(), strict=True):
            wrong.update(range(right, other))
            wrong.subtract(range(other, right))
        result += [(channel, s, delta) for s, delta in sorted(wrong.items())]
    return tuple(result)


def prove(rule: Rule, constants: Requantisation) -> None:
    """Assert that the constants give the rule's result for every reachable sum.

    The rule and the constants (without corrections) are monotonic functions of the sum: ``z`` is,
    and ``y`` is in ``z``, because the tie band only moves a step up, by less than a step. So it is
    enough to compare them at both ends of every run of equal results, and at the sums next to a
    corrected one. This does not depend on how the constants were found.
    """
    ends, (lowest, highest) = rule.steps(), (rule.lowest[:, None], rule.highest[:, None])
    if not (((rule(ends) >= rule.levels) | (ends > highest))
            & ((rule(ends - 1) < rule.levels) | (ends <= lowest))).all():
        raise AssertionError("wrong steps of a rule")
    beside: dict[int, list[int]] = {}
    for channel, value, _ in constants.corrections:
        beside.setdefault(channel, []).extend([value - 1, value, value + 1])
    more = np.repeat(lowest, max(map(len, beside.values()), default=0), axis=1)
    for channel, values in beside.items():
        more[channel, :len(values)] = values
    s = np.clip(np.concatenate([ends, ends - 1, lowest, highest, more], axis=1), lowest, highest)
    if not (constants.model(s) == rule(s)).all():  # no assert: this is checked in an optimised Python, too
        raise AssertionError("wrong requantiser constants")
