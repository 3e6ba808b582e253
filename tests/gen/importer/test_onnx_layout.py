"""Transposes and N x H x W x C: the graph is that of the plain form, and ONNX Runtime agrees."""
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.ir.graph import Add, Concat, Conv, GlobalAveragePool, Lookup, Upsample
from onnx_forms import (
    IMAGE,
    WEIGHT,
    X,
    Y,
    assert_alike,
    conv,
    exact,
    finish,
    original_output,
    plain,
    random,
)
from onnx_models import QdqModel, refusal


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("place", ["input", "quantised", "dequantised"])
@pytest.mark.parametrize("shape", [IMAGE, (4, 4, 4)])
def test_nhwc_edges(tmp_path: Path, place: str, real: bool, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    model = QdqModel()
    nhwc = (height, width, channels)
    if place == "input":
        model.input(nhwc, X, real=real)
        del model.nodes[:]
        t = model.node("Transpose", ["x"], "t", perm=[0, 3, 1, 2])
        x = model.quantise(t, X) if real else model.dequantise(t, "t_dq", X)
    elif place == "quantised":
        model.input(nhwc, X, real=real)
        model.nodes.pop()
        t = model.node("Transpose", ["x_q" if real else "x"], "t", perm=[0, 3, 1, 2])
        x = model.dequantise(t, "t_dq", X)
    else:
        x = model.node("Transpose", [model.input(nhwc, X, real=real)], "t", perm=[0, 3, 1, 2])
        model.quantisations[x] = X
    conv(model, x, pads=[1, 1, 1, 1])
    if place == "input":
        model.node("Transpose", ["y_dq"], "out", perm=[0, 2, 3, 1])
    elif place == "quantised":
        model.node("Transpose", ["y_q"], "out", perm=[0, 2, 3, 1])
    else:
        model.node("Transpose", ["y_raw"], "y_nhwc", perm=[0, 2, 3, 1])
        model.nodes = [node for node in model.nodes if node.name not in ("y_q", "y_dq")]
        model.quantise("y_nhwc", Y, name="y")
        model.dequantise("y_q", "out", Y)
    dtype = np.uint8 if place == "quantised" else np.float32
    model.output("out", (height, width, 6), dtype)
    graph = exact(model, tmp_path)
    reference_graph = plain(tmp_path, shape=shape, pads=[1, 1, 1, 1])
    assert graph.tensors[graph.input].shape == shape
    assert_alike(graph, replace(reference_graph, input=graph.input))
    ours, theirs = original_output(tmp_path / "form.onnx", graph, nhwc=True)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("form", ["reshape", "flatten", "quantised"])
def test_flattened_in_nhwc_order(tmp_path: Path, form: str) -> None:
    weight = random(np.random.default_rng(1), np.int8, 4 * 9 * 7, 5)
    model = QdqModel()
    x = model.node("Transpose", [model.input(IMAGE, X)], "t", perm=[0, 2, 3, 1])
    model.quantisations[x] = X
    if form == "quantised":
        x = model.quantise(x, X)
    flat = (model.node("Flatten", [x], "f") if form == "flatten" else
            model.node("Reshape", [x, model.constant("to", np.array([-1, 4 * 9 * 7]))], "f"))
    model.quantisations[flat] = X
    flat = model.quantise(flat, X) if form == "quantised" else flat
    scale = np.linspace(0.01, 0.02, 5).astype(np.float32)
    if form == "flatten":
        model.conv(flat, weight, Y, name="y", operator="MatMul", axis=1, scale=scale)
    else:
        model.conv(flat, weight.T.copy(), Y, name="y", operator="Gemm", transB=1, scale=scale)
    graph = exact(model, tmp_path)
    (node,) = graph.nodes
    np.testing.assert_array_equal(node.weight, weight.T.reshape(5, 9, 7, 4).transpose(0, 3, 1, 2))
    ours, theirs = original_output(tmp_path / "form.onnx", graph)
    assert abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 0.05


def test_nhwc_between(tmp_path: Path) -> None:
    """What converters leave between convolutions: elementwise operators, Pad and mean on N x H x W x C."""
    model = QdqModel()
    x = model.node("Transpose", [model.input((9, 7, 4), X)], "t0", perm=[0, 3, 1, 2])
    model.quantisations[x] = X
    model.conv(x, WEIGHT, Y, name="a")
    model.nodes = [node for node in model.nodes if node.name not in ("a_q", "a_dq")]
    model.node("Relu", [model.node("Transpose", ["a_raw"], "t1", perm=[0, 2, 3, 1])], "r")
    a = model.quantise("r", Y, name="a")
    s = model.operator("Add", [a, a], Y, name="s")
    padded = model.node("Pad", [s, model.constant("amounts", np.array([0, 1, 2, 0, 0, 0, 1, 0]))], "p")
    x = model.node("Transpose", [padded], "t2", perm=[0, 3, 1, 2])
    model.quantisations[x] = Y
    b = model.conv(x, random(np.random.default_rng(3), np.int8, 6, 1, 3, 3), Y, name="b", group=6)
    x = model.node("Transpose", [b], "t3", perm=[0, 2, 3, 1])
    m = model.operator("ReduceMean", [x], Y, name="m", axes=[1, 2], keepdims=0)
    model.conv(m, random(np.random.default_rng(3), np.int8, 6, 3), Y, name="y", operator="MatMul")
    graph = exact(model, tmp_path)
    assert [type(node) for node in graph.nodes] == [Conv, Add, Conv, GlobalAveragePool, Conv]
    assert graph.nodes[2].window.pads == (1, 2, 0, 1) and graph.nodes[0].lo == 100


def branching(model: QdqModel, x: str, *, nhwc: bool) -> None:
    """A slope, a concatenation and an enlargement of `x`, all of it N x H x W x C if so."""
    leaky = model.operator("LeakyRelu", [x], X, name="l", alpha=0.3)
    both = model.operator("Concat", [leaky, x], X, name="j", axis=-1 if nhwc else 1)
    factors = np.array([1, 2, 3, 1] if nhwc else [1, 1, 2, 3], np.float32)
    model.operator("Resize", [both, "", model.constant("factors", factors)], X, name="y",
                   nearest_mode="floor", coordinate_transformation_mode="asymmetric")


def test_branches_in_nhwc(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.node("Transpose", [model.input(IMAGE, X)], "t", perm=[0, 2, 3, 1])
    branching(model, x, nhwc=True)
    model.node("Transpose", ["y_dq"], "out", perm=[0, 3, 1, 2])
    graph = exact(model, tmp_path, "out")
    assert [type(node) for node in graph.nodes] == [Lookup, Concat, Upsample]
    other = QdqModel()
    branching(other, other.input(IMAGE, X), nhwc=False)
    assert_alike(graph, finish(other, tmp_path / "plain.onnx", "y_dq"))


@pytest.mark.parametrize(("change", "expected"), [
    (lambda model, t: conv(model, t),
     ("Conv 'y': reads an image that a Transpose put into the order [0, 2, 3, 1]; Transposes that cancel, "
      "N x H x W x C at the network's input and output, and a Reshape to a vector are supported")),
    (lambda model, t: model.operator("Add", ["x_dq", t], X, name="y"),
     ("Add 'y': reads an image that a Transpose put into the order [0, 2, 3, 1]; Transposes that cancel, "
      "N x H x W x C at the network's input and output, and a Reshape to a vector are supported")),
    (lambda model, t: conv(model, model.node("Transpose", [t], "u", perm=[1, 0, 2, 3])),
     "Transpose 'u': perm [1, 0, 2, 3] is not supported; one of an image's channels, rows and columns is"),
    (lambda model, t: conv(model, model.node("Transpose", [t], "u")),
     "Transpose 'u': perm [] is not supported; one of an image's channels, rows and columns is"),
    (lambda model, t: model.operator("ReduceMean", [t], X, name="y", axes=[2, 3], keepdims=0),
     "ReduceMean 'y': axes [2, 3] are not supported; rows and columns are"),
])
def test_transposes_refused(tmp_path: Path, change: Callable[[QdqModel, str], object], expected: str) -> None:
    model = QdqModel()
    t = model.node("Transpose", [model.input((4, 4, 4), X)], "t", perm=[0, 2, 3, 1])
    model.quantisations.update({"t": X, "u": X})
    change(model, t)
    assert refusal(model, tmp_path) == expected
