"""ReduceMean over rows and columns, or over a row's columns, as GlobalAveragePool."""
from pathlib import Path

import onnx

from headrace.gen.importer.source.node import OnnxNode
from headrace.gen.importer.source.rewrite import Rewrite

_RANK, _ROW = 4, 3  # of an image and of a row, with the batch


def average(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Replace ReduceMean over the axes 2 and 3 by GlobalAveragePool, without keepdims with a Flatten behind.

    Of a row (N, C, W) it is over axis 2.

    Rounding is that of GlobalAveragePool in integers.
    """
    if not any(node.op_type == "ReduceMean" for node in model.graph.node):
        return model
    rewrite, ranks = Rewrite(model, path), _ranks(model)
    for node in rewrite:
        if node.op_type != "ReduceMean":
            rewrite.keep(node)
            continue
        look, rank = rewrite.look(node), ranks.get(node.input[0], _RANK)
        axes = reduced_axes(rewrite, look, node, rank)
        if sorted(axes) != [2, 3][:rank - 2]:
            raise look.error(f"axes {list(axes)} are not supported; rows and columns, [2, 3] of "
                             "(1, C, H, W), are")
        keep = look.integer("keepdims", 1)
        look.finish()
        pooled = node.output[0] if keep else rewrite.fresh(f"{node.output[0]}/pooled")
        rewrite.emit("GlobalAveragePool", [node.input[0]], pooled, like=node)
        if not keep:
            rewrite.emit("Flatten", [pooled], node.output[0], like=node)
    return rewrite.model()


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """The dimensions of rows; other tensors are images, or refused."""
    if not any(len(value.type.tensor_type.shape.dim) == _ROW for value in model.graph.input):
        return {}
    try:
        inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    except onnx.shape_inference.InferenceError:
        return {}
    return {value.name: _ROW for value in inferred if len(value.type.tensor_type.shape.dim) == _ROW}


def reduced_axes(rewrite: Rewrite, look: OnnxNode, node: onnx.NodeProto, rank: int = _RANK,
                 ) -> tuple[int, ...]:
    """The axes of an image (N, C, H, W) or a row that a ReduceMean takes together, in the file's order."""
    look.expect_inputs(1, 2)
    look.only("noop_with_empty_axes", 0, 0)
    axes = look.numbers("axes")
    if len(node.input) > 1:
        values = rewrite.integers(node.input[1])
        if values is None:
            raise look.error("its axes are no constant integers; these are supported")
        axes = tuple(values[:rank + 1].tolist())
    if not axes:
        return tuple(range(rank))
    if not all(-rank <= axis < rank for axis in axes):
        raise look.error(f"axes {list(axes)} do not fit an image (1, C, H, W)")
    return tuple(axis % rank for axis in axes)
