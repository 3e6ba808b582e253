"""The modules that a layer is made of, and what matters of each for its area.

One :class:`headrace.gen.estimate.part.Part` per module of the netlist that
:class:`headrace.hdl.base.hierarchy.Hierarchy` makes of the layer, under the same name, but for modules that
only connect others. Nothing is elaborated: parts follow from the parameters of the gateware, so that a
planner can ask for them often.
"""
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from amaranth import Shape

from headrace.gen.estimate.control import Control, control
from headrace.gen.estimate.part import Part, columns_of, controlled, ring, rom
from headrace.gen.estimate.scale import requantise, scale
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.lanes.packed import LOW, PACKED, PRODUCT
from headrace.hdl.layers.addressed import Addressed
from headrace.hdl.layers.branch import Add, in_one_memory
from headrace.hdl.layers.concat import Concat
from headrace.hdl.layers.global_pool import GlobalPool
from headrace.hdl.layers.input_stationary import InputStationary
from headrace.hdl.layers.lookup import Lookup
from headrace.hdl.layers.output_stationary import OutputStationary
from headrace.hdl.layers.upsample import Upsample
from headrace.hdl.layers.window import Depthwise, MaxPool
from headrace.hdl.storage.ring import BLOCKRAM, REGISTERS, in_memory


def parts(layer: Any, rings: str = REGISTERS) -> Iterator[Part]:
    """Yield the parts of a layer's gateware, with rings made of registers or of memory."""
    for part in _parts(layer, rings):
        if part.ring is not None:
            (width, depth), columns = part.ring, max(1, part.columns)  # which are one memory
            if in_memory(rings, width * columns, depth):
                part = replace(part, copies=part.copies // columns, **(
                    dict(ring=None, memory=(depth, width * columns)) if rings == BLOCKRAM
                    else dict(ring=(width * columns, depth), in_memory=True)))
        yield part


def _parts(layer: Any, rings: str) -> Iterator[Part]:
    made = control(layer)
    yield replace(controlled("", made), memory=(layer.depth, layer.formats[0].shape.width) if isinstance(
        layer, Addressed) else None)
    match layer:
        case Addressed():
            operand = layer.formats[0].shape
            yield replace(rom("rom", layer.rom_depth, layer.weight.width // layer.planes), block=True)
            if layer.serial:
                yield Part(module="lane", kind="bit-lane", state=layer.sum.width,
                           features={"sum": layer.sum.width, "x": operand.width})
            else:
                yield from _lanes(layer, operand, 1, 1)
            yield from requantise("requantise", layer.requantise)
        case OutputStationary():
            x = layer.formats[0]
            used = len({column for taps in layer.hold.columns(x.width) for column in taps
                        if column is not None})
            kernel, stride = layer.hold.kernel[0], layer.hold.stride[0]
            word = layer.side * x.shape.width
            yield from ring("landing", word, used, layer.words, min(kernel, stride) * layer.banks)
            yield from ring("held", word * kernel, used, layer.words)
            yield rom("rom", layer.words * layer.selects * layer.sweeps,
                      layer.p_in * layer.p_out * layer.weight.width)
            yield from _lanes(layer, x.shape, layer.side * layer.hold.taps, layer.p_out)
            yield from requantise("requantise", layer.requantise)
        case InputStationary():
            x, y = layer.formats
            word = layer.sum.width * layer.p_out
            yield rom("rom", layer.groups * layer.turns, layer.p_in * layer.p_out * layer.weight.width)
            yield from _lanes(layer, x.shape, layer.p_in, layer.p_out, layer.depth)
            if layer.drains:
                yield controlled("drain", Control("drain", counters=(layer.depth,), state=1))
                yield from ring("drain__ring", word, y.lanes, layer.depth)
            if layer.collects:
                yield _collect(x, layer.p_in, 1)
            yield from requantise("requantise", layer.requantise)
        case Depthwise() | MaxPool():
            x, y = layer.formats
            if x.in_parts:
                yield _collect(x, x.group, x.channels if x.group > 1 else 1)
            if (kept := layer.window.kernel[0] - x.group) > 0:
                yield from ring("held", kept * x.shape.width, x.width, x.channels)
            if isinstance(layer, MaxPool):
                yield _max(layer, y.lanes)
            else:
                yield rom("rom", layer.rom_depth, layer.p_in * layer.weight.width)
                yield from _lanes(layer, x.shape, layer.window.taps, 1)
                yield from requantise("requantise", layer.requantise)
        case GlobalPool():
            if layer.formats[0].height > 1:  # or no sum is read again
                yield from ring("held", layer.sum.width, 1, layer.formats[0].channels)
            yield from requantise("requantise", layer.requantise)
        case Add() | Concat():
            names = ["a", "b"] if isinstance(layer, Add) else layer.names
            for name, format_, rows in zip(names, layer.formats, layer.rows, strict=True):
                if rows:
                    yield from _shortcut(f"shortcut_{name}", format_, rows, rings)
            if isinstance(layer, Add):
                yield from scale("scale", layer.scale)
        case Lookup():
            yield _lookup(layer)
        case Upsample() if layer.factors[0] > 1:
            x = layer.format
            yield from ring("held", x.shape.width, x.lanes, x.row_beats)


def _shortcut(module: str, format_: RowFormat, rows: int, rings: str) -> Iterator[Part]:
    bits, beats = format_.lanes * format_.shape.width, format_.row_beats
    together = in_one_memory(format_, rows, rings)
    made = controlled(module, Control(
        "shortcut", counters=(beats, rows, beats, rows), state=rows,
        features={"rows": rows, "bits": 0 if together else (rows - 1) * bits}))
    if together:
        yield replace(made, memory=(rows << (beats - 1).bit_length(), bits))
    else:
        yield made
        yield from ring(f"{module}__row", format_.shape.width, format_.lanes, beats, rows)


def _lookup(layer: Lookup) -> Part:
    """A table in LUTs: for each bit a tree that halves the table, with equal parts made once."""
    x, y = layer.formats
    nodes = dict.fromkeys(range(x.shape.width + 1), 0)
    table = np.roll(np.array(layer.table), layer.low)
    level = set(columns_of(table, y.shape.width))
    for inputs in range(x.shape.width, 1, -1):
        level = {column for column in level if 0 < column < (1 << (1 << inputs)) - 1}
        nodes[inputs] = len(level)
        half = 1 << inputs - 1
        level = {part for column in level for part in (column & (1 << half) - 1, column >> half)}
    return Part(module="lane", kind="lookup", copies=y.lanes, rom=(len(table), y.shape.width), features={
        "fours": nodes[4], "sixes": nodes[6], "above": sum(nodes[inputs] for inputs in (5, 7, 8))})


def _lanes(layer: Any, x: Shape, operands: int, p_out: int, depth: int = 1) -> Iterator[Part]:
    """Yield the lanes that multiply, in pairs or one by one, and their rings of sums."""
    lanes = layer.formats[1].lanes
    pairs = lanes // 2 if layer.paired else 0
    for module, copies, columns in (("pair", pairs, 2), ("lane", lanes - 2 * pairs, 1)):
        if copies:
            shared = p_out if columns > 1 else p_out // 2 if layer.paired else 0  # products for two
            yield _mac(layer, x, operands, p_out, module, copies, columns, shared, depth)
            if depth > 1:
                yield Part(module=f"{module}__held", kind="ring", copies=copies,
                           ring=(columns * p_out * layer.sum.width, depth))


def _mac(layer: Any, x: Shape, operands: int, p_out: int, module: str, copies: int, columns: int,
         shared: int, depth: int) -> Part:
    p_in, weight, total = layer.p_in, layer.weight, layer.sum.width
    groups, single = -(-operands // p_in), columns * p_out - 2 * shared
    factor = x.width + (weight.signed and not x.signed)
    multiplier = weight.width + (x.signed and not weight.signed)
    packed = x if columns > 1 else weight
    amounts = {"select": columns * p_in * x.width * (groups - 1), "accumulate": columns * p_out * total,
               "add": (p_in - 1) * (single * min(factor + multiplier + 1, total) + shared * PRODUCT.width),
               "borrow": shared * p_in, "high": shared * (PRODUCT.width - LOW),
               "pack": p_in * packed.width * packed.signed * (1 if columns > 1 else shared)}
    products = (((PACKED.width, multiplier if columns > 1 else factor),) * (p_in * shared)
                + ((factor, multiplier),) * (p_in * single))
    stages = 0
    if layer.formats[1].pipelined:
        product = min(factor + multiplier + (p_in - 1).bit_length(), total)
        stages = columns * (2 * p_in * x.width + p_out * product)
    return Part(module=module, kind="pair" if shared else "mac", copies=copies, features=amounts,
                products=products if weight.width > 1 else (),
                state=stages + (columns * p_out * total if depth == 1 else 0))


def _max(layer: MaxPool, lanes: int) -> Part:
    bits, groups = layer.p_in * layer.formats[0].shape.width, -(-layer.window.taps // layer.p_in)
    return Part(module="lane", kind="max", copies=lanes, state=layer.formats[0].shape.width,
                features={"select": bits * (groups - 1), "compare": bits})


def _collect(x: RowFormat, places: int, words: int) -> Part:
    bits, places = x.lanes * x.shape.width, places * x.fold
    return controlled("collect", Control(
        "collect", counters=(places, words), state=bits * (2 * places - 1) + 1, features={"places": places}))
