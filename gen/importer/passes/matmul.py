"""MatMul, and the Add of a bias behind it, as Gemm."""
from pathlib import Path

import onnx
from onnx import helper

from headrace.gen.importer.source.rewrite import Rewrite


def fuse(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Make a MatMul with constant weights a Gemm, and an Add of constants behind it the Gemm's bias.

    Nothing but the Add may read the product. The weights of a MatMul or Gemm may be transposed behind their
    DequantizeLinear.
    """
    if not any(node.op_type in ("MatMul", "Gemm") for node in model.graph.node):
        return model
    rewrite = Rewrite(model, path)
    changed = False
    for node in rewrite:
        weights = node.input[1] if len(node.input) > 1 else ""
        if node.op_type == "MatMul" or node.op_type == "Gemm" and rewrite.producer(weights, "Transpose"):
            _gemm(rewrite, node)
        elif not (node.op_type == "Add" and _bias(rewrite, node)):
            rewrite.keep(node)
            continue
        changed = True
    return rewrite.model() if changed else model


def _gemm(rewrite: Rewrite, node: onnx.NodeProto) -> None:
    look = rewrite.look(node)
    look.expect_inputs(2, 3)
    x, weights, *bias = node.input
    flipped = 0
    transposed = rewrite.producer(weights, "Transpose")
    if transposed is not None:
        if rewrite.look(transposed).numbers("perm") not in (None, (1, 0)):
            raise rewrite.look(transposed).error("is not the transpose of a matrix; [1, 0] is supported")
        weights, flipped = transposed.input[0], 1
    if not rewrite.is_constant(weights, dequantised=True):
        raise look.error("its second input is no constant; quantised weights behind DequantizeLinear are "
                         "supported")
    others = [attribute for attribute in node.attribute if attribute.name != "transB"]
    others.append(helper.make_attribute("transB", int(bool(look.integer("transB", 0))) ^ flipped))
    rewrite.emit("Gemm", [x, weights, *bias], node.output[0], like=node, attributes=others)


def _bias(rewrite: Rewrite, node: onnx.NodeProto) -> bool:
    """Make the Add part of the Gemm before it, if this was a MatMul that nothing else reads."""
    if len(node.input) != 2:
        return False
    for x, bias in (node.input, reversed(node.input)):
        gemm = rewrite.producer(x, "Gemm")
        if gemm is None or len(gemm.input) > 2 or rewrite.uses[x] > 1:
            continue
        if rewrite.is_constant(bias, dequantised=True):
            rewrite.remove(gemm)
            rewrite.emit("Gemm", [*gemm.input, bias], node.output[0], like=gemm,
                         attributes=list(gemm.attribute))
            return True
    return False
