"""Rows, N x C x W, are images of height 1: the graphs are equal, and ONNX Runtime agrees with both."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Conv, Graph, Pool
from headrace.sim import inputs, oracle
from onnx_forms import X, Y, assert_alike, exact, images, random
from onnx_models import QdqModel, refusal
from qoperator_models import QOperatorModel

WEIGHT = random(np.random.default_rng(0), np.int8, 6, 4, 3)
CHANNELS, WIDTH = 4, 11


def conv(model: QdqModel, x: str, row: bool, *, name: str = "y", **options: Any) -> str:
    weight = WEIGHT[:, :1] if options.get("group", 1) > 1 else WEIGHT
    return model.conv(x, weight if row else weight[:, :, None], Y, name=name, **options)


def sides(row: bool, **attributes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Attributes of a row, or those of an image of height 1."""
    above = {"pads": 0}
    return attributes if row else {
        name: (above.get(name, 1), values[0], *(each for value in values[1:] for each in (0, value)))
        for name, values in attributes.items()}


def auto_pad(model: QdqModel, x: str, row: bool) -> str:
    return conv(model, x, row, auto_pad="SAME_LOWER", **sides(row, strides=(2,)))


def network(model: QdqModel, x: str, row: bool) -> str:
    y = conv(model, x, row, **sides(row, strides=(2,), pads=(2, 1), kernel_shape=(3,)))
    y = model.operator("MaxPool", [y], Y, name="max", **sides(row, kernel_shape=(3,), pads=(1, 1)))
    y = model.operator("AveragePool", [y], Y, name="mean", **sides(row, kernel_shape=(2,)))
    y = model.operator("Concat", [y, y], Y, name="twice", axis=1)
    y = model.operator("GlobalAveragePool", [y], Y, name="g")
    return model.gemm(y, np.arange(-12, 12, dtype=np.int8).reshape(2, 12), Y, name="z", scale=0.01)


def resized(model: QdqModel, x: str, row: bool) -> str:
    factors = model.constant("factors", np.array([1, 1, 3] if row else [1, 1, 1, 3], np.float32))
    y = model.operator("Resize", [x, "", factors], X, name="wide", mode="nearest", nearest_mode="floor",
                       coordinate_transformation_mode="asymmetric")
    return conv(model, y, row)


def both(build: Callable[[QdqModel, str, bool], str], folder: Path, form: type[QdqModel] = QdqModel) -> Graph:
    """Insist that a network is the same as of rows."""
    graphs = []
    for row in (True, False):
        model = form()
        y = build(model, model.input((CHANNELS, WIDTH) if row else (CHANNELS, 1, WIDTH), X), row)
        (folder / str(row)).mkdir()
        graphs.append(exact(model, folder / str(row), y))
    assert_alike(*graphs)
    return graphs[0]


@pytest.mark.parametrize("form", [QdqModel, QOperatorModel])
@pytest.mark.parametrize("build", [auto_pad, network, resized])
def test_rows(tmp_path: Path, build: Callable[[QdqModel, str, bool], str], form: type[QdqModel]) -> None:
    both(build, tmp_path, form)


def padded(model: QdqModel, x: str, row: bool) -> str:
    pads = model.constant("pads", np.array([0, 0, 2, 0, 0, 1] if row else [0, 0, 0, 2, 0, 0, 0, 1]))
    x = model.quantise(model.node("Pad", [x, pads], "padded"), X)
    return conv(model, x, row, **sides(row, pads=(1, 0)))


def padded_along_an_axis(model: QdqModel, x: str, row: bool) -> str:
    model.opset = 18
    pads, axes = model.constant("pads", np.array([2, 1])), model.constant("axes", np.array([2 if row else 3]))
    x = model.quantise(model.node("Pad", [x, pads, "", axes], "padded"), X)
    return conv(model, x, row)


def mean(model: QdqModel, x: str, row: bool) -> str:
    y = conv(model, x, row)
    return model.operator("ReduceMean", [y], Y, name="m", keepdims=0,
                          axes=[2] if row else [2, 3])


def sigmoid(model: QdqModel, x: str, row: bool) -> str:
    return conv(model, model.operator("Sigmoid", [x], X, name="s"), row)


def normalised(model: QdqModel, x: str, row: bool) -> str:
    parameters = [model.constant(name, np.linspace(0.5, low, 6).astype(np.float32))
                  for name, low in (("gamma", 2), ("beta", -1), ("mean", 0), ("variance", 1))]
    conv(model, x, row)
    del model.nodes[-2:]
    return model.quantise(model.node("BatchNormalization", ["y_raw", *parameters], "n"), Y)


@pytest.mark.parametrize("build", [padded, padded_along_an_axis, mean, sigmoid, normalised])
def test_forms(tmp_path: Path, build: Callable[[QdqModel, str, bool], str]) -> None:
    both(build, tmp_path)


def test_two_to_one(tmp_path: Path) -> None:
    """As Keras convolves rows: an axis is put in, and taken out again."""
    model = QdqModel()
    two = model.constant("two", np.array([2]))
    x = model.quantise(model.node("Unsqueeze", [model.input((CHANNELS, WIDTH), X), two], "high"), X)
    y = conv(model, x, False)
    y = model.quantise(model.node("Squeeze", [y, two], "flat"), Y)
    graph = exact(model, tmp_path, model.operator("MaxPool", [y], Y, name="m", kernel_shape=[2]))
    assert [type(node) for node in graph.nodes] == [Conv, Pool]


def test_open_width_and_arrays(tmp_path: Path) -> None:
    model = QdqModel()
    y = conv(model, model.input((CHANNELS, WIDTH), X), True)
    model.outputs.append(helper.ValueInfoProto(name=y))
    model.inputs[0].CopyFrom(helper.make_tensor_value_info("x", 1, ("N", CHANNELS, "length")))
    path = model.save(tmp_path / "net.onnx")
    frames = images(load(path, shape=(CHANNELS, WIDTH)))
    np.save(tmp_path / "x.npy", frames[:, :, 0])
    for shape in ((CHANNELS, 1, WIDTH), inputs.frame_shape([tmp_path / "x.npy"])):
        graph = load(path, shape=shape)
        assert graph.tensors[graph.input].shape == (CHANNELS, 1, WIDTH)
        assert np.array_equal(inputs.load([tmp_path / "x.npy"], graph), frames)
        assert set(oracle.compare(graph, path, frames).values()) == {0}


@pytest.mark.parametrize(("attributes", "expected"), [
    ({"strides": [2, 2]}, "Conv 'y': strides [2, 2] is not supported; 1 numbers are"),
    ({"kernel_shape": [5]}, "Conv 'y': kernel_shape [5] but weights of [3]"),
    ({"dilations": [0]}, "Conv 'y': dilations [0] is not supported; 1 to 512 is")])
def test_refused(tmp_path: Path, attributes: dict[str, Any], expected: str) -> None:
    model = QdqModel()
    conv(model, model.input((CHANNELS, WIDTH), X), True, **attributes)
    assert refusal(model, tmp_path) == expected
