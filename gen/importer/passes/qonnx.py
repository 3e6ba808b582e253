"""QONNX, as Brevitas exports it, to QDQ."""
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from headrace.gen.importer.passes.affine import Affine, Folded, fold
from headrace.gen.importer.passes.constants import DOMAINS, Constants, is_quant
from headrace.gen.importer.passes.quant import Grid, Quantiser, real
from headrace.gen.importer.source.node import OnnxNode

_OPSET = 13  # DequantizeLinear per channel
_IR_VERSION = 8
_LINEAR = ("Conv", "Gemm", "MatMul")
_SAME_QUANTISATION = ("Flatten", "GlobalMaxPool", "Identity", "MaxPool", "Relu", "Reshape", "Squeeze",
                      "Transpose")


def expand(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return the QDQ model that a QONNX model stands for; a model without Quant nodes as it is.

    - Quant of an activation, 2 to 8 bits, one scale: QuantizeLinear and DequantizeLinear, behind a Clip if
      the range is not the whole of 8 bits. All activations are int8 if one of them is signed, else uint8,
      as ONNX Runtime's integer kernels want it; unsigned integers of 8 bits are then 128 less.
    - Quant of weights, 2 to 8 bits, per tensor or per output channel: an integer constant of just these
      values behind DequantizeLinear.
    - The bias, quantised or not, BatchNormalization and other functions that are affine in each channel:
      folded into weight scale and an int32 bias, rounded to a multiple of input scale x weight scale. An
      output may thereby differ by one from QONNX's float arithmetic if it is within half such a multiple of
      a tie; if nothing is rounded, only at a tie.
    - MaxPool, Flatten and the like keep the quantisation of their input.
    - Constants computed from constants are folded.

    Nothing of the file is carried out by other packages: `qonnx` would import modules that the file names.

    Raises
    ------
    :exc:`HeadraceError`
        If a Quant or what it belongs to is not supported, or the file is damaged.
    """
    if not any(node.domain in DOMAINS for node in model.graph.node):
        return model
    with np.errstate(all="ignore"):  # what is not finite is refused where it would matter
        return _Expansion(model.graph, path).run(model)


@dataclass(frozen=True)
class _Quantised:
    """How a real tensor was quantised."""

    scale: np.float32
    zero_point: int
    lo: int
    hi: int


class _Expansion:
    """Walks the nodes in order and writes those of the new graph."""

    def __init__(self, graph: onnx.GraphProto, path: Path) -> None:
        self.graph = graph
        self.path = path
        self.initialisers = {tensor.name: tensor for tensor in graph.initializer}
        self.constants = Constants(path, self.initialisers)
        self.outputs = {value.name for value in graph.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.quantised: dict[str, _Quantised] = {}
        self.merged: set[str] = set()  # outputs of nodes that are folded into weights
        self.nodes: list[onnx.NodeProto] = []
        self.made: dict[str, onnx.TensorProto] = {}

    def run(self, model: onnx.ModelProto) -> onnx.ModelProto:
        dynamic = [proto for proto in self.graph.node if not self.constants.evaluate(self.node(proto))]
        self.dtype: Any = np.int8 if any(
            Quantiser.read(node, self.constants).signed for node in map(self.node, dynamic)
            if is_quant(node.operator)) else np.uint8
        for proto in dynamic:
            self.visit(proto)
        graph = helper.make_graph(
            self.nodes, "qonnx",
            [value for value in self.graph.input if value.name not in self.initialisers],
            self.graph.output, list(self.made.values()))
        versions = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        opset = max(_OPSET, max(versions, default=0))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)],
                                 ir_version=_IR_VERSION)

    def node(self, proto: onnx.NodeProto) -> OnnxNode:
        return OnnxNode(proto, file=str(self.path))

    def visit(self, proto: onnx.NodeProto) -> None:
        node = self.node(proto)
        if is_quant(node.operator):
            node.expect_inputs(4, 4)
            self.activation(node)
        elif proto.domain in DOMAINS:
            raise node.error("operator not supported; of QONNX's, Quant (IntQuant) is")
        elif node.operator in _LINEAR:
            self.linear(proto, node)
        elif self.merged.isdisjoint(proto.output):
            self.other(proto, node)

    def other(self, proto: onnx.NodeProto, node: OnnxNode) -> None:
        """Copy a node that may stay as it is."""
        for name in node.inputs:
            if name in self.constants:
                if isinstance(value := self.constants[name], Grid):
                    raise node.error("reads a quantised constant; "
                                     f"weights and biases of {', '.join(_LINEAR)} are supported")
                self.initialiser(name, value)
        self.nodes.append(copy := onnx.NodeProto())
        copy.CopyFrom(proto)
        q = self.quantised.get(next(iter(node.inputs), ""))
        if q is not None and node.operator in _SAME_QUANTISATION and len(node.outputs) == 1:
            (name,) = node.outputs
            self.quantised[name] = q
            quants = [is_quant(self.node(reader).operator) for reader in self.readers[name]]
            if name in self.outputs or not all(quants):
                copy.output[0] = f"{name}/unquantised"
                self.quantise(copy.output[0], name, q)

    def activation(self, node: OnnxNode) -> None:
        """Quant of something that is computed."""
        quantiser = Quantiser.read(node, self.constants)
        (source, *_), (name,) = node.inputs, node.outputs
        limits = np.iinfo(self.dtype)
        if quantiser.bits > 8:
            raise node.error(f"bit width {quantiser.bits} of an activation is not supported; 2 to 8 are")
        if quantiser.scale.size > 1 or quantiser.zero_point.size > 1:
            raise node.error(f"{max(quantiser.scale.size, quantiser.zero_point.size)} scales for an "
                             "activation; one per tensor is supported")
        shift = limits.min if (quantiser.signed, quantiser.bits) == (False, 8) else 0
        q = _Quantised(np.float32(quantiser.scale.item()), int(quantiser.zero_point.item()) + shift,
                       quantiser.lo + shift, quantiser.hi + shift)
        before = self.quantised.get(source)
        narrowed = (q.lo, q.hi) != (limits.min, limits.max) and not (
            before and (before.scale, before.zero_point) == (q.scale, q.zero_point)
            and q.lo <= before.lo and before.hi <= q.hi)
        if narrowed and any(source == value.name for value in self.graph.input):
            self.quantise(source, f"{source}/quantised", q)  # whole, as the hardware's input is
            source = f"{source}/quantised"
        if narrowed:
            ends = [self.scalar(f"{name}/{end}", np.float32((value - q.zero_point) * np.float64(q.scale)))
                    for end, value in (("lo", q.lo), ("hi", q.hi))]
            source = self.add("Clip", [source, *ends], f"{name}/limited")
        self.quantise(source, name, q)

    def quantise(self, source: str, name: str, q: _Quantised) -> None:
        parameters = [self.scalar(f"{name}/scale", q.scale),
                      self.scalar(f"{name}/zero_point", self.dtype(q.zero_point))]
        integers = self.add("QuantizeLinear", [source, *parameters], f"{name}/integers")
        self.add("DequantizeLinear", [integers, *parameters], name)
        self.quantised[name] = q

    def linear(self, proto: onnx.NodeProto, node: OnnxNode) -> None:
        """Conv, Gemm or MatMul with what is folded into it."""
        node.expect_inputs(2, 3)
        x, weight = self.quantised.get(node.inputs[0]), self.constants.get(node.inputs[1])
        if x is None:
            raise node.error("its input 0 is not quantised; every layer needs a Quant before it")
        if not isinstance(weight, Grid):
            raise node.error("its weights are not quantised; a constant behind a Quant is supported")
        if weight.bits > 8:
            raise node.error(f"weights of {weight.bits} bits are not supported; 2 to 8 are")
        rank, ranks = weight.integers.ndim, (3, 4) if node.operator == "Conv" else (2,)
        if rank not in ranks or not weight.integers.size:
            raise node.error(f"weights of shape {list(weight.integers.shape)} are not supported; "
                             f"{' or '.join(map(str, ranks))} dimensions, none of them 0, are")
        rows = node.operator == "Conv" or node.integer("transB", 0)
        axes = tuple(range(rank)) if rows else (1, 0)
        weight = weight.transpose(axes)  # outputs first
        if weight.scale.size != weight.scale.shape[0]:
            raise node.error(f"weight scales of shape {list(weight.scale.transpose(axes).shape)}; "
                             "per tensor and per output channel are supported")
        affine, end = self.follow(proto, node, rank, len(weight.integers))
        self.constants.spend(node, weight.integers.size)
        made = fold(node, weight.integers.reshape(len(weight.integers), -1), weight.scale.reshape(-1),
                    affine, x.scale)
        self.layer(proto, end, weight.integers.shape, axes, made, x)

    def follow(self, proto: onnx.NodeProto, node: OnnxNode, rank: int, outputs: int) -> tuple[Affine, str]:
        """What of the nodes behind can be folded, with the bias, and the name of the last result."""
        bias = np.zeros(outputs)
        if len(node.inputs) > 2:
            if node.inputs[2] not in self.constants:
                raise node.error("its bias is not a constant; a float constant or one behind a Quant is "
                                 "supported")
            bias = real(self.constants[node.inputs[2]]).astype(np.float64).reshape(-1)
            if bias.size != outputs:
                raise node.error(f"a bias of {bias.size} values for {outputs} outputs")
        affine, end = Affine(np.ones(outputs), bias, rank), proto.output[0]
        while len(readers := self.readers[end]) == 1 and end not in self.outputs:
            reader = self.node(readers[0])
            then = affine.then(reader, self.constants, end) if len(reader.outputs) == 1 else None
            if then is None or reader.outputs[0] in self.merged:
                break
            affine, end = then, reader.outputs[0]
            self.merged.add(end)
        return affine, end

    def layer(self, proto: onnx.NodeProto, end: str, shape: tuple[int, ...], axes: tuple[int, ...],
              made: Folded, x: _Quantised) -> None:
        uniform = (made.scale == made.scale[0]).all()
        scale = made.scale[0] if uniform else made.scale
        # Integers of more than int8 holds come from zero points other than 0, or from -128 negated.
        signed = -128 <= made.weight.min() and made.weight.max() <= 127
        zero = np.zeros(len(made.weight), np.int64) if signed else np.maximum(0, -made.weight.min(1))
        dtype: Any = np.int8 if signed else np.uint8
        stored = (made.weight + zero[:, None]).astype(dtype).reshape(shape).transpose(axes)
        attributes = {} if uniform and signed else {"axis": axes[0]}
        scales = scale if not attributes else np.broadcast_to(made.scale, len(zero))
        zeros = zero.astype(dtype) if attributes else dtype(0)
        weight = self.add("DequantizeLinear", self.parameters(f"{end}/weight", stored, scales, zeros),
                          f"{end}/weight", **attributes)
        bias = self.add("DequantizeLinear", self.parameters(
            f"{end}/bias", made.bias, scale * x.scale, np.zeros_like(scale, np.int32)),
            f"{end}/bias", **({} if uniform else {"axis": 0}))
        copy = onnx.NodeProto()
        copy.CopyFrom(proto)
        copy.op_type = "Conv" if proto.op_type == "Conv" else "Gemm"
        del copy.input[1:], copy.output[:]
        copy.input.extend([weight, bias])
        copy.output.append(end)
        self.nodes.append(copy)

    def parameters(self, name: str, *values: npt.NDArray[np.generic]) -> list[str]:
        return [self.initialiser(f"{name}/{part}", value)
                for part, value in zip(("integers", "scale", "zero_point"), values, strict=True)]

    def scalar(self, name: str, value: np.generic) -> str:
        return self.initialiser(name, np.asarray(value))

    def initialiser(self, name: str, value: npt.NDArray[np.generic]) -> str:
        if name not in self.made:
            self.made[name] = numpy_helper.from_array(value, name)
        return name

    def add(self, operator: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output
