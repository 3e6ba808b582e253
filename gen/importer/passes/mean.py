"""ReduceMean over rows and columns, as GlobalAveragePool."""
from pathlib import Path

import onnx

from headrace.gen.importer.source.node import OnnxNode
from headrace.gen.importer.source.rewrite import Rewrite

_RANK = 4


def average(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Replace ReduceMean over the axes 2 and 3 by GlobalAveragePool, without keepdims with a Flatten behind.

    Rounding is that of GlobalAveragePool in integers.
    """
    if not any(node.op_type == "ReduceMean" for node in model.graph.node):
        return model
    rewrite = Rewrite(model, path)
    for node in rewrite:
        if node.op_type != "ReduceMean":
            rewrite.keep(node)
            continue
        look = rewrite.look(node)
        axes = reduced_axes(rewrite, look, node)
        if sorted(axes) != [2, 3]:
            raise look.error(f"axes {list(axes)} are not supported; rows and columns, [2, 3] of "
                             "(1, C, H, W), are")
        keep = look.integer("keepdims", 1)
        look.finish()
        pooled = node.output[0] if keep else rewrite.fresh(f"{node.output[0]}/pooled")
        rewrite.emit("GlobalAveragePool", [node.input[0]], pooled, like=node)
        if not keep:
            rewrite.emit("Flatten", [pooled], node.output[0], like=node)
    return rewrite.model()


def reduced_axes(rewrite: Rewrite, look: OnnxNode, node: onnx.NodeProto) -> tuple[int, ...]:
    """The axes of an image (N, C, H, W) that a ReduceMean takes together, 0 to 3, in the file's order."""
    look.expect_inputs(1, 2)
    look.only("noop_with_empty_axes", 0, 0)
    axes = look.numbers("axes")
    if len(node.input) > 1:
        values = rewrite.integers(node.input[1])
        if values is None:
            raise look.error("its axes are no constant integers; these are supported")
        axes = tuple(values[:_RANK + 1].tolist())
    if not axes:
        return tuple(range(_RANK))
    if not all(-_RANK <= axis < _RANK for axis in axes):
        raise look.error(f"axes {list(axes)} do not fit an image (1, C, H, W)")
    return tuple(axis % _RANK for axis in axes)
