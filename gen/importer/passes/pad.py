"""Pad in front of a convolution or pooling, as pads of its window."""
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from headrace.gen.importer.source.file import quote
from headrace.gen.importer.source.node import MAX_KERNEL, OnnxNode
from headrace.gen.importer.source.rewrite import Rewrite

_RANK = 4
_ROW = (0, 1, 3)  # the axes of a row (N, C, W), as of an image


@dataclass(frozen=True)
class _Padded:
    """A tensor that is not made: ``stored`` with ``value`` around it.

    ``pads`` are top, left, bottom, right.
    """

    stored: str
    pads: tuple[int, int, int, int]
    value: float  # an integer where the tensor holds integers


def merge(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Give the pads of Pad to the Conv, AveragePool or MaxPool that reads it, perhaps behind Q and DQ.

    A convolution and an average count zeros (in integers the zero point) outside the image. A maximum counts
    nothing, so that its Pad has to add values which are never larger than others.

    Raises
    ------
    :exc:`HeadraceError`
        If Pad does something else.
    """
    if not any(node.op_type == "Pad" for node in model.graph.node):
        return model
    rewrite = Rewrite(model, path)
    views: dict[str, _Padded] = {}
    for node in rewrite:
        look, source = rewrite.look(node), node.input[0]
        if any(name in views for name in node.input[1:]):
            raise look.error("reads what Pad made; Conv, AveragePool and MaxPool may")
        padded = views.get(source)
        if node.op_type == "Pad":
            views[node.output[0]] = _pad(rewrite, look, node, padded)
            continue
        if padded is not None:
            node.input[0] = padded.stored
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                value = _converted(rewrite, look, node, padded.value)
                views[node.output[0]] = replace(padded, stored=node.output[0], value=value)
            else:
                _into_window(rewrite, look, node, padded)
        rewrite.keep(node)
    for value in model.graph.output:
        if value.name in views:
            raise rewrite.look(onnx.NodeProto(op_type="Pad", name=value.name)).error(
                "is the network's output; it is supported before Conv, AveragePool and MaxPool")
    return rewrite.model()


def amounts(rewrite: Rewrite, look: OnnxNode, node: onnx.NodeProto) -> npt.NDArray[np.int64]:
    """What a Pad of an image adds, [before and behind, axis]; of a row, as one of height 1.

    Raises
    ------
    :exc:`HeadraceError`
        If that is no constant, or does not fit an image (N, C, H, W).
    """
    look.expect_inputs(1, 4)
    given = look.numbers("pads") or ()  # before opset 11
    pads = rewrite.integers(node.input[1]) if len(node.input) > 1 else np.array(given, np.int64)
    has_axes = len(node.input) > 3 and bool(node.input[3])
    row = not has_axes and pads is not None and pads.size == 2 * len(_ROW)
    axes = rewrite.integers(node.input[3]) if has_axes else np.array(_ROW) if row else np.arange(_RANK)
    if pads is None or axes is None:
        raise look.error("its pads or axes are not constant integers; these are supported")
    places = {int(axis) % _RANK for axis in axes[:_RANK + 1] if -_RANK <= axis < _RANK}
    if len(places) != axes.size or pads.size != 2 * axes.size:
        raise look.error(f"{pads.size} pads for axes {axes[:9].tolist()}; "
                         "pads of an image (1, C, H, W) are supported")
    if pads.size and not 0 <= pads.min() <= pads.max() <= MAX_KERNEL:
        raise look.error(f"pads {pads.tolist()} are not supported; 0 to {MAX_KERNEL} are")
    result = np.zeros((2, _RANK), np.int64)
    result[:, axes] = pads.reshape(2, -1)
    return result


def _pad(rewrite: Rewrite, look: OnnxNode, node: onnx.NodeProto, before: _Padded | None) -> _Padded:
    if (mode := look.text("mode", "constant")) != "constant":
        raise look.error(f"mode {quote(mode)} is not supported; 'constant' is")
    pads = amounts(rewrite, look, node)
    if pads[:, :2].any():
        raise look.error(f"pads {pads.reshape(-1).tolist()} enlarge the batch or the channels; "
                         "rows and columns are supported")
    value = look.real("value", 0)
    look.finish()
    if len(node.input) > 2 and node.input[2]:
        constant = rewrite.values(node.input[2])
        if constant is None or constant.size != 1:
            raise look.error(f"its value {quote(node.input[2])} is no constant; one constant is supported")
        with np.errstate(invalid="ignore"):  # signalling NaN
            value = float(constant.astype(np.float64).reshape(()))
    top, left, bottom, right = (int(amount) for amount in pads[:, 2:].reshape(-1))
    if before is None:
        return _Padded(node.input[0], (top, left, bottom, right), value)
    if before.value != value:
        raise look.error(f"adds {value:g} around {before.value:g}; equal values are supported")
    top, left, bottom, right = (x + y for x, y in zip(before.pads, (top, left, bottom, right), strict=True))
    return replace(before, pads=(top, left, bottom, right))


def _sides(rewrite: Rewrite, node: onnx.NodeProto) -> int:
    """Of the window of a Conv or pooling: 2, of one that reads rows 1."""
    kernel = rewrite.look(node).numbers("kernel_shape")
    weights = rewrite.producer(node.input[1], "DequantizeLinear") if len(node.input) > 1 else None
    tensor = rewrite.tensor(weights.input[0]) if weights else None
    return 1 if len(kernel or () if tensor is None else tensor.dims[2:]) == 1 else 2


def _quantisation(rewrite: Rewrite, look: OnnxNode, node: onnx.NodeProto) -> tuple[float, int, int, int]:
    """Scale, zero point, least and largest integer of a QuantizeLinear or DequantizeLinear."""
    scale = rewrite.values(node.input[1]) if len(node.input) > 1 else None
    zero = rewrite.values(node.input[2]) if len(node.input) > 2 else np.zeros((), np.uint8)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1 or zero.dtype.kind not in "iu":
        raise look.error("follows a Pad, and its scale and zero point are not constants, one each")
    limits = np.iinfo(np.dtype(zero.dtype.name))
    with np.errstate(invalid="ignore"):
        factor = float(scale.astype(np.float64).reshape(()))
    return factor, int(zero.reshape(())), limits.min, limits.max


def _converted(rewrite: Rewrite, look: OnnxNode, node: onnx.NodeProto, value: float) -> float:
    """What becomes of the pads' value in a QuantizeLinear or DequantizeLinear."""
    scale, zero, least, largest = _quantisation(rewrite, look, node)
    if node.op_type == "DequantizeLinear":
        return (value - zero) * scale
    return float(np.clip(np.rint(value / scale) + zero, least, largest)) if scale > 0 else value


def _into_window(rewrite: Rewrite, look: OnnxNode, node: onnx.NodeProto, padded: _Padded) -> None:
    sides = _sides(rewrite, node)
    own = look.integers("pads", (0, 0) * sides)
    match node.op_type:
        case "Conv" | "AveragePool" if padded.value != 0:
            raise look.error(f"reads an image padded with {padded.value:g}; 0 is supported")
        case "AveragePool" if any(own) and not look.integer("count_include_pad", 0):
            raise look.error("does not count its own pads, but those of the Pad before it; "
                             "one kind of pads is supported")
        case "MaxPool":
            source = rewrite.producer(padded.stored, "DequantizeLinear")
            if source is None:
                raise look.error("reads what Pad made of real numbers; a quantised tensor is supported")
            scale, zero, least, _ = _quantisation(rewrite, look, source)
            if not padded.value <= (least - zero) * scale:
                raise look.error(f"reads an image padded with {padded.value:g}, which may be its maximum; "
                                 f"padding with the least value, {(least - zero) * scale:g}, is supported")
        case "Conv" | "AveragePool":
            pass
        case _:
            raise look.error("reads what Pad made; Conv, AveragePool and MaxPool may")
    if (mode := look.text("auto_pad", "NOTSET")) not in ("NOTSET", "VALID"):
        raise look.error(f"auto_pad {quote(mode)} behind a Pad is not supported; NOTSET and VALID are")
    more = {"count_include_pad": 1} if node.op_type == "AveragePool" else {}
    top, left, bottom, right = padded.pads  # along the axes 2 and 3 or -1, of which a row has one
    added = padded.pads if sides == 2 else (top + left, bottom + right)
    pads = added if mode == "VALID" else tuple(x + y for x, y in zip(own, added, strict=True))
    others = [attribute for attribute in node.attribute if attribute.name not in ("pads", "auto_pad", *more)]
    del node.attribute[:]
    node.attribute.extend([*others, *(helper.make_attribute(name, value)
                                      for name, value in {"pads": pads, **more}.items())])
