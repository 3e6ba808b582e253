"""The supported ONNX operators: from checked arguments to nodes of the integer graph."""
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
import numpy.typing as npt

from headrace.gen.importer.concat import concat
from headrace.gen.importer.convolution import conv, gemm
from headrace.gen.importer.movement import gather, grouped, shuffled, slice_, space_to_depth, swapped
from headrace.gen.importer.pointwise import clip, function, leaky_relu, relu
from headrace.gen.importer.pooling import global_average_pool, global_max_pool, pool
from headrace.gen.importer.resize import resize
from headrace.gen.importer.source.functions import FUNCTIONS
from headrace.gen.importer.source.node import OnnxNode, Shape, describe
from headrace.gen.importer.values import (
    LARGEST,
    Activation,
    Arguments,
    Constant,
    GraphInput,
    Movement,
    Pointwise,
    QuantisedConstant,
    Result,
    Value,
    activation,
    check_multiplier,
    describe_value,
)
from headrace.gen.ir.graph import Add, Mul, Node, Sub, Tensor

MAX_RATIO = 1 << 16  # of an addend's or product's scale to the result's; a single step saturates long before
Moved = Activation | GraphInput
_RANK = 4  # of an image, with the batch


def add(node: OnnxNode, args: Arguments) -> Result | Pointwise:
    node.expect_inputs(2, 2)
    node.finish()
    for value in args:
        if isinstance(value, Result):
            raise node.error(f"reads {describe_value(value)}; quantised tensors, constants beside one and "
                             "functions of it are supported, and a bias in its Conv or Gemm, where "
                             "onnxruntime's quant_pre_process puts it")
    if any(isinstance(value, Constant | QuantisedConstant | Pointwise) for value in args):
        return function(node, args)
    a, b = _alike(node, args, "adds")

    def make(y: Tensor, lo: int, hi: int) -> Node:
        with np.errstate(over="ignore", under="ignore"):
            factors = np.array([a.tensor.quantisation.scale, b.tensor.quantisation.scale],
                               np.float32) / np.float32(y.quantisation.scale)
        _check_factors(node, factors)
        return Add("", (a.tensor.name, b.tensor.name), y.name, factors=(factors[0], factors[1]),
                   lo=lo, hi=hi)

    return Result(node, a.shape, a.tensor.shape, make)


def subtract(node: OnnxNode, args: Arguments) -> Result | Pointwise:
    node.expect_inputs(2, 2)
    a, b = args
    if not (isinstance(a, Activation) and isinstance(b, Activation)) or a.tensor.name == b.tensor.name:
        return function(node, args)
    node.finish()
    a, b = _alike(node, args, "subtracts")

    def make(y: Tensor, lo: int, hi: int) -> Node:
        scales = np.array([a.tensor.quantisation.scale, b.tensor.quantisation.scale], np.float32)
        with np.errstate(over="ignore", under="ignore"):
            _check_factors(node, scales / np.float32(y.quantisation.scale))
            if not np.isfinite(2 * LARGEST * scales).all():
                raise node.error(f"an input's scale {scales.max():g} takes differences beyond float32")
        return Sub("", (a.tensor.name, b.tensor.name), y.name, lo=lo, hi=hi)

    return Result(node, a.shape, a.tensor.shape, make)


def _check_factors(node: OnnxNode, factors: npt.NDArray[np.float32]) -> None:
    check_multiplier(node, factors)
    if factors.max() > MAX_RATIO:
        raise node.error(f"an input's scale is {factors.max():g} times the output's; "
                         f"up to {MAX_RATIO} times is supported")


def mul(node: OnnxNode, args: Arguments) -> Result | Pointwise:
    node.expect_inputs(2, 2)
    a, b = args
    if not (isinstance(a, Activation) and isinstance(b, Activation)) or a.tensor.name == b.tensor.name:
        return function(node, args)  # a square, too
    node.finish()
    a, b = activation(node, args, 0), activation(node, args, 1)
    if not _gates(b, a) and _gates(a, b):
        a, b = b, a
    if not _gates(b, a):
        a, b = _alike(node, args, "multiplies", " here, and (1, C, 1, 1) beside an image of C channels")

    def make(y: Tensor, lo: int, hi: int) -> Node:
        with np.errstate(over="ignore", under="ignore"):
            scale = np.float32(a.tensor.quantisation.scale) * np.float32(b.tensor.quantisation.scale)
            multiplier = np.float32(scale / np.float32(y.quantisation.scale))
        check_multiplier(node, np.array(multiplier))
        if multiplier > MAX_RATIO:
            raise node.error(f"the product of its inputs' scales is {multiplier:g} times the output's scale; "
                             f"up to {MAX_RATIO} times is supported")
        return Mul("", (a.tensor.name, b.tensor.name), y.name, multiplier=multiplier, lo=lo, hi=hi)

    return Result(node, a.shape, a.tensor.shape, make)


def _gates(vector: Activation, x: Activation) -> bool:
    """Is it a vector of one value for each channel of an image or a row?"""
    channels, *sides = x.shape
    return len(sides) > 0 and vector.shape == (channels, *[1] * len(sides))


def _alike(node: OnnxNode, args: Arguments, does: str, besides: str = "") -> tuple[Activation, Activation]:
    """Return the two activations that a node reads, if they are of one shape."""
    a, b = activation(node, args, 0), activation(node, args, 1)
    if a.shape != b.shape or a.tensor.shape != b.tensor.shape:
        raise node.error(f"{does} {describe(a.shape)} and {describe(b.shape)}; equal shapes are supported"
                         f"{besides}")
    return a, b


def reshape(node: OnnxNode, args: Arguments) -> Moved | Movement:
    node.expect_inputs(2, 2)
    keep_zero = node.integer("allowzero", 0)
    node.finish()
    x, dims = _moved(node, args), list(_constant_integers(node, args, "shape"))
    before = (1, *x.shape)
    if not keep_zero:
        dims = [before[i] if size == 0 and i < len(before) else size for i, size in enumerate(dims)]
    if dims.count(-1) == 1 and (known := -prod(dims)) > 0:
        dims[dims.index(-1)] = prod(before) // known
    if isinstance(x, Activation) and grouped(x, tuple(dims)):
        return replace(x, shape=tuple(dims[1:]))
    if isinstance(x, Activation) and x.turns > 1 and tuple(dims) == (1, *x.tensor.shape):
        return shuffled(node, x)
    return _flattened(node, x, tuple(dims))


def flatten(node: OnnxNode, args: Arguments) -> Moved:
    node.expect_inputs(1, 1)
    axis = node.integer("axis", 1)
    node.finish()
    x = _moved(node, args)
    before = (1, *x.shape)
    axis += len(before) if axis < 0 else 0
    return _flattened(node, x, (prod(before[:axis]), prod(before[axis:])))


def squeeze(node: OnnxNode, args: Arguments) -> Moved:
    axes, x = _axes(node, args), _moved(node, args)
    before = (1, *x.shape)
    dropped = {axis % len(before) for axis in axes}
    return _flattened(node, x, tuple(size for axis, size in enumerate(before)
                                     if axis not in dropped or size != 1))


def unsqueeze(node: OnnxNode, args: Arguments) -> Moved:
    axes, x = _axes(node, args), _moved(node, args)
    dims, rank = [1, *x.shape], 1 + len(x.shape) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        dims.insert(axis, 1)
    return _flattened(node, x, tuple(dims))


def transpose(node: OnnxNode, args: Arguments) -> Moved:
    """As it stands before a Reshape to a vector; all others are gone from a normalised network."""
    node.expect_inputs(1, 1)
    order = node.numbers("perm") or ()
    node.finish()
    x = _moved(node, args)
    if isinstance(x, Activation) and len(x.shape) == 4:
        return swapped(node, x, order)
    if len(x.shape) != 3 or sorted(order) != [0, 1, 2, 3] or order[0] != 0:
        raise node.error(f"perm {list(order)[:9]} of {describe(x.shape)} is not supported; "
                         "one of an image's channels, rows and columns is")
    channels, height, width = (x.order[axis - 1] for axis in order[1:])
    return replace(x, shape=tuple(x.shape[axis - 1] for axis in order[1:]), order=(channels, height, width))


def _axes(node: OnnxNode, args: Arguments) -> tuple[int, ...]:
    node.expect_inputs(1, 2)
    axes = node.numbers("axes")
    node.finish()
    axes = _constant_integers(node, args, "axes") if axes is None and len(args) > 1 else axes
    if not axes or not all(-_RANK <= axis < _RANK for axis in axes):
        raise node.error(f"axes {list(axes or ())[:9]} are not supported; some of an image's are")
    return axes


def _constant_integers(node: OnnxNode, args: Arguments, what: str) -> tuple[int, ...]:
    value = args[1]
    if not isinstance(value, Constant) or value.values.dtype != np.int64:
        raise node.error(f"its {what} is {describe_value(value)}; an int64 constant is supported")
    return tuple(int(size) for size in value.values.reshape(-1)[:9].astype(np.int64))


def _moved(node: OnnxNode, args: Arguments) -> Moved:
    """What a node reads that only moves values: quantised, dequantised, or the network's input."""
    value = args[0]
    return value if isinstance(value, Activation | GraphInput) else activation(node, args, 0)


def _flattened(node: OnnxNode, x: Moved, dims: Shape) -> Moved:
    image = x.image if isinstance(x, GraphInput) else x.tensor.shape
    if isinstance(x, Activation) and x.turns > 1:
        raise node.error(f"turns {describe(x.shape)}, groups of channels that take turns, into {list(dims)}; "
                         f"{[1, *image]} is supported")
    row = (1, image[0], image[2]) if image[1] == 1 else (1, *image)
    if dims not in ((1, prod(x.shape)), (1, *x.shape), (1, *image), row):
        raise node.error(f"turns {describe(x.shape)} into {list(dims)}; "
                         f"a vector [1, {prod(x.shape)}] is supported")
    return replace(x, shape=dims[1:])


OPERATORS: dict[str, Callable[[OnnxNode, Arguments], Value]] = {
    **dict.fromkeys(FUNCTIONS, function),
    "Add": add,
    "AveragePool": partial(pool, kind="average"),
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "LeakyRelu": leaky_relu,
    "MaxPool": partial(pool, kind="max"),
    "Mul": mul,
    "Relu": relu,
    "Reshape": reshape,
    "Resize": resize,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Squeeze": squeeze,
    "Sub": subtract,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
