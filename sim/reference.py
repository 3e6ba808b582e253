"""The integer graph carried out in numpy, exactly: what all hardware is compared with."""
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from headrace.gen.ir.graph import (
    Add,
    Concat,
    Conv,
    GlobalAveragePool,
    Graph,
    Interleave,
    Lookup,
    Mul,
    Node,
    Pool,
    Quantisation,
    Slice,
    Sub,
    Tensor,
    Upsample,
    Window,
)
from headrace.gen.numerics.rules import AddRule, SubRule

Integers = npt.NDArray[np.integer]
Activations = npt.NDArray[np.int16]
Number = TypeVar("Number", np.int16, np.float64)

_CHUNK_ELEMENTS = 1 << 20  # of the largest tensor, computed at once


def requantise(acc: npt.NDArray[np.generic], multiplier: npt.NDArray[np.float32] | np.float32,
               zero_point: int, lo: int, hi: int) -> Activations:
    """``clip(rint(float32(acc) * multiplier) + zero_point, lo, hi)`` in float32, ties to even.

    ``acc`` holds integers of any type (in float64, up to 2**53). ``multiplier`` broadcasts against
    it.
    """
    with np.errstate(over="ignore", under="ignore"):
        steps = np.rint(acc.astype(np.float32) * np.float32(multiplier))
    limited = np.clip(steps, lo - zero_point, hi - zero_point).astype(np.int16)
    shifted: Activations = limited + np.int16(zero_point)
    return shifted


def average(total: npt.NDArray[np.float32], count: int, y: Quantisation, lo: int, hi: int) -> Activations:
    """``clip(rint(total / count / scale + zero_point), lo, hi)`` in float32, ties to even.

    ``total`` is the sum of a window of ``count`` dequantised values. The result never falls where it grows.
    """
    with np.errstate(over="ignore", under="ignore"):
        mean = np.rint(total / np.float32(count) / np.float32(y.scale) + np.float32(y.zero_point))
    limited: Activations = np.clip(mean, lo, hi).astype(np.int16)
    return limited


def add(a: Integers, b: Integers, *, zero_points: tuple[int, int],
        factors: tuple[np.float32, np.float32], zero_point: int, lo: int, hi: int) -> Activations:
    """ONNX Runtime's QLinearAdd; see :class:`headrace.gen.numerics.rules.AddRule`. Addends have 8 bits."""
    rule = AddRule(factors, (*zero_points, zero_point), lo, hi)
    levels = np.arange(-128, 256)
    sums = rule(levels[:, None], levels).astype(np.int16)
    found: Activations = sums[a.astype(np.intp) + 128, b.astype(np.intp) + 128]
    return found


def subtract(a: Integers, b: Integers, *, quantisations: Sequence[Quantisation], lo: int, hi: int,
             ) -> Activations:
    """In real numbers; see :class:`headrace.gen.numerics.rules.SubRule`. Operands have 8 bits."""
    scale_a, scale_b, scale_y = (np.float32(each.scale) for each in quantisations)
    zero_a, zero_b, zero_y = (each.zero_point for each in quantisations)
    rule = SubRule((scale_a, scale_b, scale_y), (zero_a, zero_b, zero_y), lo, hi)
    levels = np.arange(-128, 256)
    differences = rule(levels[:, None], levels).astype(np.int16)
    found: Activations = differences[a.astype(np.intp) + 128, b.astype(np.intp) + 128]
    return found


def scaled(product: npt.NDArray[np.int32], multiplier: np.float32, zero_point: int, lo: int, hi: int,
           ) -> Activations:
    """``clip(rint(product * multiplier + zero_point), lo, hi)`` in float32: ONNX Runtime's QLinearMul."""
    with np.errstate(over="ignore", under="ignore"):
        steps = np.rint(product.astype(np.float32) * multiplier + np.float32(zero_point))
    limited: Activations = np.clip(steps, lo, hi).astype(np.int16)
    return limited


def run(graph: Graph, x: Integers) -> dict[str, Activations]:
    """Every tensor of the network, by name, as arrays (N, C, H, W), for inputs (N, C, H, W)."""
    source = graph.tensors[graph.input]
    assert x.shape[1:] == source.shape, f"expected (N, *{source.shape}), not {x.shape}"
    assert x.dtype.kind in "iu" and len(x)
    assert source.quantisation.lo <= x.min() and x.max() <= source.quantisation.hi
    parts = [_run(graph, x[frames]) for frames in chunks(graph, len(x))]
    return {name: np.concatenate([part[name] for part in parts]) for name in graph.tensors}


def chunks(graph: Graph, frames: int) -> Iterator[slice]:
    """So many frames, as few at once as memory is kind to."""
    largest = max(np.prod(tensor.shape) for tensor in graph.tensors.values())
    count = max(1, int(_CHUNK_ELEMENTS // largest))
    return (slice(start, start + count) for start in range(0, frames, count))


def _run(graph: Graph, x: Integers) -> dict[str, Activations]:
    values = {graph.input: x.astype(np.int16)}
    for node in graph.nodes:
        values[node.output] = apply(node, [values[name] for name in node.inputs], graph.tensors)
    return values


def apply(node: Node, inputs: list[Activations], tensors: dict[str, Tensor]) -> Activations:
    """One node's output (N, C, H, W)."""
    x, zp = inputs[0], tensors[node.inputs[0]].quantisation.zero_point
    y_zp = tensors[node.output].quantisation.zero_point
    match node:
        case Conv():
            acc = accumulate(node, x, zp)
            return requantise(acc, node.multiplier[:, None, None], y_zp, node.lo, node.hi)
        case Pool(kind="max"):
            out: Activations | None = None
            for tap in taps(x, node.window, outside=np.iinfo(np.int16).min):
                out = tap if out is None else np.maximum(out, tap)
            assert out is not None
            return np.clip(out, node.lo, node.hi)
        case Pool():
            total = np.zeros(1, np.int32)
            for tap in taps(x, node.window, outside=zp):
                total = total + (tap.astype(np.int32) - zp)
            real = total.astype(np.float32) * np.float32(tensors[node.inputs[0]].quantisation.scale)
            return average(real, node.window.taps, tensors[node.output].quantisation, node.lo, node.hi)
        case GlobalAveragePool():
            sums = (x.astype(np.int64) - zp).sum(axis=(2, 3), keepdims=True)
            return requantise(sums, node.multiplier, y_zp, node.lo, node.hi)
        case Add():
            return add(*inputs, zero_points=(zp, tensors[node.inputs[1]].quantisation.zero_point),
                       factors=node.factors, zero_point=y_zp, lo=node.lo, hi=node.hi)
        case Sub():
            quantisations = [tensors[name].quantisation for name in (*node.inputs, node.output)]
            return subtract(*inputs, quantisations=quantisations, lo=node.lo, hi=node.hi)
        case Mul():
            a, b = (values.astype(np.int32) - tensors[name].quantisation.zero_point
                    for values, name in zip(inputs, node.inputs, strict=True))
            return scaled(a * b, node.multiplier, y_zp, node.lo, node.hi)
        case Lookup():
            return node.look_up(node.table, x - tensors[node.inputs[0]].quantisation.lo)
        case Concat():
            return np.concatenate(inputs, axis=1)
        case Interleave():
            return np.stack(inputs, axis=2).reshape(len(x), -1, *x.shape[2:])
        case Slice():
            return x[np.ix_(range(len(x)), node.channels, node.rows, node.columns)]
        case Upsample():
            return x.repeat(node.factors[0], axis=2).repeat(node.factors[1], axis=3)


def accumulate(node: Conv, x: Activations, zero_point: int) -> npt.NDArray[np.float64]:
    """The exact integer sums of a convolution, with the bias, (N, C, H, W).

    They are computed in float64, which is exact below 2**53, because that is what BLAS is fast at.
    """
    weight = node.weight.transpose(2, 3, 0, 1).reshape(-1, *node.weight.shape[:2]).astype(np.float64)
    acc: npt.NDArray[np.float64] | None = None
    images = taps(x.astype(np.float64) - zero_point, node.window, outside=0)
    for factors, tap in zip(weight, images, strict=True):
        n, channels, height, width = tap.shape
        if node.depthwise:
            term = tap[:, :, None] * factors.reshape(channels, -1, 1, 1)
        else:
            term = factors @ tap.reshape(n, channels, -1)
        term = term.reshape(n, -1, height, width)
        acc = term if acc is None else np.add(acc, term, out=acc)
    assert acc is not None
    acc += node.bias[:, None, None]
    return acc


def taps(x: npt.NDArray[Number], window: Window, *, outside: int) -> Iterator[npt.NDArray[Number]]:
    """For each tap of the kernel, row by row, the image that it sees under the moving window."""
    top, left, bottom, right = window.pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=outside)
    height, width = window.output_size(*x.shape[2:])
    for row, column in product(window.tap_rows, window.tap_columns):
        yield padded[:, :, row::window.stride[0], column::window.stride[1]][
            :, :, :height, :width]
