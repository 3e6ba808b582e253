"""An ONNX model altered so that ONNX Runtime shows every tensor, computed with integers."""
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from headrace.gen.importer.passes.normalise import judged
from headrace.gen.importer.passes.sizes import fix
from headrace.gen.importer.source import cut as onnx_cut
from headrace.gen.importer.source import file as onnx_file
from headrace.gen.importer.source.functions import is_function, of_two_tensors
from headrace.gen.ir.graph import Graph, Lookup

_ACTIVATIONS = ("Relu", "Clip")
_TYPES = {False: TensorProto.UINT8, True: TensorProto.INT8}  # by `signed`
_QDQ = ("DequantizeLinear", "QuantizeLinear")
_CLIP_OPSET = 12  # from here on, Clip takes 8-bit integers
_CONSTANTS_IR = 4  # from here on, constants need not be inputs

# What is exact even where ONNX Runtime keeps real numbers: nothing here rounds.
_EXACT = frozenset({
    "Clip", "Concat", "DequantizeLinear", "Flatten", "Gather", "GlobalMaxPool", "MaxPool", "NhwcMaxPool",
    "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool",
    "QLinearLeakyRelu", "QLinearMatMul", "QLinearMul", "QuantizeLinear", "Relu", "Reshape", "Resize",
    "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze"})


def probe(path: Path, graph: Graph, cut: str | None = None) -> bytes:
    """The model at `path`, serialised, with all its tensors that `graph` has, but the input, as outputs.

    It is the file's own or the normalised one, as :py:`onnx_normalise.judged()` decides; in both the input
    and all images are N x C x H x W.

    A Relu or Clip that narrows the range keeps ONNX Runtime from using integer kernels. It moves
    behind the QuantizeLinear, where it limits integers: rounding is monotonic, so the network
    stays the same.
    """
    given = fix(onnx_cut.cut(onnx_file.read(path), path, cut)[0], path, graph.tensors[graph.input].shape)
    model = judged(given, path)
    made = {name for node in model.graph.node for name in node.output}
    names = [name for name in graph.tensors if name in made and name != graph.input]
    limited = []
    if any(entry.domain == "" and entry.version >= _CLIP_OPSET for entry in model.opset_import):
        for node in graph.nodes:
            q = graph.tensors[node.output].quantisation
            limits = not isinstance(node, Lookup)  # whose limits only say what its table has
            if limits and node.output in made and (node.lo, node.hi) != (q.lo, q.hi):
                limited.append(node.output)
                dtype = np.int8 if q.signed else np.uint8
                model.graph.initializer.extend(
                    numpy_helper.from_array(np.array(limit, dtype), f"{node.output}/{end}")
                    for limit, end in ((node.lo, "lo"), (node.hi, "hi")))
    nodes = onnx_cut.needed(list(_clip_integers(list(model.graph.node), limited)), names)
    copies = onnx.GraphProto(node=nodes).node
    for node in copies:
        node.ClearField("name")  # ONNX Runtime wants none twice
    model.graph.initializer.extend(_explicit(copies, model.graph, graph))
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.node[:]
    del model.graph.input[:]
    del model.graph.output[:]
    model.graph.input.extend(inputs)  # a constant that could be one keeps ONNX Runtime from integer kernels
    model.ir_version = max(model.ir_version, _CONSTANTS_IR)
    model.graph.node.extend(copies)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return bytes(model.SerializeToString())


def _explicit(nodes: Iterable[onnx.NodeProto], model: onnx.GraphProto,
              graph: Graph) -> list[onnx.TensorProto]:
    """Give each QuantizeLinear and DequantizeLinear a zero point, and weights constants of their own.

    ONNX Runtime knows its integer kernels by zero points, without `output_dtype`. It rewrites the constants
    of weights, and fails where another node's were the same. Alters the nodes, and returns the constants that
    they read anew.
    """
    known, made = {tensor.name: tensor for tensor in model.initializer}, list[onnx.TensorProto]()
    types = {value.name: value.type.tensor_type.elem_type for value in model.input}
    types.update((name, tensor.data_type) for name, tensor in known.items())
    uses = Counter(name for node in nodes for name in node.input)

    def add(tensor: onnx.TensorProto, name: str) -> str:
        made.append(onnx.TensorProto())
        made[-1].CopyFrom(tensor)
        while (name := f"{name}'") in types:
            pass
        made[-1].name, types[name] = name, tensor.data_type
        return name

    for node in nodes:
        source = next(iter(node.input), "")
        kind = types.get(source, TensorProto.UINT8)
        if node.op_type == "QuantizeLinear":
            written = [attribute.i for attribute in node.attribute if attribute.name == "output_dtype"]
            kind = next(filter(None, written), TensorProto.UINT8)
            kept = [attribute for attribute in node.attribute if attribute.name != "output_dtype"]
            del node.attribute[:]
            node.attribute.extend(kept)
        if node.op_type in _QDQ and not any(node.input[2:]):
            zeros = np.zeros(known[node.input[1]].dims, helper.tensor_dtype_to_np_dtype(kind))
            node.input[2:] = [add(numpy_helper.from_array(zeros), f"{node.output[0]}/zero")]
        elif node.op_type in _QDQ:
            kind = types[node.input[2]]
        for name in node.output:
            tensor = graph.tensors.get(name)
            types[name] = kind if tensor is None else _TYPES[tensor.quantisation.signed]
        if node.op_type == "DequantizeLinear" and source in known:
            for index, name in enumerate(node.input):
                if uses[name] > 1:
                    node.input[index] = add(known[name], name)
    return made


def float_operators(path: Path) -> list[str]:
    """Operators that a model which ONNX Runtime has optimised still carries out with rounding.

    Functions of one activation alone are none: a table has what ONNX Runtime makes of each value.
    """
    graph = onnx_file.read(path).graph
    constants = {tensor.name for tensor in graph.initializer}
    rounding = {node.op_type for node in graph.node if not is_function(node.op_type)} - _EXACT
    return sorted(rounding | of_two_tensors(graph.node, constants))


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
