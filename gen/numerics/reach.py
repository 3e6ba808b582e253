"""What every channel of a network can reach, from its input on; and that its sums are those of int32.

ONNX Runtime adds up in int32. A sum that leaves it on the way is none the worse, as it comes back with the
same bits; one that is too large in the end wraps there, but not in the hardware, and is refused.
"""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import (
    Add,
    Concat,
    Conv,
    GlobalAveragePool,
    Graph,
    Interleave,
    Lookup,
    Mul,
    Pool,
    Slice,
    Sub,
    Upsample,
)
from headrace.gen.numerics import ranges, requantise, requantise_add
from headrace.gen.numerics.ranges import Range
from headrace.gen.numerics.rules import Rule

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class Reach:
    """Bounds that follow from each other, in the order of the nodes.

    Attributes
    ----------
    values : the values of each channel of each tensor
    sums : of each convolution and average, the sums of raw activations times weights; products of a Mul
    rules : of each of these, the rule for these sums
    """

    values: dict[str, Range]
    sums: dict[str, Range]
    rules: dict[str, Rule]


@lru_cache(maxsize=1)  # the importer asks, and whoever is given the graph
def find(graph: Graph) -> Reach:
    """Carry the ranges through the network.

    Raises
    ------
    :exc:`HeadraceError`
        If a sum of ONNX Runtime's integer kernels can leave int32.
    """
    found = Reach({graph.input: ranges.whole(graph.tensors[graph.input])}, {}, {})
    for node in graph.nodes:
        x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
        inputs = [found.values[name] for name in node.inputs]
        match node:
            case Add() | Sub():
                rule = requantise_add.rule(node, x, graph.tensors[node.inputs[1]], y)
                least, greatest = inputs[1].lo, inputs[1].hi
                if isinstance(node, Sub):
                    least, greatest = greatest, least
                made = Range(rule(inputs[0].lo, least), rule(inputs[0].hi, greatest))
            case Pool(kind="max") | Upsample():
                made = inputs[0].clip(node.lo, node.hi)
            case Concat():
                made = Range(np.concatenate([each.lo for each in inputs]),
                             np.concatenate([each.hi for each in inputs]))
            case Interleave():
                made = Range(np.stack([each.lo for each in inputs], 1).ravel(),
                             np.stack([each.hi for each in inputs], 1).ravel())
            case Slice():
                made = Range(*(ends[np.array(node.channels)] for ends in (inputs[0].lo, inputs[0].hi)))
            case Lookup():
                made = ranges.looked_up(node, x, inputs[0])
            case _:
                if isinstance(node, Mul):
                    factors = x.quantisation, graph.tensors[node.inputs[1]].quantisation
                    sums = ranges.products((inputs[0], inputs[1]), factors)
                else:
                    sums = ranges.sums(node, x, inputs[0])
                found.sums[node.name] = sums
                steps = found.rules[node.name] = requantise.rule(node, x, y, sums)
                if isinstance(node, Conv | GlobalAveragePool):
                    _check(node, sums, steps)
                made = Range(*(steps(ends.reshape(len(steps.bias), -1)).reshape(-1)
                               for ends in (sums.lo, sums.hi)))
        found.values[node.output] = made
    return found


def _check(node: Conv | GlobalAveragePool, sums: Range, rule: Rule) -> None:
    """Insist on int32 for the sums that are rounded: of values without zero points, and with the bias."""
    lowest, highest = sums.lo + rule.bias, sums.hi + rule.bias
    wrong = (lowest < _INT32.min) | (highest > _INT32.max)
    if wrong.any():
        channel = int(wrong.argmax())
        bias = f" with its bias {node.bias[channel]}" if isinstance(node, Conv) and node.bias[channel] else ""
        raise HeadraceError(
            f"layer {node.name}: the sums of channel {channel}{bias} reach from {lowest[channel]} to "
            f"{highest[channel]}; sums within int32 are supported, as ONNX Runtime's wrap beyond: "
            "quantise with larger scales for its input and weights")
