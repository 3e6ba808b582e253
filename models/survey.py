"""What hardware will not have of a float network, found before anything is quantised."""
from math import prod
from pathlib import Path

import onnx

from headrace.gen.importer.operators import OPERATORS
from headrace.gen.importer.source import cut as onnx_cut
from headrace.gen.importer.source.file import quote
from headrace.gen.importer.source.node import OnnxNode, window
from headrace.gen.ir.errors import HeadraceError

# What becomes something else on the way to the importer.
_REWRITTEN = frozenset({"BatchNormalization", "MatMul", "Pad", "ReduceMean", "Split"})
_WINDOWS = frozenset({"AveragePool", "Conv", "MaxPool"})


def check(model: onnx.ModelProto, path: Path) -> None:
    """Refuse a network with operators that hardware does not have, all of them by name.

    What is left to the host behind the last layer does not count. The message ends with a way out: a tensor
    before all of them up to which the network can be quantised.

    Raises
    ------
    :exc:`HeadraceError`
        If there are such operators.
    """
    hardware, _ = onnx_cut.cut(model, path)
    nodes, sizes = list(hardware.graph.node), _sizes(model)
    reasons: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        if reason := _reason(node, sizes, path):
            reasons.setdefault(reason, []).append(index)
    wrong = {index for indices in reasons.values() for index in indices}
    if wrong:
        listed = "; ".join(f"{', '.join(_name(nodes[index]) for index in indices)}: {reason}"
                           for reason, indices in reasons.items())
        count = f"{len(wrong)} operator{'s' if len(wrong) > 1 else ''} that hardware does not have"
        raise HeadraceError(f"{path}: {count}: {listed}; {_way_out(nodes, wrong)}")


def _name(node: onnx.NodeProto) -> str:
    name = node.name or next(iter(node.output), "")
    return f"{quote(node.op_type)[1:-1]} {quote(name)}"


def _reason(node: onnx.NodeProto, sizes: dict[str, tuple[int, ...]], path: Path) -> str:
    """Why hardware does not have an operator; nothing if it does, as far as can be seen."""
    look = OnnxNode(node, file=str(path))
    if look.operator not in OPERATORS and look.operator not in _REWRITTEN:
        return "not supported"
    if look.operator == "Pad" and (mode := look.text("mode", "constant")) != "constant":
        return f"mode {quote(mode)} is not supported; 'constant' is"
    if look.operator in _WINDOWS and (shape := sizes.get(next(iter(node.input), ""))):
        weights = sizes.get(node.input[1], ()) if look.operator == "Conv" and len(node.input) > 1 else ()
        try:
            window(look, shape[1:], kernel=weights[2:] if len(weights) == len(shape) else None)
        except HeadraceError as error:
            return str(error).removeprefix(f"{look.where}: ")
    return ""


def _sizes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shapes that are known."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        if value.type.tensor_type.HasField("shape") and prod(shape):
            found[value.name] = shape
    return found


def _way_out(nodes: list[onnx.NodeProto], wrong: set[int]) -> str:
    """The tensor before all that is wrong which most operators contribute to."""
    spoiled, whole, rest = set[str](), list[onnx.NodeProto](), list[onnx.NodeProto]()
    for index, node in enumerate(nodes):
        if index in wrong or spoiled.intersection(node.input):
            spoiled.update(filter(None, node.output))
            rest.append(node)
        else:
            whole.append(node)
    read = {name for node in rest for name in node.input}
    counts = {name: len(onnx_cut.needed(whole, {name}))
              for node in whole for name in node.output[:1] if name in read}
    if not counts:
        return "none of the network comes before"
    best = max(counts, key=lambda name: counts[name])
    return (f"--cut {quote(best)} quantises the {counts[best]} of {len(nodes)} operators before, and leaves "
            "the rest to the host")
