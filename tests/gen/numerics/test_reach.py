"""Sums that can leave int32 are refused, and no others."""
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.numerics import constants, reach
from headrace.gen.numerics.proof import prove
from headrace.sim import oracle
from onnx_forms import finish
from onnx_models import Q, QdqModel

X, Y = Q(0.03, 3), Q(1e6, 120)
WEIGHT = np.array([[5, -7], [0, 0], [-1, 2]], np.int8)
HIGHEST = 5 * (255 - 3) - 7 * (0 - 3)  # of the first channel's sums without the bias
LIMIT = (1 << 31) - 1


def network(bias: int, form: str, channel: int = 0) -> QdqModel:
    model, y = QdqModel(), Y
    added = np.zeros(3, np.int64)
    added[channel] = bias
    x = model.input((2,) if form in ("gemm", "matmul") else (2, 3, 3), X)
    match form:
        case "conv":
            model.conv(x, WEIGHT[..., None, None], y, name="y", bias=added)
        case "gemm":
            model.conv(x, WEIGHT, y, name="y", bias=added, operator="Gemm", transB=1)
        case "matmul":
            product = model.node("MatMul", [x, model.weight("w", WEIGHT.T.copy(), 0.01, 0, 1)], "product")
            scale = np.float32(X.scale) * np.float32(0.01)
            addend = model.weight("b", added.astype(np.int32), scale, 0, 0)
            model.operator("Add", [product, addend], y, name="y")
    return model


@pytest.mark.parametrize("form", ["conv", "gemm", "matmul"])
def test_the_limit_is_exact(form: str, tmp_path: Path) -> None:
    """With the largest bias that is taken, the largest sum is int32's; with one more ONNX Runtime's wraps."""
    path = tmp_path / "net.onnx"
    graph = finish(network(LIMIT - HIGHEST, form), path, "y_dq")
    (node,) = graph.nodes
    found = reach.find(graph)
    assert found.sums[node.name].hi[0] + found.rules[node.name].bias[0] == LIMIT
    x = np.zeros((1, *graph.tensors[graph.input].shape), np.int64)
    x[:, 0] = 255
    assert not any(oracle.compare(graph, path, x).values())
    with pytest.raises(HeadraceError, match=(
            rf"^{path}: layer \w+: the sums of channel 0 with its bias {LIMIT - HIGHEST + 1} reach from "
            rf"\d+ to {LIMIT + 1}; sums within int32 are supported, as ONNX Runtime's wrap beyond: "
            "quantise with larger scales for its input and weights$")):
        finish(network(LIMIT - HIGHEST + 1, form), path, "y_dq")


def test_onnx_runtime_wraps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused would be wrong: without the check, the reference is not ONNX Runtime's."""
    monkeypatch.setattr(reach, "_check", lambda *_: None)
    path = tmp_path / "net.onnx"
    graph = finish(network(LIMIT - HIGHEST + 1, "conv"), path, "y_dq")
    x = np.zeros((1, 2, 3, 3), np.int64)
    x[:, 0] = 255
    assert oracle.compare(graph, path, x)["y_q"] == 9


def test_a_channel_without_weights_may_have_any_bias(tmp_path: Path) -> None:
    for bias in (LIMIT, -LIMIT - 1):
        graph = finish(network(bias, "conv", channel=1), tmp_path / "net.onnx", "y_dq")
        x = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 3))
        assert not any(oracle.compare(graph, tmp_path / "net.onnx", x).values())


def test_what_cannot_be_reached_is_not_refused(tmp_path: Path) -> None:
    """A bias that the input's whole type would take beyond int32, but not what a dead channel gives."""
    def behind(bias: int) -> QdqModel:
        model = QdqModel()
        x = model.input((1, 3, 3), X)
        x = model.conv(x, np.full((1, 1, 1, 1), -1, np.int8), Q(0.03, 0), name="a",
                       bias=np.array([bias]))
        model.conv(x, np.full((1, 1, 1, 1), 100, np.int8), Y, name="y", bias=np.array([LIMIT - 50]))
        return model
    graph = finish(behind(-100_000), tmp_path / "net.onnx", "y_dq")
    assert reach.find(graph).values["a_q"].hi.tolist() == [0]
    with pytest.raises(HeadraceError, match="the sums of channel 0 with its bias 2147483597 reach"):
        finish(behind(10_000), tmp_path / "net.onnx", "y_dq")


def test_an_image_too_large_for_its_sum(tmp_path: Path) -> None:
    model = QdqModel()
    model.operator("GlobalAveragePool", [model.input((1, 4096, 4096), Q(0.1, 0))], Y, name="y")
    with pytest.raises(HeadraceError, match="the sums of channel 0 reach from 0 to 4278190080; sums"):
        finish(model, tmp_path / "net.onnx", "y_dq")


def test_of_the_file_that_was_wrong() -> None:
    path = Path(__file__).parents[2] / "data" / "bias_int32.onnx"
    with pytest.raises(HeadraceError, match="layer c_4: the sums of channel 0 with its bias 2147483647 "):
        load(path)


def test_the_proof_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is proved, and no constant found, of a graph that came past the importer."""
    check = reach._check
    monkeypatch.setattr(reach, "_check", lambda *_: None)
    graph = finish(network(LIMIT, "conv"), tmp_path / "net.onnx", "y_dq")
    monkeypatch.setattr(reach, "_check", check)
    reach.find.cache_clear()
    constants.find.cache_clear()
    with pytest.raises(HeadraceError, match="beyond: quantise"):
        prove(graph)


def test_values_are_those_of_the_constants(small: Path, branched: Path) -> None:
    """The ranges follow from the rules, and the hardware's constants give the same."""
    for path in (small, branched):
        graph = load(path)
        found = constants.find(graph)
        for node in graph.nodes:
            if node.name in found.sums:
                reached, y = found.reach[node.name], found.ranges[node.output]
                for sums, values in ((reached.lo, y.lo), (reached.hi, y.hi)):
                    np.testing.assert_array_equal(found.sums[node.name].model(sums), values)
