"""Networks that are no sound quantised graph: one line each, what, where, and what is supported."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnx_models import Q, QdqModel, refusal

U8 = Q(0.5, 10)
ONES = np.ones((4, 4, 1, 1), np.int8)


def conv() -> QdqModel:
    model = QdqModel()
    model.conv(model.input((4, 8, 8), U8), ONES, U8, name="y")
    return model


def pool(shape: tuple[int | str | None, ...]) -> QdqModel:
    model = QdqModel()
    model.operator("GlobalAveragePool", [model.input(shape, U8)], U8, name="y")
    return model


@pytest.mark.parametrize(("shape", "expected"), [
    ((4, 8, 2, 3), "(1, 4, 8, 2, 3)"), ((), "(1)"), (("a", 8, 2, 3), "(1, a, 8, 2, 3)")])
def test_input_shapes(tmp_path: Path, shape: tuple[int, ...], expected: str) -> None:
    assert refusal(pool(shape), tmp_path) == (
        f"input 'x' has shape {expected}; (1, C, H, W), (1, C, W) and (1, N) are supported")


def test_input_type(tmp_path: Path) -> None:
    model = conv()
    model.inputs[0].type.tensor_type.elem_type = TensorProto.INT64
    assert refusal(model, tmp_path) == (
        "input 'x' is of int64; float, int8 and uint8 are supported")


def test_huge_input(tmp_path: Path) -> None:
    assert refusal(pool((1 << 20, 1 << 20, 1 << 20)), tmp_path) == (
        f"QuantizeLinear 'x_q': its output has {1 << 60} elements; up to 67108864 are supported")


def test_huge_image(tmp_path: Path) -> None:
    assert refusal(pool((1, 4097, 8)), tmp_path) == (
        "QuantizeLinear 'x_q': its output has shape (1, 1, 4097, 8); "
        "images of up to 4096 by 4096 are supported")


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    model = conv()
    model.inputs *= 2
    assert refusal(model, tmp_path) == "2 graph inputs; networks with one are supported"
    model = conv()
    model.outputs = [helper.ValueInfoProto(name=name) for name in ("x_dq", "y_dq", "y_q")]
    assert refusal(model, tmp_path) == (
        "3 graph outputs; networks with one are supported, and --cut TENSOR builds up to one of them")


@pytest.mark.parametrize(("output", "expected"), [
    ("y_raw", "output 'y_raw' is the unquantised result of Conv; "),
    ("y_w", "output 'y_w' is a quantised constant; "),
    ("elsewhere", "output 'elsewhere' is nothing; "),
    ("e" * 100, "output '" + "e" * 80 + "…' is nothing; ")])
def test_outputs(tmp_path: Path, output: str, expected: str) -> None:
    assert refusal(conv(), tmp_path, output=output) == (
        expected + "a quantised or dequantised tensor is supported")


def test_declared_shape(tmp_path: Path) -> None:
    model = conv()
    model.output("y_q", (4, 9, 8), np.uint8)
    assert refusal(model, tmp_path) == (
        "QuantizeLinear 'y_q': its output has shape (1, 4, 8, 8), but the file says (1, 4, 9, 8)")


def test_not_quantised(tmp_path: Path) -> None:
    model = QdqModel()
    model.input((4, 8, 8), U8)
    model.nodes = [helper.make_node("Relu", ["x"], ["y"])]
    assert refusal(model, tmp_path, output="y") == (
        "a float network (no QuantizeLinear in it); quantised ones are supported, and `headrace quantize` "
        "makes one of it")
    model.node("Split", ["y"], "z")
    model.outputs += [helper.ValueInfoProto(name=name) for name in "yz"]
    assert refusal(model, tmp_path).startswith("a float network")  # before anything else


def test_dynamically_quantised(tmp_path: Path) -> None:
    model = QdqModel()
    model.input((4, 8, 8), U8)
    model.nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"], name="d"),
                   helper.make_node("ConvInteger", ["q", "w", "zero"], ["c"]),
                   helper.make_node("Cast", ["c"], ["y"], to=1)]
    model.constant("w", ONES)
    expected = ("quantised dynamically, with scales that follow from each image when all of it is known; "
                "static quantisation is supported, as `headrace quantize` makes it of the float network")
    assert refusal(model, tmp_path, output="y") == f"DynamicQuantizeLinear 'd': {expected}"
    model.nodes = [helper.make_node("DynamicQuantizeMatMul", ["x", "w", "s"], ["y"], domain="com.microsoft")]
    assert refusal(model, tmp_path, output="y") == f"com.microsoft.DynamicQuantizeMatMul 'y': {expected}"


def spoil(change: Callable[[QdqModel], None], folder: Path) -> str:
    """The message after ``change`` to a network of two convolutions and an addition."""
    model = QdqModel()
    a = model.conv(model.input((4, 8, 8), U8), ONES, U8, name="a", bias=np.ones(4))
    b = model.conv(a, ONES, U8, name="b")
    model.operator("Add", [a, b], U8, name="y")
    change(model)
    return refusal(model, folder)


def node(model: QdqModel, name: str) -> onnx.NodeProto:
    return next(node for node in model.nodes if node.name == name)


def rewire(target: str, index: int, source: str) -> Callable[[QdqModel], None]:
    return lambda model: node(model, target).input.__setitem__(index, source)


def assign(name: str, values: object) -> Callable[[QdqModel], None]:
    return lambda model: model.replace(name, values)


def assign_bias(value: float) -> Callable[[QdqModel], None]:
    def change(model: QdqModel) -> None:
        model.constant("real", np.array([1, 2, value, 4], np.float32))
        node(model, "a").input[2] = "real"

    return change


@pytest.mark.parametrize(("change", "expected"), [
    (rewire("b", 0, "a_raw"),
     ("Conv 'b': its input 0 is the unquantised result of Conv; "
      "every operator needs DequantizeLinear before and QuantizeLinear after it")),
    (rewire("a", 0, "x"),
     ("Conv 'a': its input 0 is the float graph input; "
      "every operator needs DequantizeLinear before and QuantizeLinear after it")),
    (rewire("y", 1, "b_q"),
     ("Add 'y': its input 1 is a quantised tensor; "
      "every operator needs DequantizeLinear before and QuantizeLinear after it")),
    (rewire("y", 1, "a_w"),
     "Add 'y': a constant of shape [4, 4, 1, 1] does not fit shape (1, 4, 8, 8)"),
    (rewire("b", 1, "a_dq"),
     ("Conv 'b': its weights are a dequantised tensor; "
      "int8 or uint8 constants behind DequantizeLinear are supported")),
    (rewire("a", 2, "a_b_q"),
     ("Conv 'a': its bias is a constant of int32; "
      "a float constant, and an int32 one behind DequantizeLinear, are supported")),
    (assign_bias(1e30), ("Conv 'a': its bias 1e+30 of channel 2 is beyond int32 in units of input scale x "
                         "weight scale, 0.005")),
    (assign_bias(np.nan), ("Conv 'a': its bias nan of channel 2 is beyond int32 in units of input scale x "
                           "weight scale, 0.005")),
    (rewire("a", 2, "a_b_scale"), "Conv 'a': a bias of shape [] for 4 outputs"),
    (rewire("b", 1, "gone"),
     ("Conv 'b': reads 'gone', which is not there: "
      "no initialiser, no earlier node's output")),
    (rewire("a", 0, "y_dq"),
     ("Conv 'a': reads 'y_dq', which is not there: "
      "no initialiser, no earlier node's output")),
    (rewire("b_q", 1, "a_dq"),
     ("QuantizeLinear 'b_q': its scale is a dequantised tensor; "
      "a float constant is supported")),
    (rewire("b_q", 2, "a_dq"),
     ("QuantizeLinear 'b_q': its zero point is a dequantised tensor; "
      "a constant is supported")),
    (rewire("b_q", 2, "a_w_q"), "QuantizeLinear 'b_q': has 1 scales but 16 zero points"),
    (rewire("b_q", 0, "a_w_q"),
     "Add 'y': a constant of shape [4, 4, 1, 1] does not fit shape (1, 4, 8, 8)"),
    (rewire("b_dq", 0, "b_raw"),
     ("DequantizeLinear 'b_dq': its input is the unquantised result of "
      "Conv; quantised tensors and constants are supported")),
    (rewire("b_dq", 1, "a_w_scale"),
     ("DequantizeLinear 'b_dq': its scale or zero point is not the "
      "one that its input was made with")),
    (assign("b_q_scale", np.float32([1, 2])),
     ("QuantizeLinear 'b_q': 2 scales for an activation; one per tensor is supported, and one per channel "
      "between a Conv and depthwise ones that alone read it")),
    (assign("b_q_zero", np.int16(3)),
     ("constant 'b_q_zero': int16 constants are not supported; "
      "float (32 bits), int8, uint8, int32 and int64 are")),
    (assign("b_q_zero", np.int32(3)),
     ("QuantizeLinear 'b_q': its zero point is int32; "
      "int8 and uint8 are supported")),
    (assign("a_b_zero", np.int32(3)), "Conv 'a': its bias has a zero point; 0 is supported"),
    (assign("a_b_scale", np.float32(0.00503)),
     "Conv 'a': its bias scale is not input scale x weight scale"),
    (assign("a_w_zero", np.uint8(3)),
     "DequantizeLinear 'a_w': its zero point is uint8 but its values are int8"),
    (lambda model: model.nodes.append(node(model, "y_q")),
     "QuantizeLinear 'y_q': its output 'y_q' is there already"),
    (lambda model: node(model, "y").output.append("more"),
     "Add 'y': has 2 outputs; 1 is supported"),
    (lambda model: next(t for t in model.initialisers if t.name == "a_w_q").dims.append(2),
     "constant 'a_w_q': 16 values do not fill its shape [4, 4, 1, 1, 2]"),
    (lambda model: next(t for t in model.initialisers if t.name == "a_w_q").dims.append(1 << 60),
     f"constant 'a_w_q': 16 values do not fill its shape [4, 4, 1, 1, {1 << 60}]"),
    (lambda model: model.replace("b_w_q", ONES[:2]), ("Add 'y': adds shape (1, 4, 8, 8) and "
     "shape (1, 2, 8, 8); equal shapes are supported")),
])
def test_spoilt(tmp_path: Path, change: Callable[[QdqModel], None], expected: str) -> None:
    assert spoil(change, tmp_path) == expected
