"""Where a network ends: at a tensor that the user names, or before what is left to the host."""
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path

import onnx

from headrace.gen.importer.source.file import quote
from headrace.gen.ir.errors import HeadraceError

# What the host computes from the network's integers, if nothing but such an operator follows.
_HOST = frozenset({"ArgMax", "LogSoftmax", "QLinearSoftmax", "Softmax"})
_HOST_IN_REAL_NUMBERS = frozenset({"Sigmoid"})  # only where no QuantizeLinear follows
_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})  # the last one, where no QuantizeLinear follows
_MOVES = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_CLOSE = 3  # near matches shown
_CLOSE_NAMES = 5000  # names compared with, as each comparison takes time


def cut(model: onnx.ModelProto, path: Path, tensor: str | None = None,
        ) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """A copy of ``model`` that ends where the hardware does, and the operators behind that.

    The end is ``tensor``; what a QuantizeLinear reads or a DequantizeLinear makes stands for the quantised
    tensor. Else it is the last quantised tensor before the Softmax, LogSoftmax, ArgMax, DequantizeLinear, and
    Sigmoid in real numbers, that come last, and before a last layer without a QuantizeLinear behind it. Nodes
    and inputs that do not contribute are left out, so that they may be anything.

    Raises
    ------
    :exc:`HeadraceError`
        If there is no such tensor, or without one not exactly one output.
    """
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output if name}
    if tensor is None:
        if len(graph.output) != 1:
            raise HeadraceError(f"{path}: {len(graph.output)} graph outputs; networks with one are "
                                "supported, and --cut TENSOR builds up to one of them")
        end = _before_host(graph.output[0].name, producers, len(graph.node))
    else:
        if tensor not in producers:
            near = get_close_matches(tensor, list(producers)[:_CLOSE_NAMES], _CLOSE, cutoff=0.4)
            like = f"; like it are {', '.join(map(quote, near))}" if near else ""
            raise HeadraceError(f"{path}: no node makes a tensor {quote(tensor)}{like}")
        readers = (node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"
                   and node.input[:1] == [tensor] and node.output)
        end = next(readers, _dequantised(tensor, producers))
    return _ending(model, end), tuple(dict.fromkeys(_behind(graph.node, end)))


def needed(nodes: Collection[onnx.NodeProto], wanted: Collection[str]) -> list[onnx.NodeProto]:
    """The nodes that contribute to the tensors ``wanted``, in order."""
    names, kept = set(wanted), []
    for node in reversed(list(nodes)):
        if names.intersection(node.output):
            names.update(filter(None, node.input))
            kept.append(node)
    return kept[::-1]


def _before_host(end: str, producers: dict[str, onnx.NodeProto], limit: int) -> str:
    """The last quantised tensor before ``end``, or what the first of the operators left to the host reads."""
    name, hardware = end, False  # `hardware`: arithmetic here would have a QuantizeLinear behind it
    for _ in range(limit):  # a damaged file may run in circles
        node = producers.get(name)
        if node is None or not node.input:
            break
        name = node.input[0]
        if node.op_type in _HOST or node.op_type in _HOST_IN_REAL_NUMBERS and not hardware:
            end, hardware = name, False
        elif node.op_type == "DequantizeLinear":
            end = name if name in producers and not hardware else end
        elif node.op_type == "QuantizeLinear":
            hardware = True
        elif node.op_type in _LAYERS and not hardware and _made_by_hardware(name, producers):
            end = name
        elif node.op_type == "Add" and not hardware and _is_product(producers.get(name)):
            continue
        elif node.op_type not in _MOVES:
            break
    return end


def _made_by_hardware(name: str, producers: dict[str, onnx.NodeProto]) -> bool:
    """Is ``name`` dequantised, and before that what a QuantizeLinear made of an operator's result?"""
    for wanted in ("DequantizeLinear", "QuantizeLinear"):
        node = producers.get(name)
        while node is not None and node.op_type in _MOVES and node.input:
            node = producers.get(node.input[0])
        if node is None or node.op_type != wanted or not node.input:
            return False
        name = node.input[0]
    return name in producers


def _is_product(node: onnx.NodeProto | None) -> bool:
    return node is not None and node.op_type == "MatMul"


def _dequantised(end: str, producers: dict[str, onnx.NodeProto]) -> str:
    """What a DequantizeLinear that makes ``end`` reads, or else ``end``."""
    node = producers.get(end)
    if node is not None and node.op_type == "DequantizeLinear" and node.input and node.input[0] in producers:
        return str(node.input[0])
    return end


def _behind(nodes: Collection[onnx.NodeProto], end: str) -> Iterator[str]:
    """The operators that depend on ``end``."""
    reached = {end}
    for node in nodes:
        if reached.intersection(node.input):
            reached.update(filter(None, node.output))
            yield node.op_type


def _ending(model: onnx.ModelProto, end: str) -> onnx.ModelProto:
    declared = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    output = onnx.ValueInfoProto()
    output.CopyFrom(declared.get(end, onnx.ValueInfoProto(name=end)))
    kept = needed(model.graph.node, {end})
    read = {end, *(name for node in kept for name in node.input)}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:], copy.graph.input[:], copy.graph.output[:]
    copy.graph.node.extend(kept)
    # Where nothing is reached from an input, the importer has better to say than that there is none.
    copy.graph.input.extend([value for value in model.graph.input if value.name in read] or model.graph.input)
    copy.graph.output.append(output)
    return copy
