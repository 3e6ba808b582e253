"""Functions of one activation: what the importer makes of them, and refuses."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from functions import FUNCTIONS, Function, one
from headrace.gen.importer import probe
from headrace.gen.importer.load import load
from headrace.gen.importer.source.functions import of_two_tensors
from headrace.gen.ir.graph import Conv, Lookup
from headrace.gen.ir.info import info
from onnx_forms import assert_alike, exact, finish
from onnx_models import Q, QdqModel, refusal

X, Y = Q(0.04, 100), Q(0.03, 90)
NAMED = {function.name: function for function in FUNCTIONS}
ALIKE = one("Sub", lambda x: x - 0.77, np.full((4, 1, 1), 0.77))  # a number, written for each channel
F32 = np.float32
ALL = "functions of all that their input may be are supported"


def test_info_names_them(tmp_path: Path) -> None:
    graph = finish(NAMED["Gelu by Erf"].model(X, Y), tmp_path / "net.onnx", "y_dq")
    (layer,) = info(graph).layers
    assert layer.operation == "lookup Div, Erf, Add, Mul"
    model = QdqModel()
    model.quantise(model.input((4, 9, 7), X), Y, name="y")
    (layer,) = info(finish(model, tmp_path / "net.onnx", "y_dq")).layers
    assert layer.operation == "lookup"


def test_names_of_the_file_may_be_any(tmp_path: Path) -> None:
    """Those that the importer would choose, too."""
    graphs = []
    for names in ({}, {"y_f0": "y", "y_f1": "t1", "y_q": "x_scale", "y_dq": "t0", "x_q": "y_zero"}):
        model = NAMED["SiLU"].model(X, Y)
        for node in model.nodes:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        graphs.append(finish(model, tmp_path / "net.onnx", names.get("y_dq", "y_dq")))
    (plain,), (other,) = (graph.nodes for graph in graphs)
    assert isinstance(plain, Lookup) and isinstance(other, Lookup) and other.output == "x_scale"
    assert plain.table.tolist() == other.table.tolist()


def test_vector(tmp_path: Path) -> None:
    model = NAMED["HardSwish by Clip"].model(X, Y, (7,))
    assert isinstance(exact(model, tmp_path).nodes[0], Lookup)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1), (1, 1, 1, 1), (4, 1, 1), (1, 4, 5, 6)])
@pytest.mark.parametrize("operator", ["Add", "Pow", "PRelu"])
def test_a_number_of_any_shape(tmp_path: Path, operator: str, shape: tuple[int, ...]) -> None:
    graphs = []
    for each in (shape, ()):
        function = one(operator, abs, np.full(each, 2))
        graphs.append(exact(function.model(X, Y, (4, 5, 6)), tmp_path))
    assert_alike(*graphs)


def test_between_reshapes(tmp_path: Path) -> None:
    model = QdqModel()
    flat = model.node("Flatten", [model.input((4, 3, 2), X)], "flat")
    f = NAMED["SiLU"].add(model, flat, "f")
    x = model.quantise(model.node("Reshape", [f, model.constant("shape", np.array([1, 24]))], "again"), Y)
    model.conv(x, np.ones((5, 24), np.int8), Q(0.9, 100), name="y", operator="Gemm", transB=1)
    assert [type(node) for node in exact(model, tmp_path).nodes] == [Lookup, Conv]


@pytest.mark.parametrize("function", [
    ALIKE, *map(NAMED.get, ("SiLU", "Div", "constant minus x", "HardSwish by Clip", "f(x) minus x"))])
def test_nhwc(tmp_path: Path, function: Function) -> None:
    """A constant for all channels may be written for each, in the file's order."""
    graphs = []
    for transposed in (True, False):
        model = QdqModel()
        x = model.input((4, 9, 7), X)
        x = model.node("Transpose", [x], "t", perm=[0, 2, 3, 1]) if transposed else x
        before = len(model.initialisers)
        model.quantise(function.add(model, x, "f"), Y, name="y")
        if transposed:
            for tensor in model.initialisers[before:]:
                if tensor.dims[:] == [4, 1, 1]:
                    tensor.dims[:] = [1, 1, 4]
            model.node("Transpose", ["y_dq"], "out", perm=[0, 3, 1, 2])
        graphs.append(exact(model, tmp_path, "out" if transposed else "y_dq"))
    assert_alike(*graphs)


def test_not_a_number_where_none_occurs(tmp_path: Path) -> None:
    """The root of what a convolution limits to 0 and more is a table; else it is refused."""
    for clip in (None, "Relu"):
        model = QdqModel()
        x = model.conv(model.input((4, 5, 5), X), np.ones((4, 4, 1, 1), np.int8), Q(0.05, 100), name="c",
                       clip=clip)
        model.operator("Sqrt", [x], Y, name="y")
        if clip:
            assert [type(node) for node in exact(model, tmp_path).nodes] == [Conv, Lookup]
        else:
            assert refusal(model, tmp_path) == (
                f"Sqrt 'y': has no result for -5, which 'c_q' may be; {ALL}")


def test_a_function_that_changes_nothing_is_nothing(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.operator("Abs", [model.conv(model.input((4, 5, 5), X), np.ones((4, 4, 1, 1), np.int8), Y,
                                          name="c", clip="Relu")], Y, name="y")
    assert [type(node) for node in finish(model, tmp_path / "net.onnx", x).nodes] == [Conv]


def with_constant(operator: str, values: object, shape: tuple[int, ...] = (4, 5, 5)) -> QdqModel:
    model = QdqModel()
    constant = model.constant("c", np.asarray(values, F32))
    model.operator(operator, [model.input(shape, X), constant], Y, name="y")
    return model


def streams(operator: str, change: Callable[[QdqModel, str], str]) -> QdqModel:
    """An operator of the input and of what is made of it."""
    model = QdqModel()
    x = model.input((4, 5, 5), X)
    model.operator(operator, [x, change(model, x)], Y, name="y")
    return model


EACH = "one value for all channels, or one for each, is supported"

TWO = ("computes with two quantised tensors, 'x_q' and 's_q'; a function of one is supported, with no "
       "QuantizeLinear between its operators, and sum, difference and product of two")


@pytest.mark.parametrize(("model", "expected"), [
    (streams("Mul", lambda model, x: model.node("Tanh", [model.quantise(x, Y, name="s")], "t")),
     f"Mul 'y': {TWO}"),
    (streams("Sub", lambda model, x: model.node("Tanh", [model.quantise(x, Y, name="s")], "t")),
     f"Sub 'y': {TWO}"),
    (streams("Div", lambda model, x: model.quantise(x, Y, name="s")), f"Div 'y': {TWO}"),
    (streams("Add", lambda model, x: model.node("Tanh", [model.quantise(x, Y, name="s")], "t")),
     f"Add 'y': {TWO}"),
    (with_constant("Mul", np.arange(20).reshape(4, 5, 1)),
     f"Mul 'y': its input 1 is a constant of shape [4, 5, 1]; {EACH}"),
    (with_constant("PRelu", np.arange(5)), f"PRelu 'y': its input 1 is a constant of shape [5]; {EACH}"),
    (with_constant("Div", np.zeros((0,))),
     "Div 'y': a constant of shape [0] does not fit shape (1, 4, 5, 5)"),
    (with_constant("Mul", np.ones((2, 4, 1, 1))),
     "Mul 'y': a constant of shape [2, 4, 1, 1] does not fit shape (1, 4, 5, 5)"),
    (with_constant("Mul", np.ones((1, 1, 1)), (4,)),
     "Mul 'y': a constant of shape [1, 1, 1] does not fit shape (1, 4)"),
    (with_constant("Mul", np.nan), f"Mul 'y': has no result for -4, which 'x_q' may be; {ALL}"),
])
def test_refused(tmp_path: Path, model: QdqModel, expected: str) -> None:
    assert refusal(model, tmp_path) == expected


def test_what_onnx_runtime_refuses(tmp_path: Path) -> None:
    model = QdqModel()
    model.operator("Tanh", [model.input((4, 5, 5), X)], Y, name="y", frobnicate=1)
    text = refusal(model, tmp_path)
    assert text.startswith("Tanh 'y': ONNX Runtime cannot compute it: ") and "frobnicate" in text


def test_behind_what_is_not_quantised(tmp_path: Path) -> None:
    model = QdqModel()
    model.conv(model.input((4, 5, 5), X), np.ones((4, 4, 1, 1), np.int8), Y, name="c")
    model.operator("Sigmoid", ["c_raw"], Y, name="y")
    assert refusal(model, tmp_path) == (
        "Sigmoid 'y': its input 0 is the unquantised result of Conv; every operator needs DequantizeLinear "
        "before and QuantizeLinear after it")


def test_input_before_it_is_quantised(tmp_path: Path) -> None:
    model = QdqModel()
    model.input((4, 5, 5), X)
    model.nodes.clear()
    model.quantise(model.node("Sub", ["x", model.constant("mean", F32(0.5))], "s"), Y, name="y")
    assert refusal(model, tmp_path).startswith(
        "Sub 's': computes with the network's input before it is quantised, which is the host's; ")


def test_functions_of_two_tensors_are_not_passed_over(tmp_path: Path) -> None:
    """The judge's list of what ONNX Runtime rounds, behind a function of one and a product of two."""
    nodes = [helper.make_node("DequantizeLinear", [f"{name}_q", "scale", "zero"], [name]) for name in "ab"]
    nodes += [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["silu"])]
    constants = {"scale", "zero", "c"}
    assert of_two_tensors(nodes, constants) == set()
    plain = helper.make_node("Sub", ["a", "b"], ["p"])
    assert of_two_tensors([*nodes, plain], constants) == set()  # the reference does it in the same order
    two = helper.make_node("Sub", ["silu", "b"], ["d"])
    assert of_two_tensors([*nodes, two], constants) == {"Sub"}
    late = helper.make_node("Tanh", ["d"], ["t"])
    assert of_two_tensors([*nodes, two, late], constants) == {"Sub", "Tanh"}
    q = ["scale", "zero"]
    of_integers = helper.make_node("QLinearMul", ["a_q", *q, "b_q", *q, *q], ["m"], domain="com.microsoft")
    assert of_two_tensors([of_integers], constants) == set()  # exact
    graph = helper.make_graph([*nodes, two], "g", [], [helper.ValueInfoProto(name="d")], [
        onnx.numpy_helper.from_array(np.array(1, F32), name) for name in sorted(constants)])
    (tmp_path / "net.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    assert probe.float_operators(tmp_path / "net.onnx") == ["Sub"]


def test_two_readers_of_one_function(tmp_path: Path) -> None:
    """Each QuantizeLinear makes a table of its own."""
    model = QdqModel()
    s = model.node("Sigmoid", [model.input((4, 5, 5), X)], "s")
    a = model.quantise(s, Q(1 / 256, 0), name="a")
    b = model.quantise(model.node("Mul", ["x_dq", s], "m"), Y, name="b")
    model.operator("Add", [a, b], Y, name="y")
    graph = exact(model, tmp_path)
    tables = [node for node in graph.nodes if isinstance(node, Lookup)]
    assert [node.function for node in tables] == [("Sigmoid",), ("Sigmoid", "Mul")]
    assert load(tmp_path / "form.onnx").nodes[0].inputs == ("x_q",)
