"""Taps that are apart: the window of the graph, and ONNX Runtime on it."""
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.gen.ir.graph import Conv, Pool, Window
from headrace.gen.ir.info import info
from onnx_forms import X, Y, exact, random
from onnx_models import QdqModel, refusal

RNG = np.random.default_rng(0)
DENSE, DEPTHWISE, GROUPED, POINT = (random(RNG, np.int8, 4, depth, *taps) for depth, taps in (
    (4, (3, 2)), (1, (3, 2)), (2, (3, 2)), (4, (1, 1))))
SPAN = Window((5, 4), dilation=(2, 3))


@pytest.mark.parametrize(("weight", "attributes", "window"), [
    (DENSE, {}, SPAN),
    (DEPTHWISE, dict(group=4, strides=[2, 1], pads=[4, 1, 2, 3]), Window(
        (5, 4), (2, 1), (4, 1, 2, 3), (2, 3))),
    (GROUPED, dict(group=2), SPAN),
    (POINT, {}, Window())])
def test_convolutions(tmp_path: Path, weight: np.ndarray, attributes: dict[str, Any], window: Window) -> None:
    model = QdqModel()
    y = model.conv(model.input((4, 9, 8), X), weight, Y, name="y", dilations=[2, 3], **attributes)
    graph = exact(model, tmp_path, y)
    (node,), (layer,) = graph.nodes, info(graph).layers
    assert isinstance(node, Conv) and node.window == window
    assert layer.kernel == weight.shape[2:]
    assert layer.operation.endswith("convolution" if window == Window() else "convolution, dilation 2 x 3")


@pytest.mark.parametrize(("attributes", "window"), [
    (dict(kernel_shape=[3, 2]), SPAN),
    (dict(kernel_shape=[3, 2], strides=[2, 2], pads=[2, 1, 1, 1], ceil_mode=1), Window(
        (5, 4), (2, 2), (2, 1, 2, 1), (2, 3)))])
def test_maxima(tmp_path: Path, attributes: dict[str, Any], window: Window) -> None:
    model = QdqModel()
    y = model.operator("MaxPool", [model.input((3, 9, 8), X)], X, name="y", dilations=[2, 3], **attributes)
    (node,) = exact(model, tmp_path, y).nodes
    assert isinstance(node, Pool) and node.window == window


@pytest.mark.parametrize(("operator", "shape", "attributes", "expected"), [
    ("AveragePool", (3, 9, 8), dict(kernel_shape=[2, 2], dilations=[1, 2]),
     "AveragePool 'y': dilations [1, 2] are not supported; [1, 1] is"),
    ("MaxPool", (3, 1, 8), dict(kernel_shape=[2, 2], dilations=[2, 1], pads=[1, 0, 1, 0]),
     ("MaxPool 'y': dilations [2, 1] let a window see nothing but padding; windows that all see the image "
      "are supported")),
    ("MaxPool", (3, 9, 8), dict(kernel_shape=[2, 3], dilations=[1, 400]),
     ("MaxPool 'y': kernel_shape [2, 3] with dilations [1, 400] is not supported; 512 from the first to the "
      "last is")),
    ("MaxPool", (3, 9, 8), dict(kernel_shape=[2, 3], dilations=[1, 4]),
     "MaxPool 'y': kernel [2, 9] does not fit into shape (1, 3, 9, 8)")])
def test_refused(tmp_path: Path, operator: str, shape: tuple[int, ...], attributes: dict[str, Any],
                 expected: str) -> None:
    model = QdqModel()
    model.operator(operator, [model.input(shape, X)], X, name="y", **attributes)
    assert refusal(model, tmp_path) == expected
