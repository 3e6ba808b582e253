"""Convolution and fully connected layers of an ONNX network."""
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.gen.importer.source.node import OnnxNode, check_image, describe, like, window
from headrace.gen.importer.values import (
    Activation,
    Arguments,
    Constant,
    QuantisedConstant,
    Result,
    activation,
    check_multiplier,
    describe_value,
)
from headrace.gen.ir.graph import Conv, Node, Tensor, Window

MAX_DENSE = 1 << 24  # weights of a grouped convolution, the zeros between groups included
BIAS_TOLERANCE = 1e-3  # of the bias scale, relative to input scale x weight scale


def conv(node: OnnxNode, args: Arguments) -> Result:
    node.expect_inputs(2, 3)
    x = activation(node, args, 0)
    check_image(node, x.shape)
    weight = _weight(node, args, rank=1 + len(x.shape))
    outputs, depth, *kernel = weight.integers.shape
    moves = window(node, x.shape, kernel=tuple(kernel))
    groups, channels = node.integer("group", 1), x.shape[0]
    node.finish()
    if groups < 1 or depth * groups != channels or outputs % groups:
        raise node.error(f"weights {list(weight.integers.shape)} and group {groups} "
                         f"do not fit {channels} input channels")
    integers: npt.NDArray[np.integer] = weight.integers.reshape(outputs, depth, -1, kernel[-1])
    if 1 < groups < channels:
        integers, groups = _dense(node, integers, groups), 1
    result = _convolution(node, args, x, integers, weight.scale, moves, groups)
    return replace(result, shape=like(x.shape, result.image))


def _dense(node: OnnxNode, weight: npt.NDArray[np.integer], groups: int) -> npt.NDArray[np.integer]:
    """The weights of a grouped convolution as those of a dense one, with zeros between the groups.

    The zeros cost what weights cost: ``groups`` times the ROM and the multiplications of the grouped form.
    """
    outputs, depth, *kernel = weight.shape
    if weight.size * groups > MAX_DENSE:
        raise node.error(f"group {groups} as a dense convolution has {weight.size * groups} weights; "
                         f"up to {MAX_DENSE} are supported")
    dense = np.zeros((groups, outputs // groups, groups, depth, *kernel), weight.dtype)
    each = np.arange(groups)
    dense[each, :, each] = weight.reshape(groups, -1, depth, *kernel)
    return dense.reshape(outputs, -1, *kernel)


def gemm(node: OnnxNode, args: Arguments) -> Result:
    node.expect_inputs(2, 3)
    x, weight = activation(node, args, 0, ordered=False), _weight(node, args, rank=2)
    node.only("alpha", 1, 1)
    node.only("beta", 1, 1)
    node.only("transA", 0, 0)
    out_axis = 0 if node.integer("transB", 0) else 1
    node.finish()
    rows = weight.integers if out_axis == 0 else weight.integers.T
    if weight.scale.ndim and weight.axis != out_axis:
        raise node.error(f"weight scales along axis {weight.axis}; "
                         f"per tensor and per output (axis {out_axis}) are supported")
    if x.shape != rows.shape[1:]:
        raise node.error(f"weights for {rows.shape[1]} inputs do not fit {describe(x.shape)}")
    kernel = x.tensor.height, x.tensor.width
    images = rows.reshape(-1, *(x.tensor.shape[axis] for axis in x.order))
    images = images.transpose(0, *(1 + x.order.index(axis) for axis in range(3)))
    result = _convolution(node, args, x, images, weight.scale, Window(kernel=kernel), 1)
    return replace(result, shape=result.shape[:1])


def _weight(node: OnnxNode, args: Arguments, *, rank: int) -> QuantisedConstant:
    value = args[1]
    if not isinstance(value, QuantisedConstant) or value.bits != 8:
        raise node.error(f"its weights are {describe_value(value)}; "
                         "int8 or uint8 constants behind DequantizeLinear are supported")
    if value.integers.ndim != rank or not value.integers.size:
        raise node.error(f"weights of shape {list(value.integers.shape)} are not supported; "
                         f"{rank} dimensions, none of them 0, are")
    if rank > 2 and value.scale.ndim and value.axis != 0:
        raise node.error(f"weight scales along axis {value.axis}; "
                         "per tensor and per output channel (axis 0) are supported")
    return value


def _convolution(node: OnnxNode, args: Arguments, x: Activation, weight: npt.NDArray[np.integer],
                 weight_scale: npt.NDArray[np.float32], moves: Window, groups: int) -> Result:
    outputs = len(weight)
    with np.errstate(over="ignore", under="ignore"):
        scale = np.broadcast_to(np.float32(x.tensor.quantisation.scale) * weight_scale, outputs)
    bias, rest = _bias(node, args, scale)

    def make(y: Tensor, lo: int, hi: int) -> Node:
        with np.errstate(over="ignore", under="ignore"):
            multiplier = (scale / np.float32(y.quantisation.scale)).astype(np.float32)
        check_multiplier(node, multiplier)
        return Conv("", (x.tensor.name,), y.name, weight=weight.astype(np.int16), bias=bias,
                    multiplier=multiplier, window=moves, groups=groups, lo=lo, hi=hi,
                    bias_rounding=float((abs(rest) * multiplier).max()))

    shape = outputs, *moves.output_size(x.tensor.height, x.tensor.width)
    return Result(node, shape, shape, make)


def _bias(node: OnnxNode, args: Arguments, scale: npt.NDArray[np.float32],
          ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The bias in units of ``scale``, and what rounding took from it, in these units."""
    value, none = args[2] if len(args) > 2 else None, np.zeros(scale.size)
    match value:
        case None:
            return np.zeros(scale.size, np.int64), none
        case Constant() if value.values.dtype == np.float32:
            return _rounded(node, _vector(node, value.values, scale).astype(np.float32), scale)
        case QuantisedConstant(bits=32):
            integers = _vector(node, value.integers, scale).astype(np.int64)
        case _:
            raise node.error(f"its bias is {describe_value(value)}; "
                             "a float constant, and an int32 one behind DequantizeLinear, are supported")
    expected = scale.astype(np.float64)
    if (abs(value.scale - expected) > BIAS_TOLERANCE * expected).any():
        raise node.error("its bias scale is not input scale x weight scale")
    if value.shifted:
        raise node.error("its bias has a zero point; 0 is supported")
    return integers, none


def _vector(node: OnnxNode, bias: npt.NDArray[Any], scale: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    if bias.shape not in ((scale.size,), (1, scale.size)):
        raise node.error(f"a bias of shape {list(bias.shape)} for {scale.size} outputs")
    return bias.reshape(-1)


def _rounded(node: OnnxNode, bias: npt.NDArray[np.float32], scale: npt.NDArray[np.float32],
             ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """As ONNX Runtime's optimiser does it, which thereby gets operators for its integer kernels."""
    with np.errstate(all="ignore"):
        steps = np.rint(bias / scale)
    if not (fits := abs(steps) < 1 << 31).all():  # nor does NaN
        channel = int(np.argmin(fits))
        raise node.error(f"its bias {bias[channel]:g} of channel {channel} is beyond int32 in units of input "
                         f"scale x weight scale, {scale[channel]:g}")
    return steps.astype(np.int64), bias / scale.astype(np.float64) - steps
