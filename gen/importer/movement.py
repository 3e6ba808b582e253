"""Channels, rows and columns in another place: Slice, SpaceToDepth, and the shuffle of channels."""
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from headrace.gen.importer.source.node import OnnxNode, Shape, check_image, describe
from headrace.gen.importer.values import Activation, Arguments, Constant, Movement, Value, describe_value
from headrace.gen.ir.graph import Concat, Interleave, Slice

MAX_GROUPS = 256
_MAX_AXES = 9  # for a message


def slice_(node: OnnxNode, args: Arguments) -> Activation | Movement:
    """Inputs are x, starts, ends, axes and steps."""
    node.expect_inputs(3, 5)
    x = _image(node, args)
    starts, ends, *rest = [_integers(node, value) for value in args[1:]]
    rank = 1 + len(x.shape)
    axes = rest[0] if rest and rest[0] else tuple(range(len(starts)))
    steps = rest[1] if len(rest) > 1 and rest[1] else (1,) * len(starts)
    node.finish()
    if not len(starts) == len(ends) == len(axes) == len(steps) <= rank or not all(
            -rank <= axis < rank for axis in axes):
        raise node.error(f"starts, ends, axes {list(axes)[:_MAX_AXES]} and steps do not fit "
                         f"{describe(x.shape)}")
    sizes = 1, *x.shape
    places = [range(size) for size in sizes]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            raise node.error(f"step {step} is not supported; steps of 1 and more are")
        places[axis % rank] = range(*slice(start, end, step).indices(sizes[axis]))
    if not all(places):
        raise node.error(f"leaves nothing of {describe(x.shape)}; a part is supported")
    shape = tuple(map(len, places[1:]))
    rows, columns = (range(1), range(1), *places[2:])[-2:]
    return x if shape == x.shape else _slice(node, x, places[1], rows, columns, shape)


def gather(node: OnnxNode, args: Arguments) -> Activation | Movement:
    """Channels in another order: one of each of equal groups in turn, or runs of equal steps."""
    node.expect_inputs(2, 2)
    x, value = _image(node, args), args[1]
    axis, rank = node.integer("axis", 0), 1 + len(x.shape)
    node.finish()
    channels, height, width = x.tensor.shape
    if axis not in (1, 1 - rank) or not isinstance(value, Constant) or value.values.ndim != 1 or (
            value.values.dtype not in (np.int32, np.int64)):
        raise node.error(f"takes {describe_value(value)} along axis {axis} of {describe(x.shape)}; a vector "
                         "of integer constants along 1, the channels, is supported")
    if not value.values.size or not -channels <= value.values.min() <= value.values.max() < channels:
        raise node.error(f"takes channels that are none of the {channels} of its input")
    order = [int(index) % channels for index in value.values.tolist()]
    each = order[1] if len(order) > 1 else 0  # channels of a group, if they take turns
    if each > 1 and channels % each == 0 and len(x.shape) == 3 and (
            order == np.arange(channels).reshape(-1, each).T.ravel().tolist()):
        return shuffled(node, replace(x, turns=channels // each))
    runs = [*_runs(order)]
    if len(runs) > MAX_GROUPS:
        raise node.error(f"takes {len(runs)} runs of channels; up to {MAX_GROUPS} are supported")
    parts = tuple(_slice(node, x, run, range(height), range(width), (len(run), *x.shape[1:]))
                  for run in runs)
    if len(parts) == 1:
        return x if runs == [range(channels)] else parts[0]
    return Movement(node, (len(order), *x.shape[1:]), (len(order), height, width), (x,),
                    lambda inputs, y, lo, hi: Concat("", inputs, y, lo=lo, hi=hi), before=parts)


def _runs(order: list[int]) -> Iterator[range]:
    """Cut a list into ascending ranges."""
    while order:
        step = order[1] - order[0] if len(order) > 1 else 1
        count = 1
        while step > 0 and count < len(order) and order[count] - order[count - 1] == step:
            count += 1
        yield range(order[0], order[count - 1] + 1, step if count > 1 else 1)
        order = order[count:]


def space_to_depth(node: OnnxNode, args: Arguments) -> Movement:
    """Every place of a block as channels of its own, those of the first place first."""
    node.expect_inputs(1, 1)
    x, block = _image(node, args), node.integer("blocksize", 0)
    node.finish()
    if len(x.shape) != 3 or block < 1 or block * block > MAX_GROUPS or any(
            side % block for side in x.shape[1:]):
        raise node.error(f"blocksize {block} of {describe(x.shape)} is not supported; one of up to 16 that "
                         "divides height and width is")
    channels, height, width = x.tensor.shape
    parts = tuple(_slice(node, x, range(channels), range(down, height, block), range(across, width, block))
                  for down, across in product(range(block), repeat=2))
    if len(parts) == 1:
        return parts[0]
    shape = channels * block * block, height // block, width // block
    return Movement(node, shape, shape, (x,), lambda inputs, y, lo, hi: Concat(
        "", inputs, y, lo=lo, hi=hi), before=parts)


def grouped(x: Activation, dims: Shape) -> bool:
    """Whether a Reshape to ``dims`` only puts the channels of an image into groups."""
    channels, *sides = x.tensor.shape
    return x.shape == x.tensor.shape and x.turns == 1 and len(dims) == 5 and [*dims[3:]] == sides and (
        dims[0] == 1 and dims[1] * dims[2] == channels)


def swapped(node: OnnxNode, x: Activation, order: Shape) -> Activation:
    """The groups of channels and the channels of each, one for the other."""
    if order != (0, 2, 1, 3, 4) or x.turns != 1 or len(x.shape) != 4:
        raise node.error(f"perm {list(order)[:_MAX_AXES]} of {describe(x.shape)} is not supported; "
                         "[0, 2, 1, 3, 4] of groups of channels is")
    groups, each, *sides = x.shape
    return replace(x, shape=(each, groups, *sides), turns=groups)


def shuffled(node: OnnxNode, x: Activation) -> Activation | Movement:
    """What is :func:`swapped` as an image: a channel of each group in turn."""
    channels, height, width = shape = x.tensor.shape
    plain = replace(x, shape=shape, turns=1)
    each = channels // x.turns
    if 1 in (each, x.turns):
        return plain
    if x.turns > MAX_GROUPS:
        raise node.error(f"shuffles {x.turns} groups of channels; up to {MAX_GROUPS} are supported")
    parts = tuple(_slice(node, plain, range(first, first + each), range(height), range(width))
                  for first in range(0, channels, each))
    return Movement(node, shape, shape, (plain,), lambda inputs, y, lo, hi: Interleave(
        "", inputs, y, lo=lo, hi=hi), before=parts)


def _slice(node: OnnxNode, x: Activation, channels: range, rows: range, columns: range,
           shape: Shape | None = None) -> Movement:
    image = len(channels), len(rows), len(columns)
    return Movement(node, image if shape is None else shape, image, (x,), lambda inputs, y, lo, hi: Slice(
        "", (inputs[0],), y, channels=channels, rows=rows, columns=columns, lo=lo, hi=hi))


def _image(node: OnnxNode, args: Arguments) -> Activation:
    """What a node moves: integers or dequantised."""
    x = args[0]
    if not isinstance(x, Activation):
        raise node.error(f"its input 0 is {describe_value(x)}; every operator needs DequantizeLinear before "
                         "and QuantizeLinear after it")
    if x.order != (0, 1, 2):
        raise node.error("its input 0 is a transposed image; one in the order C, H, W is supported")
    if x.tensor.shape != (*x.shape, 1, 1)[:3]:
        check_image(node, x.shape)
    return x


def _integers(node: OnnxNode, value: Value | None) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, Constant) or value.values.dtype not in (np.int32, np.int64):
        raise node.error(f"reads {describe_value(value)} for starts, ends, axes or steps; integer constants "
                         "are supported")
    return tuple(value.values.reshape(-1)[:_MAX_AXES].tolist())
