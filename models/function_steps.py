"""Which operators of a float network a quantiser shall leave alone, as they are steps of a function."""
from collections.abc import Iterator
from itertools import count
from math import prod
from pathlib import Path

import onnx

from headrace.gen.importer.source.functions import FUNCTIONS

_LIMITS = ("Clip", "Relu")  # quantised as what they limit


def name(path: Path) -> list[str]:
    """The names of the steps in a file that a quantiser might take; names are given where there are none.

    Those are sums with one number, and products of what follows from one tensor, as of
    x * Clip(x + 3, 0, 6) / 6: that becomes one table if nothing is quantised in between. A bias behind a
    MatMul is in its Gemm already.
    """
    model = onnx.load(path)
    found = [*_steps(model.graph)]
    taken = {node.name for node in model.graph.node}
    for node in found:
        if not node.name:
            node.name = next(name for name in map("step_{}".format, count()) if name not in taken)
            taken.add(node.name)
    onnx.save(model, path)
    return [node.name for node in found]


def _steps(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    sizes = {tensor.name: prod(tensor.dims) for tensor in graph.initializer}
    sources: dict[str, str] = {}  # what a function's value follows from
    for node in graph.node:
        inputs = [name for name in node.input if name and name not in sizes]
        numbers = any(sizes.get(name) == 1 for name in node.input)
        follows = {sources.get(name, name) for name in inputs}
        if node.op_type == "Add" and numbers or node.op_type == "Mul" and len(follows) < 2:
            yield node
        elif node.op_type in ("Add", *_LIMITS) and not any(name in sources for name in inputs):
            continue
        if len(follows) == 1 and node.op_type in FUNCTIONS:
            sources |= dict.fromkeys(node.output, *follows)
