"""Sums of any number of terms."""
from collections.abc import Sequence
from functools import reduce
from operator import add

from amaranth import Module, Shape, Signal, Value

DEEPEST = 64
"""Terms of a sum in one expression: Amaranth follows an expression as deep as Python's stack reaches."""


def total(m: Module, terms: Sequence[Value], *, name: str) -> Value:
    """Return the sum of terms, where there are many in parts that signals called after `name` hold.

    It is no wider than the terms need. Where a register holds a sign twice, Yosys' `xilinx_dsp` makes the
    register a DSP's and leaves the copy without a driver.
    """
    if len(terms) <= DEEPEST:
        return reduce(add, terms)
    signed = any(term.shape().signed for term in terms)
    width = max(term.shape().width + (signed and not term.shape().signed) for term in terms)
    parts: list[Value] = []
    for start in range(0, len(terms), DEEPEST):
        part = Signal(Shape(width + DEEPEST.bit_length(), signed), name=f"{name}_part{start // DEEPEST}")
        m.d.comb += part.eq(reduce(add, terms[start:start + DEEPEST]))
        parts.append(part)
    return total(m, parts, name=f"{name}_part")
