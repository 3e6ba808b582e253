"""Functions in a float network: what a quantiser shall leave alone, and the input that it forgets."""
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from headrace.gen.importer.source.functions import FUNCTIONS
from headrace.gen.ir.graph import Quantisation

_CHOOSES = frozenset({"MaxPool", "Resize"})  # values as they are
_MOVES = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_LIMITS = ("Clip", "Relu")  # quantised as what they limit


def name(path: Path) -> list[str]:
    """The names of the steps in a file that a quantiser might take; names are given where there are none.

    Those are sums with a constant, and products of what follows from one tensor, as of
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
    constants = {tensor.name for tensor in graph.initializer}
    sources: dict[str, str] = {}  # what a function's value follows from
    for node in graph.node:
        inputs = [name for name in node.input if name and name not in constants]
        follows = {sources.get(name, name) for name in inputs}
        biased = node.op_type == "Add" and constants.intersection(node.input)
        if biased or node.op_type == "Mul" and len(follows) < 2:
            yield node
        elif node.op_type in ("Add", *_LIMITS) and not any(name in sources for name in inputs):
            continue
        if len(follows) == 1 and node.op_type in FUNCTIONS:
            sources |= dict.fromkeys(node.output, *follows)


def quantise_input(path: Path, source: str, q: Quantisation) -> None:
    """Let functions of the network's input, such as a normalisation, begin with its quantised values.

    ``q`` is taken if nothing in the file has quantised the input yet.
    """
    model = onnx.load(path)
    graph, moved, made = model.graph, {source}, dict[str, str]()
    taken = _names(graph)
    for node in graph.node:
        if node.op_type in _MOVES and node.input[0] in moved:
            moved.update(node.output)
    readers = [node for node in graph.node if node.op_type in FUNCTIONS and moved.intersection(node.input)]
    if not readers:
        return
    known = next((list(node.input[1:]) for node in graph.node
                  if node.op_type == "QuantizeLinear" and node.input[0] in moved), None)
    if known is None:
        known = [unused(f"{source}_{what}", taken) for what in ("scale", "zero_point")]
        graph.initializer.extend(_parameters(q, *known))
    nodes = list(graph.node)
    for reader in readers:
        for index, name in enumerate(reader.input):
            if name in moved and name not in made:
                quantised, made[name] = (unused(f"{name}_{what}", taken) for what in ("q", "dq"))
                at = nodes.index(reader)
                nodes[at:at] = [helper.make_node("QuantizeLinear", [name, *known], [quantised]),
                                helper.make_node("DequantizeLinear", [quantised, *known], [made[name]])]
            if name in moved:
                reader.input[index] = made[name]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)


def quantise_before_moves(path: Path) -> None:
    """Quantise what a MaxPool or Resize reads as it makes it, where a function comes before it.

    The values are the same, and so are scale and zero point; none is moved in real numbers then.
    """
    model = onnx.load(path)
    nodes, taken = list(model.graph.node), _names(model.graph)
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in reversed(list(model.graph.node)):
        x = next(iter(node.input), "")
        producer = next((each.op_type for each in nodes if x in each.output), "DequantizeLinear")
        quantises = [each for each in nodes
                     if each.op_type == "QuantizeLinear" and each.input[0] in node.output]
        if node.op_type in _CHOOSES and producer != "DequantizeLinear" and quantises and x not in constants:
            quantised, real = (unused(f"{x}_{what}", taken) for what in ("q", "dq"))
            at, parameters = nodes.index(node), quantises[0].input[1:]
            nodes[at:at] = [helper.make_node("QuantizeLinear", [x, *parameters], [quantised]),
                            helper.make_node("DequantizeLinear", [quantised, *parameters], [real])]
            node.input[0] = real
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def ends_in_function(path: Path) -> bool:
    """Is the output what a function makes that hardware has, and not left to the host?"""
    graph = onnx.load(path).graph
    end = next((node.op_type for node in graph.node if graph.output[0].name in node.output), "")
    return end in FUNCTIONS - {"Sigmoid"}


def quantise_output(path: Path, q: Quantisation) -> None:
    """Let the network end with quantised values of the same name."""
    model = onnx.load(path)
    graph, taken = model.graph, _names(model.graph)
    output = graph.output[0].name
    real, quantised, scale, zero = (unused(f"{output}_{what}", taken)
                                    for what in ("real", "q", "scale", "zero_point"))
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [real if name == output else name for name in names]
    graph.initializer.extend(_parameters(q, scale, zero))
    graph.node.extend([helper.make_node("QuantizeLinear", [real, scale, zero], [quantised]),
                       helper.make_node("DequantizeLinear", [quantised, scale, zero], [output])])
    onnx.save(model, path)


def _names(graph: onnx.GraphProto) -> set[str]:
    return {*(name for node in graph.node for name in (*node.input, *node.output)),
            *(tensor.name for tensor in graph.initializer), *(value.name for value in graph.input)}


def _parameters(q: Quantisation, scale: str, zero: str) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.array(q.scale, np.float32), scale),
            numpy_helper.from_array(np.array(q.zero_point, np.int8 if q.signed else np.uint8), zero)]


def unused(name: str, taken: set[str]) -> str:
    """A name that nothing has yet."""
    name = next(each for each in chain([name], map(f"{name}_{{}}".format, count(1))) if each not in taken)
    taken.add(name)
    return name
