"""Constants that nodes compute: the graph is that of a file with these constants; ONNX Runtime agrees."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from headrace.gen.importer.load import load
from headrace.gen.importer.passes import evaluate
from headrace.gen.importer.source import file as onnx_file
from headrace.gen.ir.errors import HeadraceError
from onnx_forms import BIAS, IMAGE, WEIGHT, X, Y, assert_alike, conv, exact, original_output, plain
from onnx_models import QdqModel, refusal

SCALES = np.linspace(0.004, 0.02, 6).astype(np.float32)


@pytest.mark.parametrize("weights", ["Clip", "QuantizeLinear"])
@pytest.mark.parametrize("scale", [0.01, SCALES])
@pytest.mark.parametrize(("dtype", "zero"), [(np.int8, 0), (np.uint8, 131)])
def test_weights(tmp_path: Path, weights: Any, scale: Any, dtype: type, zero: int) -> None:
    integers = (WEIGHT.astype(np.int16) - np.iinfo(np.int8).min + np.iinfo(dtype).min).astype(dtype)
    graphs = []
    for form in ("", weights):
        model = QdqModel(weights=form)
        model.conv(model.input(IMAGE, X), integers, Y, name="y", bias=BIAS, scale=scale, zero_point=zero)
        graphs.append(exact(model, tmp_path))
    assert_alike(*graphs)
    ours, theirs = original_output(tmp_path / "form.onnx", graphs[1])
    assert (ours != theirs).mean() < 0.01  # ties


def test_gemm_transposed_after_quantisation(tmp_path: Path) -> None:
    """As Keras' weights come: [inputs, outputs], quantised, then turned, all of it constant."""
    weight = WEIGHT.reshape(6, -1)[:, :12]
    graphs = []
    for computed in (False, True):
        model = QdqModel()
        x = model.input((12,), X)
        y = model.conv(x, weight, Y, name="y", operator="Gemm", transB=1, scale=SCALES)
        if computed:
            model.initialisers = [each for each in model.initialisers if each.name != "y_w_q"]
            model.constant("turned", (weight.T * SCALES).astype(np.float32))
            model.node("QuantizeLinear", ["turned", "y_w_scale", "y_w_zero"], "integers", axis=1)
            model.node("Transpose", ["integers"], "y_w_q", perm=[1, 0])
            model.nodes = [*model.nodes[-2:], *model.nodes[:-2]]
        graphs.append(exact(model, tmp_path, y))
    assert_alike(*graphs)


def flat(build: Callable[[QdqModel, str], str], *, batch: str = "N") -> QdqModel:
    """A Gemm of a convolution's result, in the shape that ``build`` computes from it."""
    model = QdqModel()
    x = conv(model, model.input(IMAGE, X))
    model.inputs[0].type.tensor_type.shape.dim[0].dim_param = batch
    reshaped = model.quantise(model.node("Reshape", [x, build(model, x)], "flat"), Y)
    model.conv(reshaped, WEIGHT.reshape(1, -1)[:, :210], Y, name="z", operator="Gemm", transB=1)
    return model


def view_of_size(model: QdqModel, x: str) -> str:
    """``x.view(x.size(0), -1)`` of torch."""
    shape = model.node("Shape", [x], "shape")
    batch = model.node("Gather", [shape, model.constant("zero", np.array(0))], "batch", axis=0)
    batches = model.node("Unsqueeze", [batch, model.constant("axes", np.array([0]))], "batches")
    rest = model.node("Constant", [], "rest", value=onnx.numpy_helper.from_array(np.array([-1])))
    return model.node("Concat", [batches, rest], "target", axis=0)


def slice_of_shape(model: QdqModel, x: str) -> str:
    """As tf2onnx writes it, with types in between."""
    shape = model.node("Cast", [model.node("Shape", [x], "shape")], "shape_32", to=TensorProto.INT32)
    ends = [model.constant(f"end_{end}", np.array([end])) for end in (0, 1)]
    batch = model.node("Slice", [shape, *ends], "batch")
    rest = model.constant("rest", np.array([210], np.int32))
    target = model.node("Concat", [batch, rest], "target_32", axis=0)
    return model.node("Cast", [target], "target", to=TensorProto.INT64)


def range_and_where(model: QdqModel, x: str) -> str:
    """[1, 210] from a Range, an Expand, and a comparison in bool."""
    count = [model.constant(f"r{value}", np.array(value)) for value in (0, 2, 1)]
    steps = model.node("Range", count, "steps")
    first = model.node("Equal", [steps, count[0]], "first")
    filled = model.node("ConstantOfShape", [model.constant("two", np.array([2]))], "filled",
                        value=onnx.numpy_helper.from_array(np.array([210])))
    ones = model.node("Expand", [count[2], model.constant("two", np.array([2]))], "ones")
    return model.node("Where", [first, ones, filled], "target")


@pytest.mark.parametrize("build", [view_of_size, slice_of_shape, range_and_where])
def test_shapes(tmp_path: Path, build: Callable[[QdqModel, str], str]) -> None:
    graph = exact(flat(build), tmp_path, "z_dq")
    assert_alike(graph, exact(flat(lambda model, _: model.constant("target", np.array([1, 210]))), tmp_path,
                              "z_dq"))
    assert graph.nodes[1].weight.shape == (1, 6, 7, 5)


def test_shape_of_what_has_none(tmp_path: Path) -> None:
    """What ONNX cannot infer is refused by name, whatever the file says of it."""
    model = flat(lambda model, x: model.node("Shape", [model.node("Odd", [x], "odd")], "shape"))
    model.outputs.append(onnx.ValueInfoProto(name="z_dq"))
    graph = model.proto()
    graph.graph.value_info.append(onnx.helper.make_tensor_value_info("odd", TensorProto.FLOAT, (1, 210)))
    (tmp_path / "net.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(HeadraceError, match=r"Odd 'odd': operator not supported"):
        load(tmp_path / "net.onnx")


HUGE = 1 << 40
TOO_MANY = "more than 67108864 elements of computed constants"


@pytest.mark.parametrize(("operator", "inputs", "expected"), [
    ("ConstantOfShape", [np.array([HUGE])], TOO_MANY),
    ("ConstantOfShape", [np.array([1 << 13, 1 << 14])], TOO_MANY),
    ("Range", [np.array(0), np.array(HUGE), np.array(1)], TOO_MANY),
    ("Range", [np.array(0), np.array(9), np.array(0)],
     "cannot be computed from its constants: division by zero"),
    ("Expand", [np.ones(1, np.float32), np.array([HUGE])], TOO_MANY),
    ("Tile", [np.ones(2, np.float32), np.array([HUGE])], TOO_MANY),
    ("Mul", [np.ones((1 << 14, 1), np.float32), np.ones((1, 1 << 14), np.float32)],
     TOO_MANY),
    ("Gather", [np.ones((1, 1 << 14), np.float32), np.zeros(1 << 14, np.int64)],
     TOO_MANY),
    ("Gather", [np.ones(3, np.float32), np.array([7])],
     "cannot be computed from its constants: index 7 is out of bounds for axis 0 with size 3"),
    ("Reshape", [np.ones(3, np.float32), np.array([2])],
     "cannot be computed from its constants: cannot reshape array of size 3 into shape (2,)"),
    ("Add", [np.ones(3, np.float32), np.ones(2, np.float32)],
     "cannot be computed from its constants: shape mismatch")])
def test_wrong_constants(tmp_path: Path, operator: str, inputs: list[np.ndarray], expected: str) -> None:
    model = flat(lambda model, _: model.node(
        operator, [model.constant(f"c{index}", values) for index, values in enumerate(inputs)], "made"))
    assert refusal(model, tmp_path, output="z_dq").startswith(f"{operator} 'made': {expected}")


def test_damaged_truth(tmp_path: Path) -> None:
    """A constant of bool whose data is not of its size is none."""
    model = flat(range_and_where)
    index = next(index for index, node in enumerate(model.nodes) if node.op_type == "Equal")
    model.nodes[index].CopyFrom(onnx.helper.make_node("Not", ["truth"], ["first"], name="first"))
    model.initialisers.append(TensorProto(name="truth", data_type=TensorProto.BOOL, raw_data=b"1234"))
    assert refusal(model, tmp_path, output="z_dq").startswith(
        "constant 'truth': bool constants are not supported")


def test_all_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = flat(view_of_size)
    path = model.save(tmp_path / "net.onnx")
    monkeypatch.setattr(evaluate, "MAX_ELEMENTS", 8)  # 4 + 1 + 2 + 2
    assert refusal(model, tmp_path, output="z_dq") == (
        "Concat 'target': more than 8 elements of computed constants")
    monkeypatch.setattr(evaluate, "MAX_ELEMENTS", 9)
    evaluate.evaluate(onnx_file.read(path), path)


def test_nothing_to_do(tmp_path: Path) -> None:
    """Then the model is the very same."""
    model = QdqModel()
    conv(model, model.input(IMAGE, X))
    model.outputs.append(onnx.ValueInfoProto(name="y_dq"))
    read = onnx_file.read(model.save(tmp_path / "net.onnx"))
    assert evaluate.evaluate(read, tmp_path) is read
    assert_alike(exact(model, tmp_path), plain(tmp_path))
