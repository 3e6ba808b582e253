"""Activations that are quantised per channel, as NNCF quantises them before depthwise convolutions."""
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from headrace.gen.importer.source.node import OnnxNode
from headrace.gen.importer.source.rewrite import Rewrite
from headrace.gen.ir.errors import HeadraceError

Reals = npt.NDArray[np.float64]

_FORM = ("one per tensor is supported, and one per channel between a Conv and depthwise ones that alone read "
         "it")


def level(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Give each activation that has a scale per channel the greatest of these.

    The scales of the weights before it take up the difference, and those of the depthwise weights behind it
    give it back: the integers stay, up to the rounding of the weights' scales to float32.

    Raises
    ------
    :exc:`HeadraceError`
        If it stands elsewhere, or a limit before it concerns a part of its channels only.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found = [node for node in model.graph.node
             if node.op_type == "QuantizeLinear" and len(node.input) > 1 and node.input[0] not in constants
             and (scale := constants.get(node.input[1])) is not None and max(scale.dims, default=1) > 1]
    for node in found:
        model = _level(model, path, node)
    return model


def _level(model: onnx.ModelProto, path: Path, given: onnx.NodeProto) -> onnx.ModelProto:
    rewrite, name = Rewrite(model, path), given.output[0]
    look = rewrite.look(given)
    scales = _numbers(rewrite, look, given.input[1])
    refused = look.error(f"{scales.size} scales for an activation; {_FORM}")
    greatest = np.float32(scales.max())
    if look.integer("axis", 1) not in (1, -3):
        raise refused
    parameters = [rewrite.constant(f"{name}/scale", np.asarray(greatest))]
    if len(given.input) > 2:
        zeros = rewrite.values(given.input[2])
        if zeros is None or not zeros.size or (zeros != zeros.reshape(-1)[0]).any():
            raise look.error("has different zero points for its channels; one is supported")
        parameters.append(rewrite.constant(f"{name}/zero", zeros.reshape(-1)[0]))
    ratio = scales / greatest
    reals: set[str] = set()
    read = False
    for node in rewrite:
        if node.op_type == "QuantizeLinear" and node.output[0] == name:
            conv, *limits = _before(rewrite, refused, node, _Range(rewrite, node, scales))
            for each in (conv, *limits):
                rewrite.remove(each)
            _scale_weights(rewrite, refused, conv, 1 / ratio)
            if len(conv.input) > 2 and conv.input[2]:
                _scale_bias(rewrite, refused, conv, 1 / ratio)
            for each in (conv, *limits):  # behind what they now read
                rewrite.keep(each)
            node.input[1:] = parameters
            del node.attribute[:]
        elif node.op_type == "DequantizeLinear" and node.input[0] == name:
            if len(node.input) < 2 or not np.array_equal(_numbers(rewrite, look, node.input[1]), scales):
                raise refused
            node.input[1:] = parameters
            del node.attribute[:]
            reals.add(node.output[0])
        elif name in node.input or reals.intersection(node.input[1:]):
            raise refused
        elif node.input and node.input[0] in reals:
            if node.op_type != "Conv" or rewrite.look(node).integer("group", 1) != scales.size:
                raise refused
            _scale_weights(rewrite, refused, node, ratio)
            read = True
        rewrite.keep(node)
    if not read or any(value.name == name or value.name in reals for value in model.graph.output):
        raise refused
    return rewrite.model()


class _Range:
    """What a limit does to the integers of each channel."""

    def __init__(self, rewrite: Rewrite, node: onnx.NodeProto, scales: Reals) -> None:
        zero = rewrite.values(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.uint8)
        assert zero is not None
        limits = np.iinfo(np.int8 if zero.dtype == np.int8 else np.uint8)
        self.lo, self.hi = limits.min, limits.max
        self.zero, self.scales = int(zero.reshape(-1)[0]), scales

    def bites(self, limit: float) -> bool | None:
        """Whether a limit is 0 (True), beyond the range of every channel (False), or neither (None)."""
        steps = np.rint(limit / self.scales) + self.zero
        if limit == 0:
            return True
        return False if ((steps <= self.lo) | (steps >= self.hi)).all() else None


def _before(rewrite: Rewrite, refused: HeadraceError, node: onnx.NodeProto, integers: _Range,
            ) -> list[onnx.NodeProto]:
    """The Conv that ``node`` quantises, and what limits it, without limits that no channel reaches."""
    name, limits = node.input[0], list[onnx.NodeProto]()
    while (act := rewrite.producer(name, "Relu", "Clip")) is not None:
        if rewrite.uses[name] != 1:
            raise refused
        for index, end in enumerate(act.input[1:], 1):
            limit = rewrite.values(end) if end else None
            if end and (limit is None or limit.size != 1):
                raise refused
            bites = None if limit is None else integers.bites(float(limit.item()))
            if limit is not None and bites is None:
                raise rewrite.look(act).error(
                    "limits a part of the channels that the QuantizeLinear behind it has different scales "
                    "for; a limit of 0 is supported, and one that no channel's range reaches")
            if bites is False:
                act.input[index] = ""
        limits.insert(0, act)
        name = act.input[0]
    conv = rewrite.producer(name, "Conv")
    if conv is None or rewrite.uses[name] != 1:
        raise refused
    return [conv, *limits]


def _scale_weights(rewrite: Rewrite, refused: HeadraceError, conv: onnx.NodeProto, factor: Reals) -> None:
    """Multiply the scales of a convolution's weights, outputs first, by ``factor``."""
    real = rewrite.producer(conv.input[1], "DequantizeLinear") if len(conv.input) > 1 else None
    integers = rewrite.tensor(real.input[0]) if real is not None and len(real.input) > 1 else None
    if real is None or integers is None or not integers.dims or integers.dims[0] % factor.size:
        raise refused
    outputs = integers.dims[0]
    scale = _numbers(rewrite, rewrite.look(real), real.input[1])
    zero = rewrite.values(real.input[2]) if len(real.input) > 2 else None
    if zero is not None and zero.size not in (1, outputs):
        raise refused
    if scale.size not in (1, outputs) or rewrite.look(real).integer("axis", 1) % len(integers.dims) and (
            scale.size > 1):
        raise refused
    name = conv.output[0]
    inputs = [real.input[0], rewrite.constant(f"{name}/weight_scale", (
        np.broadcast_to(scale, outputs) * np.repeat(factor, outputs // factor.size)).astype(np.float32))]
    if zero is not None:
        inputs.append(rewrite.constant(f"{name}/weight_zero", np.broadcast_to(zero.reshape(-1), outputs)))
    conv.input[1] = rewrite.emit("DequantizeLinear", inputs, rewrite.fresh(f"{name}/weight"), like=real,
                                 axis=0)


def _scale_bias(rewrite: Rewrite, refused: HeadraceError, conv: onnx.NodeProto, factor: Reals) -> None:
    name = conv.output[0]
    values = rewrite.values(conv.input[2])
    if values is not None:
        if values.size != factor.size:
            raise refused
        scaled = values.reshape(-1).astype(np.float64) * factor
        conv.input[2] = rewrite.constant(f"{name}/bias", scaled.astype(np.float32))
        return
    real = rewrite.producer(conv.input[2], "DequantizeLinear")
    if real is None or len(real.input) < 2:
        raise refused
    scale = _numbers(rewrite, rewrite.look(real), real.input[1])
    if scale.size not in (1, factor.size):
        raise refused
    inputs = [real.input[0], rewrite.constant(f"{name}/bias_scale", (scale * factor).astype(np.float32))]
    conv.input[2] = rewrite.emit("DequantizeLinear", inputs, rewrite.fresh(f"{name}/bias"), like=real,
                                 axis=0)


def _numbers(rewrite: Rewrite, look: OnnxNode, name: str) -> Reals:
    values = rewrite.values(name)
    numbers = np.zeros(1) if values is None or values.dtype != np.float32 else values.astype(np.float64)
    if not (np.isfinite(numbers) & (numbers > 0)).all():
        raise look.error("its scale is not everywhere a positive and finite float constant")
    return numbers.reshape(-1)
