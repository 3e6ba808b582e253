"""ONNX to the integer graph."""
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto

from headrace.gen.importer.declared import Declared, graph_input
from headrace.gen.importer.operators import OPERATORS
from headrace.gen.importer.passes import sizes
from headrace.gen.importer.passes.normalise import normalise
from headrace.gen.importer.source import cut as onnx_cut
from headrace.gen.importer.source import file as onnx_file
from headrace.gen.importer.source.file import quote
from headrace.gen.importer.source.functions import FUNCTIONS
from headrace.gen.importer.source.kind import check_quantised, check_static
from headrace.gen.importer.source.node import OnnxNode, Shape
from headrace.gen.importer.values import (
    Activation,
    Arguments,
    Constant,
    GraphInput,
    Movement,
    Pointwise,
    Result,
    Unquantised,
    Value,
    activation_quantisation,
    describe_value,
    pointwise,
    quantise,
    quantised_constant,
)
from headrace.gen.ir import names
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph, Lookup, Node, Quantisation, Tensor
from headrace.gen.numerics import reach

if TYPE_CHECKING:
    from headrace.gen.importer.table import Table


def load(path: str | PathLike[str], cut: str | None = None,
         shape: sizes.Given = None) -> Graph:
    """Import a quantised network, in a form that :mod:`headrace.gen.importer.passes.normalise` knows.

    Tensors keep the ONNX name of the quantised tensor, so that ONNX Runtime can be asked for it.
    The network ends at the tensor ``cut``, if there is one, and else where :py:`onnx_cut.cut()` says.
    What does not contribute to that is left out. The result passes :py:`Graph.verify()`.
    ``shape`` gives the sizes of the input that the file leaves open, (C, H, W) or (N).

    Raises
    ------
    :exc:`HeadraceError`
        If the file is damaged, not quantised, or contains what is not supported, or if a sum can leave int32.
    """
    path = Path(path)
    read = onnx_file.read(path)
    check_quantised(read, path)
    model, host = onnx_cut.cut(read, path, cut)
    check_static(model, path)
    graph = replace(_Importer(path, normalise(sizes.fix(model, path, shape), path)).run(), host=host)
    try:
        reach.find(graph)
    except HeadraceError as error:
        raise HeadraceError(f"{path}: {error}") from error
    return graph


class _Importer:
    """Walks the nodes in order. ``values`` says what each ONNX tensor is so far."""

    def __init__(self, path: Path, model: onnx.ModelProto) -> None:
        self.path = path
        self.graph = model.graph
        self.opsets = model.opset_import
        graph = model.graph
        self.initialisers = {tensor.name: tensor for tensor in graph.initializer}
        self.declared = Declared(graph)
        self.taken = {*self.initialisers, *(value.name for value in graph.input),
                      *(name for node in graph.node for name in node.output)}
        self.values: dict[str, Value] = {}
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.labels: list[tuple[str, str]] = []  # kind and ONNX name of each of `nodes`

    def run(self) -> Graph:
        nodes = [OnnxNode(node, file=str(self.path))
                 for node in onnx_cut.needed(self.graph.node, [value.name for value in self.graph.output])]
        (output,) = self.graph.output
        inputs = [value for value in self.graph.input if value.name not in self.initialisers]
        if len(inputs) != 1:
            raise self.error(f"{len(inputs)} graph inputs; networks with one are supported")
        source = graph_input(self.path, inputs[0])
        self.values[source.name] = source
        for node in nodes:
            self.visit(node)
        result = self.values.get(output.name)
        if not isinstance(result, Activation):
            raise self.error(f"output {quote(output.name)} is {describe_value(result)}; "
                             "a quantised or dequantised tensor is supported")
        if result.turns > 1:
            raise self.error(f"output {quote(output.name)} has channels in groups that take turns; an image "
                             "or a vector is supported")
        if not self.nodes:
            raise self.error("no operators between input and output")
        ((first, _), *_) = self.tensors.items()
        name = names.identifier(self.path.stem)
        graph = Graph(
            name=name if name[:1].isalpha() else f"net_{name}".rstrip("_"), input=first,
            output=result.tensor.name, tensors=self.tensors,
            nodes=tuple(replace(node, name=name) for node, name in zip(
                self.nodes, names.identifiers(self.labels), strict=True)))
        graph.verify()
        return graph

    def error(self, what: str) -> HeadraceError:
        return HeadraceError(f"{self.path}: {what}")

    def visit(self, node: OnnxNode) -> None:
        args = [self.argument(node, name) for name in node.inputs]
        value: Value
        match node.operator:
            case "QuantizeLinear":
                value = self.quantize(node, args)
            case "DequantizeLinear":
                value = self.dequantize(node, args)
            case operator if operator in OPERATORS:
                value = OPERATORS[operator](node, args)
            case _:
                known = sorted({*OPERATORS, "DequantizeLinear", "QuantizeLinear"} - FUNCTIONS)
                raise node.error(f"operator not supported; {', '.join(known)}, sums of two tensors and "
                                 "functions of one, as Relu, Sigmoid or a product with a number, are; --cut "
                                 "TENSOR builds up to a tensor")
        (name,) = node.outputs
        if isinstance(value, Movement) and not value.inputs[0].real:  # of integers, which are there at once
            value = self.move(value, name, value.inputs[0].tensor.quantisation)
        if name in self.values or name in self.initialisers:
            raise node.error(f"its output {quote(name)} is there already")
        if isinstance(value, Unquantised | Activation | GraphInput):
            self.declared.check(node, name, value)
        self.values[name] = value

    def argument(self, node: OnnxNode, name: str) -> Value | None:
        if name and name not in self.values:
            if (tensor := self.initialisers.get(name)) is None:
                raise node.error(f"reads {quote(name)}, which is not there: "
                                 "no initialiser, no earlier node's output")
            what = f"{self.path}: constant {quote(name)}"
            self.values[name] = Constant(onnx_file.array(tensor, what=what))
        return self.values[name] if name else None

    def quantize(self, node: OnnxNode, args: Arguments) -> Activation:
        node.expect_inputs(2, 3)
        q = activation_quantisation(node, args, node.integer("output_dtype", 0) or None)
        node.integer("axis", 1)
        node.finish()
        (name,), value = node.outputs, args[0]
        match value:
            case GraphInput(type=TensorProto.FLOAT) if not self.tensors:
                return replace(self.new(Tensor(name, *value.image, q), value.shape), order=value.order)
            case GraphInput(type=TensorProto.FLOAT):
                (tensor, *_) = self.tensors.values()
                if tensor.quantisation != q:
                    raise node.error("quantises the graph input a second time, differently; "
                                     "one scale and zero point are supported")
                return Activation(tensor, value.shape, real=False, order=value.order)
            case Result():
                lo, hi = quantise([value.low, value.high], q).tolist()
                made = self.new(Tensor(name, *value.image, q), value.shape)
                self.append(value.make(made.tensor, lo, hi), _kind(value.node), value.node.name)
                return made
            case Movement():
                return self.move(value, name, q)
            case Pointwise():
                return self.look_up(value, name, q, value.node.name, real=node.inputs[0])
            case Activation(real=True):
                return self.look_up(pointwise(node, value), name, q, node.name)
        raise node.error(f"its input is {describe_value(value)}; float activations are supported")

    def dequantize(self, node: OnnxNode, args: Arguments) -> Value:
        node.expect_inputs(2, 3)
        value = args[0]
        if isinstance(value, Constant):
            return quantised_constant(node, args, value.values)
        node.integer("axis", 1)
        match value:
            case GraphInput(type=TensorProto.INT8 | TensorProto.UINT8):
                q = activation_quantisation(node, args, value.type)
                tensor = self.tensors.get(value.name) or Tensor(value.name, *value.image, q)
                value = replace(self.new(tensor, value.shape), order=value.order)
            case Activation(real=False):
                signed = value.tensor.quantisation.signed
                q = activation_quantisation(
                    node, args, TensorProto.INT8 if signed else TensorProto.UINT8)
            case _:
                raise node.error(f"its input is {describe_value(value)}; "
                                 "quantised tensors and constants are supported")
        node.finish()
        if value.tensor.quantisation != q:
            raise node.error("its scale or zero point is not the one that its input was made with")
        return replace(value, real=True)

    def move(self, value: Movement, name: str, q: Quantisation) -> Activation:
        """Move values that have their quantisation and limits already."""
        levelled = self.level(value, name, q)
        inputs = tuple(levelled[x.tensor.name].tensor.name for x in value.inputs)
        if value.before:
            parts = (replace(part, low=value.low, high=value.high, inputs=tuple(
                levelled[x.tensor.name] for x in part.inputs)) for part in value.before)
            inputs = tuple(self.move(part, self.unused(f"{name}/{index}"), q).tensor.name
                           for index, part in enumerate(parts))
        made = self.new(Tensor(name, *value.image, q), value.shape)
        lo, hi = quantise([value.low, value.high], q).tolist()
        self.append(value.make(inputs, name, lo, hi), _kind(value.node), value.node.name)
        return made

    def level(self, value: Movement, name: str, q: Quantisation) -> dict[str, Activation]:
        """Give what is moved the quantisation and limits of the result; by the tensors' names."""
        levelled: dict[str, Activation] = {}
        for x in value.inputs:
            if x.tensor.name not in levelled:
                function = pointwise(value.node, x).clip(value.low, value.high)
                between = self.unused(f"{name}/{x.tensor.name}")
                levelled[x.tensor.name] = self.look_up(function, between, q, f"{value.node.name}_lookup")
        return levelled

    def look_up(self, function: Pointwise, name: str, q: Quantisation, label: str, *, real: str = "",
                ) -> Activation:
        """A function of an activation, quantised: that itself where none of its values changes.

        ``real`` is what the file calls it before.
        """
        x = function.x.tensor
        lo, hi = next(((node.lo, node.hi) for node in self.nodes if node.output == x.name),
                      (x.quantisation.lo, x.quantisation.hi))
        first, ties = x.quantisation.lo, None
        if function.values is not None:
            table = quantise(function.values, q)
        else:
            computed = self.compute(function, real, q)
            numbers = computed.numbers[..., lo - first:hi - first + 1].reshape(-1, hi - lo + 1).all(axis=0)
            if not numbers.all():
                at = lo + int(np.argmin(numbers))
                value = (at - x.quantisation.zero_point) * x.quantisation.scale
                raise function.node.error(f"has no result for {value:g}, which {quote(x.name)} may be; "
                                          "functions of all that their input may be are supported")
            table, ties = computed.values, computed.ties if computed.ties.any() else None
        if x.quantisation == q and (table[..., lo - first:hi - first + 1] == np.arange(lo, hi + 1)).all():
            return replace(function.x, real=False)
        if function.x.order != (0, 1, 2) or function.x.turns > 1:
            raise function.node.error("changes the values of a transposed image; those of one in the order "
                                      "C, H, W and of a vector made of that are supported")
        made = self.new(Tensor(name, *x.shape, q), function.shape)
        self.append(Lookup("", (x.name,), name, table, lo=int(table.min()), hi=int(table.max()),
                           function=function.operators, ties=ties), _kind(function.node), label)
        return made

    def compute(self, function: Pointwise, real: str, q: Quantisation) -> "Table":
        from headrace.gen.importer import table  # ONNX Runtime, which most networks need not
        wanted, nodes = {real}, list[onnx.NodeProto]()
        for node in reversed(self.graph.node):
            if wanted.intersection(node.output):
                nodes.insert(0, node)
                wanted.update(() if node.op_type == "DequantizeLinear" else node.input)
        return table.compute(function.node, nodes, self.initialisers, self.opsets, real=real,
                             shape=_values(function), x=function.x.tensor.quantisation, y=q)

    def append(self, node: Node, kind: str, label: str) -> None:
        self.nodes.append(node)
        self.labels.append((kind, label))

    def unused(self, name: str) -> str:
        """A name that nothing in the file has."""
        while name in self.taken:
            name += "'"
        self.taken.add(name)
        return name

    def new(self, tensor: Tensor, shape: Shape) -> Activation:
        self.tensors[tensor.name] = tensor
        return Activation(tensor, shape, real=False)


def _values(function: Pointwise) -> Shape:
    """The shape in which all values of an activation are looked at, with the batch."""
    channels = function.x.tensor.channels if function.by_channel else 1
    return (256, channels) if len(function.shape) == 1 else (
        1, channels, *((16, 16) if len(function.shape) > 2 else (256,)))


def _kind(node: OnnxNode) -> str:
    """``GlobalAveragePool`` as ``global_average_pool``."""
    return "".join(f"_{letter}" if letter.isupper() else letter
                   for letter in node.operator).lower().strip("_")
