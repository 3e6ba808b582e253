"""ReduceMean and MatMul: the graph is that of the plain form, and ONNX Runtime agrees."""
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from headrace.gen.importer.passes.normalise import normalise
from headrace.gen.ir.graph import GlobalAveragePool, Graph
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
        "Gemm 'm': its bias is a constant of int32; a float constant, and an int32 one behind "
        "DequantizeLinear, are supported")
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
