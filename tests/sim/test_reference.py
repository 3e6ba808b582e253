"""The integer reference: by definition where it is small, on real networks where it is not."""
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import (
    Add,
    Conv,
    GlobalAveragePool,
    Graph,
    Node,
    Pool,
    Quantisation,
    Tensor,
    Window,
)
from headrace.sim import reference

U8, S8 = Quantisation(0.5, 7, signed=False), Quantisation(0.25, -5, signed=True)
NETWORKS = [
    ("fomo_face_mbv2_0.35_96_qdq", 6), ("mlperf_tiny_ad01_qdq", 6), ("mlperf_tiny_kws_dscnn_qdq", 3),
    ("mlperf_tiny_resnet8_cifar10_qdq", 6), ("mlperf_tiny_vww_96_qdq", 6),
    ("mobilenet_v2_1.0_224_features_ortptq_u8s8pc_qdq", 1),
    ("mobilenet_v2_1.0_224_features_qdq", 1), ("mobilenet_v2_1.0_224_qdq", 1)]


@pytest.mark.parametrize(("name", "count"), NETWORKS)
def test_golden(shared: Path, name: str, count: int) -> None:
    graph = load(shared / "models" / f"{name}.onnx")
    golden = np.load(shared / "golden" / f"{name}.npz")
    x = golden["x"][:count].reshape(count, *graph.tensors[graph.input].shape)
    y = reference.run(graph, x)[graph.output]
    np.testing.assert_array_equal(y.reshape(count, -1), golden["y"][:count].reshape(count, -1))


def test_requantise_rounds_half_to_even() -> None:
    acc = np.array([-5, -3, -1, 1, 3, 5, 1000, -1000])
    y = reference.requantise(acc, np.float32(0.5), 3, -128, 127)
    assert y.dtype == np.int16 and y.tolist() == [1, 1, 3, 3, 5, 5, 127, -128]
    assert reference.requantise(acc, np.float32(0.5), 3, 3, 4).tolist() == [3, 3, 3, 3, 4, 4, 4, 3]


def test_requantise_is_float32() -> None:
    """2**24 + 1 is not a float32, and neither is its product exact."""
    acc = np.array([(1 << 24) + 1, (1 << 24) + 3])
    multiplier = np.float32(2.0**-24 * 100.5)
    expected = np.rint(acc.astype(np.float32) * multiplier)
    assert reference.requantise(acc, multiplier, 0, 0, 255).tolist() == expected.tolist()
    assert reference.requantise(acc, np.float32(np.finfo(np.float32).max), 0, 0, 255).tolist() == [
        255, 255]


def test_zero_point_of_averages_and_sums_comes_before_rounding() -> None:
    total, half = np.array([1, 3, 5]), np.float32(0.5)
    assert reference.requantise(total, half, 1, 0, 255).tolist() == [1, 3, 3]
    assert reference.average(total.astype(np.float32), 1, Quantisation(2.0, 1, False), 0, 255).tolist() == [
        2, 2, 4]
    zeros = np.zeros(3, int)
    sums = reference.add(total, zeros, zero_points=(0, 0), factors=(half, half), zero_point=1,
                         lo=0, hi=255)
    assert sums.dtype == np.int16 and sums.tolist() == [2, 2, 4]


def graph_of(node: Node, x: tuple[int, int, int], y: tuple[int, int, int],
             q: Quantisation = U8) -> Graph:
    tensors = {"x": Tensor("x", *x, q), "y": Tensor("y", *y, S8)}
    graph = Graph("test", "x", "y", tensors, (node,))
    graph.verify()
    return graph


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("window", [
    Window(), Window((3, 3), (1, 1), (1, 1, 1, 1)), Window((3, 3), (2, 2), (0, 0, 1, 1)),
    Window((4, 2), (2, 3), (1, 0, 3, 1)), Window((5, 6))])
def test_conv_by_definition(groups: int, window: Window) -> None:
    rng = np.random.default_rng(groups + window.kernel[0])
    weight = rng.integers(-255, 256, (3, 3 // groups, *window.kernel)).astype(np.int16)
    bias = rng.integers(-1000, 1000, 3)
    multiplier = rng.uniform(1e-4, 1e-3, 3).astype(np.float32)
    shape = (3, *window.output_size(5, 6))
    node = Conv("c", ("x",), "y", weight, bias, multiplier, window, groups, lo=-100, hi=99)
    graph = graph_of(node, (3, 5, 6), shape)
    x = rng.integers(0, 256, (2, 3, 5, 6))
    acc = np.zeros((2, *shape), int)
    for n, o, row, column in np.ndindex(acc.shape):
        acc[n, o, row, column] = bias[o]
        for i, ky, kx in np.ndindex(weight.shape[1:]):
            y_in = row * window.stride[0] + ky - window.pads[0]
            x_in = column * window.stride[1] + kx - window.pads[1]
            if 0 <= y_in < 5 and 0 <= x_in < 6:
                value = x[n, o if groups > 1 else i, y_in, x_in] - U8.zero_point
                acc[n, o, row, column] += value * weight[o, i, ky, kx]
    np.testing.assert_array_equal(
        reference.accumulate(node, x.astype(np.int16), U8.zero_point), acc)
    expected = np.clip(np.rint(acc.astype(np.float32) * multiplier[:, None, None])
                       + S8.zero_point, -100, 99)
    assert len(np.unique(expected)) > 3
    np.testing.assert_array_equal(reference.run(graph, x)["y"], expected)


@pytest.mark.parametrize("kind", ["max", "average"])
def test_pool_by_definition(kind: str) -> None:
    window = Window((3, 2), (2, 1), (1, 1, 0, 0))
    shape = (2, *window.output_size(6, 5))
    node = Pool("p", ("x",), "y", kind, window, lo=-128, hi=127)
    graph = graph_of(node, (2, 6, 5), shape, Quantisation(0.3, -5, signed=True))
    x = np.random.default_rng(0).integers(-128, 128, (3, 2, 6, 5))
    expected = np.zeros((3, *shape), int)
    for n, c, row, column in np.ndindex(expected.shape):
        seen = [x[n, c, y, w] for y, w in product(range(2 * row - 1, 2 * row + 2),
                                                  range(column - 1, column + 1))
                if y >= 0 and w >= 0]
        if kind == "max":
            expected[n, c, row, column] = max(seen)
        else:
            total = np.float32(sum(seen) + len(seen) * 5) * np.float32(0.3)
            mean = total / np.float32(6) / np.float32(S8.scale)
            expected[n, c, row, column] = np.clip(np.rint(mean - np.float32(5)), -128, 127)
    np.testing.assert_array_equal(reference.run(graph, x)["y"], expected)


def test_global_average_pool_and_add() -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 4, 3, 5))
    node = GlobalAveragePool("g", ("x",), "y", np.float32(1 / 15), lo=-128, hi=127)
    y = reference.run(graph_of(node, (4, 3, 5), (4, 1, 1)), x)["y"]
    sums = (x - 7).sum((2, 3), keepdims=True).astype(np.float32)
    np.testing.assert_array_equal(y, np.clip(np.rint(sums * np.float32(1 / 15)) - 5, -128, 127))
    factors = np.float32(0.3), np.float32(0.4)
    both = Add("a", ("x", "x"), "y", factors, lo=-5, hi=100)
    y = reference.run(graph_of(both, (4, 3, 5), (4, 3, 5)), x)["y"]
    wide = [np.float64(factor) for factor in factors]  # fused multiply-adds, all but exactly
    fixed = np.float32(-5) - np.float32(wide[0] * 7 + factors[1] * np.float32(7))
    inner = (wide[1] * x + fixed).astype(np.float32)
    expected = np.clip(np.rint((wide[0] * x + inner).astype(np.float32)), -5, 100)
    np.testing.assert_array_equal(y, expected)


def test_batches_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Pool("p", ("x",), "y", "max", Window((2, 2)), lo=-128, hi=127)
    graph = graph_of(node, (2, 3, 3), (2, 2, 2), S8)
    x = np.random.default_rng(0).integers(-128, 128, (7, 2, 3, 3))
    together = reference.run(graph, x)
    monkeypatch.setattr(reference, "_CHUNK_ELEMENTS", 2 * 18)
    for name, values in reference.run(graph, x).items():
        np.testing.assert_array_equal(values, together[name])
