"""Random quantised networks, as hypothesis draws them: structure by choice, numbers by a seed."""
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st

from onnx_models import Q, QdqModel

Shape = tuple[int, int, int]
Pair = tuple[int, int]
Draw = Callable[[st.SearchStrategy[Any]], Any]
MAX_KERNEL = 7


@dataclass(frozen=True)
class Layer:
    """One operator, or a residual: the sum of its input and what ``body`` makes of it."""

    kind: Literal["dense", "depthwise", "max", "average", "global", "gemm", "residual"]
    outputs: int
    zero_point: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    weight_bits: int = 8
    weight_zero_point: bool = False  # weights are uint8, around a zero point of their own
    per_channel: bool = False
    bias: bool = False
    clip: Literal["", "Relu", "Relu6"] = ""
    swap: bool = False  # the order of the addends
    body: "tuple[Layer, ...]" = ()

    def output(self, shape: Shape) -> Shape:
        match self.kind:
            case "residual":
                return shape
            case "global" | "gemm":
                return self.outputs, 1, 1
        sides = [(side + before + after - taps) // step + 1 for side, before, after, taps, step in zip(
            shape[1:], self.pads[:2], self.pads[2:], self.kernel, self.stride, strict=True)]
        return self.outputs, sides[0], sides[1]


@dataclass(frozen=True)
class Network:
    signed: bool
    real: bool  # the input is float, behind a QuantizeLinear
    powers_of_two: bool  # all scales are, so that there are ties
    shape: Shape
    zero_point: int
    layers: tuple[Layer, ...]
    seed: int  # of weights, biases and scales


@st.composite
def networks(draw: Draw) -> Network:
    """Draw a network of two to five layers that is small enough to simulate."""
    signed, powers_of_two = draw(st.booleans()), draw(st.booleans())
    shape: Shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))
    zero_point = draw(_zero_points(signed))
    first, layers = shape, []
    for _ in range(draw(st.integers(2, 5))):
        layer = draw(_layer(shape, signed, powers_of_two))
        layers.append(layer)
        shape = layer.output(shape)
        if layer.kind == "gemm":
            break
    return Network(signed, draw(st.booleans()), powers_of_two, first, zero_point, tuple(layers),
                   draw(st.integers(0, 1 << 16)))


def _zero_points(signed: bool) -> st.SearchStrategy[int]:
    lo, hi = (-128, 127) if signed else (0, 255)
    return st.one_of(st.sampled_from((lo, hi)), st.integers(lo, hi))


@st.composite
def _layer(draw: Draw, shape: Shape, signed: bool, powers_of_two: bool) -> Layer:
    kinds = ["dense", "dense", "depthwise", "residual", "residual", "max", "global", "gemm"]
    if not powers_of_two:  # an average rounds ties as ONNX Runtime happens to
        kinds.append("average")
    kind = draw(st.sampled_from(kinds))
    zero_point = draw(_zero_points(signed))
    match kind:
        case "dense" | "depthwise":
            outputs = draw(st.integers(1, 6))
            if kind == "depthwise":  # with a depth multiplier, now and then
                outputs = shape[0] * draw(st.sampled_from((1, 1, 2, 3)))
            return _conv(draw, kind, outputs, shape, signed, zero_point, same=False)
        case "gemm":
            return _conv(draw, kind, draw(st.integers(1, 6)), (1, 1, 1), signed, zero_point, same=True)
        case "residual":
            body, channels = [], shape[0]
            for last in (False,) * draw(st.integers(0, 1)) + (True,):
                deep = draw(st.booleans()) and (channels == shape[0] or not last)
                outputs = channels if deep else shape[0] if last else draw(st.integers(1, 6))
                body.append(_conv(draw, "depthwise" if deep else "dense", outputs, (channels, *shape[1:]),
                                  signed, draw(_zero_points(signed)), same=True))
                channels = outputs
            return Layer("residual", shape[0], zero_point, swap=draw(st.booleans()), body=tuple(body))
        case "global":
            return Layer("global", shape[0], zero_point)
    kernel, stride, pads = _window(draw, shape, same=False)
    return Layer(kind, shape[0], zero_point, kernel, stride, pads)


def _conv(draw: Draw, kind: Any, outputs: int, shape: Shape, signed: bool, zero_point: int, *,
          same: bool) -> Layer:
    kernel, stride, pads = ((1, 1), (1, 1), (0, 0, 0, 0)) if kind == "gemm" else _window(
        draw, shape, same=same)
    return Layer(
        kind, outputs, zero_point, kernel, stride, pads, weight_bits=draw(st.sampled_from((2, 4, 8))),
        weight_zero_point=not signed and draw(st.booleans()), per_channel=draw(st.booleans()),
        bias=draw(st.booleans()), clip=draw(st.sampled_from(("", "Relu", "Relu6"))))


def _window(draw: Draw, shape: Shape, *, same: bool) -> tuple[Pair, Pair, tuple[int, int, int, int]]:
    """Draw kernel, stride and pads; ``same`` keeps the size of the image."""
    kernel, stride, before, after = [], [], [], []
    for side in shape[1:]:
        taps = draw(st.integers(1, min(MAX_KERNEL, side + 2)))
        if same:
            start = draw(st.integers(0, taps - 1))
            end, step = taps - 1 - start, 1
        else:
            start, end = (draw(st.integers(0, min(taps - 1, 3))) for _ in range(2))
            if side + start + end < taps:
                start = end = taps // 2
            step = draw(st.integers(1, 3))
        kernel.append(taps)
        stride.append(step)
        before.append(start)
        after.append(end)
    return (kernel[0], kernel[1]), (stride[0], stride[1]), (*before, *after)


def save(network: Network, path: Path) -> Path:
    """Write the network as an ONNX file."""
    return _Builder(network).build().save(path)


class _Builder:
    def __init__(self, network: Network) -> None:
        self.network, self.model = network, QdqModel()
        self.rng = np.random.default_rng(network.seed)
        self.dtype = np.int8 if network.signed else np.uint8
        self.count = 0

    def build(self) -> QdqModel:
        network, shape = self.network, self.network.shape
        x = self.model.input(shape, Q(self.scale(0.02), network.zero_point, self.dtype), real=network.real)
        for layer in network.layers:
            x = self.layer(layer, x, shape)
            shape = layer.output(shape)
        self.model.output(x, shape[:1] if network.layers[-1].kind == "gemm" else shape)
        return self.model

    def scale(self, about: float, spread: float = 1.0) -> float:
        value = about * 2.0 ** self.rng.uniform(-spread, spread)
        return float(2.0 ** np.round(np.log2(value)) if self.network.powers_of_two else np.float32(value))

    def layer(self, layer: Layer, x: str, shape: Shape) -> str:
        self.count += 1
        name, q = f"l{self.count}", self.model.quantisations[x]
        window = dict(kernel_shape=layer.kernel, strides=layer.stride, pads=layer.pads)
        match layer.kind:
            case "dense" | "depthwise" | "gemm":
                return self.conv(layer, x, shape, name)
            case "max":
                return self.model.operator("MaxPool", [x], q, name=name, **window)
            case "average":
                made = Q(self.average_scale(layer, q), layer.zero_point, self.dtype)
                return self.model.operator("AveragePool", [x], made, name=name, count_include_pad=1, **window)
            case "global":
                return self.model.operator("GlobalAveragePool", [x], Q(
                    self.scale(q.scale), layer.zero_point, self.dtype), name=name)
        other, inner = x, shape
        for each in layer.body:
            other = self.layer(each, other, inner)
            inner = each.output(inner)
        made = Q(self.scale(q.scale + self.model.quantisations[other].scale), layer.zero_point, self.dtype)
        return self.model.operator("Add", [other, x] if layer.swap else [x, other], made, name=name)

    def conv(self, layer: Layer, x: str, shape: Shape, name: str) -> str:
        rng, q = self.rng, self.model.quantisations[x]
        depth = 1 if layer.kind == "depthwise" else shape[0]
        size = (layer.outputs, prod(shape)) if layer.kind == "gemm" else (layer.outputs, depth, *layer.kernel)
        half = 1 << layer.weight_bits - 1
        weight, zero = rng.integers(-half, half, size).astype(np.int8), 0
        if layer.weight_zero_point:
            zero = int(rng.integers(half, 257 - half))
            weight = (weight.astype(np.int16) + zero).astype(np.uint8)
        if rng.random() < 0.3:
            weight[rng.integers(layer.outputs)] = zero  # a dead channel
        scales = np.array([self.scale(1 / half) for _ in range(layer.outputs)], np.float32)
        factor = float(np.float32(q.scale) * scales.mean()) * half * np.sqrt(prod(size[1:]))
        made = Q(self.scale(factor, 2), layer.zero_point, self.dtype)
        bias = rng.integers(-99 * half, 99 * half, layer.outputs) if layer.bias else None
        options: dict[str, Any] = dict(scale=scales if layer.per_channel else float(scales[0]),
                                       zero_point=zero, bias=bias, name=name, clip=None)
        if layer.clip:
            options["clip"] = "Relu" if layer.clip == "Relu" else (0.0, 60 * made.scale)
        if layer.kind == "gemm":
            flat = self.model.quantise(self.model.node("Flatten", [x], f"{name}_flat"), q)
            return self.model.conv(flat, weight, made, operator="Gemm", transB=1, **options)
        return self.model.conv(x, weight, made, strides=layer.stride, pads=layer.pads,
                               group=shape[0] if layer.kind == "depthwise" else 1, **options)

    def average_scale(self, layer: Layer, q: Q) -> float:
        """Choose a scale with which no average comes near a tie."""
        count = prod(layer.kernel)
        sums = np.arange(-255 * count, 255 * count + 1)

        def distance(scale: float) -> float:
            steps = sums * (q.scale / scale / count)
            return float(abs(steps - np.floor(steps) - 0.5).min())
        return max((self.scale(q.scale) for _ in range(20)), key=distance)
