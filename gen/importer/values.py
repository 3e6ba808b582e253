"""What an ONNX tensor is to the importer, and how QuantizeLinear and DequantizeLinear change it."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from headrace.gen.importer.source.file import type_name
from headrace.gen.importer.source.node import OnnxNode, Shape, describe
from headrace.gen.ir.graph import Node, Quantisation, Tensor

LARGEST = 255
"""Of an activation, without its zero point."""


@dataclass(frozen=True, eq=False)
class Constant:
    values: npt.NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class QuantisedConstant:
    """Weights or a bias behind their DequantizeLinear; the zero point is taken off."""

    integers: npt.NDArray[np.int16 | np.int64]
    scale: npt.NDArray[np.float32]  # [] or [size of `axis`]
    axis: int
    bits: int
    shifted: bool  # there was a zero point other than 0


@dataclass(frozen=True)
class GraphInput:
    """The input before its quantisation is known."""

    name: str
    shape: Shape  # the image's, or flattened
    type: int  # FLOAT, or INT8 or UINT8 when the network's user quantises
    image: tuple[int, int, int]
    order: tuple[int, int, int] = (0, 1, 2)  # as of an Activation


@dataclass(frozen=True)
class Activation:
    """A tensor of the integer graph, in integers or (behind DequantizeLinear) as real numbers."""

    tensor: Tensor
    shape: Shape  # the tensor's, or flattened
    real: bool
    order: tuple[int, int, int] = (0, 1, 2)  # in which the file has C, H and W; `tensor` has C x H x W
    turns: int = 1  # groups of the tensor's channels of which the file has one of each in turn


@dataclass(frozen=True, eq=False)
class Result:
    """What an operator computed, not yet quantised."""

    node: OnnxNode
    shape: Shape
    image: tuple[int, int, int]
    make: Callable[[Tensor, int, int], Node]  # (output, lo, hi) -> node without a name
    low: float = -np.inf
    high: float = np.inf

    def clip(self, low: float, high: float) -> "Result":
        return replace(self, low=min(max(self.low, low), high), high=min(max(self.high, low), high))


@dataclass(frozen=True, eq=False)
class Pointwise:
    """A function of one activation, not yet quantised.

    ``values`` are [256], for the least integer of the activation's type and up; None if ONNX Runtime has to
    compute them (:mod:`headrace.gen.importer.table`).
    """

    node: OnnxNode
    x: Activation
    values: npt.NDArray[np.float32] | None
    operators: tuple[str, ...] = ()  # of the file
    by_channel: bool = False  # constants differ from channel to channel

    @property
    def shape(self) -> Shape:
        return self.x.shape

    def clip(self, low: float, high: float) -> "Pointwise":
        return self if self.values is None else replace(
            self, values=np.clip(self.values, np.float32(low), np.float32(high)))

    def after(self, operator: str) -> "Pointwise":
        """The same as the result of one more operator."""
        return replace(self, operators=tuple(dict.fromkeys((*self.operators, operator))))


@dataclass(frozen=True, eq=False)
class Movement:
    """Values of activations in another place or order, not yet quantised."""

    node: OnnxNode
    shape: Shape
    image: tuple[int, int, int]
    inputs: tuple[Activation, ...]
    make: Callable[[tuple[str, ...], str, int, int], Node]  # (inputs, output, lo, hi) -> node without a name
    before: "tuple[Movement, ...]" = ()  # of the same inputs: `make` reads what they make, which no file has
    low: float = -np.inf
    high: float = np.inf

    def clip(self, low: float, high: float) -> "Movement":
        return replace(self, low=min(max(self.low, low), high), high=min(max(self.high, low), high))


Unquantised = Result | Pointwise | Movement
Value = Constant | QuantisedConstant | GraphInput | Activation | Unquantised
Arguments = Sequence[Value | None]


def describe_value(value: Value | None) -> str:
    """What stands where something else was expected, for a message."""
    match value:
        case None:
            return "nothing"
        case Constant():
            return f"a constant of {value.values.dtype}"
        case QuantisedConstant():
            return "a quantised constant"
        case GraphInput():
            return f"the {type_name(value.type)} graph input"
        case Activation():
            return "a dequantised tensor" if value.real else "a quantised tensor"
        case Result() | Pointwise() | Movement():
            return f"the unquantised result of {value.node.operator}"


def quantise(values: npt.ArrayLike, q: Quantisation) -> npt.NDArray[np.int16]:
    """QuantizeLinear."""
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(values, np.float32) / np.float32(q.scale))
    limited: npt.NDArray[np.int16] = np.clip(steps + np.float32(q.zero_point), q.lo, q.hi).astype(np.int16)
    return limited


def pointwise(node: OnnxNode, x: Activation) -> Pointwise:
    """The function that changes nothing: DequantizeLinear of every integer."""
    q = x.tensor.quantisation
    with np.errstate(over="ignore"):
        values = (np.arange(q.lo, q.hi + 1) - q.zero_point).astype(np.float32) * np.float32(q.scale)
    if not np.isfinite(values).all():
        raise node.error(f"its input's scale {q.scale:g} takes values beyond float32")
    return Pointwise(node, x, values)


def parameters(
        node: OnnxNode, args: Arguments,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.generic] | None]:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear; scalars are of shape []."""
    node.only("block_size", 0, 0)
    for ignored in ("saturate", "precision"):  # they concern types that are refused elsewhere
        node.integer(ignored, 0)
    scale, zero = args[1], args[2] if len(args) > 2 else None
    if not isinstance(scale, Constant) or scale.values.dtype != np.float32:
        raise node.error(f"its scale is {describe_value(scale)}; a float constant is supported")
    if scale.values.ndim > 1:
        raise node.error(f"its scale has shape {list(scale.values.shape)}; "
                         "one per tensor or per channel is supported")
    factors = scale.values.astype(np.float32)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise node.error("its scale is not everywhere positive and finite")
    if zero is not None and not isinstance(zero, Constant):
        raise node.error(f"its zero point is {describe_value(zero)}; a constant is supported")
    zeros = None if zero is None else zero.values
    if zeros is not None and zeros.size != factors.size:
        raise node.error(f"has {factors.size} scales but {zeros.size} zero points")
    if factors.size == 1:
        return factors.reshape(()), None if zeros is None else zeros.reshape(())
    return factors, None if zeros is None else zeros.reshape(-1)


def activation_quantisation(node: OnnxNode, args: Arguments, type: int | None) -> Quantisation:
    """The quantisation of an activation whose integer type is ``type``, or the zero point's."""
    scale, zero = parameters(node, args)
    if scale.ndim:
        raise node.error(f"{scale.size} scales for an activation; one per tensor is supported")
    wanted: int = TensorProto.UINT8 if type is None else type
    if zero is not None and zero.dtype in (np.int8, np.uint8) and type is None:
        wanted = TensorProto.INT8 if zero.dtype == np.int8 else TensorProto.UINT8
    if wanted not in (TensorProto.INT8, TensorProto.UINT8):
        raise node.error(f"{type_name(wanted)} activations are not supported; int8 and uint8 are")
    signed = wanted == TensorProto.INT8
    if zero is not None and zero.dtype != (np.int8 if signed else np.uint8):
        raise node.error(f"its zero point is {zero.dtype}; int8 and uint8 are supported")
    return Quantisation(scale=float(scale), zero_point=0 if zero is None else int(zero),
                        signed=signed)


def quantised_constant(node: OnnxNode, args: Arguments, values: npt.NDArray[np.generic],
                       ) -> QuantisedConstant:
    """A constant behind its DequantizeLinear."""
    scale, zero = parameters(node, args)
    axis = node.integer("axis", 1)
    node.finish()
    if values.dtype not in (np.int8, np.uint8, np.int32):
        raise node.error(f"a {values.dtype} constant; int8, uint8 and int32 are supported")
    if zero is not None and zero.dtype != values.dtype:
        raise node.error(f"its zero point is {zero.dtype} but its values are {values.dtype}")
    integers = values.astype(np.int16 if values.dtype.itemsize == 1 else np.int64)
    offset = np.zeros((), integers.dtype) if zero is None else zero.astype(integers.dtype)
    if scale.ndim:
        axis += values.ndim if axis < 0 else 0
        if not 0 <= axis < values.ndim or values.shape[axis] != scale.size:
            raise node.error(f"{scale.size} scales along axis {axis} of {list(values.shape)}")
        offset = offset.reshape(-1, *[1] * (values.ndim - axis - 1))
    return QuantisedConstant(integers=integers - offset, scale=scale, axis=axis,
                             bits=8 * values.dtype.itemsize, shifted=bool(offset.any()))


def activation(node: OnnxNode, args: Arguments, index: int, *, ordered: bool = True) -> Activation:
    """Argument ``index``, which has to be a dequantised tensor of the graph, and if `ordered` C x H x W."""
    value = args[index]
    if not isinstance(value, Activation) or not value.real:
        raise node.error(f"its input {index} is {describe_value(value)}; "
                         "every operator needs DequantizeLinear before and QuantizeLinear after it")
    if ordered and value.order != (0, 1, 2):
        raise node.error(f"its input {index} is a transposed image; Gemm may read one as a vector")
    if len(value.shape) > 3 or value.turns > 1:
        raise node.error(f"its input {index} has channels in groups, {describe(value.shape)}; an image is "
                         "supported, behind the Transpose and the Reshape of a shuffle of channels")
    return value


def check_multiplier(node: OnnxNode, multiplier: npt.NDArray[np.float32]) -> None:
    if not np.isfinite(multiplier).all():
        raise node.error("input scale x weight scale / output scale is beyond float32")
