"""Which integers can occur: in each channel of a tensor, and as its sums.

A bound follows from the bounds before it, from the network's input on, where every value of the type may
occur. What is proved of a layer is proved for these ranges, and no wider sum has to be held.
"""
from dataclasses import dataclass

import numpy as np

from headrace.gen.ir.graph import Conv, GlobalAveragePool, Lookup, Pool, Quantisation, Tensor
from headrace.gen.numerics.rules import Integers

_CHUNK = 1 << 20  # weights looked at at once


@dataclass(frozen=True, eq=False)
class Range:
    """The least and the greatest value of each channel."""

    lo: Integers
    hi: Integers

    def __post_init__(self) -> None:
        for name in ("lo", "hi"):  # in which sums of any tensor's values do not wrap
            object.__setattr__(self, name, getattr(self, name).astype(np.int64))
        assert (self.lo <= self.hi).all()

    def __len__(self) -> int:
        return len(self.lo)

    def with_value(self, value: int) -> "Range":
        return Range(np.minimum(self.lo, value), np.maximum(self.hi, value))

    def clip(self, lo: int, hi: int) -> "Range":
        return Range(self.lo.clip(lo, hi), self.hi.clip(lo, hi))

    def hull(self) -> "Range":
        """Return one channel that stands for all."""
        return Range(self.lo.min(keepdims=True), self.hi.max(keepdims=True))


def whole(tensor: Tensor) -> Range:
    """Return the range of a tensor's type."""
    q = tensor.quantisation
    return Range(np.full(tensor.channels, q.lo), np.full(tensor.channels, q.hi))


def looked_up(node: Lookup, x: Tensor, inputs: Range) -> Range:
    """Return the range of a table's entries for each channel of its input."""
    tables = np.broadcast_to(node.table, (len(inputs), node.table.shape[-1]))
    entries = [table[lo - x.quantisation.lo:hi - x.quantisation.lo + 1]
               for table, lo, hi in zip(tables, inputs.lo.tolist(), inputs.hi.tolist(), strict=True)]
    return Range(np.array([each.min() for each in entries]), np.array([each.max() for each in entries]))


def products(inputs: tuple[Range, Range], quantisations: tuple[Quantisation, Quantisation]) -> Range:
    """Return the products of two activations without their zero points, of each channel."""
    (a, b), (a_zero, b_zero) = inputs, (each.zero_point for each in quantisations)
    ends = np.array([(x - a_zero) * (y - b_zero) for x in (a.lo, a.hi) for y in (b.lo, b.hi)])
    return Range(ends.min(0), ends.max(0))


def sums(node: Conv | Pool | GlobalAveragePool, x: Tensor, inputs: Range) -> Range:
    """Return the sums of raw activations times weights of each output channel; an average's weights are 1."""
    if isinstance(node, GlobalAveragePool):
        return Range(inputs.lo * x.height * x.width, inputs.hi * x.height * x.width)
    if any(node.window.pads):
        inputs = inputs.with_value(x.quantisation.zero_point)
    if isinstance(node, Pool):
        return Range(inputs.lo * node.window.taps, inputs.hi * node.window.taps)
    outputs, depth, *_ = node.weight.shape
    group = np.arange(outputs) // (outputs // node.groups)
    lo, hi = (each.reshape(node.groups, depth) for each in (inputs.lo, inputs.hi))
    low, high = np.zeros((2, outputs), np.int64)
    count = max(1, _CHUNK // node.weight[0].size)
    for part in (slice(start, start + count) for start in range(0, outputs, count)):
        weight = node.weight[part].reshape(-1, depth, node.window.taps)
        up, down = np.maximum(weight, 0).sum(2, np.int64), np.minimum(weight, 0).sum(2, np.int64)
        low[part] = (up * lo[group[part]] + down * hi[group[part]]).sum(1)
        high[part] = (up * hi[group[part]] + down * lo[group[part]]).sum(1)
    return Range(low, high)
