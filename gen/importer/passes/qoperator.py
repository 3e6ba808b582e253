"""Operator-oriented quantisation (QLinearConv, …), as plain operators between Q and DQ."""
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto

from headrace.gen.importer.source.file import quote
from headrace.gen.importer.source.rewrite import Rewrite

_MOVES = frozenset({"Gather", "MaxPool", "Resize", "Slice", "SpaceToDepth"})
_ON_INTEGERS = _MOVES | {"Clip"}
_TO_VECTOR = frozenset({"Flatten", "Reshape", "Squeeze"})
_KEEP_VALUES = _TO_VECTOR | {"Pad", "Transpose", "Unsqueeze"}

Parameters = tuple[str, str]  # the names of scale and zero point


def expand(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Replace QLinearConv, QLinearMatMul, QGemm, QLinearAdd, QLinearAveragePool, QLinearGlobalAveragePool,
    QLinearConcat, QLinearLeakyRelu, QLinearMul, QLinearSigmoid.

    Quantised tensors keep their names. The int32 bias gets the scale that it has by definition, input scale x
    weight scale. MaxPool, Resize, Slice, Gather, SpaceToDepth and Clip on integers get the quantisation of
    what they read, and a Clip then limits the operator that made its input, if nothing else reads that.
    Operators that only move values to a vector or another layout stay where they are.
    """
    if not any(node.op_type in _FORMS or node.op_type in _ON_INTEGERS for node in model.graph.node):
        return model
    expansion = _Expansion(model, path)
    expansion.run()
    return expansion.rewrite.model() if expansion.changed else model


class _Expansion:
    def __init__(self, model: onnx.ModelProto, path: Path) -> None:
        self.rewrite = Rewrite(model, path)
        self.quantised: dict[str, Parameters] = {}  # of integer tensors so far
        self.changed = False
        self.inputs = {value.name: value.name for value in model.graph.input}
        for node in model.graph.node:  # an integer input has the quantisation with which its values are read
            if node.input and node.op_type in _KEEP_VALUES | _ON_INTEGERS:
                if source := self.inputs.get(node.input[0]):
                    self.inputs.update(dict.fromkeys(node.output, source))
            elif node.op_type in _FORMS or node.op_type == "DequantizeLinear":
                for name, parameters in _operands(node):
                    if source := self.inputs.get(name):
                        self.quantised.setdefault(source, parameters)

    def run(self) -> None:
        for node in self.rewrite:
            form = _FORMS.get(node.op_type)
            known = self.quantised.get(node.input[0])
            if form is not None:
                form(self, node)
                self.changed = True
            elif known and (node.op_type in _MOVES or node.op_type in _TO_VECTOR
                            and self.inputs.get(node.input[0]) == node.input[0]):
                x = self.dequantise(node, node.input[0], known)
                self.finish(node, node.op_type, [x, *node.input[1:]], known, list(node.attribute))
                self.changed = True
            elif node.op_type == "Clip" and known:
                self.clip(node, known)
                self.changed = True
            else:
                if node.op_type == "QuantizeLinear" and len(node.input) > 2:
                    self.quantised[node.output[0]] = (node.input[1], node.input[2])
                elif node.op_type in _KEEP_VALUES and known:
                    self.quantised[node.output[0]] = known
                self.rewrite.keep(node)

    def dequantise(self, node: onnx.NodeProto, name: str, parameters: Parameters, axis: int = 1) -> str:
        return self.rewrite.emit("DequantizeLinear", [name, *filter(None, parameters)],
                                 self.rewrite.fresh(f"{name}/real"), like=node, axis=axis)

    def bias(self, node: onnx.NodeProto, name: str, x_scale: str, w_scale: str) -> str:
        x, w = self.rewrite.values(x_scale), self.rewrite.values(w_scale)
        if x is None or w is None or x.dtype != np.float32 or w.dtype != np.float32:
            raise self.rewrite.look(node).error(f"its scales {quote(x_scale)} and {quote(w_scale)} are not "
                                                "both float constants; these are supported")
        if x.size != 1 or w.ndim > 1:
            raise self.rewrite.look(node).error(
                f"scales of shapes {list(x.shape)} for its input and {list(w.shape)} for its weights; "
                "one, and one or one per output are supported")
        with np.errstate(all="ignore"):  # the importer insists on sound scales
            product = x.reshape(()).astype(np.float32) * w.astype(np.float32)
        return self.dequantise(node, name, (self.rewrite.constant(f"{name}/scale", product), ""), axis=0)

    def finish(self, node: onnx.NodeProto, operator: str, inputs: list[str], parameters: Parameters,
               attributes: list[AttributeProto]) -> None:
        """The plain operator and its QuantizeLinear."""
        y = node.output[0]
        real = self.rewrite.emit(operator, inputs, self.rewrite.fresh(f"{y}/real"), like=node,
                                 attributes=attributes)
        self.rewrite.emit("QuantizeLinear", [real, *filter(None, parameters)], y, like=node)
        self.quantised[y] = parameters

    def clip(self, node: onnx.NodeProto, parameters: Parameters) -> None:
        look, rewrite = self.rewrite.look(node), self.rewrite
        scale, zero = (rewrite.values(name) for name in parameters)
        before = rewrite.producer(node.input[0], "QuantizeLinear")
        if scale is None or zero is None or scale.size != 1 or zero.size != 1:
            raise look.error("clips a tensor whose scale and zero point are not constants, one each")
        limits = []
        for name in node.input[1:]:
            limit = rewrite.values(name) if name else None
            if name and (limit is None or limit.size != 1 or limit.dtype != zero.dtype):
                raise look.error(f"its limit {quote(name)} is not one {zero.dtype} constant; "
                                 "one is supported")
            if limit is not None:
                with np.errstate(all="ignore"):
                    real = (limit.astype(np.float32) - zero.astype(np.float32)) * scale.astype(np.float32)
                name = rewrite.constant(f"{name}/real", real.reshape(()))
            limits.append(name)
        if before is None or rewrite.uses[node.input[0]] != 1 or before.input[0] in self.inputs:
            source = self.dequantise(node, node.input[0], parameters)
        else:
            source = before.input[0]
            rewrite.remove(before)
        self.finish(node, "Clip", [source, *limits], parameters, [])


def _inputs(expansion: _Expansion, node: onnx.NodeProto, least: int, most: int) -> list[str]:
    """The node's inputs, "" for those that are absent."""
    expansion.rewrite.look(node).expect_inputs(least, most)
    return [*node.input, *[""] * most][:most]  # a file may write absent ones beyond the last, too


def _conv(expansion: _Expansion, node: onnx.NodeProto) -> None:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = _inputs(expansion, node, 8, 9)
    inputs = [expansion.dequantise(node, x, (x_scale, x_zero)),
              expansion.dequantise(node, w, (w_scale, w_zero), axis=0)]
    if bias:
        inputs.append(expansion.bias(node, bias, x_scale, w_scale))
    expansion.finish(node, "Conv", inputs, (y_scale, y_zero), list(node.attribute))


def _matmul(expansion: _Expansion, node: onnx.NodeProto) -> None:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = _inputs(expansion, node, 8, 8)
    inputs = [expansion.dequantise(node, x, (x_scale, x_zero)),
              expansion.dequantise(node, w, (w_scale, w_zero), axis=1)]
    expansion.finish(node, "Gemm", inputs, (y_scale, y_zero), list(node.attribute))


def _gemm(expansion: _Expansion, node: onnx.NodeProto) -> None:
    x, x_scale, x_zero, w, w_scale, w_zero, bias, y_scale, y_zero = _inputs(expansion, node, 6, 9)
    look = expansion.rewrite.look(node)
    if not y_scale:
        raise look.error("its result is in real numbers; one with y_scale is supported")
    transposed = look.integer("transB", 0)
    inputs = [expansion.dequantise(node, x, (x_scale, x_zero)),
              expansion.dequantise(node, w, (w_scale, w_zero), axis=0 if transposed else 1)]
    if bias:
        inputs.append(expansion.bias(node, bias, x_scale, w_scale))
    expansion.finish(node, "Gemm", inputs, (y_scale, y_zero), list(node.attribute))


def _arithmetic(expansion: _Expansion, node: onnx.NodeProto) -> None:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = _inputs(expansion, node, 7, 8)
    inputs = [expansion.dequantise(node, a, (a_scale, a_zero)),
              expansion.dequantise(node, b, (b_scale, b_zero))]
    expansion.finish(node, node.op_type.removeprefix("QLinear"), inputs, (y_scale, y_zero),
                     list(node.attribute))


def _concat(expansion: _Expansion, node: onnx.NodeProto) -> None:
    look = expansion.rewrite.look(node)
    if len(node.input) < 5 or len(node.input) % 3 != 2:
        raise look.error(f"has {len(node.input)} inputs; scale and zero point of the output, and three for "
                         "each tensor are supported")
    parts = [expansion.dequantise(node, *part) for part in _triples(node.input[2:])]
    expansion.finish(node, "Concat", parts, (node.input[0], node.input[1]), list(node.attribute))


def _operands(node: onnx.NodeProto) -> Iterator[tuple[str, Parameters]]:
    """Yield the integer tensors that a node reads, but for weights, with the quantisation that it says."""
    starts = {"QLinearConcat": range(2, len(node.input), 3), "QLinearAdd": range(0, 6, 3),
              "QLinearMul": range(0, 6, 3)}
    for start in starts.get(node.op_type, range(1)):
        if len(operand := node.input[start:start + 3]) == 3:
            yield operand[0], (operand[1], operand[2])


def _triples(names: Sequence[str]) -> Iterator[tuple[str, Parameters]]:
    for name, scale, zero in zip(names[::3], names[1::3], names[2::3], strict=True):
        yield name, (scale, zero)


def _function(expansion: _Expansion, node: onnx.NodeProto) -> None:
    x, x_scale, x_zero, y_scale, y_zero = _inputs(expansion, node, 4, 5)
    expansion.finish(node, node.op_type.removeprefix("QLinear"),
                     [expansion.dequantise(node, x, (x_scale, x_zero))], (y_scale, y_zero),
                     list(node.attribute))


def _pool(expansion: _Expansion, node: onnx.NodeProto) -> None:
    x, x_scale, x_zero, y_scale, y_zero = _inputs(expansion, node, 4, 5)
    expansion.rewrite.look(node).only("channels_last", 0, 0)
    attributes = [attribute for attribute in node.attribute if attribute.name != "channels_last"]
    expansion.finish(node, node.op_type.removeprefix("QLinear"),
                     [expansion.dequantise(node, x, (x_scale, x_zero))], (y_scale, y_zero), attributes)


_FORMS: dict[str, Callable[[_Expansion, onnx.NodeProto], None]] = {
    "QGemm": _gemm,
    "QLinearAdd": _arithmetic,
    "QLinearAveragePool": _pool,
    "QLinearConcat": _concat,
    "QLinearConv": _conv,
    "QLinearGlobalAveragePool": _pool,
    "QLinearLeakyRelu": _function,
    "QLinearMatMul": _matmul,
    "QLinearMul": _arithmetic,
    "QLinearSigmoid": _function,
}
