"""A QuantizeLinear for each reader, and limits of integers: the graph is that of the plain form."""
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from headrace.gen.importer.passes import pairs
from headrace.gen.ir.graph import Conv, Lookup
from onnx_forms import IMAGE, WEIGHT, X, Y, assert_alike, conv, exact, original_output, plain
from onnx_models import Q, QdqModel

POINTWISE = WEIGHT[:, :, :1, :1]


def branch(*, dedicated: bool, opset: int = 13) -> QdqModel:
    """A tensor that two convolutions and an Add read."""
    model = QdqModel(dedicated=dedicated, opset=opset)
    x = model.conv(model.input(IMAGE, X), POINTWISE, Y, name="x1")
    a = model.conv(x, np.tile(POINTWISE, (1, 2, 1, 1))[:, :6], Y, name="a")
    b = model.conv(x, np.tile(POINTWISE, (1, 2, 1, 1))[:, 1:7], Y, name="b")
    model.operator("Add", [model.operator("Add", [a, b], Y, name="sum"), x], Y, name="y")
    return model


def test_dedicated_pairs(tmp_path: Path) -> None:
    model = branch(dedicated=True)
    assert sum(node.op_type == "QuantizeLinear" for node in model.pairs()) == 8
    graph = exact(model, tmp_path)
    assert_alike(graph, exact(branch(dedicated=False), tmp_path))
    assert len(graph.nodes) == 5


def test_parameters_of_other_names(tmp_path: Path) -> None:
    model = branch(dedicated=True)
    nodes = model.pairs()
    model.nodes, model.dedicated = nodes, False
    for node in nodes:
        if node.op_type == "QuantizeLinear" and node.input[0] == "x1_raw":
            node.input[1] = model.constant(f"{node.output[0]}_scale", np.float32(Y.scale))
    assert len(exact(model, tmp_path).nodes) == 5


@pytest.mark.parametrize("other", [Q(0.5, 100), Q(0.4, 101)])
def test_other_parameters_stay(tmp_path: Path, other: Q) -> None:
    model = QdqModel()
    x = model.conv(model.input(IMAGE, X), POINTWISE, Y, name="x1")
    again = model.quantise("x1_raw", other, name="x2")
    model.operator("Add", [x, again], Y, name="y")
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    read = onnx.load_model_from_string(model.proto().SerializeToString())
    assert [node.op_type for node in pairs.merge(read, tmp_path).graph.node] == [
        node.op_type for node in read.graph.node]


@pytest.mark.parametrize("clip", ["Relu", (-3.0, 20.0)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_limited_integers(tmp_path: Path, clip: Any, dtype: type) -> None:
    graphs = []
    for integers in (False, True):
        model = QdqModel(integer_clips=integers)
        x, y = (Q(q.scale, q.zero_point + (0 if dtype == np.uint8 else -128), dtype) for q in (X, Y))
        model.conv(model.input(IMAGE, x), WEIGHT, y, name="y", clip=clip)
        graphs.append(exact(model, tmp_path))
    assert_alike(*graphs)
    (node,) = graphs[1].nodes
    assert node.hi - node.lo < 255
    ours, theirs = original_output(tmp_path / "form.onnx", graphs[1])
    assert (ours != theirs).mean() < 0.01


def test_one_limit(tmp_path: Path) -> None:
    model = QdqModel(integer_clips=True)
    model.conv(model.input(IMAGE, X), WEIGHT, Y, name="y", clip="Relu")
    next(node for node in model.nodes if node.op_type == "Clip").input[1] = ""
    (node,) = exact(model, tmp_path).nodes
    assert (node.lo, node.hi) == (0, 255)


def test_unlimited_integers_are_read_too(tmp_path: Path) -> None:
    model = QdqModel()
    whole = model.conv(model.input(IMAGE, X), POINTWISE, Y, name="x1")
    model.node("Clip", ["x1_q", *(model.constant(f"l{value}", np.uint8(value)) for value in (90, 140))],
               "some")
    limited = model.node("DequantizeLinear", ["some", "x1_q_scale", "x1_q_zero"], "some_dq")
    model.operator("Add", [whole, limited], Y, name="y")
    graph = exact(model, tmp_path)
    assert [type(node) for node in graph.nodes[:2]] == [Conv, Lookup]
    assert (graph.nodes[1].lo, graph.nodes[1].hi) == (90, 140)
    ours, theirs = original_output(tmp_path / "form.onnx", graph)
    assert (ours != theirs).mean() < 0.01


def test_limited_input(tmp_path: Path) -> None:
    """The hardware's input is whole; a table limits it."""
    model = QdqModel()
    model.input(IMAGE, X)
    model.nodes.pop()
    limits = [model.constant(f"l{value}", np.uint8(value)) for value in (50, 200)]
    model.node("Clip", ["x_q", *limits], "some")
    conv(model, model.dequantise("some", "some_dq", X))
    graph = exact(model, tmp_path)
    assert [type(node) for node in graph.nodes] == [Lookup, Conv]
    assert_alike(plain(tmp_path), exact_without_table(model, tmp_path))


def exact_without_table(model: QdqModel, folder: Path) -> Any:
    """The same, with limits that limit nothing."""
    for name, value in (("l50", 0), ("l200", 255)):
        model.replace(name, np.uint8(value))
    return exact(model, folder)
