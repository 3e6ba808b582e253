"""What a file declares of its tensors: the shapes of input and outputs, held to what is supported."""
from math import prod
from pathlib import Path

import onnx
from onnx import TensorProto

from headrace.gen.importer.passes import sizes
from headrace.gen.importer.source.file import quote, type_name
from headrace.gen.importer.source.node import OnnxNode, Shape, describe
from headrace.gen.importer.values import Activation, GraphInput, Unquantised
from headrace.gen.ir.errors import HeadraceError

MAX_ELEMENTS = 1 << 26  # of an activation tensor
MAX_SIDE = 1 << 12  # of an image, in pixels


def graph_input(path: Path, value: onnx.ValueInfoProto) -> GraphInput:
    """Return a network's input.

    Raises
    ------
    :exc:`HeadraceError`
        If it is of a type or a shape that is not supported.
    """
    where = f"{path}: input {quote(value.name)}"
    type = value.type.tensor_type.elem_type
    if type not in (TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8):
        raise HeadraceError(f"{where} is of {type_name(type)}; "
                            "float, int8 and uint8 are supported")
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if len(shape) not in sizes.RANKS or min(shape) < 1:
        raise HeadraceError(f"{where} has shape {sizes.describe(value)}; "
                            "(1, C, H, W), (1, C, W) and (1, N) are supported")
    return GraphInput(value.name, tuple(shape[1:]), type, _image(tuple(shape[1:])))


class Declared:
    """The shapes that a file says its tensors have, where all of a shape is fixed."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._shapes = {value.name: dims for value in (*graph.value_info, *graph.output)
                        if (dims := _dims(value)) is not None}

    def check(self, node: OnnxNode, name: str, value: Unquantised | Activation | GraphInput) -> None:
        """Hold what a node makes against the shape that the file says, and against the largest supported."""
        if self._shapes.get(name, (1, *value.shape)) != (1, *value.shape):
            raise node.error(f"its output has {describe(value.shape)}, but the file says "
                             f"{self._shapes[name]}")
        if prod(value.shape) > MAX_ELEMENTS:
            raise node.error(f"its output has {prod(value.shape)} elements; "
                             f"up to {MAX_ELEMENTS} are supported")
        image = value.tensor.shape if isinstance(value, Activation) else value.shape
        if max(image[1:], default=0) > MAX_SIDE:
            raise node.error(f"its output has {describe(image)}; "
                             f"images of up to {MAX_SIDE} by {MAX_SIDE} are supported")


def _image(shape: Shape) -> tuple[int, int, int]:
    channels, *sides = shape
    height, width = (1, 1, *sides)[-2:]
    return channels, height, width


def _dims(value: onnx.ValueInfoProto) -> Shape | None:
    """The declared shape, with the batch, if all of it is fixed."""
    dims = value.type.tensor_type.shape.dim
    fixed = len(dims) > 0 and all(dim.HasField("dim_value") for dim in dims)
    return tuple(dim.dim_value for dim in dims) if fixed else None
