"""Concatenation in an ONNX network."""
from headrace.gen.importer.source.node import OnnxNode, describe
from headrace.gen.importer.values import Arguments, Movement, activation
from headrace.gen.ir.graph import Concat

MAX_INPUTS = 256


def concat(node: OnnxNode, args: Arguments) -> Movement:
    node.expect_inputs(2, MAX_INPUTS)
    inputs = tuple(activation(node, args, index) for index in range(len(args)))
    first = inputs[0]
    axis, rank = node.integer("axis", 1), 1 + len(first.shape)
    node.finish()
    if axis not in (1, 1 - rank):
        raise node.error(f"axis {axis} of {describe(first.shape)} is not supported; 1, the channels, is")
    for x in inputs:
        if len(x.shape) == 1 and x.tensor.shape[1:] != (1, 1):
            raise node.error(f"joins a flattened image of {describe(x.tensor.shape)}; images are supported, "
                             "and vectors made of single pixels")
        if x.shape[1:] != first.shape[1:] or x.tensor.shape[1:] != first.tensor.shape[1:]:
            raise node.error(f"joins {describe(first.shape)} and {describe(x.shape)}; "
                             "shapes that differ only in their channels are supported")
    channels = sum(x.shape[0] for x in inputs)
    return Movement(node, (channels, *first.shape[1:]), (channels, *first.tensor.shape[1:]), inputs,
                    lambda inputs, y, lo, hi: Concat("", inputs, y, lo=lo, hi=hi))
