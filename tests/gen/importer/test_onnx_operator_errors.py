"""Operators that cannot be imported: one line each, what, where, and what is supported."""
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from headrace.gen.importer.load import load
from onnx_models import Q, QdqModel, refusal

U8 = Q(0.5, 10)
OTHER = Q(0.25, 10)
ONES = np.ones((4, 4, 1, 1), np.int8)

KNOWN = ("AveragePool, Concat, Conv, DequantizeLinear, Flatten, Gather, Gemm, GlobalAveragePool, "
         "GlobalMaxPool, MaxPool, QuantizeLinear, Reshape, Resize, Slice, SpaceToDepth, Squeeze, Transpose, "
         "Unsqueeze, sums of two tensors and "
         "functions of one, as Relu, Sigmoid or a product with a number")
UNKNOWN = f"operator not supported; {KNOWN}, are; --cut TENSOR builds up to a tensor"


def conv(weight: np.ndarray = ONES, shape: tuple[int, ...] = (4, 8, 8), y: Q = U8,
         **options: object) -> QdqModel:
    model = QdqModel()
    model.conv(model.input(shape, U8), weight, y, name="y", **options)
    return model


def gemm(weight: np.ndarray, inputs: int = 6, **options: object) -> QdqModel:
    return conv(weight, (inputs,), operator="Gemm", **options)


def unary(operator: str, shape: tuple[int, ...] = (4, 8, 8), y: Q = U8,
          **attributes: object) -> QdqModel:
    model = QdqModel()
    model.operator(operator, [model.input(shape, U8)], y, name="y", **attributes)
    return model


@pytest.mark.parametrize(("model", "expected"), [
    (conv(dilations=[0, 1]), "Conv 'y': dilations [0, 1] is not supported; 1 to 512 is"),
    (conv(np.ones((5, 2, 1, 1), np.int8), group=2),
     "Conv 'y': weights [5, 2, 1, 1] and group 2 do not fit 4 input channels"),
    (conv(np.ones((8192, 2, 1, 1), np.int8), (4096, 1, 1), group=2048),
     ("Conv 'y': group 2048 as a dense convolution has 33554432 weights; "
      "up to 16777216 are supported")),
    (conv(group=-1),
     "Conv 'y': weights [4, 4, 1, 1] and group -1 do not fit 4 input channels"),
    (conv(shape=(3, 8, 8)),
     "Conv 'y': weights [4, 4, 1, 1] and group 1 do not fit 3 input channels"),
    (conv(np.ones((4, 4, 3), np.int8)),
     "Conv 'y': weights of shape [4, 4, 3] are not supported; 4 dimensions, none of them 0, are"),
    (conv(np.ones((0, 4, 1, 1), np.int8)),
     ("Conv 'y': weights of shape [0, 4, 1, 1] are not "
      "supported; 4 dimensions, none of them 0, are")),
    (conv(np.ones((4, 4, 9, 1), np.int8)),
     "Conv 'y': kernel [9, 1] does not fit into shape (1, 4, 8, 8)"),
    (conv(kernel_shape=[3, 3]), "Conv 'y': kernel_shape [3, 3] but weights of [1, 1]"),
    (conv(strides=[0, 1]), "Conv 'y': strides [0, 1] is not supported; 1 to 512 is"),
    (conv(strides=[1]), "Conv 'y': strides [1] is not supported; 2 numbers are"),
    (conv(pads=[0, 0, -1, 0]), "Conv 'y': pads [0, 0, -1, 0] is not supported; 0 to 512 is"),
    (conv(strides=1.5), "Conv 'y': attribute strides has the wrong type"),
    (conv(frobnicate=1), "Conv 'y': attribute 'frobnicate' is not supported"),
    (conv(auto_pad="SAME"),
     ("Conv 'y': auto_pad 'SAME' is not supported; "
      "NOTSET, VALID, SAME_UPPER and SAME_LOWER are")),
    (conv(shape=(4,)),
     "Conv 'y': reads shape (1, 4); an image (1, C, H, W) and a row (1, C, W) are supported"),
    (conv(scale=np.ones(4), axis=1),
     ("Conv 'y': weight scales along axis 1; "
      "per tensor and per output channel (axis 0) are supported")),
    (conv(scale=np.ones(3)), "DequantizeLinear 'y_w': 3 scales along axis 0 of [4, 4, 1, 1]"),
    (conv(scale=np.ones((4, 1))),
     ("DequantizeLinear 'y_w': its scale has shape [4, 1]; "
      "one per tensor or per channel is supported")),
    (conv(scale=np.nan), "DequantizeLinear 'y_w': its scale is not everywhere positive and finite"),
    (conv(scale=0.0), "DequantizeLinear 'y_w': its scale is not everywhere positive and finite"),
    (conv(scale=1e30, y=Q(1e-30, 0)),
     "Conv 'y': input scale x weight scale / output scale is beyond float32"),
    (conv(y=Q(-1.0, 0)), "QuantizeLinear 'y_q': its scale is not everywhere positive and finite"),
    (conv(y=Q(np.inf, 0)), "QuantizeLinear 'y_q': its scale is not everywhere positive and finite"),
    (conv(np.ones((4, 4, 1, 1), np.float64)),
     ("constant 'y_w_q': double constants are not "
      "supported; float (32 bits), int8, uint8, int32 and int64 are")),
    (conv(np.ones((4, 4, 1, 1), np.int32)),
     ("Conv 'y': its weights are a quantised constant; "
      "int8 or uint8 constants behind DequantizeLinear are supported")),
    (conv(bias=np.ones(3)), "Conv 'y': a bias of shape [3] for 4 outputs"),
    (conv(clip=(6.0, 0.0)), "Clip 'y_raw_act': limits 6 and 0 are not in order"),
    (conv(clip=(np.nan, 0.0)), "Clip 'y_raw_act': limits nan and 0 are not in order"),
    (gemm(np.ones((5, 6), np.int8)), "Gemm 'y': weights for 5 inputs do not fit shape (1, 6)"),
    (gemm(np.ones((6, 6), np.int8), alpha=0.5), "Gemm 'y': alpha 0.5 is not supported; 1 is"),
    (gemm(np.ones((6, 6), np.int8), transA=1), "Gemm 'y': transA 1 is not supported; 0 is"),
    (gemm(np.ones((6, 6), np.int8), scale=np.ones(6), transB=1, axis=1),
     "Gemm 'y': weight scales along axis 1; per tensor and per output (axis 0) are supported"),
    (conv(np.ones((5, 8), np.int8), operator="Gemm"),
     "Gemm 'y': weights for 5 inputs do not fit shape (1, 4, 8, 8)"),
    (unary("MaxPool", kernel_shape=[2, 2], pads=[0, 2, 0, 0]),
     "MaxPool 'y': pads [0, 2, 0, 0] are not smaller than the kernel [2, 2]"),
    (unary("MaxPool"), "MaxPool 'y': kernel_shape [0, 0] is not supported; 1 to 512 is"),
    (unary("GlobalAveragePool", (4,)),
     ("GlobalAveragePool 'y': reads shape (1, 4); "
      "an image (1, C, H, W) and a row (1, C, W) are supported")),
    (unary("LSTM"), f"LSTM 'y': {UNKNOWN}"),
    (unary("Conv", domain="com.acme"), f"com.acme.Conv 'y': {UNKNOWN}"),
    (unary("QLinearWhere", domain="com.microsoft"), f"com.microsoft.QLinearWhere 'y': {UNKNOWN}"),
    (unary("LeakyRelu", alpha=np.inf), "LeakyRelu 'y': alpha inf is not supported; finite numbers are"),
    (conv(clip="Relu", y=OTHER, operator="LeakyRelu"), "LeakyRelu 'y': has 2 inputs, not 1"),
    (unary("Flatten", axis=2), ("Flatten 'y': turns shape (1, 4, 8, 8) into [4, 64]; "
     "a vector [1, 256] is supported")),
    (unary("Flatten"), "no operators between input and output"),
    (unary("Add"), "Add 'y': has 1 inputs, not 2"),
])
def test_operators(tmp_path: Path, model: QdqModel, expected: str) -> None:
    assert refusal(model, tmp_path) == expected


def test_small_bias_scale_error_is_tolerated(tmp_path: Path) -> None:
    model = conv(bias=np.ones(4))
    model.replace("y_b_scale", np.float32(0.5 * 0.01 * 1.0005))
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    load(model.save(tmp_path / "net.onnx"))


@pytest.mark.parametrize(("target", "expected"), [
    (np.array([1, 4, 64]), "turns shape (1, 4, 8, 8) into [1, 4, 64]; "),
    (np.array([-1, -1]), "turns shape (1, 4, 8, 8) into [-1, -1]; "),
    (np.array([1, 0]), "turns shape (1, 4, 8, 8) into [1, 4]; "),
    (np.array([0, 0, 0, 0, 0]), "turns shape (1, 4, 8, 8) into [1, 4, 8, 8, 0]; ")])
def test_reshape(tmp_path: Path, target: np.ndarray, expected: str) -> None:
    model = QdqModel()
    x = model.input((4, 8, 8), U8)
    model.operator("Reshape", [x, model.constant("target", target)], U8, name="y")
    assert refusal(model, tmp_path) == (
        f"Reshape 'y': {expected}a vector [1, 256] is supported")


def test_reshape_to_a_computed_shape(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.input((4, 8, 8), U8)
    model.operator("Reshape", [x, x], U8, name="y")
    assert refusal(model, tmp_path) == (
        "Reshape 'y': its shape is a dequantised tensor; an int64 constant is supported")


def test_input_quantised_twice(tmp_path: Path) -> None:
    model = QdqModel()
    a = model.input((4, 8, 8), U8)
    model.operator("Add", [a, model.quantise("x", OTHER, name="again")], U8, name="y")
    assert refusal(model, tmp_path) == (
        "QuantizeLinear 'again_q': quantises the graph input a second time, differently; "
        "one scale and zero point are supported")


def test_addend_of_a_huge_scale(tmp_path: Path) -> None:
    model = QdqModel()
    a = model.conv(model.input((4, 8, 8), U8), ONES, Q(1e5, 0), name="a")
    model.operator("Add", [a, a], U8, name="y")
    assert refusal(model, tmp_path) == (
        "Add 'y': an input's scale is 200000 times the output's; up to 65536 times is supported")


def test_sixteen_bits(tmp_path: Path) -> None:
    model = QdqModel(opset=21)
    scale = model.constant("scale", np.float32(1))
    model.input((4, 8, 8), U8)
    q = model.node("QuantizeLinear", ["x", scale], "q", output_dtype=TensorProto.INT16)
    model.operator("GlobalAveragePool", [model.node("DequantizeLinear", [q, scale], "d")], U8,
                   name="y")
    assert refusal(model, tmp_path) == (
        "QuantizeLinear 'q': int16 activations are not supported; int8 and uint8 are")
