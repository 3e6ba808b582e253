"""Constants that a file computes from constants, as exporters leave them: Shape, Gather, Cast, Clip, …"""
from collections.abc import Callable, Sequence
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from headrace.gen.importer.passes.constants import MAX_ELEMENTS
from headrace.gen.importer.passes.simplify import constant
from headrace.gen.importer.source.node import OnnxNode
from headrace.gen.importer.source.rewrite import Rewrite
from headrace.gen.ir.errors import HeadraceError, shorten

Array = npt.NDArray[np.generic]

_REASON = 200  # characters of a message
_SHAPES = ("Shape", "Size")

_ROUNDS = 32
_MAX_RANK = 64
_MAX_TENSOR = MAX_ELEMENTS  # of which the Shape is known

# The input whose size says how many dimensions the output has: where it may be large, so may the answer.
_RANK_FROM = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1, "Squeeze": 1, "Unsqueeze": 1}

# Of whichever type of ONNX Runtime's operators would do; float16 and the like stay what they are.
_KINDS = "iufb"

# What the evaluator raises for nodes that are wrong.
_FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NotImplementedError,
             RuntimeError, TypeError, ValueError)


def evaluate(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Carry out every node of :data:`_SIZES` that reads constants only, by ONNX's reference evaluator.

    Constant nodes become initialisers. A Shape of a tensor whose sizes ONNX infers is such a constant, too.
    DequantizeLinear is kept: what is behind it are weights. How much is computed is known before, and
    bounded.

    Raises
    ------
    :exc:`HeadraceError`
        If a node cannot be carried out, or all together make more than :data:`MAX_ELEMENTS` elements.
    """
    if not any(node.op_type == "Constant" or node.op_type in _SIZES for node in model.graph.node):
        return model
    left, shapes = MAX_ELEMENTS, dict[str, tuple[int, ...]]()
    for _ in range(_ROUNDS):  # a Shape may depend on what another one made
        constants = _Constants(model, path, left, shapes)
        for node in constants.rewrite:
            if node.op_type == "Constant":
                constant(constants.rewrite, node)
                constants.changed = True
            elif not constants.visit(node):
                constants.rewrite.keep(node)
        model = constants.rewrite.model() if constants.changed else model
        asked = any(node.op_type in _SHAPES for node in model.graph.node)
        if not asked or (shapes and not constants.changed):
            break
        left, shapes = constants.left, _inferred(model)
    return model


class _Constants:
    def __init__(self, model: onnx.ModelProto, path: Path, left: int, shapes: dict[str, tuple[int, ...]],
                 ) -> None:
        self.rewrite = Rewrite(model, path)
        self.changed = False
        self.left = left
        self.shapes = shapes
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
                         default=1)

    def visit(self, node: onnx.NodeProto) -> bool:
        """Add what ``node`` computes as a constant, if it is one."""
        if (size := _SIZES.get(node.op_type)) is None or len(node.output) != 1:
            return False
        values = [self.value(node, name) for name in node.input]
        if any(value is None and name for name, value in zip(node.input, values, strict=True)):
            return False
        look, inputs = self.rewrite.look(node), [value for value in values if value is not None]
        try:
            self.left -= (count := size(look, inputs))
            if count < 0 or self.left < 0:
                raise look.error(f"more than {MAX_ELEMENTS} elements of computed constants")
            result = self.run(node, values)
        except _FAILURES as error:
            reason = shorten(str(error), _REASON) or type(error).__name__
            raise look.error(f"cannot be computed from its constants: {reason}") from error
        if result.dtype.kind not in _KINDS:
            return False
        self.rewrite.define(node, numpy_helper.from_array(np.ascontiguousarray(result).reshape(result.shape),
                                                          node.output[0]))
        self.changed = True
        return True

    def value(self, node: onnx.NodeProto, name: str) -> Array | None:
        """What ``name`` stands for, if that is known; of a tensor whose Shape is asked for, the sizes."""
        tensor = self.rewrite.tensor(name)
        if tensor is None:
            sizes = self.shapes.get(name) if node.op_type in _SHAPES else None
            return None if sizes is None else np.broadcast_to(np.float32(0), sizes)
        try:
            if tensor.data_type == onnx.TensorProto.BOOL:
                return numpy_helper.to_array(tensor)
            return self.rewrite.values(name)
        except (HeadraceError, *_FAILURES):  # damaged, or of a type that the network may not need
            return None

    def run(self, node: onnx.NodeProto, values: Sequence[Array | None]) -> Array:
        kind = helper.np_dtype_to_tensor_dtype
        feeds = {name: value for name, value in zip(node.input, values, strict=True) if value is not None}
        inputs = [helper.make_tensor_value_info(name, kind(value.dtype), value.shape)
                  for name, value in feeds.items()]
        graph = helper.make_graph([node], "constant", inputs, [onnx.ValueInfoProto(name=node.output[0])])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        with np.errstate(all="ignore"):
            (result,) = ReferenceEvaluator(model).run(None, feeds)
        return np.asarray(result)


def _inferred(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The sizes of the tensors for which they follow from the input's; what the file says does not count."""
    small = {tensor.name for tensor in model.graph.initializer if prod(tensor.dims) <= _MAX_RANK}
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:], bare.graph.node[:]
    bare.graph.node.extend(node for node in model.graph.node if all(
        name in small for name in node.input[_RANK_FROM.get(node.op_type, len(node.input)):][:1]))
    for value in bare.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        found = onnx.shape_inference.infer_shapes(bare).graph
    except (onnx.shape_inference.InferenceError, *_FAILURES):
        return {}
    return {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in (*found.input, *found.value_info, *found.output)
            if value.type.tensor_type.HasField("shape")
            and all(dim.HasField("dim_value") and dim.dim_value > 0
                    for dim in value.type.tensor_type.shape.dim)
            and prod(dim.dim_value for dim in value.type.tensor_type.shape.dim) <= _MAX_TENSOR}


def _asked(node: OnnxNode, inputs: Sequence[Array]) -> int:
    return inputs[0].ndim


def _together(node: OnnxNode, inputs: Sequence[Array]) -> int:
    """Of operators that repeat nothing."""
    return sum(value.size for value in inputs)


def _broadcast(node: OnnxNode, inputs: Sequence[Array]) -> int:
    return prod(np.broadcast_shapes(*(value.shape for value in inputs)))


def _filled(node: OnnxNode, inputs: Sequence[Array]) -> int:
    return prod(map(int, inputs[0].reshape(-1)))


def _expanded(node: OnnxNode, inputs: Sequence[Array]) -> int:
    return prod(np.broadcast_shapes(inputs[0].shape, tuple(map(int, inputs[1].reshape(-1)))))


def _tiled(node: OnnxNode, inputs: Sequence[Array]) -> int:
    return inputs[0].size * prod(map(int, inputs[1].reshape(-1)))


def _counted(node: OnnxNode, inputs: Sequence[Array]) -> int:
    start, limit, step = (value.item() for value in inputs)
    return int(max(0, ceil((limit - start) / step)))


def _gathered(node: OnnxNode, inputs: Sequence[Array]) -> int:
    data, indices = inputs
    return int(data.size // data.shape[node.integer("axis", 0)] * indices.size)


# How many elements an operator makes.
_SIZES: dict[str, Callable[[OnnxNode, Sequence[Any]], int]] = {
    **dict.fromkeys(("Abs", "Cast", "Ceil", "Clip", "Concat", "Flatten", "Floor", "Identity", "Neg", "Not",
                     "QuantizeLinear", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape",
                     "Round", "Sign", "Slice", "Sqrt", "Squeeze", "Transpose", "Unsqueeze"), _together),
    **dict.fromkeys(_SHAPES, _asked),
    **dict.fromkeys(("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max",
                     "Min", "Mod", "Mul", "Or", "Sub", "Where"), _broadcast),
    "ConstantOfShape": _filled, "Expand": _expanded, "Gather": _gathered, "Range": _counted, "Tile": _tiled}
