"""Split, as a Slice for each part."""
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import onnx

from headrace.gen.importer.passes.constants import MAX_ELEMENTS
from headrace.gen.importer.source.node import OnnxNode, describe
from headrace.gen.importer.source.rewrite import Rewrite

MAX_PARTS = 256


def cut(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Replace each Split by Slices.

    Raises
    ------
    :exc:`HeadraceError`
        If the sizes of its parts are unknown.
    """
    if not any(node.op_type == "Split" for node in model.graph.node):
        return model
    rewrite, sizes = Rewrite(model, path), _sizes(model)
    for node in rewrite:
        if node.op_type != "Split":
            rewrite.keep(node)
            continue
        look = rewrite.look(node)
        axis = look.integer("axis", 0)
        parts = _parts(rewrite, look, node, sizes.get(node.input[0], ()), axis)
        for name, end, size in zip(node.output, accumulate(parts), parts, strict=True):
            if name:
                places = [rewrite.constant(f"{name}/{what}", np.array([value], np.int64))
                          for what, value in (("start", end - size), ("end", end), ("axis", axis))]
                rewrite.emit("Slice", [node.input[0], *places], name, like=node)
    return rewrite.model()


def _parts(rewrite: Rewrite, look: OnnxNode, node: onnx.NodeProto, shape: Sequence[int], axis: int,
           ) -> list[int]:
    """The sizes of the parts: given, or as equal as possible."""
    count = len(node.output)
    if count > MAX_PARTS:
        raise look.error(f"makes {count} parts; up to {MAX_PARTS} are supported")
    look.integer("num_outputs", count)
    given = look.numbers("split")  # before opset 13
    look.finish()
    if len(node.input) > 1 and node.input[1]:
        values = rewrite.integers(node.input[1])
        given = None if values is None else tuple(values.tolist())
    elif given is None and -len(shape) <= axis < len(shape) and (size := shape[axis]) > 0:
        each = -(-size // count)
        given = (*[each] * (count - 1), size - each * (count - 1))
    if given is None or len(given) != count or not 1 <= min(given) <= max(given) <= MAX_ELEMENTS:
        raise look.error(f"the sizes of its {count} parts are not {count} positive constants; these are "
                         f"supported{', of ' + describe(tuple(shape[1:])) if shape else ''}")
    if -len(shape) <= axis < len(shape) and shape[axis] not in (0, sum(given)):
        raise look.error(f"the sizes of its {count} parts are {sum(given)} together, of {shape[axis]}; "
                         "all of it is supported")
    return list(given)


def _sizes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """The shapes that ONNX infers; a size that is open is 0."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except onnx.shape_inference.InferenceError:
        return {}
    return {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*graph.value_info, *graph.input)}
