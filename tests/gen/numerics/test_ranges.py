"""Ranges of tensors and sums: what a network reaches is inside, and single layers meet the bound."""
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bounds import inside
from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Add, Conv, GlobalAveragePool, Pool, Quantisation, Tensor
from headrace.gen.numerics import constants, ranges
from headrace.gen.numerics.ranges import Range
from headrace.hdl.arithmetic.geometry import Window
from onnx_models import Q, QdqModel


def conv(weight: np.ndarray, *, groups: int = 1, pads: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Conv:
    outputs = len(weight)
    return Conv("c", ("x",), "y", weight.astype(np.int16), np.zeros(outputs, np.int64),
                np.ones(outputs, np.float32), Window(weight.shape[2:], pads=pads), groups, -128, 127)


@pytest.mark.parametrize("groups, pads", [(1, (0, 0, 0, 0)), (1, (1, 0, 0, 0)), (2, (0, 0, 0, 0))])
def test_sums_are_the_extremes(groups: int, pads: tuple[int, int, int, int]) -> None:
    """Try every combination of extreme inputs, and of the padding's value."""
    rng = np.random.default_rng(3)
    x = Tensor("x", 2, 4, 4, Quantisation(1.0, 20, True))
    inputs = Range(np.array([-7, 3]), np.array([5, 9]))
    weight = rng.integers(-9, 9, (4, 2 // groups, 1, 2))
    found = ranges.sums(conv(weight, groups=groups, pads=pads), x, inputs)
    outside = (20,) if any(pads) else ()
    for output in range(4):
        channels = (0, 1) if groups == 1 else (output // 2,)
        values = [(inputs.lo[channel], inputs.hi[channel], *outside)
                  for channel in channels for _ in range(2)]
        sums = [weight[output].ravel() @ taps for taps in product(*values)]
        assert (found.lo[output], found.hi[output]) == (min(sums), max(sums))


def test_sums_of_averages() -> None:
    x = Tensor("x", 2, 2, 3, Quantisation(1.0, -9, True))
    inputs = Range(np.array([-7, 3]), np.array([5, 9]))
    image = ranges.sums(GlobalAveragePool("g", ("x",), "y", np.float32(1), -128, 127), x, inputs)
    assert (image.lo.tolist(), image.hi.tolist()) == ([-42, 18], [30, 54])
    window = Pool("p", ("x",), "y", "average", Window((2, 2), pads=(1, 0, 0, 0)), -128, 127)
    padded = ranges.sums(window, x, inputs)
    assert (padded.lo.tolist(), padded.hi.tolist()) == ([-36, -36], [20, 36])


def test_networks_stay_inside(small: Path, digits: Path) -> None:
    for seed, path in enumerate((small, digits)):
        inside(load(path), seed)


def test_what_follows_a_dead_channel_is_narrow(tmp_path: Path) -> None:
    """A channel that a Relu holds at 0 adds nothing to the sums behind it, and needs no weights itself."""
    model = QdqModel()
    x = model.input((1, 3, 3), Q(0.1, 0))
    weight = np.array([100, -3, 5], np.int8).reshape(3, 1, 1, 1)
    x = model.conv(x, weight, Q(0.1, 0), name="a", clip="Relu", bias=np.array([-10**6, 0, 0]))
    model.conv(x, np.array([[90, 80, 1]], np.int8).reshape(1, 3, 1, 1), Q(0.1, 0), name="b")
    model.output("b_dq", (1, 3, 3))
    graph = load(model.save(tmp_path / "net.onnx"))
    found = constants.find(graph)
    first, second = graph.nodes
    assert found.alive(first.name).tolist() == [False, False, True]
    assert found.sum_shape(first.name).width == (5 * 255).bit_length()
    reached = found.ranges[first.output]
    assert (reached.lo.tolist(), reached.hi.tolist()) == ([0, 0, 0], [0, 0, 13])
    assert (found.reach[second.name].lo.tolist(), found.reach[second.name].hi.tolist()) == ([0], [13])
    inside(graph, 5)


def test_addends_keep_their_range(small: Path) -> None:
    graph = load(small)
    (node,) = (node for node in graph.nodes if isinstance(node, Add))
    found = constants.find(graph)
    for a, b, y in zip(*(found.ranges[name].hi for name in (*node.inputs, node.output)), strict=True):
        assert found.adds[node.name].model(np.array([a]), np.array([b])).tolist() == [y]


@pytest.mark.parametrize("operator", ("GlobalAveragePool", "AveragePool"))
def test_sums_of_what_a_table_makes(tmp_path: Path, operator: str) -> None:
    """Tables hold 16 bits, in which the sum of 144 values of 255 would wrap: it was taken for dead."""
    model, q = QdqModel(), Q(0.1, 0)
    x = model.operator("LeakyRelu", [model.input((1, 12, 12), Q(0.2, 50))], q, name="l", alpha=0.5)
    window = {} if operator == "GlobalAveragePool" else {"kernel_shape": [12, 12]}
    model.output(model.operator(operator, [x], q, name="y", **window), (1, 1, 1))
    graph = load(model.save(tmp_path / "net.onnx"))
    found, node = constants.find(graph), graph.nodes[-1]
    reached = found.reach[node.name]
    assert (reached.lo.tolist(), reached.hi.tolist()) == ([0], [144 * 255])
    assert found.sums[node.name].model(np.array([[144 * 255]])).tolist() == [[255]]
    inside(graph, 6)
