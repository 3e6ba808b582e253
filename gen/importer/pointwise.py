"""Functions of one activation in an ONNX network: limits, slopes, and what ONNX Runtime computes."""
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from headrace.gen.importer.source.file import quote
from headrace.gen.importer.source.node import OnnxNode, Shape, describe
from headrace.gen.importer.values import (
    Arguments,
    Constant,
    GraphInput,
    Pointwise,
    QuantisedConstant,
    Unquantised,
    Value,
    activation,
    describe_value,
    pointwise,
    quantise,
)


def relu(node: OnnxNode, args: Arguments) -> Value:
    node.expect_inputs(1, 1)
    node.finish()
    return _clip(node, args, 0, np.inf)


def clip(node: OnnxNode, args: Arguments) -> Value:
    node.expect_inputs(1, 3)
    limits = [node.real("min", -np.inf), node.real("max", np.inf)]  # attributes before opset 11
    node.finish()
    for index, limit in enumerate(args[1:]):
        if limit is not None:
            if not isinstance(limit, Constant) or limit.values.size != 1:
                raise node.error(f"a limit is {describe_value(limit)}; one constant is supported")
            limits[index] = float(limit.values.reshape(()))
    low, high = limits
    if not low <= high:
        raise node.error(f"limits {low:g} and {high:g} are not in order")
    return _clip(node, args, low, high)


def _clip(node: OnnxNode, args: Arguments, low: float, high: float) -> Value:
    value = args[0]
    if isinstance(value, Pointwise):
        return value.clip(low, high).after(node.operator)
    if isinstance(value, Unquantised):
        return value.clip(low, high)
    x = activation(node, args, 0)
    q = x.tensor.quantisation
    if quantise([low, high], q).tolist() == [q.lo, q.hi]:
        return x
    return pointwise(node, x).clip(low, high).after(node.operator)


def leaky_relu(node: OnnxNode, args: Arguments) -> Value:
    node.expect_inputs(1, 1)
    slope = np.float32(node.real("alpha", 0.01))
    node.finish()
    if not np.isfinite(slope):
        raise node.error(f"alpha {slope:g} is not supported; finite numbers are")
    value = _of_activation(node, args, 0).after(node.operator)
    if value.values is None:
        return value
    with np.errstate(over="ignore", under="ignore"):
        return replace(value, values=np.where(value.values >= 0, value.values, slope * value.values))


def function(node: OnnxNode, args: Arguments) -> Pointwise:
    """An operator of :data:`FUNCTIONS` that reads one activation, or functions of one, and constants."""
    if not args or args[0] is None or len(node.outputs) != 1:
        raise node.error("has no first input, or more than one output; one of each is supported")
    found = list[Pointwise]()
    for index, value in enumerate(args):
        if isinstance(value, Constant | QuantisedConstant):
            continue
        if isinstance(value, GraphInput):
            raise node.error("computes with the network's input before it is quantised, which is the host's; "
                             "export the network without that, for inputs that are so already (of images, "
                             "`headrace quantize` takes --mean and --std)")
        elif value is not None:
            found.append(_of_activation(node, args, index))
    if not found:
        raise node.error("reads constants only; one quantised tensor beside them is supported")
    names = list(dict.fromkeys(each.x.tensor.name for each in found))
    if len(names) > 1:
        raise node.error(f"computes with two quantised tensors, {quote(names[0])} and {quote(names[1])}; a "
                         "function of one is supported, with no QuantizeLinear between its operators, and "
                         "sum, difference and product of two")
    first = found[0]
    if any((each.shape, each.x.order) != (first.shape, first.x.order) for each in found):
        shapes = " and ".join(describe(each.shape) for each in found[:2])
        raise node.error(f"reads {shapes} of the same values; equal shapes are supported")
    by_channel = any(each.by_channel for each in found)
    for index, value in enumerate(args):
        if isinstance(value, Constant | QuantisedConstant):
            shape = list(_integers(value).shape)
            if not _fits(shape, first.shape):
                raise node.error(f"a constant of shape {shape} does not fit {describe(first.shape)}")
            if not is_single(value):
                if not _is_by_channel(value, first):
                    raise node.error(f"its input {index} is a constant of shape {shape}; one value for all "
                                     "channels, or one for each, is supported")
                by_channel = True
    operators = tuple(dict.fromkeys(name for each in found for name in each.operators))
    return replace(first, node=node, values=None, operators=operators, by_channel=by_channel,
                   ).after(node.operator)


def _of_activation(node: OnnxNode, args: Arguments, index: int) -> Pointwise:
    value = args[index]
    return value if isinstance(value, Pointwise) else pointwise(node, activation(node, args, index))


def is_single(value: Constant | QuantisedConstant) -> bool:
    """Is a constant one value, however often it is written?"""
    integers = _integers(value).reshape(-1)
    return integers.size > 0 and bool((integers[1:] == integers[0]).all()) and (
        isinstance(value, Constant) or value.scale.size == 1)


def _is_by_channel(value: Constant | QuantisedConstant, function: Pointwise) -> bool:
    """Has a constant, which fits the image, one value for each channel, however often it is written?"""
    channels, *sides = function.x.tensor.shape
    if isinstance(value, QuantisedConstant) and value.scale.size > 1 or function.x.order != (0, 1, 2):
        return False
    if len(function.shape) == 1 and sides != [1, 1]:
        return False
    integers = _integers(value)
    wide = integers.reshape(*[1] * (1 + len(function.shape) - integers.ndim), *integers.shape)
    first = wide[(slice(None), slice(None), *[slice(1)] * (wide.ndim - 2))]
    return wide.shape[1] == channels and bool((wide == first).all())


def _fits(constant: Sequence[int], image: Shape) -> bool:
    """Does a function of both have the shape of the image?"""
    whole = (1, *image)
    return len(constant) <= len(whole) and all(
        size in (1, wanted) for size, wanted in zip(constant[::-1], whole[::-1], strict=False))


def _integers(value: Constant | QuantisedConstant) -> npt.NDArray[np.generic]:
    return value.values if isinstance(value, Constant) else value.integers
