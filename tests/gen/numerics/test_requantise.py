"""The requantiser's constants against the float32 rule, over whole ranges of sums and all addends."""
import platform
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from headrace.gen.ir.graph import Add, Conv, GlobalAveragePool, Pool, Quantisation, Tensor
from headrace.gen.numerics import lines, ranges, requantise, requantise_add
from headrace.gen.numerics.rules import AddRule, Rule, fma
from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.arithmetic.requantisation import Requantisation
from onnx_models import Q, QdqModel

UINT8, INT8 = Quantisation(1.0, 0, False), Quantisation(1.0, 0, True)


def layer(multiplier: np.ndarray, rng: np.random.Generator, *, span: int,
          first: bool = False) -> Rule:
    """Channels with sums in ranges of up to `span`, about their zero."""
    count = len(multiplier)
    width = rng.integers(span // 2, span, count)
    lowest = -(width * rng.random(count)).astype(np.int64)
    bias = (rng.normal(0, 0.2, count) * width).astype(np.int64)
    zero_point = int(rng.integers(-128, 128))
    lo = zero_point if rng.random() < 0.3 else -128
    return Rule(multiplier.astype(np.float32), bias, lowest, lowest + width, zero_point,
                           min(lo, 126), 127, first)


def everywhere(rule: Rule, constants: Requantisation) -> None:
    """Assert equality for every sum in reach of any channel, in the reach of each."""
    s = np.arange(rule.lowest.min(), rule.highest.max() + 1)
    s = np.clip(s, rule.lowest[:, None], rule.highest[:, None])
    np.testing.assert_array_equal(constants.model(s), rule(s))


def constants_of(node: Conv | Pool | GlobalAveragePool, x: Tensor, y: Tensor) -> Requantisation:
    """The constants of a node that reads any values of their type."""
    return requantise.search(requantise.rule(node, x, y, ranges.sums(node, x, ranges.whole(x))))


@pytest.mark.parametrize("seed", range(4))
def test_slopes_are_all_slopes(seed: int) -> None:
    """Every line through a small grid is in the interval if it separates, and outside if not."""
    rng = np.random.default_rng(seed)
    bits, levels = 4, np.arange(1, 5)
    lowest, highest = np.zeros(40, np.int64), rng.integers(6, 11, 40)
    steps = np.sort(rng.choice(np.arange(1, 12), (40, 4)), axis=1)
    steps = np.minimum(steps, highest[:, None] + 1)
    found = lines.slopes(steps, levels, lowest, highest)
    for step, top, interval in zip(steps, highest, found, strict=True):
        s = np.arange(top + 1)
        y = (s[:, None] >= step).sum(1)
        for factor in range(40):
            z = factor * s[:, None] + np.arange(-320, 65)
            possible = (np.clip(z >> bits, 0, 4) == y[:, None]).all(0).any()
            inside = interval is not None and (
                Fraction(*interval[:2]) < Fraction(factor, 1 << bits) < Fraction(*interval[2:]))
            assert possible == inside, (step, interval, factor)


@pytest.mark.parametrize("least, most, expected", [
    (5, 7, 6), (5, 9, 8), (-3, 4, 0), (-7, -5, -6), (-9, -5, -8), (13, 13, 13), (-1, -1, -1)])
def test_roundest(least: int, most: int, expected: int) -> None:
    assert lines.roundest(least, most) == expected


@pytest.mark.parametrize("first", [False, True], ids=["zero-point-last", "zero-point-first"])
@pytest.mark.parametrize("seed", range(4))
def test_random_multipliers(seed: int, first: bool) -> None:
    rng = np.random.default_rng([seed, first])
    for span in (1 << 9, 1 << 14):
        rule = layer(2.0 ** rng.uniform(-12, 2, 20), rng, span=span, first=first)
        everywhere(rule, requantise.search(rule))


@pytest.mark.parametrize("first", [False, True], ids=["zero-point-last", "zero-point-first"])
@pytest.mark.parametrize("seed", range(4))
def test_multipliers_with_exact_ties(seed: int, first: bool) -> None:
    rng = np.random.default_rng([seed, first])
    for multiplier in (2.0 ** rng.integers(-8, 1, 8),
                       rng.integers(1, 32, 8) * 2.0 ** rng.integers(-12, -4, 8),
                       rng.integers(1, 32, 8) / rng.integers(1, 500, 8)):
        rule = layer(multiplier, rng, span=1 << 12, first=first)
        everywhere(rule, requantise.search(rule))


def test_a_power_of_two_needs_no_multiplication() -> None:
    rule = Rule(np.array([0.25], np.float32), np.array([0]), np.array([-900]),
                           np.array([900]), 5, -128, 127)
    constants = requantise.search(rule)
    assert constants == Requantisation(shift=2, tie=0, parity=1, multipliers=(1,), offsets=(22,),
                                       lo=-128, hi=127)
    everywhere(rule, constants)


def test_sums_beyond_24_bits() -> None:
    """float32 rounds such a sum before it multiplies."""
    bias = np.array([1 << 30, -(1 << 26) - 1, 1 << 24])
    rule = Rule(np.array([1.1e-7, 3.3e-6, 7.7e-6], np.float32), bias, np.full(3, -50_000),
                           np.full(3, 1 << 20), -7, -128, 127)
    everywhere(rule, requantise.search(rule))


def test_constant_channels() -> None:
    """A channel without weights, one that always saturates, one whose result never changes."""
    rule = Rule(np.array([1e-11, 12, 1e-6, 0.02], np.float32),
                           np.array([1 << 30, 5000, -300, 0]), np.array([0, -100, -100, -5000]),
                           np.array([0, 100, 100, 5000]), 3, -128, 127)
    constants = requantise.search(rule)
    assert constants.multipliers[:3] == (0, 0, 0)
    everywhere(rule, constants)


def test_one_level() -> None:
    rule = Rule(np.array([0.1], np.float32), np.array([0]), np.array([-9]), np.array([9]),
                           3, 3, 3)
    everywhere(rule, requantise.search(rule))


def test_corrections() -> None:
    """float32 takes some sums of this multiplier for ties and not others, by no rule of its own."""
    rule = Rule(np.array([1 / 30], np.float32), np.array([0]), np.array([0]),
                           np.array([30 * 255]), 0, 0, 255)
    constants = requantise.search(rule)
    assert 0 < len(constants.corrections) < 30
    assert all(channel == 0 and abs(delta) == 1 for channel, _, delta in constants.corrections)
    everywhere(rule, constants)


@pytest.mark.parametrize("by", [-1, 1])
def test_the_proof_finds_wrong_constants(by: int) -> None:
    rng = np.random.default_rng(1)
    rule = layer(2.0 ** rng.uniform(-9, -8, 8), rng, span=1 << 16)
    good = requantise.search(rule)
    offsets = (*good.offsets[:3], good.offsets[3] + (by << good.shift - 5), *good.offsets[4:])
    with pytest.raises(AssertionError, match="^wrong requantiser constants$"):
        requantise.prove(rule, Requantisation(
            shift=good.shift, tie=good.tie, parity=good.parity, multipliers=good.multipliers,
            offsets=offsets, lo=good.lo, hi=good.hi, corrections=good.corrections))


@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize("shift, tie", [(4, None), (4, 0), (4, 2), (3, 3)])
def test_the_hardware_is_monotonic(shift: int, tie: int | None, parity: int) -> None:
    constants = Requantisation(shift=shift, tie=tie, parity=parity, multipliers=(1,), offsets=(0,),
                               lo=-128, hi=127)
    y = constants.model(np.arange(-700, 700)[None])[0]
    assert (np.diff(y) >= 0).all()
    first = np.searchsorted(y, np.arange(-40, 40)) - 700
    odd = (np.arange(-40, 40) ^ parity) & 1
    np.testing.assert_array_equal(first, (np.arange(-40, 40) << shift)
                                  + (0 if tie is None else odd << tie))


def test_model_does_not_overflow() -> None:
    constants = Requantisation(shift=40, tie=None, parity=0, multipliers=((1 << 40) + 1,),
                               offsets=(-(1 << 70) + 5,), lo=-128, hi=127)
    s = np.array([[(1 << 30) - 1, 1 << 30, (1 << 30) + 9]])
    expected = [min(max((int(v) * ((1 << 40) + 1) - (1 << 70) + 5) >> 40, -128), 127) for v in s[0]]
    assert constants.model(s).tolist() == [expected]


def test_conv_folds_zero_points_and_bias() -> None:
    rng = np.random.default_rng(7)
    x = Tensor("x", 2, 5, 5, Quantisation(0.1, 77, False))
    y = Tensor("y", 6, 5, 5, Quantisation(0.1, -9, True))
    node = Conv("conv", ("x",), "y", rng.integers(-200, 200, (6, 2, 3, 3)).astype(np.int16),
                rng.integers(-9000, 9000, 6), (2.0 ** rng.uniform(-11, -9, 6)).astype(np.float32),
                Window((3, 3)), 1, -9, 120)
    columns = rng.integers(0, 256, (18, 4000))
    weight = node.weight.reshape(6, -1).astype(np.int64)
    acc = weight @ (columns - 77) + node.bias[:, None]
    expected = np.rint(acc.astype(np.float32) * node.multiplier[:, None]) - 9
    np.testing.assert_array_equal(constants_of(node, x, y).model(weight @ columns),
                                  np.clip(expected, -9, 120))


@pytest.mark.parametrize("kind", ["global", "window"])
def test_average(kind: str) -> None:
    """An average adds the zero point after rounding over an image, and before it over a window."""
    x = Tensor("x", 3, 4, 6, Quantisation(0.1, -50, True))
    y = Tensor("y", 3, 1, 1, Quantisation(0.2, 13, True))
    multiplier = np.float32(0.1) / (np.float32(0.2) * np.float32(24))
    node: Pool | GlobalAveragePool = GlobalAveragePool("g", ("x",), "y", multiplier, -128, 127)
    if kind == "window":
        node = Pool("p", ("x",), "y", "average", Window((4, 6)), -128, 127)
    s = np.arange(-24 * 128, 24 * 127 + 1)
    total = (s + 24 * 50).astype(np.float32)
    after = np.rint(total * multiplier) + np.float32(13)
    before = np.rint(total * np.float32(0.1) / np.float32(24) / np.float32(0.2) + np.float32(13))
    assert (after != before).any()
    np.testing.assert_array_equal(constants_of(node, x, y).model(np.stack([s, s, s])),
                                  np.stack([before if kind == "window" else after] * 3))


@pytest.mark.parametrize("zero_point", [0, 128])
@pytest.mark.parametrize("count", [2, 4, 6, 16])
def test_averages_that_keep_their_scale(count: int, zero_point: int) -> None:
    """Float32 puts some halves on one side or the other: few sums to correct, and a multiplier of few bits.

    The best line without a tie band would have half of the 255 halves wrong.
    """
    scale = np.float32(0.0119806)
    rule = Rule(np.array([scale]), np.array([-count * zero_point]), np.array([0]), np.array([255 * count]),
                zero_point, 0, 255, zero_point_first=True, divisors=(np.float32(count), scale))
    constants = requantise.search(rule)
    everywhere(rule, constants)
    assert len(constants.corrections) < 50 and constants.multiplier_width <= 13
    if zero_point == 0:
        assert constants.corrections and constants.tie is not None


def onnx_runtime_sums(a: Q, b: Q, y: Q, path: Path) -> np.ndarray:
    """ONNX Runtime's results for all pairs, in the order of `requantise_add.pairs`."""
    model = QdqModel()
    inputs = [model.input((256, 256), q, name=name, real=False) for name, q in (("a", a), ("b", b))]
    model.operator("Add", inputs, y, name="y")
    model.output("y_q", (256, 256), y.dtype)
    options = ort.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = ort.InferenceSession(str(model.save(path)), options, ["CPUExecutionProvider"])
    quantisation = UINT8 if y.dtype is np.uint8 else INT8
    values = requantise_add.pairs(quantisation, quantisation)
    feed = {name: value.astype(y.dtype).reshape(1, 256, 256)
            for name, value in zip("ab", values, strict=True)}
    return session.run(None, feed)[0].ravel()


SCALES = {  # of a, b and y
    "unlike": (0.0731, 0.0412, 0.0895),
    "wider": (0.0731, 0.2012, 0.0895),
    "equal": (0.0731, 0.0731, 0.0895),
    "one": (0.0895, 0.0412, 0.0895),
    "powers-of-two": (0.25, 0.125, 0.5),
    "decimal": (0.07, 0.07, 0.1),
    "simple": (0.19, 0.26, 0.1),
}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="another kernel of ONNX Runtime")
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("scales", SCALES)
def test_add_is_that_of_onnx_runtime(scales: str, dtype: type, tmp_path: Path) -> None:
    """All 65,536 pairs: ONNX Runtime, the rule in float32, the hardware's formula."""
    rng = np.random.default_rng([ord(scales[0]), np.dtype(dtype).kind == "u"])
    quantisation = UINT8 if dtype is np.uint8 else INT8
    zeros = rng.integers(quantisation.lo + 40, quantisation.hi - 40, 3).tolist()
    a, b, y = (Q(scale, zero, dtype) for scale, zero in zip(SCALES[scales], zeros, strict=True))
    expected = onnx_runtime_sums(a, b, y, tmp_path / "add.onnx")

    factors = np.float32(a.scale) / np.float32(y.scale), np.float32(b.scale) / np.float32(y.scale)
    node = Add("add", ("a", "b"), "y", factors, quantisation.lo, quantisation.hi)
    tensors = [Tensor(name, 1, 256, 256, Quantisation(q.scale, q.zero_point, quantisation.signed))
               for name, q in zip("aby", (a, b, y), strict=True)]
    grid = requantise_add.pairs(quantisation, quantisation)
    rule = AddRule(factors, (zeros[0], zeros[1], zeros[2]), node.lo, node.hi)
    np.testing.assert_array_equal(rule(*grid), expected)
    constants = requantise_add.add(node, *tensors)
    np.testing.assert_array_equal(constants.model(*grid), expected)
    if scales not in ("decimal", "simple"):
        assert not constants.corrections
    if scales == "powers-of-two":
        assert constants.tie is not None and constants.multiplier_width <= 3


def test_add_of_one_level() -> None:
    rule = AddRule((np.float32(1), np.float32(1)), (0, 0, 7), 7, 7)
    constants = requantise_add.search(rule, UINT8, UINT8)
    assert constants.multipliers == (0, 0) and constants.offset == 7


def test_add_saturates_where_the_node_says() -> None:
    rule = AddRule((np.float32(0.7), np.float32(0.9)), (3, -5, 10), 10, 99)
    y = requantise_add.search(rule, INT8, INT8).model(*requantise_add.pairs(INT8, INT8))
    assert (y.min(), y.max()) == (10, 99)


@pytest.mark.parametrize("seed", range(3))
def test_fused_multiply_add_rounds_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(300):
        x = np.float32(rng.normal() * 2.0 ** rng.integers(-40, 3))
        y = int(rng.integers(-128, 256))
        z = np.float32(rng.normal() * 2.0 ** rng.integers(-30, 9))
        result = fma(x, np.array(y), z)[()]
        exact = Fraction(float(x)) * y + Fraction(float(z))
        for other in (np.nextafter(result, np.float32(np.inf)), np.nextafter(result, -np.float32(np.inf))):
            assert abs(exact - Fraction(float(result))) <= abs(exact - Fraction(float(other)))


def test_fused_multiply_add_of_a_near_tie() -> None:
    """In float64 the sum is a tie between two float32 numbers; the exact one lies above it."""
    x, z = np.float32(2.0**-40), np.float32(1 + 2.0**-23)
    tie = fma(np.float32(2.0**-24), np.array(1), z)
    assert tie == np.float32(1 + 2.0**-22)
    z = np.float32(1)
    assert fma(np.float32(2.0**-24), np.array(1), z) == 1
    assert fma(np.float32(2.0**-24 + 2.0**-47), np.array(1), z) == np.float32(1 + 2.0**-23)
    assert fma(x, np.array(1), z) == 1
