"""ReduceMean and MatMul: the graph is that of the plain form, and ONNX Runtime agrees."""
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from headrace.gen.importer.passes.normalise import normalise
from headrace.gen.ir.graph import Conv, GlobalAveragePool, Graph, Lookup
from onnx_forms import BIAS, IMAGE, X, Y, assert_alike, conv, exact, finish, random
from onnx_models import Q, QdqModel, refusal

MATRIX = random(np.random.default_rng(1), np.int8, 4, 6)


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
    model.operator("Add", [product, model.constant("b", np.ones(6, np.int32))], Y, name="y")
    assert refusal(model, tmp_path) == (
        "MatMul 'm': its bias is a constant of int32; a float constant, and an int32 one behind "
        "DequantizeLinear, are supported")
    model = QdqModel()
    x = model.input((4,), X)
    product = model.operator("MatMul", [x, model.weight("w", MATRIX, 0.01, 0, 0)], Y, name="m")
    model.operator("Add", [product, model.weight("b", np.arange(6, dtype=np.uint8), 0.3, 0, 0)], Y, name="y")
    assert [type(node) for node in exact(model, tmp_path, "y_dq").nodes] == [Conv, Lookup]  # no bias
    model = QdqModel()
    x = model.input((4,), X)
    model.operator("MatMul", [x, x], Y, name="y")
    assert refusal(model, tmp_path) == (
        "MatMul 'y': its second input is no constant; "
        "quantised weights behind DequantizeLinear are supported")


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("operator", ["Flatten", "Reshape", "Transpose"])
def test_vector_of_the_input(tmp_path: Path, operator: str, real: bool) -> None:
    """Made before it is quantised: the hardware's input is the image."""
    rng = np.random.default_rng(1)
    weight = random(rng, np.int8, 5, 24)
    graphs = []
    for first in (False, True):
        model = QdqModel()
        x = model.input((2, 3, 4), X, real=real)
        if first:
            del model.nodes[:]
            x = "x"
        if operator == "Transpose":
            x = model.node("Transpose", [x], "turned", perm=[0, 2, 3, 1])
        if operator == "Flatten":
            x = model.node("Flatten", [x], "flat")
        else:
            x = model.node("Reshape", [x, model.constant("target", np.array([1, -1]))], "flat")
        x = model.quantise(x, X) if real or not first else model.dequantise(x, "flat_dq", X)
        model.conv(x, weight, Y, name="y", operator="Gemm", transB=1)
        graphs.append(exact(model, tmp_path))
        assert graphs[-1].tensors[graphs[-1].input].shape == (2, 3, 4)
    plain, flat = (graph.nodes[0] for graph in graphs)
    np.testing.assert_array_equal(plain.weight, flat.weight)
    assert len(graphs[1].nodes) == 1


def test_vector_of_a_large_input(tmp_path: Path) -> None:
    model = QdqModel()
    model.input((1, 5000, 1), X)
    del model.nodes[:]
    x = model.quantise(model.node("Flatten", ["x"], "flat"), X)
    model.conv(x, np.ones((1, 5000), np.int8), Y, name="y", operator="Gemm", transB=1)
    assert refusal(model, tmp_path) == (
        "QuantizeLinear 'flat_q': its output has shape (1, 1, 5000, 1); "
        "images of up to 4096 by 4096 are supported")
