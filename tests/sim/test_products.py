"""Products of two streams: the reference against ONNX Runtime, the hardware against the reference."""
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.cycles import model as cycle_model
from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph, Lookup, Mul
from headrace.gen.ir.means import Means
from headrace.gen.kinds import elaborate
from headrace.gen.numerics import constants
from headrace.gen.planning.planner import plan
from headrace.gen.planning.table import plan_table
from headrace.sim import oracle, verify
from onnx_models import Q, QdqModel, refusal
from qoperator_models import QOperatorModel
from small_graphs import Network
from small_models import SHAPE, products

SIDE = 256


def pairs(form: type[QdqModel], a: Q, gate: Q, y: Q, path: Path) -> Graph:
    """A product of an image and a table of it, which is another order of the same values."""
    model = form()
    x = model.input((1, 8, 8), a)
    model.output(model.operator("Mul", [x, model.requantise(x, gate, name="g")], y, name="y"), (1, 8, 8))
    return load(model.save(path))


def all_pairs(a: Q, scale: float, y: Q, path: Path) -> Graph:
    """A product of the two channels of an image, each passed on as it is, the second with another scale."""
    model = QdqModel()
    x = model.input((2, SIDE, SIDE), a)
    first, second = np.eye(2, dtype=np.int8).reshape(2, 1, 2, 1, 1)
    left = model.conv(x, first, a, name="left", scale=1.0)
    factor = float(np.float32(scale) / np.float32(a.scale))
    right = model.conv(x, second, Q(scale, a.zero_point, a.dtype), name="right", scale=factor)
    model.output(model.operator("Mul", [left, right], y, name="y"), (1, SIDE, SIDE))
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
    for _ in range(6):
        a, b = (float(np.float32(2.0 ** (rng.uniform if scales == "any" else rng.integers)(-6, 1)))
                if scales != "decimals" else rng.integers(1, 40) / 70 for _ in range(2))
        y = a * b * (2.0 ** rng.integers(0, 9) if scales != "decimals" else rng.integers(1, 60) / 4)
        zeros = [int(zero) for zero in rng.integers(limits.min, limits.max + 1, 2)]
        graph = all_pairs(Q(a, zeros[0], dtype), b, Q(y, zeros[1], dtype), tmp_path / "net.onnx")
        assert isinstance(node := graph.nodes[-1], Mul)
        assert len(constants.find(graph).sums[node.name].multipliers) == 1


@pytest.mark.parametrize("form", [QdqModel, QOperatorModel])
@pytest.mark.parametrize("swap", [False, True])
def test_gate_is_onnx_runtime(tmp_path: Path, form: type[QdqModel], swap: bool) -> None:
    """All pairs of values: a vector whose value is the number of its channel, and a map of all values."""
    q, vector = Q(0.0371, 77), Q(0.0191, 77)
    model = form()
    x = model.input((2 * SIDE, 16, 16), q)
    chosen = np.eye(2 * SIDE, dtype=np.int8)[:, :, None, None]
    means = model.conv(x, chosen[:SIDE], vector, name="means", scale=vector.scale / q.scale)
    pooled = model.operator("GlobalAveragePool", [means], vector, name="pooled")
    image = model.conv(x, chosen[SIDE:], q, name="image", scale=1.0)
    model.output(model.operator("Mul", [pooled, image] if swap else [image, pooled], Q(0.07, 9), name="y"),
                 (SIDE, 16, 16))
    path = model.save(tmp_path / "net.onnx")
    graph = load(path)
    values = np.arange(SIDE).reshape(16, 16)
    x_values = np.stack([*(np.full_like(values, each) for each in range(SIDE)), *[values] * SIDE])[None]
    compared = oracle.judge(graph, path, x_values)
    assert compared.mismatches == dict.fromkeys(graph.tensors, 0)
    assert isinstance(node := graph.nodes[-1], Mul) and graph.tensors[node.inputs[1]].height == 1


def test_vector_of_other_channels(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.input((3, 4, 4), Q(0.1, 0))
    pooled = model.operator("GlobalAveragePool", [x], Q(0.1, 0), name="pooled")
    wide = model.conv(pooled, np.ones((4, 3, 1, 1), np.int8), Q(0.1, 0), name="wide")
    model.operator("Mul", [x, wide], Q(0.1, 0), name="y")
    assert refusal(model, tmp_path) == (
        "Mul 'y': multiplies shape (1, 3, 4, 4) and shape (1, 4, 1, 1); equal shapes are supported here, "
        "and (1, C, 1, 1) beside an image of C channels")


@pytest.mark.parametrize("form", [QdqModel, QOperatorModel])
def test_forms(tmp_path: Path, form: type[QdqModel]) -> None:
    graph = pairs(form, Q(0.05, 90), Q(0.03, 10), Q(0.4, 7), tmp_path / "net.onnx")
    assert [type(node) for node in graph.nodes] == [Lookup, Mul]
    x = np.random.default_rng(1).permutation(256).reshape(4, 1, 8, 8)
    compared = oracle.judge(graph, tmp_path / "net.onnx", x)
    assert compared.mismatches == dict.fromkeys(graph.tensors, 0)


def test_square_is_a_table(tmp_path: Path) -> None:
    for form in (QdqModel, QOperatorModel):
        model = form()
        x = model.input((1, 16, 16), Q(0.05, 90))
        model.output(model.operator("Mul", [x, x], Q(0.4, 7), name="y"), (1, 16, 16))
        graph = load(model.save(tmp_path / "net.onnx"))
        assert [type(node) for node in graph.nodes] == [Lookup]
        compared = oracle.judge(graph, tmp_path / "net.onnx", np.arange(256).reshape(1, 1, 16, 16))
        assert compared.mismatches == dict.fromkeys(graph.tensors, 0)


def test_scales_beyond(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.input((1, 4, 4), Q(400.0, 0))
    model.operator("Mul", [x, model.quantise(x, Q(500.0, 0), name="g")], Q(1.0, 0), name="y")
    assert refusal(model, tmp_path) == (
        "Mul 'y': the product of its inputs' scales is 200000 times the output's scale; "
        "up to 65536 times is supported")


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("cycles", [400, 3_000])
def test_hardware(tmp_path: Path, pipelined: bool, cycles: int) -> None:
    graph = load(products(tmp_path / "net.onnx"))
    assert sum(isinstance(node, Mul) for node in graph.nodes) == 3
    layout = plan(graph, cycles=cycles, means=Means(pipelined=pipelined))
    held = {layer.kind for layer in layout.layers.values() if any(layer.shortcut_rows)}
    assert held >= {"mul", "gate"}
    gate = next(row for row in plan_table(graph, layout).rows if row.kind == "gate")
    height, row, vector = SHAPE[1], 4 * SHAPE[2] * 8, 4 * 8
    assert gate.held_rows > height and gate.state_bits == gate.held_rows * row + vector
    assert gate.state_bound == height * row + vector
    source = graph.tensors[graph.input]
    x = np.random.default_rng(0).integers(0, 256, (2, *source.shape))
    result = verify.run(graph, layout, x, engine="amaranth")
    assert set(result.mismatches.values()) == {0}
    timing = cycle_model.predict(elaborate.network(graph, layout), len(x))
    for name, predicted in timing.cycles.items():
        assert predicted == result.beats[name].cycle.tolist(), name


@pytest.mark.parametrize("cycles", [300, 2_000])
def test_gate_within_residual_keeps_pace(cycles: int) -> None:
    """What waits for the vector, and what waits for that, is held without holding up the next frame."""
    net = Network((3, 8, 4))
    x = net.conv("x", 8, 3)
    inner = net.conv(x, 8, 3, depthwise=True)
    vector = net.conv(net.conv(net.average(inner), 2), 8)
    net.conv(net.add(net.conv(net.mul(inner, vector), 8), x), 4)
    graph = net.graph()
    layout = plan(graph, cycles=cycles)
    busiest = max(layer.cycles for layer in layout.layers.values())
    assert layout.cycles_per_frame <= min(cycles, 1.05 * busiest)
