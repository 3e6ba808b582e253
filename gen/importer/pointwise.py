"""Functions of one activation in an ONNX network: limits, and slopes."""
from dataclasses import replace

import numpy as np

from headrace.gen.importer.source.node import OnnxNode
from headrace.gen.importer.values import (
    Arguments,
    Constant,
    Pointwise,
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
    if isinstance(value, Unquantised):
        return value.clip(low, high)
    x = activation(node, args, 0)
    q = x.tensor.quantisation
    if quantise([low, high], q).tolist() == [q.lo, q.hi]:
        return x
    return pointwise(node, x).clip(low, high)


def leaky_relu(node: OnnxNode, args: Arguments) -> Value:
    node.expect_inputs(1, 1)
    slope = np.float32(node.real("alpha", 0.01))
    node.finish()
    if not np.isfinite(slope):
        raise node.error(f"alpha {slope:g} is not supported; finite numbers are")
    value = args[0]
    if not isinstance(value, Pointwise):
        value = pointwise(node, activation(node, args, 0))
    with np.errstate(over="ignore", under="ignore"):
        return replace(value, values=np.where(value.values >= 0, value.values, slope * value.values))
