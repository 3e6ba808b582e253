"""Exporters' forms: the graph is that of the plain QDQ form, and ONNX Runtime agrees on every tensor."""
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from headrace.gen.graph import Add, Conv, GlobalAveragePool, Graph
from headrace.gen.onnx_normalise import normalise
from onnx_forms import assert_alike, assert_exact, finish, original_output, random
from onnx_models import Q, QdqModel, refusal

X, Y = Q(0.03, 120), Q(0.4, 100)
IMAGE = (4, 9, 7)
PADS = [0, 0, 1, 0, 0, 0, 2, 3]
RNG = np.random.default_rng(0)
WEIGHT = random(RNG, np.int8, 6, 4, 3, 3)
BIAS = RNG.integers(-900, 900, 6)
MATRIX = random(RNG, np.int8, 4, 6)


def conv(model: QdqModel, x: str, **options: object) -> str:
    y = Q(Y.scale, Y.zero_point, model.quantisations[x].dtype)
    return model.conv(x, WEIGHT, y, name="y", bias=BIAS, **options)


def plain(folder: Path, *, shape: Sequence[int] = IMAGE, q: Q = X, **options: object) -> Graph:
    model = QdqModel()
    conv(model, model.input(shape, q), **options)
    return finish(model, folder / "plain.onnx", "y_dq")


def exact(model: QdqModel, folder: Path, output: str = "y_dq") -> Graph:
    if not model.outputs:
        model.outputs.append(helper.ValueInfoProto(name=output))
    return assert_exact(model.save(folder / "form.onnx"))


def test_the_given_model_stays_as_it_is(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.input(IMAGE, X)
    t = model.node("Transpose", [model.node("Identity", [x], "i")], "t", perm=[0, 2, 3, 1])
    model.quantisations["u"] = X
    padded = model.node("Pad", [t, model.constant("pads", np.array([0, 1, 1, 0, 0, 0, 0, 0]))], "p")
    conv(model, model.node("Transpose", [padded], "u", perm=[0, 3, 1, 2]))
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    proto = model.proto()
    before = proto.SerializeToString(deterministic=True)
    once = normalise(proto, tmp_path)
    assert proto.SerializeToString(deterministic=True) == before
    assert normalise(once, tmp_path) is once


# Pad

def pad(model: QdqModel, x: str, amounts: Sequence[int], value: object = None, **more: object) -> str:
    inputs = [x, model.constant("amounts", np.array(amounts))]
    if value is not None:
        inputs.append(model.constant("value", np.asarray(value)))
    return model.node("Pad", inputs, "padded", **more)


@pytest.mark.parametrize("q", [X, Q(0.03, 0), Q(0.03, 255), Q(0.03, -128, np.int8)])
@pytest.mark.parametrize("form", [
    "between", "quantised", "integers", "input", "value", "axes", "valid", "own"])
def test_pad_before_conv(tmp_path: Path, form: str, q: Q) -> None:
    model = QdqModel(opset=18)
    options: dict[str, object] = {}
    if form == "integers":
        model.input(IMAGE, q)
        del model.nodes[-1]
        x = model.dequantise(pad(model, "x_q", PADS, np.array(q.zero_point, q.dtype)), "p_dq", q)
    elif form == "input":
        model.input(IMAGE, q)
        del model.nodes[:]
        x = model.quantise(pad(model, "x", PADS), q, name="x")
    else:
        real = model.input(IMAGE, q)
        if form == "axes":
            amounts, axes = (model.constant(name, np.array(values)) for name, values in (
                ("amounts", [0, 1, 3, 2]), ("axes", [-1, 2])))
            x = model.node("Pad", [real, amounts, "", axes], "padded")
        else:
            x = pad(model, real, PADS, np.float32(0) if form == "value" else None)
        if form == "quantised":
            x = model.quantise(x, q)
        if form == "valid":
            options["auto_pad"] = "VALID"
        if form == "own":
            options["pads"] = [1, 1, 0, 0]
    model.quantisations[x] = q
    conv(model, x, strides=[2, 1], **options)
    pads = [2, 1, 2, 3] if form == "own" else [1, 0, 2, 3]
    assert_alike(exact(model, tmp_path), plain(tmp_path, q=q, strides=[2, 1], pads=pads))


@pytest.mark.parametrize("value", [None, -np.inf])
def test_pad_before_max_pool(tmp_path: Path, value: float | None) -> None:
    q = X if value else Q(0.03, -128, np.int8)
    model = QdqModel()
    x = pad(model, model.input(IMAGE, q), [0, 0, 1, 1, 0, 0, 1, 1],
            None if value is None else np.float32(value))
    model.operator("MaxPool", [x], q, name="y", kernel_shape=[3, 3], strides=[2, 2])
    (node,) = exact(model, tmp_path).nodes
    assert node.window.pads == (1, 1, 1, 1)


def test_pad_before_average_pool(tmp_path: Path) -> None:
    model = QdqModel()
    x = pad(model, model.input(IMAGE, X), [0, 0, 1, 1, 0, 0, 1, 1])
    model.operator("AveragePool", [x], X, name="y", kernel_shape=[3, 3], strides=[2, 2])
    (node,) = exact(model, tmp_path).nodes
    assert node.window.pads == (1, 1, 1, 1)


@pytest.mark.parametrize(("change", "expected"), [
    (lambda model, x: conv(model, pad(model, x, [0, 1, 0, 0, 0, 0, 0, 0])),
     ("Pad 'padded': pads [0, 1, 0, 0, 0, 0, 0, 0] enlarge the batch or the channels; "
      "rows and columns are supported")),
    (lambda model, x: conv(model, pad(model, x, [0, 0, -1, 0, 0, 0, 0, 0])),
     "Pad 'padded': pads [0, 0, -1, 0, 0, 0, 0, 0] are not supported; 0 to 4096 are"),
    (lambda model, x: conv(model, pad(model, x, [1, 1])),
     "Pad 'padded': 2 pads for axes [0, 1, 2, 3]; pads of an image (1, C, H, W) are supported"),
    (lambda model, x: conv(model, pad(model, x, PADS, mode="reflect")),
     "Pad 'padded': mode 'reflect' is not supported; 'constant' is"),
    (lambda model, x: conv(model, pad(model, x, PADS, np.float32(1))),
     "Conv 'y': reads an image padded with 1; 0 is supported"),
    (lambda model, x: conv(model, pad(model, x, PADS), auto_pad="SAME_UPPER"),
     "Conv 'y': auto_pad 'SAME_UPPER' behind a Pad is not supported; NOTSET and VALID are"),
    (lambda model, x: model.operator("MaxPool", [pad(model, x, PADS)], X, name="y", kernel_shape=[4, 4]),
     ("MaxPool 'y': reads an image padded with 0, which may be its maximum; "
      "padding with the least value, -3.6, is supported")),
    (lambda model, x: model.operator("AveragePool", [pad(model, x, PADS)], X, name="y", kernel_shape=[4, 4],
                                     pads=[1, 1, 1, 1]),
     ("AveragePool 'y': does not count its own pads, but those of the Pad before it; "
      "one kind of pads is supported")),
    (lambda model, x: model.operator("GlobalAveragePool", [pad(model, x, PADS)], X, name="y"),
     "GlobalAveragePool 'y': reads what Pad made; Conv, AveragePool and MaxPool may"),
    (lambda model, x: model.operator("Add", [x, pad(model, x, PADS)], X, name="y"),
     "Add 'y': reads what Pad made; Conv, AveragePool and MaxPool may"),
    (lambda model, x: conv(model, model.node("Pad", [x, x], "padded")),
     "Pad 'padded': its pads or axes are not constant integers; these are supported"),
])
def test_pad_refused(tmp_path: Path, change: Callable[[QdqModel, str], object], expected: str) -> None:
    model = QdqModel()
    x = model.input(IMAGE, X)
    model.quantisations["padded"] = X
    change(model, x)
    assert refusal(model, tmp_path) == expected


# ReduceMean

@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], "input"])
def test_reduce_mean(tmp_path: Path, axes: list[int] | str, keep: int, dtype: type) -> None:
    q, y = Q(0.03, 20, dtype), Q(0.02, 30, dtype)
    model = QdqModel(opset=18 if axes == "input" else 13)
    x = model.input(IMAGE, q)
    inputs = [x, model.constant("axes", np.array([2, 3]))] if axes == "input" else [x]
    attributes = {} if axes == "input" else {"axes": axes}
    mean = model.operator("ReduceMean", inputs, y, name="m", keepdims=keep, **attributes)
    if keep:
        mean = model.node("Squeeze", [mean, model.constant("spatial", np.array([2, 3]))], "s")
        model.quantisations[mean] = y
    model.conv(mean, MATRIX, y, name="y", operator="Gemm", axis=1)
    pool = QdqModel()
    mean = pool.operator("GlobalAveragePool", [pool.input(IMAGE, q)], y, name="m")
    flat = pool.node("Flatten", [mean], "f")
    pool.quantisations[flat] = y
    pool.conv(flat, MATRIX, y, name="y", operator="Gemm", axis=1)
    graph = exact(model, tmp_path)
    assert_alike(graph, finish(pool, tmp_path / "plain.onnx", "y_dq"))
    assert isinstance(graph.nodes[0], GlobalAveragePool) and graph.nodes[0].output == "m_q"


def test_reduce_mean_refused(tmp_path: Path) -> None:
    for attributes, expected in (
            ({"axes": [1]}, "axes [1] are not supported; rows and columns, [2, 3] of (1, C, H, W), are"),
            ({}, "axes [0, 1, 2, 3] are not supported; rows and columns, [2, 3] of (1, C, H, W), are"),
            ({"axes": [7]}, "axes [7] do not fit an image (1, C, H, W)")):
        model = QdqModel()
        model.operator("ReduceMean", [model.input(IMAGE, X)], X, name="y", **attributes)
        assert refusal(model, tmp_path) == f"ReduceMean 'y': {expected}"


# MatMul

def gemm(folder: Path, **options: object) -> Graph:
    model = QdqModel()
    model.conv(model.input((4,), X), MATRIX, Y, name="y", operator="Gemm", axis=1, **options)
    return finish(model, folder / "plain.onnx", "y_dq")


@pytest.mark.parametrize("form", ["plain", "bias", "swapped", "transposed", "gemm"])
def test_matmul(tmp_path: Path, form: str) -> None:
    model = QdqModel()
    x = model.input((4,), X)
    matrix = MATRIX.T.copy() if form in ("transposed", "gemm") else MATRIX
    weights = model.weight("w", matrix, 0.01, 0, 0)
    if form in ("transposed", "gemm"):
        weights = model.node("Transpose", [weights], "wt", perm=[1, 0])
    if form in ("plain", "transposed", "gemm"):
        model.operator("Gemm" if form == "gemm" else "MatMul", [x, weights], Y, name="y")
    else:
        product = model.node("MatMul", [x, weights], "m")
        bias = model.weight("b", BIAS.astype(np.int32), np.float32(0.03) * np.float32(0.01), 0, 0)
        addends = [bias, product] if form == "swapped" else [product, bias]
        model.operator("Add", addends, Y, name="y", clip="Relu")
    options = {"bias": BIAS, "clip": "Relu"} if form in ("bias", "swapped") else {}
    assert_alike(exact(model, tmp_path), gemm(tmp_path, **options))


def test_matmul_refused(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.input((4,), X)
    product = model.node("MatMul", [x, model.weight("w", MATRIX, 0.01, 0, 0)], "m")
    model.operator("Add", [product, model.constant("b", np.ones(6, np.float32))], Y, name="y")
    assert refusal(model, tmp_path) == (
        "Gemm 'm': its bias is a constant of float32; an int32 constant behind DequantizeLinear is supported")
    model = QdqModel()
    x = model.input((4,), X)
    product = model.operator("MatMul", [x, model.weight("w", MATRIX, 0.01, 0, 0)], Y, name="m")
    model.operator("Add", [product, model.weight("b", np.ones(6, np.uint8), 0.3, 0, 0)], Y, name="y")
    assert refusal(model, tmp_path).startswith("Add 'y': its input 1 is a quantised constant; ")
    model = QdqModel()
    x = model.input((4,), X)
    model.operator("MatMul", [x, x], Y, name="y")
    assert refusal(model, tmp_path) == (
        "MatMul 'y': its second input is no constant; "
        "quantised weights behind DequantizeLinear are supported")


# N x H x W x C

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
    b = model.conv(x, random(RNG, np.int8, 6, 1, 3, 3), Y, name="b", group=6)
    x = model.node("Transpose", [b], "t3", perm=[0, 2, 3, 1])
    m = model.operator("ReduceMean", [x], Y, name="m", axes=[1, 2], keepdims=0)
    model.conv(m, random(RNG, np.int8, 6, 3), Y, name="y", operator="MatMul")
    graph = exact(model, tmp_path)
    assert [type(node) for node in graph.nodes] == [Conv, Add, Conv, GlobalAveragePool, Conv]
    assert graph.nodes[2].window.pads == (1, 2, 0, 1) and graph.nodes[0].lo == 100


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
