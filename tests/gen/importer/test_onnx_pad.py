"""Pad in front of windows: the graph is that of pads in the window, and ONNX Runtime agrees."""
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from onnx_forms import (
    IMAGE,
    X,
    assert_alike,
    conv,
    exact,
    plain,
)
from onnx_models import Q, QdqModel, refusal

PADS = [0, 0, 1, 0, 0, 0, 2, 3]


def pad(model: QdqModel, x: str, amounts: Sequence[int], value: object = None, **more: object) -> str:
    inputs = [x, model.constant("amounts", np.array(amounts))]
    if value is not None:
        inputs.append(model.constant("value", np.asarray(value)))
    return model.node("Pad", inputs, "padded", **more)


@pytest.mark.parametrize("q", [X, Q(0.03, 0), Q(0.03, 255), Q(0.03, -128, np.int8)])
@pytest.mark.parametrize("form", [
    "between", "quantised", "integers", "input", "value", "axes", "valid", "own"])
def test_pad_before_conv(tmp_path: Path, form: str, q: Q) -> None:
    model = QdqModel(opset=18)
    options: dict[str, object] = {}
    if form == "integers":
        model.input(IMAGE, q)
        del model.nodes[-1]
        x = model.dequantise(pad(model, "x_q", PADS, np.array(q.zero_point, q.dtype)), "p_dq", q)
    elif form == "input":
        model.input(IMAGE, q)
        del model.nodes[:]
        x = model.quantise(pad(model, "x", PADS), q, name="x")
    else:
        real = model.input(IMAGE, q)
        if form == "axes":
            amounts, axes = (model.constant(name, np.array(values)) for name, values in (
                ("amounts", [0, 1, 3, 2]), ("axes", [-1, 2])))
            x = model.node("Pad", [real, amounts, "", axes], "padded")
        else:
            x = pad(model, real, PADS, np.float32(0) if form == "value" else None)
        if form == "quantised":
            x = model.quantise(x, q)
        if form == "valid":
            options["auto_pad"] = "VALID"
        if form == "own":
            options["pads"] = [1, 1, 0, 0]
    model.quantisations[x] = q
    conv(model, x, strides=[2, 1], **options)
    pads = [2, 1, 2, 3] if form == "own" else [1, 0, 2, 3]
    assert_alike(exact(model, tmp_path), plain(tmp_path, q=q, strides=[2, 1], pads=pads))


@pytest.mark.parametrize("value", [None, -np.inf])
def test_pad_before_max_pool(tmp_path: Path, value: float | None) -> None:
    q = X if value else Q(0.03, -128, np.int8)
    model = QdqModel()
    x = pad(model, model.input(IMAGE, q), [0, 0, 1, 1, 0, 0, 1, 1],
            None if value is None else np.float32(value))
    model.operator("MaxPool", [x], q, name="y", kernel_shape=[3, 3], strides=[2, 2])
    (node,) = exact(model, tmp_path).nodes
    assert node.window.pads == (1, 1, 1, 1)


def test_pad_before_average_pool(tmp_path: Path) -> None:
    model = QdqModel()
    x = pad(model, model.input(IMAGE, X), [0, 0, 1, 1, 0, 0, 1, 1])
    model.operator("AveragePool", [x], X, name="y", kernel_shape=[3, 3], strides=[2, 2])
    (node,) = exact(model, tmp_path).nodes
    assert node.window.pads == (1, 1, 1, 1)


@pytest.mark.parametrize(("change", "expected"), [
    (lambda model, x: conv(model, pad(model, x, [0, 1, 0, 0, 0, 0, 0, 0])),
     ("Pad 'padded': pads [0, 1, 0, 0, 0, 0, 0, 0] enlarge the batch or the channels; "
      "rows and columns are supported")),
    (lambda model, x: conv(model, pad(model, x, [0, 0, -1, 0, 0, 0, 0, 0])),
     "Pad 'padded': pads [0, 0, -1, 0, 0, 0, 0, 0] are not supported; 0 to 512 are"),
    (lambda model, x: conv(model, pad(model, x, [1, 1])),
     "Pad 'padded': 2 pads for axes [0, 1, 2, 3]; pads of an image (1, C, H, W) are supported"),
    (lambda model, x: conv(model, pad(model, x, PADS, mode="reflect")),
     "Pad 'padded': mode 'reflect' is not supported; 'constant' is"),
    (lambda model, x: conv(model, pad(model, x, PADS, np.float32(1))),
     "Conv 'y': reads an image padded with 1; 0 is supported"),
    (lambda model, x: conv(model, pad(model, x, PADS), auto_pad="SAME_UPPER"),
     "Conv 'y': auto_pad 'SAME_UPPER' behind a Pad is not supported; NOTSET and VALID are"),
    (lambda model, x: model.operator("MaxPool", [pad(model, x, PADS)], X, name="y", kernel_shape=[4, 4]),
     ("MaxPool 'y': reads an image padded with 0, which may be its maximum; "
      "padding with the least value, -3.6, is supported")),
    (lambda model, x: model.operator("MaxPool", [pad(model, x, PADS, np.float32(np.nan))], X, name="y",
                                     kernel_shape=[4, 4]),
     ("MaxPool 'y': reads an image padded with nan, which may be its maximum; "
      "padding with the least value, -3.6, is supported")),
    (lambda model, x: model.operator("AveragePool", [pad(model, x, PADS)], X, name="y", kernel_shape=[4, 4],
                                     pads=[1, 1, 1, 1]),
     ("AveragePool 'y': does not count its own pads, but those of the Pad before it; "
      "one kind of pads is supported")),
    (lambda model, x: model.operator("GlobalAveragePool", [pad(model, x, PADS)], X, name="y"),
     "GlobalAveragePool 'y': reads what Pad made; Conv, AveragePool and MaxPool may"),
    (lambda model, x: model.operator("Add", [x, pad(model, x, PADS)], X, name="y"),
     "Add 'y': reads what Pad made; Conv, AveragePool and MaxPool may"),
    (lambda model, x: conv(model, model.node("Pad", [x, x], "padded")),
     "Pad 'padded': its pads or axes are not constant integers; these are supported"),
])
def test_pad_refused(tmp_path: Path, change: Callable[[QdqModel, str], object], expected: str) -> None:
    model = QdqModel()
    x = model.input(IMAGE, X)
    model.quantisations["padded"] = X
    change(model, x)
    assert refusal(model, tmp_path) == expected
