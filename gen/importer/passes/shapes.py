"""Operators that only move values, apart from the arithmetic: ONNX Runtime's integer kernels need it so."""
from collections import defaultdict
from pathlib import Path

import onnx

from headrace.gen.importer.source.rewrite import Rewrite

_SHAPES = ("Flatten", "Gather", "Reshape", "Slice", "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze")
_MAXIMA = ("GlobalMaxPool", "MaxPool")
_ACTIVATIONS = ("Clip", "Relu")

Readers = dict[str, list[onnx.NodeProto]]  # of each tensor


def separate(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Give each Reshape and its like a quantised tensor of its own to read, and one to write.

    Between an operator and its QuantizeLinear they move behind that, where they work on integers. Between a
    DequantizeLinear and an operator they, and maxima, get another QuantizeLinear and DequantizeLinear behind
    them.
    """
    if not any(node.op_type in (*_SHAPES, *_MAXIMA) for node in model.graph.node):
        return model
    rewrite = Rewrite(model, path)
    readers: Readers = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    changed = False
    for node in rewrite:
        done = (node.op_type == "QuantizeLinear" and _move_behind(rewrite, node)
                or (node.op_type in _SHAPES and _is_read_as_real(readers, node.output[0])
                    or node.op_type in _MAXIMA and _is_computed_with(readers, node.output[0]))
                and _quantise_again(rewrite, node))
        if not done:
            rewrite.keep(node)
        changed |= done
    return rewrite.model() if changed else model


def _is_read_as_real(readers: Readers, name: str) -> bool:
    return any(node.op_type != "QuantizeLinear" for node in readers[name])


def _is_computed_with(readers: Readers, name: str) -> bool:
    """Does an operator read ``name``, moved or limited or as it is, before a QuantizeLinear does?"""
    names = [name]
    for name in names:  # grows
        for node in readers[name]:
            if node.op_type in (*_SHAPES, *_ACTIVATIONS):
                names += set(node.output) - set(names)
            elif node.op_type != "QuantizeLinear":
                return True
    return False


def _quantise_again(rewrite: Rewrite, node: onnx.NodeProto) -> bool:
    source = rewrite.producer(node.input[0], "DequantizeLinear")
    if source is None or rewrite.is_constant(source.input[0]):
        return False
    name, parameters = node.output[0], source.input[1:]
    moved = rewrite.emit(node.op_type, list(node.input), rewrite.fresh(f"{name}/real"), like=node,
                         attributes=list(node.attribute))
    integers = rewrite.emit("QuantizeLinear", [moved, *parameters], rewrite.fresh(f"{name}/integers"),
                            like=node)
    rewrite.emit("DequantizeLinear", [integers, *parameters], name, like=node)
    return True


def _move_behind(rewrite: Rewrite, node: onnx.NodeProto) -> bool:
    """Emit a QuantizeLinear before what moves the values between it and its operator."""
    chain: list[onnx.NodeProto] = []
    name = node.input[0]
    while rewrite.uses[name] == 1 and (before := rewrite.producer(name, *_SHAPES, *_ACTIVATIONS)):
        chain.insert(0, before)
        name = before.input[0]
    shapes = [before for before in chain if before.op_type in _SHAPES]
    if not shapes or (made := rewrite.producer(name)) is None or made.op_type == "DequantizeLinear":
        return False
    for before in chain:
        rewrite.remove(before)
    for before in chain:
        if before.op_type in _ACTIVATIONS:
            name = rewrite.emit(before.op_type, [name, *before.input[1:]], before.output[0], like=before,
                                attributes=list(before.attribute))
    name = rewrite.emit("QuantizeLinear", [name, *node.input[1:]], node.output[0], like=node,
                        attributes=list(node.attribute))
    for before in shapes:
        name = rewrite.emit(before.op_type, [name, *before.input[1:]],
                            rewrite.fresh(f"{before.output[0]}/integers"), like=before,
                            attributes=list(before.attribute))
    rewrite.rename(node.output[0], name)
    return True
