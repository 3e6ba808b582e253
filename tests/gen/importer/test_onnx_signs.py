"""int8 beside uint8: all activations become what the input is, and the real numbers stay."""
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.importer.passes import signs
from headrace.gen.ir.graph import Graph
from onnx_forms import IMAGE, WEIGHT, assert_alike, exact, original_output
from onnx_models import Q, QdqModel
from qoperator_models import QOperatorModel

X, HIDDEN, Y = Q(0.03, 120), Q(0.4, 100), Q(0.5, 90)  # the zero points of uint8
POINTWISE = np.tile(WEIGHT[:, :, :1, :1], (1, 2, 1, 1))[:, :6]


def typed(q: Q, dtype: type) -> Q:
    return Q(q.scale, q.zero_point - (128 if dtype == np.int8 else 0), dtype)


def network(types: str, *, form: type[QdqModel] = QdqModel, real: bool = True,
            weights: type = np.int8) -> QdqModel:
    """Two convolutions, the second one pointwise, and an Add; ``types`` are of input, hidden and output."""
    x, hidden, y = (typed(q, np.int8 if kind == "s" else np.uint8)
                    for q, kind in zip((X, HIDDEN, Y), types, strict=True))
    zero = 0 if weights == np.int8 else 128
    stem, pointwise = (np.asarray(values.astype(np.int16) + zero, weights) for values in (WEIGHT, POINTWISE))
    model = form()
    a = model.conv(model.input(IMAGE, x, real=real), stem, hidden, name="a", zero_point=zero,
                   clip=(-35.0, 50.0))
    b = model.conv(a, pointwise, y, name="b", zero_point=zero)
    model.operator("Add", [a, b], y, name="y")
    return model


def near(path: Path, graph: Graph) -> bool:
    """Is the reference what ONNX Runtime makes of the file as it is, but for ties?"""
    ours, theirs = original_output(path, graph)
    return bool(abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 0.02)


@pytest.mark.parametrize("types", ["uus", "usu", "suu", "ssu", "sus", "uss"])
@pytest.mark.parametrize("real", [True, False])
def test_activations(tmp_path: Path, types: str, real: bool) -> None:
    graph = exact(network(types, real=real), tmp_path)
    assert near(tmp_path / "form.onnx", graph)
    assert_alike(graph, exact(network(types[0] * 3, real=real), tmp_path))


@pytest.mark.parametrize("types", ["sss", "sus", "uuu"])
def test_weights(tmp_path: Path, types: str) -> None:
    """uint8 beside int8 activations, for which there is no kernel either; beside uint8 they stay."""
    graph = exact(network(types, weights=np.uint8), tmp_path)
    assert_alike(graph, exact(network(types[0] * 3), tmp_path))


def test_mixed_operators(tmp_path: Path) -> None:
    model = network("usu", form=QOperatorModel)
    assert_alike(exact(model, tmp_path, "y"), exact(network("uuu"), tmp_path))


def test_a_zero_point_that_is_not_there(tmp_path: Path) -> None:
    """Is 0 of the type that `output_dtype` names, from opset 21 on."""
    model = QdqModel(opset=21)
    x = model.input(IMAGE, X)
    scale = model.constant("scale", np.float32(0.4))
    model.node("Conv", [x, model.weight("w", WEIGHT, 0.01, 0, 0)], "raw")
    model.node("QuantizeLinear", ["raw", scale], "y_q", output_dtype=3)
    model.node("DequantizeLinear", ["y_q", scale], "y_dq")
    graph = exact(model, tmp_path)
    q = graph.tensors["y_q"].quantisation
    assert (q.zero_point, q.signed) == (128, False)


@pytest.mark.parametrize("mutant", ["_SHIFT", "zero"])
def test_wrong_shifts_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    if mutant == "zero":
        monkeypatch.setattr(signs._Signs, "shift_zero", lambda *_: None)
    else:
        monkeypatch.setattr(signs, "_SHIFT", 90)
    with pytest.raises(Exception):  # noqa: B017, PT011
        graph = exact(network("usu"), tmp_path)
        assert near(tmp_path / "form.onnx", graph)
