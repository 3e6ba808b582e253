"""Operators that change no value, and weights of less than 8 bits."""
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from headrace.gen.importer.source import file as onnx_file
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.info import info
from onnx_forms import assert_alike, assert_exact, finish
from onnx_models import Q, QdqModel, refusal

X, Y = Q(0.03, 120), Q(0.4, 100)
RNG = np.random.default_rng(0)


def packed(name: str, values: np.ndarray, kind: int, *, raw: bool) -> onnx.TensorProto:
    """``values`` as a tensor of 2 or 4 bits, the first in the lowest bits."""
    bits = 4 if kind in (TensorProto.INT4, TensorProto.UINT4) else 2
    each = 8 // bits
    fields = values.reshape(-1).astype(np.int64) & ((1 << bits) - 1)
    fields = np.pad(fields, (0, -fields.size % each)).reshape(-1, each)
    content = (fields << np.arange(0, 8, bits)).sum(axis=1).astype(np.uint8)
    tensor = TensorProto(name=name, data_type=kind, dims=values.shape)
    if raw:
        tensor.raw_data = content.tobytes()
    else:
        tensor.int32_data.extend(content.tolist())
    return tensor


def low_bits(kind: int, values: np.ndarray, zero: int, *, raw: bool = True) -> QdqModel:
    model = QdqModel(opset=25 if kind in (TensorProto.INT2, TensorProto.UINT2) else 21)
    model.conv(model.input((3, 6, 5), X), values, Y, name="y", zero_point=zero)
    for index, tensor in enumerate(model.initialisers):
        if tensor.name == "y_w_q":
            model.initialisers[index] = packed("y_w_q", values, kind, raw=raw)
        if tensor.name == "y_w_zero":
            model.initialisers[index] = packed("y_w_zero", np.array(zero), kind, raw=raw)
    return model


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(("kind", "lo", "hi", "zero", "bits"), [
    (TensorProto.INT4, -8, 7, 0, 4), (TensorProto.UINT4, 0, 15, 8, 4), (TensorProto.INT2, -2, 1, 0, 2),
    (TensorProto.UINT2, 0, 3, 2, 2)])
def test_low_bits(tmp_path: Path, kind: int, lo: int, hi: int, zero: int, bits: int, raw: bool) -> None:
    """An odd number of values, both ends of the range; ONNX Runtime is given them in 8 bits."""
    values = RNG.integers(lo, hi + 1, (5, 3, 3, 1)).astype(np.int8 if lo else np.uint8)
    values.flat[:2] = lo, hi
    model = low_bits(kind, values, zero, raw=raw)
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    graph = assert_exact(model.save(tmp_path / "net.onnx"))
    np.testing.assert_array_equal(graph.nodes[0].weight, values.astype(int) - zero)
    assert info(graph).layers[0].weight_bits == bits


def test_low_bits_refused(tmp_path: Path) -> None:
    values = np.zeros((5, 3, 3, 1), np.int8)
    model = low_bits(TensorProto.INT4, values, 0)
    (weight,) = (tensor for tensor in model.initialisers if tensor.name == "y_w_q")
    weight.raw_data = weight.raw_data[:-1]
    assert refusal(model, tmp_path) == "constant 'y_w_q': 22 bytes do not fill its shape [5, 3, 3, 1]"
    weight.dims[0] = -5
    assert refusal(model, tmp_path) == "constant 'y_w_q': 22 bytes do not fill its shape [-5, 3, 3, 1]"
    model = low_bits(TensorProto.INT4, values, 0)
    for index, tensor in enumerate(model.initialisers):
        if tensor.name == "y_q_zero":
            model.initialisers[index] = packed("y_q_zero", np.array(3), TensorProto.INT4, raw=True)
    assert refusal(model, tmp_path) == (
        "constant 'y_q_zero': int4 constants are not supported; "
        "float (32 bits), int8, uint8, int32 and int64 are")
    model = low_bits(TensorProto.INT4, values, 0)
    weights = next(node for node in model.nodes if node.name == "y_w")
    weights.attribute.append(helper.make_attribute("block_size", 3))
    assert refusal(model, tmp_path) == "DequantizeLinear 'y_w': block_size 3 is not supported; 0 is"


def test_sixteen_bit_weights(tmp_path: Path) -> None:
    model = QdqModel(opset=21)
    model.conv(model.input((3, 6, 5), X), np.zeros((5, 3, 3, 1), np.int16), Y, name="y")
    assert refusal(model, tmp_path) == (
        "constant 'y_w_q': int16 constants are not supported; "
        "float (32 bits), int8, uint8, int32 and int64 are")


def test_external_packed_constant() -> None:
    tensor = TensorProto(data_type=TensorProto.INT4, dims=[2], data_location=TensorProto.EXTERNAL)
    with pytest.raises(HeadraceError, match="^w: external data is supported for initialisers only$"):
        onnx_file.unpack(tensor, what="w")


def conv(model: QdqModel, x: str) -> None:
    weight = np.arange(45, dtype=np.int8).reshape(5, 3, 3, 1)
    model.conv(x, weight, Y, name="y", bias=np.arange(5), clip=(0.0, 6.0))


def plain(folder: Path) -> Graph:
    model = QdqModel()
    conv(model, model.input((3, 6, 5), X))
    return finish(model, folder / "plain.onnx", "y_dq")


def test_nothing_but_names(tmp_path: Path) -> None:
    """Every constant in a Constant node, and Identity, Dropout and Cast on every edge of real numbers."""
    model = QdqModel()
    x = model.node("Cast", [model.input((3, 6, 5), X)], "cast", to=TensorProto.FLOAT)
    model.quantisations["dropped"] = X
    x = model.node("Dropout", [model.node("Identity", [x], "same")], "dropped")
    conv(model, x)
    model.nodes[:0] = [helper.make_node("Constant", [], [tensor.name], value=tensor)
                       for tensor in model.initialisers if tensor.name not in ("y_min", "y_max")]
    model.nodes[:0] = [helper.make_node("Constant", [], ["y_min"], value_float=0.0),
                       helper.make_node("Constant", [], ["y_max"], value_floats=[6.0])]
    del model.initialisers[:]
    model.node("Identity", ["y_dq"], "end")
    model.outputs.append(helper.ValueInfoProto(name="end"))
    path = model.save(tmp_path / "net.onnx")
    assert_alike(finish(model, path, "end"), plain(tmp_path))


def test_constants_of_integers(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.input((3, 6, 5), X)
    model.nodes.append(helper.make_node("Constant", [], ["to"], value_ints=[1, -1]))
    flat = model.node("Reshape", [x, "to"], "f")
    model.quantisations["f"] = X
    model.conv(flat, np.ones((90, 3), np.int8), Y, name="y", operator="Gemm")
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    assert assert_exact(model.save(tmp_path / "net.onnx")).nodes[0].window.kernel == (6, 5)


def test_operators_of_onnx_runtime(tmp_path: Path) -> None:
    """Those that quantise are ONNX's; another one only has the name of an ONNX operator."""
    model = QdqModel()
    x = model.input((3, 6, 5), X)
    conv(model, x)
    for node in model.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = "com.microsoft"
    assert_alike(finish(model, tmp_path / "net.onnx", "y_dq"), plain(tmp_path))
    model = QdqModel()
    same = model.node("Identity", [model.input((3, 6, 5), X)], "same", domain="com.acme")
    model.operator("GlobalAveragePool", [same], X, name="y")
    assert refusal(model, tmp_path).startswith("com.acme.Identity 'same': operator not supported; ")


def test_dropout_in_training(tmp_path: Path) -> None:
    for training in (False, True):
        model = QdqModel()
        inputs = [model.input((3, 6, 5), X), "", model.constant("training", np.array(training))]
        model.operator("GlobalAveragePool", [model.node("Dropout", inputs, "dropped")], X, name="y")
        if training:
            assert refusal(model, tmp_path) == (
                "Dropout 'dropped': training_mode is not supported; inference is")
        else:
            assert len(finish(model, tmp_path / "net.onnx", "y_dq").nodes) == 1


@pytest.mark.parametrize(("attributes", "expected"), [
    ({"value_strings": ["a"]}, "attribute 'value_strings' is not supported"),
    ({}, "attribute '' is not supported"),
    ({"value_float": 3}, "attribute 'value_float' is not supported")])
def test_constant_refused(tmp_path: Path, attributes: dict[str, object], expected: str) -> None:
    model = QdqModel()
    model.nodes.append(helper.make_node("Constant", [], ["x_q_scale"], name="k", **attributes))
    model.conv(model.input((3, 6, 5), X), np.ones((5, 3, 3, 1), np.int8), Y, name="y")
    assert refusal(model, tmp_path) == (
        f"Constant 'k': {expected}; value, value_float, value_floats, value_int and value_ints are")


@pytest.mark.parametrize(("source", "to"), [("x_dq", TensorProto.FLOAT16), ("x_q", TensorProto.INT8)])
def test_cast_refused(tmp_path: Path, source: str, to: int) -> None:
    model = QdqModel()
    model.input((3, 6, 5), X)
    model.node("Cast", [source], "c", to=to)
    model.operator("GlobalAveragePool", ["c"], X, name="y")
    assert refusal(model, tmp_path) == (
        f"Cast 'c': to {onnx_file.type_name(to)} is not supported; a Cast to the type that its input has is; "
        "--cut TENSOR builds up to a tensor")
