"""Random quantised networks, as hypothesis draws them: every kind of node in every form."""
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st

Shape = tuple[int, int, int]
Pair = tuple[int, int]
Draw = Callable[[st.SearchStrategy[Any]], Any]
Kind = Literal["dense", "depthwise", "max", "average", "global", "global max", "gemm", "residual",
               "difference", "product", "gate", "concat", "resize", "slice", "shuffle", "deepen", "leaky",
               "requantise"]
Form = Literal["U8U8", "U8S8", "S8S8"]  # of activations and weights

MAX_KERNEL, MAX_SIDE = 7, 40
MAX_DILATED = 4  # taps along a side
MAX_CHANNELS = 12
MAX_WORK = 400_000  # multiplications of a layer per frame
MAX_BEATS = 600  # of a tensor, whole rows
SIDES = st.one_of(st.integers(1, 9), st.integers(1, MAX_SIDE))
ZERO_POINTS = st.one_of(st.sampled_from((0, 255)), st.integers(0, 255))  # above the least value


@dataclass(frozen=True)
class Layer:
    """One operator; or what joins ``bodies``, chains of operators that all begin at its input.

    A residual adds up its input and what its body makes of it, a difference subtracts one of the other, a
    product multiplies them, and so does a gate, whose body makes a vector; a concatenation joins what its
    bodies make. An empty body passes its input on, so that a tensor may be joined with itself.
    """

    kind: Kind
    outputs: int  # channels
    zero_point: int = 0  # above the least value
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    ceiling: bool = False  # of a maximum: places of the window beyond the last whole one count
    factors: Pair = (1, 1)  # of a resize
    places: tuple[range, ...] = ()  # of a slice: channels, rows, columns
    groups: int = 1  # of channels that are shuffled
    weight_bits: int = 8
    per_channel: bool = False
    bias: bool = False
    clip: Literal["", "Relu", "Clip"] = ""
    swap: bool = False  # the order of the operands
    keep: bool = False  # scale and zero point of the first input
    bodies: "tuple[tuple[Layer, ...], ...]" = ()

    def output(self, shape: Shape) -> Shape:
        if self.kind in ("global", "global max", "gemm"):
            return self.outputs, 1, 1
        if self.kind == "slice":
            channels, rows, columns = map(len, self.places)
            return channels, rows, columns
        if self.kind == "deepen":
            return self.outputs, shape[1] // 2, shape[2] // 2
        spans = [(taps - 1) * apart + 1 for taps, apart in zip(self.kernel, self.dilation, strict=True)]
        sides = [((side + before + after - span + self.ceiling * (step - 1)) // step + 1) * factor
                 for side, before, after, span, step, factor in zip(
                     shape[1:], self.pads[:2], self.pads[2:], spans, self.stride, self.factors,
                     strict=True)]
        return self.outputs, sides[0], sides[1]

    def begins_inside(self, shape: Shape) -> bool:
        """Whether the last place of the window does: ONNX's shape inference fails to leave out others."""
        return all((places - 1) * step < side + before for places, step, side, before in zip(
            self.output(shape)[1:], self.stride, shape[1:], self.pads[:2], strict=True))


@dataclass(frozen=True)
class Network:
    form: Form
    operators: bool  # QLinearConv and so on, rather than QuantizeLinear and DequantizeLinear
    real: bool  # the input is float, behind a QuantizeLinear
    powers_of_two: bool  # all scales are, so that there are ties
    shape: Shape
    zero_point: int
    layers: tuple[Layer, ...]
    seed: int  # of weights, biases and scales
    rows: bool = False  # the file has rows (N, C, W) for images of height 1

    @property
    def signed(self) -> bool:
        return self.form == "S8S8"

    @property
    def dtype(self) -> type:
        return np.int8 if self.signed else np.uint8


@st.composite
def networks(draw: Draw) -> Network:
    """Draw a network of two to five layers that is small enough to simulate."""
    rows = draw(st.sampled_from((False,) * 7 + (True,)))
    shape: Shape = draw(st.tuples(st.integers(1, 4), st.just(1) if rows else SIDES, SIDES))
    first, layers = shape, []
    for _ in range(draw(st.integers(2, 5))):
        layer = draw(_layer(shape, vector=any(each.kind == "gemm" for each in layers)))
        layer = _row(layer) if rows else layer
        layers.append(layer)
        shape = layer.output(shape)
        if layer.kind == "gemm" and draw(st.booleans()):
            break
    if all(layer.kind == "requantise" and layer.keep or layer.kind == "shuffle"
           for layer in layers):  # nothing may be left of them
        layers[-1] = replace(layers[-1], kind="requantise", keep=False)
    operators, real = draw(st.booleans()), draw(st.booleans())
    scaleless = "max", "resize", "slice", "shuffle"
    real |= operators and all(layer.kind in scaleless for layer in layers)  # or nothing has a scale
    form = draw(st.sampled_from(("S8S8", "U8U8", "U8S8")))
    return Network(form, operators, real, draw(st.booleans()), first, draw(ZERO_POINTS), tuple(layers),
                   draw(st.integers(0, 1 << 16)), rows)


def _row(layer: Layer) -> Layer:
    """Return a layer of an image of height 1 as one of a row."""
    return replace(layer, kernel=(1, layer.kernel[1]), stride=(1, layer.stride[1]),
                   dilation=(1, layer.dilation[1]), kind="leaky" if layer.kind == "deepen" else layer.kind,
                   pads=(0, layer.pads[1], 0, layer.pads[3]), factors=(1, layer.factors[1]),
                   bodies=tuple(tuple(map(_row, body)) for body in layer.bodies))


@st.composite
def _layer(draw: Draw, shape: Shape, vector: bool) -> Layer:
    """Draw a layer behind an image, or behind what a Gemm has made of one."""
    if vector:
        kinds: tuple[Kind, ...] = ("gemm", "leaky", "requantise")
    else:
        kinds = ("dense", "dense", "depthwise", "depthwise", "residual", "residual", "difference", "product",
                 "gate", "concat", "max", "average", "resize", "slice", "shuffle", "deepen", "leaky",
                 "requantise", "global", "global max", "gemm")
    kind = draw(st.sampled_from(kinds))
    if kind == "gate":
        return Layer(kind, shape[0], draw(ZERO_POINTS), keep=draw(st.booleans()), swap=draw(st.booleans()),
                     bodies=(draw(_squeeze(shape)),))
    if kind not in ("residual", "difference", "product", "concat"):
        return draw(_operator(kind, shape))
    if kind != "concat":
        body = draw(_same_size(shape))
        if _channels(body, shape) != shape[0] or not body and draw(st.booleans()):  # or it meets itself
            before = _channels(body, shape), *shape[1:]
            body = (*body, draw(_operator("dense", before, outputs=shape[0], same=True)))
        return Layer(kind, shape[0], draw(ZERO_POINTS), keep=draw(st.booleans()),
                     swap=draw(st.booleans()), bodies=(body,))
    bodies = [draw(_same_size(shape)) for _ in range(draw(st.integers(2, 3)))]
    if (sum(_channels(body, shape) for body in bodies)) > MAX_CHANNELS:
        bodies = bodies[:1] + [()]
    return Layer("concat", sum(_channels(body, shape) for body in bodies), draw(ZERO_POINTS),
                 keep=draw(st.booleans()), bodies=tuple(bodies))


def _channels(body: tuple[Layer, ...], shape: Shape) -> int:
    return body[-1].outputs if body else shape[0]


@st.composite
def _squeeze(draw: Draw, shape: Shape) -> tuple[Layer, ...]:
    """Draw a chain of layers that make a vector of an image, of as many channels."""
    body: list[Layer] = [draw(_operator("global", shape))]
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(("dense", "leaky", "requantise")))
        body.append(draw(_operator(kind, (body[-1].outputs, 1, 1), same=True)))
    if body[-1].outputs != shape[0]:
        body.append(draw(_operator("dense", (body[-1].outputs, 1, 1), outputs=shape[0], same=True)))
    return tuple(body)


@st.composite
def _same_size(draw: Draw, shape: Shape) -> tuple[Layer, ...]:
    """Draw a chain of layers that keep the size of an image."""
    body: list[Layer] = []
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from((
            "dense", "depthwise", "max", "average", "shuffle", "leaky", "requantise")))
        body.append(draw(_operator(kind, (_channels(tuple(body), shape), *shape[1:]), same=True)))
    return tuple(body)


@st.composite
def _operator(draw: Draw, kind: Kind, shape: Shape, outputs: int = 0, same: bool = False) -> Layer:
    """Draw one operator; ``same`` keeps the size of the image."""
    channels, *sides = shape
    layer = Layer(kind, channels, draw(ZERO_POINTS), keep=draw(st.booleans()))
    if kind == "resize":
        fit = [[factor for factor in (1, 2, 3) if side * factor <= MAX_SIDE] for side in sides]
        return replace(layer, factors=tuple(draw(st.sampled_from(factors)) for factors in fit))
    if kind == "slice":
        places = tuple(draw(_places(size)) for size in shape)
        return replace(layer, places=places, outputs=len(places[0]))
    if kind == "shuffle":
        return replace(layer, groups=draw(st.sampled_from([
            groups for groups in range(1, channels + 1) if channels % groups == 0])))
    if kind == "deepen":
        fits = not any(side % 2 for side in sides) and 4 * channels <= MAX_CHANNELS
        return replace(layer, outputs=4 * channels) if fits else replace(layer, kind="requantise")
    if kind in ("dense", "depthwise", "max", "average"):
        layer = replace(layer, **draw(_window(kind, shape, same)))
    if kind == "max" and not same and draw(st.booleans()):
        ceiled = replace(layer, ceiling=True)
        layer = ceiled if ceiled.begins_inside(shape) else layer
    if kind not in ("dense", "depthwise", "gemm"):
        return layer
    taps = shape[1] * shape[2] if kind == "gemm" else layer.kernel[0] * layer.kernel[1]
    _, height, width = replace(layer, outputs=1).output(shape)
    most = max(1, min(8, MAX_BEATS // height,
                      MAX_WORK // (height * width * taps * (1 if kind == "depthwise" else channels))))
    if kind == "depthwise":  # with a depth multiplier, now and then
        outputs = channels * draw(st.sampled_from([each for each in (1, 1, 2, 3) if channels * each <= max(
            most, channels)]))
    return replace(layer, outputs=outputs or draw(st.integers(1, most)),
                   weight_bits=draw(st.sampled_from((2, 4, 8))), per_channel=draw(st.booleans()),
                   bias=draw(st.booleans()), clip=draw(st.sampled_from(("", "Relu", "Clip"))))


@st.composite
def _places(draw: Draw, size: int) -> range:
    """Draw some of so many places, often all of them."""
    step = draw(st.sampled_from((1, 1, 1, 2, 3)))
    start = draw(st.one_of(st.just(0), st.integers(0, size - 1)))
    stop = draw(st.one_of(st.just(size), st.integers(start + 1, size)))
    return range(start, stop, step)


@st.composite
def _window(draw: Draw, kind: Kind, shape: Shape, same: bool) -> dict[str, Any]:
    """Draw kernel, stride and pads, each side by itself, with outputs of 1 to :data:`MAX_SIDE` pixels."""
    kernel, stride, before, after, dilation = [], [], [], [], []
    dilated = kind in ("dense", "depthwise") or kind == "max" and not same
    for side in shape[1:]:
        taps = draw(st.integers(1, MAX_KERNEL))
        apart = draw(st.sampled_from((1, 1, 1, 2, 3))) if dilated and taps <= MAX_DILATED else 1
        if (taps - 1) * apart >= side:  # where it reaches beyond the image, its taps might not
            apart = 1
        span = (taps - 1) * apart + 1
        most = (taps if kind == "max" else span) - 1  # pixels of padding
        if same:
            start = draw(st.integers(0, span - 1))
            end, step = span - 1 - start, 1
        else:
            start, end = draw(st.integers(0, most)), draw(st.integers(0, most))
            if side + start + end < span:  # then it all fits once
                start, end = span // 2, span - 1 - span // 2
            step = draw(st.one_of(st.integers(1, 2), st.integers(1, span + 2)))
            if side + start + end - span >= MAX_SIDE:
                start = end = 0
        dilation.append(apart)
        kernel.append(taps)
        stride.append(step)
        before.append(start)
        after.append(end)
    return dict(kernel=tuple(kernel), stride=tuple(stride), pads=(*before, *after), dilation=tuple(dilation))
