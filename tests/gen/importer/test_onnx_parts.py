"""Parts of channels, rows and columns, and their order: ONNX Runtime agrees, and the nodes are the fewest."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Concat, Conv, Graph, Interleave, Lookup, Slice
from headrace.sim import oracle
from onnx_forms import X, Y, finish, images
from onnx_models import Q, QdqModel, refusal
from qoperator_models import QOperatorModel

IMAGE = (12, 6, 8)


def right(model: QdqModel, folder: Path, output: str) -> Graph:
    path = folder / "net.onnx"
    graph = finish(model, path, output)
    assert set(oracle.compare(graph, path, images(graph)).values()) == {0}
    return graph


def part(model: QdqModel, x: str, q: Q = X, name: str = "y", **places: list[int]) -> str:
    return model.operator("Slice", [x, *(model.constant(f"{name}_{what}", np.array(values))
                                         for what, values in places.items())], q, name=name)


@pytest.mark.parametrize("form", [QdqModel, QOperatorModel])
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize(("places", "expected"), [
    (dict(starts=[4], ends=[8], axes=[1]), (range(4, 8), range(6), range(8))),
    (dict(starts=[0, -3], ends=[1 << 62, -1], axes=[-1, 2], steps=[2, 1]),
     (range(12), range(3, 5), range(0, 8, 2))),
    (dict(starts=[0, 1, 2, 3], ends=[1, 99, 6, 4]), (range(1, 12), range(2, 6), range(3, 4)))])
def test_slice(tmp_path: Path, form: type[QdqModel], real: bool, places: dict[str, list[int]],
               expected: tuple[range, ...]) -> None:
    model = form()
    y = part(model, model.input(IMAGE, X, real=real), **places)
    node, *_ = right(model, tmp_path, model.requantise(y, Y, name="z")).nodes
    assert isinstance(node, Slice)
    assert (node.channels, node.rows, node.columns) == expected


@pytest.mark.parametrize(("shape", "places"), [
    ((5, 7), dict(starts=[1, 2], ends=[4, 7], axes=[1, 2])), ((9,), dict(starts=[2], ends=[7], axes=[1]))])
def test_slice_of_rows_and_vectors(tmp_path: Path, shape: tuple[int, ...], places: dict[str, list[int]],
                                   ) -> None:
    model = QdqModel()
    x = part(model, model.input(shape, X), **places)
    right(model, tmp_path, model.operator("Sigmoid", [x], Q(1 / 256, 0), name="z"))


def test_slice_of_everything_is_nothing(tmp_path: Path) -> None:
    model = QdqModel()
    x = part(model, model.input(IMAGE, X), starts=[0], ends=[12], axes=[1])
    assert [type(node) for node in right(model, tmp_path, model.requantise(x, Y, name="z")).nodes] == [Lookup]


def split(model: QdqModel, x: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
    names = [f"part{index}" for index in range(count)]
    model.nodes.append(helper.make_node("Split", [x, *inputs], names, name="split", axis=1, **attributes))
    return names


@pytest.mark.parametrize(("opset", "sizes", "attributes", "expected"), [
    (13, [5, 4, 3], {}, [range(5), range(5, 9), range(9, 12)]),
    (13, None, {}, [range(4), range(4, 8), range(8, 12)]),
    (18, None, {"num_outputs": 3}, [range(4), range(4, 8), range(8, 12)])])
def test_split(tmp_path: Path, opset: int, sizes: list[int] | None, attributes: dict[str, Any],
               expected: list[range]) -> None:
    model = QdqModel(opset=opset)
    x = model.input(IMAGE, X)
    inputs = [] if sizes is None else [model.constant("sizes", np.array(sizes))]
    parts = [model.quantise(name, X) for name in split(model, x, 3, *inputs, **attributes)]
    graph = right(model, tmp_path, model.operator("Concat", parts[::-1], Y, name="y", axis=1))
    assert [node.channels for node in graph.nodes if isinstance(node, Slice)] == expected


def test_parts_that_are_read_unquantised(tmp_path: Path) -> None:
    """And one that nothing reads."""
    model = QdqModel()
    first, _, last = split(model, model.input(IMAGE, X), 3)
    model.quantisations[first] = X
    y = model.conv(first, np.ones((4, 4, 1, 1), np.int8), Y, name="c")
    model.operator("Concat", [y, model.quantise(last, X)], Y, name="y", axis=1)
    right(model, tmp_path, "y_dq")


def shuffle(model: QdqModel, x: str, groups: int, *, between: bool) -> str:
    """As ShuffleNet does it."""
    channels, *sides = IMAGE
    for name, dims in (("grouped", (groups, channels // groups)), ("swapped", ()), ("y", (channels,))):
        shape = model.constant(f"{name}_dims", np.array([1, *dims, *sides]))
        x = model.node("Reshape", [x, shape], name) if dims else model.node(
            "Transpose", [x], name, perm=[0, 2, 1, 3, 4])
        x = model.quantise(x, X) if between or name == "y" else x
    return x


@pytest.mark.parametrize("between", [True, False])
@pytest.mark.parametrize(("groups", "parts"), [(3, 3), (6, 6), (1, 0), (12, 0)])
def test_shuffle(tmp_path: Path, groups: int, parts: int, between: bool) -> None:
    model = QdqModel()
    y = shuffle(model, model.input(IMAGE, X), groups, between=between)
    graph = right(model, tmp_path, model.operator("Sigmoid", [y], Q(1 / 256, 0), name="z"))
    assert [type(node) for node in graph.nodes[:-1]] == [Slice] * parts + [Interleave] * (parts > 0)


@pytest.mark.parametrize(("order", "nodes"), [
    ([0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11], [Slice] * 4 + [Interleave]),
    ([4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3], [Slice, Slice, Concat]),
    ([1, 3, 5, -5], [Slice]), ([2, 2, 1], [Slice, Slice, Slice, Concat]), ([7], [Slice])])
def test_gather(tmp_path: Path, order: list[int], nodes: list[type]) -> None:
    model = QdqModel()
    y = model.operator("Gather", [model.input(IMAGE, X), model.constant("order", np.array(order))], Y,
                       name="y", axis=1)
    assert [type(node) for node in right(model, tmp_path, y).nodes] == [Lookup, *nodes]


@pytest.mark.parametrize("blocksize", [1, 2])
def test_space_to_depth(tmp_path: Path, blocksize: int) -> None:
    model = QdqModel()
    y = model.operator("SpaceToDepth", [model.input(IMAGE, X)], X, name="y", blocksize=blocksize)
    y = model.conv(y, np.ones((2, 12 * blocksize**2, 1, 1), np.int8), Y, name="c")
    nodes = [type(node) for node in right(model, tmp_path, y).nodes]
    assert nodes == [Slice] * 4 + [Concat, Conv] if blocksize > 1 else [Conv]


def reshaped(model: QdqModel, x: str, dims: list[int]) -> str:
    return model.quantise(model.node("Reshape", [x, model.constant("dims", np.array(dims))], "grouped"), X)


def swapped(model: QdqModel, x: str) -> str:
    x = reshaped(model, x, [1, 3, 4, 6, 8])
    return model.quantise(model.node("Transpose", [x], "swapped", perm=[0, 2, 1, 3, 4]), X)


@pytest.mark.parametrize(("build", "expected"), [
    (lambda model, x: part(model, x, starts=[0], ends=[9], axes=[1], steps=[-1]),
     "Slice 'y': step -1 is not supported; steps of 1 and more are"),
    (lambda model, x: part(model, x, starts=[5], ends=[3], axes=[1]),
     "Slice 'y': leaves nothing of shape (1, 12, 6, 8); a part is supported"),
    (lambda model, x: part(model, x, starts=[5], ends=[3], axes=[4]),
     "Slice 'y': starts, ends, axes [4] and steps do not fit shape (1, 12, 6, 8)"),
    (lambda model, x: model.operator("Gather", [x, model.constant("i", np.array(3))], X, name="y", axis=1),
     ("Gather 'y': takes a constant of int64 along axis 1 of shape (1, 12, 6, 8); a vector of integer "
      "constants along 1, the channels, is supported")),
    (lambda model, x: model.operator("Gather", [x, model.constant("i", np.array([12]))], X, name="y", axis=1),
     "Gather 'y': takes channels that are none of the 12 of its input"),
    (lambda model, x: model.operator("SpaceToDepth", [x], X, name="y", blocksize=4),
     ("SpaceToDepth 'y': blocksize 4 of shape (1, 12, 6, 8) is not supported; one of up to 16 that divides "
      "height and width is")),
    (lambda model, x: split(model, x, 2, model.constant("sizes", np.array([6, 7]))),
     ("Split 'split': the sizes of its 2 parts are 13 together, of 12; all of it is supported")),
    (lambda model, x: split(model, x, 5, model.constant("sizes", np.array([6, 6]))),
     ("Split 'split': the sizes of its 5 parts are not 5 positive constants; these are supported, of shape "
      "(1, 12, 6, 8)")),
    (lambda model, x: model.operator("Sigmoid", [swapped(model, x)], Y, name="y"),
     ("Sigmoid 'y': its input 0 has channels in groups, shape (1, 4, 3, 6, 8); an image is supported, behind "
      "the Transpose and the Reshape of a shuffle of channels")),
    (lambda model, x: model.operator("GlobalAveragePool", [swapped(model, x)], Y, name="y"),
     ("GlobalAveragePool 'y': its input 0 has channels in groups, shape (1, 4, 3, 6, 8); an image is "
      "supported, behind the Transpose and the Reshape of a shuffle of channels")),
    (lambda model, x: model.operator("Add", [*[reshaped(model, x, [1, 3, 4, 6, 8])] * 2], Y, name="y"),
     ("Add 'y': its input 0 has channels in groups, shape (1, 3, 4, 6, 8); an image is supported, behind the "
      "Transpose and the Reshape of a shuffle of channels")),
    (lambda model, x: model.quantise(model.node("Flatten", [swapped(model, x)], "y"), X),
     ("Flatten 'y': turns shape (1, 4, 3, 6, 8), groups of channels that take turns, into [1, 576]; "
      "[1, 12, 6, 8] is supported")),
    (lambda model, x: model.quantise(model.node("Transpose", [reshaped(model, x, [1, 3, 4, 6, 8])], "y",
                                                perm=[0, 1, 2, 4, 3]), X),
     ("Transpose 'y': perm [0, 1, 2, 4, 3] of shape (1, 3, 4, 6, 8) is not supported; [0, 2, 1, 3, 4] of "
      "groups of channels is")),
    (lambda model, x: reshaped(model, x, [1, 4, 4, 6, 6]),
     "Reshape 'grouped': turns shape (1, 12, 6, 8) into [1, 4, 4, 6, 6]; a vector [1, 576] is supported")])
def test_refused(tmp_path: Path, build: Callable[[QdqModel, str], Any], expected: str) -> None:
    model = QdqModel()
    y = build(model, model.input(IMAGE, X))
    y = model.quantise(y[0], X) if isinstance(y, list) else y
    assert refusal(model, tmp_path, output=y) == expected


def test_output_in_the_midst(tmp_path: Path) -> None:
    model = QdqModel()
    y = swapped(model, model.requantise(model.input(IMAGE, X), X, name="same"))
    assert refusal(model, tmp_path, output=y) == (
        "output 'swapped_q' has channels in groups that take turns; an image or a vector is supported")


def test_load_is_repeatable(tmp_path: Path) -> None:
    """Names of what no file has are the same each time."""
    model = QdqModel()
    y = model.operator("SpaceToDepth", [model.input(IMAGE, X)], Y, name="y", blocksize=2)
    path = tmp_path / "net.onnx"
    assert finish(model, path, y).tensors == load(path).tensors
