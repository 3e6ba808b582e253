"""Maxima and averages of windows and of whole images in an ONNX network."""
from dataclasses import replace
from math import prod
from typing import Literal

import numpy as np

from headrace.gen.importer.source.node import MAX_KERNEL, OnnxNode, check_image, describe, like, window
from headrace.gen.importer.values import (
    LARGEST,
    Activation,
    Arguments,
    Movement,
    Result,
    activation,
    check_multiplier,
)
from headrace.gen.ir.graph import GlobalAveragePool, Node, Pool, Tensor, Window


def pool(node: OnnxNode, args: Arguments, *, kind: Literal["max", "average"]) -> Result | Movement:
    node.expect_inputs(1, 1)
    x = activation(node, args, 0)
    moves = window(node, x.shape)
    taps = len(moves.tap_rows), len(moves.tap_columns)
    if any(pad >= count for pad, count in zip(moves.pads, taps * 2, strict=True)):
        raise node.error(f"pads {list(moves.pads)} are not smaller than the kernel {list(taps)}")
    if kind == "average" and moves.dilation != (1, 1):
        raise node.error(f"dilations {list(moves.dilation)} are not supported; [1, 1] is")
    ceiling = node.integer("ceil_mode", 0)
    whole = _rounded_up(moves, x.tensor) if ceiling else moves
    if not _sees(whole, x.tensor):
        raise node.error(f"dilations {list(moves.dilation)} let a window see nothing but padding; windows "
                         "that all see the image are supported")
    if kind == "max":
        node.only("storage_order", 0, 0)
        node.finish()
        return _maximum(node, x, whole)
    padding = node.integer("count_include_pad", 0)
    node.finish()
    if padding and whole.pads != moves.pads or not padding and any(whole.pads):
        raise node.error(f"count_include_pad {padding} with pads {list(moves.pads)} and ceil_mode {ceiling} "
                         "divides windows at the edges by fewer values than others; as many for all, as "
                         "with count_include_pad 1 and ceil_mode 0, are supported")

    def make(y: Tensor, lo: int, hi: int) -> Node:
        _check_mean(node, x.tensor.quantisation.scale, moves.taps)
        return Pool("", (x.tensor.name,), y.name, kind=kind, window=whole, lo=lo, hi=hi)

    image = x.shape[0], *whole.output_size(*x.tensor.shape[1:])
    return Result(node, like(x.shape, image), image, make)


def _rounded_up(moves: Window, x: Tensor) -> Window:
    """Pad a window so far that its last place is the last that begins inside the image, padding before it
    included: the places that a division rounded up counts."""
    top, left, *ends = moves.pads
    for axis, (side, start) in enumerate(((x.height, top), (x.width, left))):
        taps, step = moves.kernel[axis], moves.stride[axis]
        last = -(-(side + start + ends[axis] - taps) // step) * step
        if last >= side + start:
            last -= step
        ends[axis] = max(ends[axis], last + taps - side - start)
    return replace(moves, pads=(top, left, ends[0], ends[1]))


def _sees(moves: Window, x: Tensor) -> bool:
    """Whether every place of a window has a tap in the image."""
    rows, _ = moves.output_size(x.height, x.width)
    return (all(any(moves.seen(moves.inside(moves.first_row(row), x.height))) for row in range(rows))
            and all(set(taps) != {None} for taps in moves.columns(x.width)))


def _maximum(node: OnnxNode, x: Activation, moves: Window) -> Movement:
    image = x.shape[0], *moves.output_size(*x.tensor.shape[1:])
    return Movement(node, like(x.shape, image), image, (x,), lambda inputs, y, lo, hi: Pool(
        "", (inputs[0],), y, kind="max", window=moves, lo=lo, hi=hi))


def global_max_pool(node: OnnxNode, args: Arguments) -> Movement:
    """A window as wide as the image, then one as high, which together take a tap for each row and column."""
    node.expect_inputs(1, 1)
    node.finish()
    x = activation(node, args, 0)
    check_image(node, x.shape)
    channels, height, width = x.tensor.shape
    if max(height, width) > MAX_KERNEL:
        raise node.error(f"reads {describe(x.shape)}; images of up to {MAX_KERNEL} by {MAX_KERNEL} are "
                         "supported")
    across, down = Window(kernel=(1, width)), Window(kernel=(height, 1))
    if 1 in (height, width):
        return _maximum(node, x, across if height == 1 else down)
    image = channels, 1, 1
    return replace(_maximum(node, x, down), shape=image, image=image, before=(_maximum(node, x, across),))


def global_average_pool(node: OnnxNode, args: Arguments) -> Result:
    node.expect_inputs(1, 1)
    node.finish()
    x = activation(node, args, 0)
    check_image(node, x.shape)

    def make(y: Tensor, lo: int, hi: int) -> Node:
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            divisor = np.float32(y.quantisation.scale) * np.float32(prod(x.shape[1:]))
            multiplier = np.float32(np.float32(x.tensor.quantisation.scale) / divisor)
        check_multiplier(node, np.array(multiplier))
        return GlobalAveragePool("", (x.tensor.name,), y.name, multiplier=multiplier, lo=lo, hi=hi)

    image = x.shape[0], 1, 1
    return Result(node, like(x.shape, image), image, make)


def _check_mean(node: OnnxNode, scale: float, count: int) -> None:
    """Insist that float32 holds the mean of a window with full precision, whatever the values."""
    limits = np.finfo(np.float32)
    if scale * LARGEST * count > float(limits.max) or scale / count < float(limits.tiny):
        raise node.error(f"its input's scale {scale:g} takes the mean of {count} values beyond float32")
