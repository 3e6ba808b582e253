"""Differences of two streams: the reference against ONNX Runtime, the hardware against the reference."""
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph, Lookup, Sub
from headrace.gen.ir.means import Means
from headrace.gen.numerics import constants
from headrace.gen.planning.planner import plan
from headrace.sim import oracle, verify
from onnx_models import Q, QdqModel, refusal

SIDE = 256


def all_pairs(a: Q, b: Q, y: Q, path: Path, clip: str | tuple[float, float] | None) -> Graph:
    """A difference of the two channels of an image, passed on as they are, the second in other steps."""
    model = QdqModel()
    x = model.input((2, SIDE, SIDE), a)
    first, second = np.eye(2, dtype=np.int8).reshape(2, 1, 2, 1, 1)
    left = model.conv(x, first, a, name="left", scale=1.0)
    right = model.conv(x, second, b, name="right", scale=float(np.float32(b.scale) / np.float32(a.scale)))
    model.output(model.operator("Sub", [left, right], y, name="y", clip=clip), (1, SIDE, SIDE))
    graph = load(model.save(path))
    values = np.arange(SIDE) + int(np.iinfo(a.dtype).min)
    x_values = np.stack(np.meshgrid(values, values, indexing="ij"))[None]
    compared = oracle.judge(graph, path, x_values)
    assert compared.mismatches == dict.fromkeys(graph.tensors, 0)
    return graph


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("scales", ["any", "powers of two", "decimals"])
def test_reference_is_onnx_runtime(tmp_path: Path, dtype: type, scales: str) -> None:
    """All pairs of values, where ties are and where float32 takes what is next to them for ties."""
    rng = np.random.default_rng(len(scales))
    limits = np.iinfo(dtype)
    for clip in (None, "Relu", (-0.3, 0.4)):
        a, b, y = (float(np.float32(2.0 ** (rng.uniform if scales == "any" else rng.integers)(-6, 1)))
                   if scales != "decimals" else rng.integers(1, 40) / 70 for _ in range(3))
        zeros = [int(zero) for zero in rng.integers(limits.min, limits.max + 1, 3)]
        graph = all_pairs(*(Q(scale, zero, dtype) for scale, zero in zip((a, b, y), zeros, strict=True)),
                          tmp_path / "net.onnx", clip)
        assert isinstance(node := graph.nodes[-1], Sub)
        found = constants.find(graph).adds[node.name]
        assert found.mirror == (-1 if dtype is np.int8 else 255)


def test_difference_of_a_tensor_and_itself_is_a_table(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.input((1, 16, 16), Q(0.05, 90))
    model.output(model.operator("Sub", [x, x], Q(0.4, 7), name="y"), (1, 16, 16))
    graph = load(model.save(tmp_path / "net.onnx"))
    assert [type(node) for node in graph.nodes] == [Lookup]
    compared = oracle.judge(graph, tmp_path / "net.onnx", np.arange(256).reshape(1, 1, 16, 16))
    assert compared.mismatches == dict.fromkeys(graph.tensors, 0)


@pytest.mark.parametrize(("scale", "expected"), [
    (1e6, "an input's scale is 1e+06 times the output's; up to 65536 times is supported"),
    (2.0, "subtracts shape (1, 1, 4, 4) and shape (1, 1, 2, 4); equal shapes are supported")])
def test_refused(tmp_path: Path, scale: float, expected: str) -> None:
    model = QdqModel()
    x = model.input((1, 4, 4), Q(scale, 0))
    other = model.quantise(x, Q(2.0, 0), name="g") if scale > 2 else model.operator(
        "MaxPool", [x], Q(scale, 0), name="g", kernel_shape=[2, 1], strides=[2, 1])
    model.operator("Sub", [x, other], Q(1.0, 0), name="y")
    assert refusal(model, tmp_path) == f"Sub 'y': {expected}"


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize(("dtype", "cycles"), [(np.uint8, 400), (np.int8, 3_000)])
def test_hardware(tmp_path: Path, dtype: type, cycles: int, pipelined: bool) -> None:
    """With rows held of one operand, and ties that zero points of odd results decide."""
    low = int(np.iinfo(dtype).min)
    model = QdqModel()
    x = model.input((2, 6, 4), Q(0.25, low + 90, dtype))
    weight = np.random.default_rng(1).integers(-99, 100, (2, 1, 3, 3)).astype(np.int8)
    deep = model.conv(x, weight, Q(0.125, low + 100, dtype), name="deep", group=2, pads=[1, 1, 1, 1])
    first = model.operator("Sub", [deep, x], Q(0.5, low + 101, dtype), name="first")
    model.output(model.operator("Sub", [x, first], Q(0.3, low + 77, dtype), name="y", clip="Relu"), (2, 6, 4))
    graph = load(model.save(tmp_path / "net.onnx"))
    assert sum(isinstance(node, Sub) for node in graph.nodes) == 2
    layout = plan(graph, cycles=cycles, means=Means(pipelined=pipelined))
    assert any(any(layer.shortcut_rows) for layer in layout.layers.values() if layer.kind == "sub")
    x_values = np.random.default_rng(0).integers(low, low + 256, (2, 2, 6, 4))
    result = verify.run(graph, layout, x_values, engine="amaranth")
    assert set(result.mismatches.values()) == {0}
