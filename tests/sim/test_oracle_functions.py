"""Functions of one activation: tables against ONNX Runtime, and against exact arithmetic."""
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from functions import FUNCTIONS, Function
from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Add, Conv, Graph, Lookup
from headrace.sim import oracle
from onnx_models import Q, QdqModel
from qoperator_models import MS, QOperatorModel

SHAPES = (4, 7, 11), (4, 1, 1)  # the last values are no whole vector of ONNX Runtime's
NAMED = {function.name: function for function in FUNCTIONS}


def quantisation(rng: np.random.Generator, dtype: type) -> Q:
    """Any zero point, and a scale of 0.005 to 0.12 that is a power of two now and then."""
    limits = np.iinfo(dtype)
    scale = 2.0 ** -rng.integers(4, 8) if rng.random() < 0.3 else 0.005 * 24 ** rng.random()
    return Q(float(np.float32(scale)), int(rng.integers(limits.min, limits.max + 1)), dtype)


def judged(path: Path, graph: Graph, seed: int = 0) -> oracle.Comparison:
    """With every value at least once."""
    source = graph.tensors[graph.input]
    values = np.arange(source.quantisation.lo, source.quantisation.hi + 1)
    frames = max(2, -(-len(values) // int(np.prod(source.shape))))
    x = np.resize(np.random.default_rng(seed).permutation(values), (frames, *source.shape))
    return oracle.judge(graph, path, x)


def exact(function: Function, node: Lookup, x: Q, y: Q) -> None:
    """Insist that the table is what arithmetic says, up to ties."""
    limits = np.iinfo(x.dtype)
    reals = (np.arange(limits.min, limits.max + 1) - x.zero_point) * np.float64(np.float32(x.scale))
    steps = np.array([function.exact(real) for real in reals]) / np.float64(np.float32(y.scale))
    near = abs(abs(steps - np.rint(steps)) - 0.5) < 1e-3
    expected = np.clip(np.rint(steps) + y.zero_point, limits.min, limits.max)
    assert (abs(node.table - expected) <= near).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_table(tmp_path: Path, function: Function, dtype: type) -> None:
    rng = np.random.default_rng(len(function.name))
    for shape in SHAPES:
        x, y = quantisation(rng, dtype), quantisation(rng, dtype)
        model = function.model(x, y, shape)
        model.outputs.append(helper.ValueInfoProto(name="y_dq"))
        path = model.save(tmp_path / "net.onnx")
        graph = load(path)
        (node,) = graph.nodes
        assert isinstance(node, Lookup)
        assert set(node.function) == {operator for operator, _, _ in function.operators}
        assert node.ties is None or function.place_decides
        exact(function, node, x, y)
        assert judged(path, graph).mismatches == {"x_q": 0, "y_q": 0}


def amid(function: Function, dtype: type) -> QdqModel:
    """A network in which the function's input is read by others, too, and so is what it reads."""
    rng = np.random.default_rng(3)
    low = np.iinfo(dtype).min
    model = QdqModel(opset=max(13, function.opset))
    x = model.input((3, 7, 5), Q(0.02, low + 100, dtype))
    weights = [rng.integers(-128, 128, shape).astype(np.int8) for shape in ((4, 3, 3, 3), (2, 4, 1, 1))]
    a = model.conv(x, weights[0], Q(0.05, low + 120, dtype), name="a", pads=[1, 1, 1, 1])
    f = model.quantise(function.add(model, a, "f"), Q(0.03, low + 30, dtype), name="f")
    both = model.operator("Add", [a, f], Q(0.06, low + 110, dtype), name="both")
    model.conv(both, weights[1], Q(0.1, low + 110, dtype), name="y")
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    return model


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("name", ["Sigmoid", "SiLU", "HardSwish by Clip", "Gelu by Erf", "Mish",
                                  "x plus f(x)"])
def test_amid_a_network(tmp_path: Path, name: str, dtype: type) -> None:
    path = amid(NAMED[name], dtype).save(tmp_path / "net.onnx")
    graph = load(path)
    assert [type(node) for node in graph.nodes] == [Conv, Lookup, Add, Conv]
    assert judged(path, graph).mismatches == dict.fromkeys(graph.tensors, 0)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("operator", ["QLinearSigmoid", "QLinearMul"])
def test_operators_of_integers(tmp_path: Path, operator: str, signed: bool) -> None:
    x, y = (Q(0.04, -20, np.int8), Q(1 / 200, -9, np.int8)) if signed else (Q(0.04, 90), Q(1 / 200, 120))
    model = QOperatorModel()
    inputs = model.known(model.input((3, 7, 5), x))
    if operator == "QLinearMul":
        inputs += model.w("factor", np.full((3, 1, 1), 71, x.dtype), 0.003, x.zero_point)
    model.linear(operator, inputs, "y", y, domain=MS)
    model.output(model.made("y", y), (3, 7, 5))
    path = model.save(tmp_path / "net.onnx")
    graph = load(path)
    (node,) = graph.nodes
    assert isinstance(node, Lookup) and node.function == (operator.removeprefix("QLinear"),)
    assert judged(path, graph).mismatches == {"x_q": 0, "y": 0}


def test_quantised_constants(tmp_path: Path) -> None:
    """As onnxruntime's quantiser writes them: ONNX Runtime has integer kernels for Add and Mul."""
    for operator in ("Add", "Mul", "Sub", "Div"):
        for dtype in (np.uint8, np.int8):
            rng = np.random.default_rng(1)
            x, y = quantisation(rng, dtype), quantisation(rng, dtype)
            model = QdqModel()
            first = model.input((4, 7, 5), x)
            constant = model.weight("c", np.array([[[90]]], dtype), 0.011, 3, 0)
            model.operator(operator, [first, constant], y, name="y")
            model.outputs.append(helper.ValueInfoProto(name="y_dq"))
            path = model.save(tmp_path / "net.onnx")
            graph = load(path)
            (node,) = graph.nodes
            assert isinstance(node, Lookup) and node.function == (operator,)
            assert judged(path, graph).mismatches == {"x_q": 0, "y_q": 0}


def spoiled(graph: Graph, change: Callable[[Lookup], Lookup]) -> Graph:
    return replace(graph, nodes=tuple(change(node) if isinstance(node, Lookup) else node
                                      for node in graph.nodes))


def one_more(node: Lookup) -> Lookup:
    values = node.table.copy()
    values[100] += 1 if values[100] < node.hi else -1
    return replace(node, table=values)


def test_wrong_tables_are_found(tmp_path: Path) -> None:
    """One entry that is one more, and the same where a table has a tie, which is none by more than one."""
    for name in ("Sigmoid", "Mish"):
        model = NAMED[name].model(Q(0.04, 99), Q(1 / 100, 30))
        model.outputs.append(helper.ValueInfoProto(name="y_dq"))
        path = model.save(tmp_path / "net.onnx")
        graph = spoiled(load(path), one_more)
        (node,) = graph.nodes
        assert isinstance(node, Lookup) and (node.ties is None or not node.ties[100])
        wrong = judged(path, graph)
        assert wrong.mismatches["y_q"] > 0 and not wrong.ties["y_q"]
        ties = np.arange(256) == 100
        allowed = judged(path, spoiled(graph, lambda node, ties=ties: replace(node, ties=ties)))
        assert allowed.ties["y_q"] == wrong.mismatches["y_q"] and not allowed.mismatches["y_q"]
        far = spoiled(graph, lambda node, ties=ties: one_more(replace(node, ties=ties)))
        assert judged(path, far).mismatches["y_q"] == wrong.mismatches["y_q"]


def test_extremes_of_a_table_are_judged(tmp_path: Path) -> None:
    """What a table does not reach is not kept from ONNX Runtime's result."""
    model = NAMED["Sigmoid"].model(Q(0.04, 128), Q(1 / 250, 0))
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    path = model.save(tmp_path / "net.onnx")

    def narrower(node: Lookup) -> Lookup:
        values = np.clip(node.table, node.lo, node.hi - 3)
        return replace(node, table=values, hi=int(values.max()))

    assert judged(path, spoiled(load(path), narrower)).mismatches["y_q"] > 0
