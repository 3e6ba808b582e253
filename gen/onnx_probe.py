"""An ONNX model altered so that ONNX Runtime shows every tensor, computed with integers."""
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from headrace.gen import onnx_cut, onnx_file
from headrace.gen.graph import Graph
from headrace.gen.onnx_normalise import judged

_ACTIVATIONS = ("Relu", "Clip")
_CLIP_OPSET = 12  # from here on, Clip takes 8-bit integers

# What is exact even where ONNX Runtime keeps real numbers: nothing here rounds.
_EXACT = frozenset({
    "Clip", "Concat", "DequantizeLinear", "Flatten", "MaxPool", "NhwcMaxPool", "QGemm", "QLinearAdd",
    "QLinearAveragePool", "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu",
    "QLinearMatMul", "QuantizeLinear", "Relu", "Reshape", "Resize", "Squeeze", "Transpose", "Unsqueeze"})


def probe(path: Path, graph: Graph, cut: str | None = None) -> bytes:
    """The model at `path`, serialised, with all its tensors that `graph` has, but the input, as outputs.

    It is the file's own or the normalised one, as :py:`onnx_normalise.judged()` decides; in both the input
    and all images are N x C x H x W.

    A Relu or Clip that narrows the range keeps ONNX Runtime from using integer kernels. It moves
    behind the QuantizeLinear, where it limits integers: rounding is monotonic, so the network
    stays the same.
    """
    model = judged(onnx_cut.cut(onnx_file.read(path), path, cut)[0], path)
    made = {name for node in model.graph.node for name in node.output}
    names = [name for name in graph.tensors if name in made and name != graph.input]
    limited = []
    if any(entry.domain == "" and entry.version >= _CLIP_OPSET for entry in model.opset_import):
        for node in graph.nodes:
            q = graph.tensors[node.output].quantisation
            if node.output in made and (node.lo, node.hi) != (q.lo, q.hi):
                limited.append(node.output)
                dtype = np.int8 if q.signed else np.uint8
                model.graph.initializer.extend(
                    numpy_helper.from_array(np.array(limit, dtype), f"{node.output}/{end}")
                    for limit, end in ((node.lo, "lo"), (node.hi, "hi")))
    nodes = onnx_cut.needed(list(_clip_integers(list(model.graph.node), limited)), names)
    copies = onnx.GraphProto(node=nodes).node
    for node in copies:
        node.ClearField("name")  # ONNX Runtime wants none twice
    del model.graph.node[:]
    del model.graph.output[:]
    model.graph.node.extend(copies)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return bytes(model.SerializeToString())


def float_operators(path: Path) -> list[str]:
    """Operators that a model which ONNX Runtime has optimised still carries out with rounding."""
    return sorted({node.op_type for node in onnx_file.read(path).graph.node} - _EXACT)


def _clip_integers(nodes: list[onnx.NodeProto],
                   names: Collection[str]) -> Iterator[onnx.NodeProto]:
    """Skip the activations before the QuantizeLinears of the tensors ``names``, and clip these instead."""
    producers = {name: node for node in nodes for name in node.output}
    for node in nodes:
        yield node
        if node.op_type == "QuantizeLinear" and (name := node.output[0]) in names:
            while producers[node.input[0]].op_type in _ACTIVATIONS:
                node.input[0] = producers[node.input[0]].input[0]
            node.output[0] = f"{name}/unlimited"
            yield helper.make_node("Clip", [f"{name}/{end}" for end in ("unlimited", "lo", "hi")],
                                   [name])
