"""Transposes, pushed through a network until they cancel."""
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from headrace.gen.importer.passes.mean import reduced_axes
from headrace.gen.importer.passes.pad import amounts
from headrace.gen.importer.source.functions import BINARY, FUNCTIONS, UNARY
from headrace.gen.importer.source.node import OnnxNode
from headrace.gen.importer.source.rewrite import Rewrite

Order = tuple[int, ...]  # transposing the stored tensor to this order gives the tensor that is meant

_PLAIN = (0, 1, 2, 3)
_TO_NCHW = (0, 3, 1, 2)
_TO_NHWC = (0, 2, 3, 1)
_SHAPES = frozenset({"Flatten", "Reshape", "Squeeze"})
_SINGLE_VALUES = UNARY | {"DequantizeLinear", "QuantizeLinear"}


def transpose(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Let images be N x C x H x W everywhere, stored as one thing and read as another.

    A Transpose is not carried out: what it reads goes on as it is stored, through operators that work on
    single values or on given axes. Opposite Transposes cancel. An input of N x H x W x C becomes
    N x C x H x W, and so does the output. In front of a Reshape, Flatten or Squeeze the Transpose stays,
    as it decides the order of the vector. Transposes of constants are none of this.

    Raises
    ------
    :exc:`HeadraceError`
        If another operator reads a transposed image.
    """
    if not any(node.op_type == "Transpose" for node in model.graph.node):
        return model
    layout = _Layout(Rewrite(model, path))
    nhwc = nhwc_input(model)
    if nhwc:
        layout.views[nhwc] = nhwc, _TO_NHWC
    for node in layout.rewrite:
        layout.visit(node)
    result = layout.rewrite.model()
    for value in result.graph.output:
        value.name, _ = layout.view(value.name)
    for value in result.graph.input:
        if value.name == nhwc and len(value.type.tensor_type.shape.dim) == len(_TO_NCHW):  # or a namesake
            given = [dim.SerializeToString() for dim in value.type.tensor_type.shape.dim]
            for dim, axis in zip(value.type.tensor_type.shape.dim, _TO_NCHW, strict=True):
                dim.ParseFromString(given[axis])
    return result


def nhwc_input(model: onnx.ModelProto) -> str:
    """The input of four dimensions that is transposed to N x C x H x W, or else nothing."""
    constants = {tensor.name for tensor in model.graph.initializer}  # which may be called inputs too
    sources = {value.name: value.name for value in model.graph.input
               if len(value.type.tensor_type.shape.dim) == 4 and value.name not in constants}
    for node in model.graph.node:
        if node.input and (source := sources.get(node.input[0])):
            if node.op_type == "Transpose" and _permutation(node) == _TO_NCHW:
                return str(source)
            if node.op_type in _SINGLE_VALUES | BINARY or node.op_type == "Pad":
                sources.update(dict.fromkeys(node.output, source))
    return ""


def _permutation(node: onnx.NodeProto) -> Order:
    return next((tuple(attribute.ints) for attribute in node.attribute if attribute.name == "perm"), ())


class _Layout:
    def __init__(self, rewrite: Rewrite) -> None:
        self.rewrite = rewrite
        self.views: dict[str, tuple[str, Order]] = {}  # what a tensor is stored as, where that is not itself

    def view(self, name: str) -> tuple[str, Order]:
        return self.views.get(name, (name, _PLAIN))

    def visit(self, node: onnx.NodeProto) -> None:
        """Emit the node so that it reads what is stored."""
        rewrite, look, given = self.rewrite, self.rewrite.look(node), list(node.input)
        groups = len(_permutation(node)) > len(_PLAIN)  # of channels, which the importer knows
        transposes = node.op_type == "Transpose" and not self.constant(given[0]) and not groups
        if not transposes and not any(name in self.views for name in given):
            return rewrite.keep(node)
        images = [name for name in given if not self.constant(name)]
        stored, order = self.view(images[0] if images and node.op_type in BINARY else given[0])
        node.input[:] = [self.view(name)[0] for name in given]
        output = node.output[0]
        alike = all(self.view(name)[1] == order for name in images)
        match node.op_type:
            case "Transpose":
                permutation = _permutation(node)
                if sorted(permutation) != [*_PLAIN] or permutation[0] != 0:
                    raise look.error(f"perm {list(permutation)[:9]} is not supported; "
                                     "one of an image's channels, rows and columns is")
                self.views[output] = stored, tuple(order[axis] for axis in permutation)
                return
            case operator if operator in _SHAPES:
                if order != _PLAIN:
                    node.input[0] = rewrite.emit(
                        "Transpose", [stored], rewrite.fresh(f"{stored}/ordered"), like=node, perm=order)
            case operator if operator in _SINGLE_VALUES or operator in BINARY and alike:
                self.views[output] = output, order
                self.constants(node, order)
            case "Pad":
                self.views[output] = output, order
                self.pad(look, node, order)
            case "Concat" if alike:
                self.views[output] = output, order
                self.concat(look, node, order)
            case "Resize":
                self.views[output] = output, order
                self.resize(look, node, order)
            case "ReduceMean":
                if self.reduce(look, node, order):
                    self.views[output] = output, order
            case _ if order != _PLAIN or not alike:
                orders = (list(self.view(name)[1]) for name in images if self.view(name)[1] != _PLAIN)
                raise look.error(
                    f"reads an image that a Transpose put into the order {next(orders)}; Transposes that "
                    "cancel, N x H x W x C at the network's input and output, and a Reshape to a vector "
                    "are supported")
        rewrite.keep(node)

    def constant(self, name: str) -> bool:
        return not name or self.rewrite.is_constant(name, dequantised=True)

    def constants(self, node: onnx.NodeProto, order: Order) -> None:
        """Let what an operator of single values reads be along the stored tensor's axes."""
        for index, name in enumerate(node.input):
            values = self.rewrite.values(name) if node.op_type in FUNCTIONS else None
            if values is not None and values.size > 1 and values.ndim <= len(order):
                wide = values.reshape(*[1] * (len(order) - values.ndim), *values.shape)
                node.input[index] = self.rewrite.constant(f"{name}/stored", wide.transpose(np.argsort(order)))

    def pad(self, look: OnnxNode, node: onnx.NodeProto, order: Order) -> None:
        """Let the pads be those of the stored tensor's axes."""
        pads = np.zeros((2, 4), np.int64)
        pads[:, order] = amounts(self.rewrite, look, node)
        node.input[1:] = [self.rewrite.constant(f"{node.output[0]}/pads", pads.reshape(-1)), *node.input[2:3]]

    def concat(self, look: OnnxNode, node: onnx.NodeProto, order: Order) -> None:
        """Let the axis be that of the stored tensor."""
        axis = look.integer("axis", 1)
        if not -4 <= axis < 4:
            raise look.error(f"axis {axis} of an image is not supported; that of the channels is")
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("axis", order[axis]))

    def resize(self, look: OnnxNode, node: onnx.NodeProto, order: Order) -> None:
        """Let scales or sizes be those of the stored tensor's axes; the region is of no interest."""
        if look.numbers("axes") is not None:
            raise look.error("axes of a transposed image are not supported; scales or sizes of all axes are")
        for index in range(1, len(node.input)) if len(node.input) == 2 else (2, 3):
            values = self.rewrite.values(node.input[index]) if index < len(node.input) else None
            if values is not None and values.shape == (4,):
                stored = np.empty_like(values)
                stored[[*order]] = values
                node.input[index] = self.rewrite.constant(f"{node.output[0]}/scales", stored)

    def reduce(self, look: OnnxNode, node: onnx.NodeProto, order: Order) -> bool:
        """Let the axes be those of the stored tensor; is the result still an image?"""
        axes = reduced_axes(self.rewrite, look, node)
        stored = sorted(order[axis] for axis in axes)
        keep = look.integer("keepdims", 1)
        if not keep and stored != [2, 3]:
            raise look.error(f"axes {list(axes)} are not supported; rows and columns are")
        others = [attribute for attribute in node.attribute if attribute.name != "axes"]
        del node.attribute[:], node.input[1:]
        node.attribute.extend([*others, helper.make_attribute("axes", stored)])
        return bool(keep)

