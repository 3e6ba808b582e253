"""Which operators of a float network a quantiser shall leave alone, as they are steps of a function."""
from itertools import count
from math import prod
from pathlib import Path

import onnx


def name(path: Path) -> list[str]:
    """The names of the sums with one number in a file, to which names are given if they have none.

    They are steps of functions, as of x * Clip(x + 3, 0, 6) / 6, which become one table if nothing is
    quantised in between. A bias behind a MatMul is in its Gemm already.
    """
    model = onnx.load(path)
    numbers = {tensor.name for tensor in model.graph.initializer if prod(tensor.dims) == 1}
    found = [node for node in model.graph.node if node.op_type == "Add" and numbers.intersection(node.input)]
    taken = {node.name for node in model.graph.node}
    for node in found:
        if not node.name:
            node.name = next(name for name in map("sum_{}".format, count()) if name not in taken)
            taken.add(node.name)
    onnx.save(model, path)
    return [node.name for node in found]
