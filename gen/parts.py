"""The modules that a layer is made of, and what matters of each for its area.

One :class:`Part` per module of the netlist that :class:`headrace.hdl.hierarchy.Hierarchy` makes of the layer,
under the same name, but for modules that only connect others. Nothing is elaborated: parts follow from the
parameters of the gateware, so that a planner can ask for them often.
"""
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth import Shape

from headrace.gen.parts_control import Control, control
from headrace.hdl.addressed import Addressed
from headrace.hdl.branch import Add
from headrace.hdl.concat import Concat
from headrace.hdl.global_pool import GlobalPool
from headrace.hdl.input_stationary import InputStationary
from headrace.hdl.lookup import Lookup
from headrace.hdl.output_stationary import OutputStationary
from headrace.hdl.packed import LOW, PACKED, PRODUCT
from headrace.hdl.requantisation import AddRequantisation
from headrace.hdl.ring import BLOCKRAM, REGISTERS, in_memory
from headrace.hdl.rows import RowFormat
from headrace.hdl.scale import Requantise, Scale
from headrace.hdl.scale_lane import WIDEST_IN_LOGIC, Digits
from headrace.hdl.steps import SCALE_STAGES
from headrace.hdl.upsample import Upsample
from headrace.hdl.window import Depthwise, MaxPool


@dataclass(frozen=True, kw_only=True)
class Part:
    """A module that is there :py:`copies` times.

    ``features`` are amounts by name, to be weighed with a family's coefficients; ``products`` the widths of
    signed factors that are multiplied; ``rom`` words and bits per word; ``ring`` bits per word and words.
    ``state`` are the bits of the registers besides those of ROM and ring, of which a DSP may absorb
    ``absorbed``; ``varying`` are the bits of a ROM's word that are not constant, ``columns`` those of them
    that differ from each other, or the columns of a ring that move together.
    """

    module: str  # what follows the layer's name; of the layer itself ""
    kind: str
    copies: int = 1
    features: Mapping[str, float] = field(default_factory=dict)
    products: tuple[tuple[int, int], ...] = ()
    rom: tuple[int, int] | None = None
    ring: tuple[int, int] | None = None
    state: int = 0
    absorbed: int = 0
    varying: int = 0
    columns: int = 0
    in_memory: bool = False  # the ring
    memory: tuple[int, int] | None = None  # words and bits per word of a block RAM that is written
    block: bool = False  # the ROM is in block RAM however small


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
    yield replace(_controlled("", made), memory=(layer.depth, layer.formats[0].shape.width) if isinstance(
        layer, Addressed) else None)
    match layer:
        case Addressed():
            depth, x = len(layer.weights) * layer.span, layer.formats[0].shape
            yield replace(_rom("rom", depth, layer.weight.width // layer.planes), block=True)
            if layer.serial:
                yield Part(module="lane", kind="bit-lane", state=layer.sum.width,
                           features={"sum": layer.sum.width, "x": x.width})
            else:
                yield from _lanes(layer, x, 1, 1)
            yield from _requantise("requantise", layer.requantise)
        case OutputStationary():
            x = layer.formats[0]
            used = len({column for taps in layer.hold.columns(x.width) for column in taps
                        if column is not None})
            kernel, stride = layer.hold.kernel[0], layer.hold.stride[0]
            word = layer.side * x.shape.width
            yield from _ring("landing", word, used, layer.words, min(kernel, stride) * layer.banks)
            yield from _ring("held", word * kernel, used, layer.words)
            yield _rom("rom", layer.words * layer.selects * layer.sweeps,
                       layer.p_in * layer.p_out * layer.weight.width)
            yield from _lanes(layer, x.shape, layer.side * layer.hold.taps, layer.p_out)
            yield from _requantise("requantise", layer.requantise)
        case InputStationary():
            x, y = layer.formats
            word = layer.sum.width * layer.p_out
            yield _rom("rom", layer.groups * layer.turns, layer.p_in * layer.p_out * layer.weight.width)
            yield from _lanes(layer, x.shape, layer.p_in, layer.p_out, layer.depth)
            if layer.drains:
                yield _controlled("drain", Control("drain", counters=(layer.depth,), state=1))
                yield from _ring("drain__ring", word, y.lanes, layer.depth)
            if layer.collects:
                yield _collect(x, layer.p_in, 1)
            yield from _requantise("requantise", layer.requantise)
        case Depthwise() | MaxPool():
            x, y = layer.formats
            if x.in_parts:
                yield _collect(x, x.group, x.channels if x.group > 1 else 1)
            if (kept := layer.window.kernel[0] - x.group) > 0:
                yield from _ring("held", kept * x.shape.width, x.width, x.channels)
            if isinstance(layer, MaxPool):
                yield _max(layer, y.lanes)
            else:
                yield _rom("rom", layer.rom_depth, layer.p_in * layer.weight.width)
                yield from _lanes(layer, x.shape, layer.window.taps, 1)
                yield from _requantise("requantise", layer.requantise)
        case GlobalPool():
            if layer.formats[0].height > 1:  # or no sum is read again
                yield from _ring("held", layer.sum.width, 1, layer.formats[0].channels)
            yield from _requantise("requantise", layer.requantise)
        case Add() | Concat():
            names = ["a", "b"] if isinstance(layer, Add) else layer.names
            for name, format_, rows in zip(names, layer.formats, layer.rows, strict=True):
                if rows:
                    yield from _shortcut(f"shortcut_{name}", format_, rows, rings)
            if isinstance(layer, Add):
                yield from _scale("scale", layer.scale)
        case Lookup():
            yield _lookup(layer)
        case Upsample() if layer.factors[0] > 1:
            x = layer.format
            yield from _ring("held", x.shape.width, x.lanes, x.row_beats)


def _shortcut(module: str, format_: RowFormat, rows: int, rings: str) -> Iterator[Part]:
    bits, beats = format_.lanes * format_.shape.width, format_.row_beats
    together = rings == BLOCKRAM and beats > 1  # in one memory
    made = _controlled(module, Control(
        "shortcut", counters=(beats, rows, beats, rows), state=rows,
        features={"rows": rows, "bits": 0 if together else (rows - 1) * bits}))
    if together:
        yield replace(made, memory=(rows << (beats - 1).bit_length(), bits))
    else:
        yield made
        yield from _ring(f"{module}__row", format_.shape.width, format_.lanes, beats, rows)


def _controlled(module: str, made: Control) -> Part:
    return Part(module=module, kind=made.kind, state=made.bits, features=made.amounts)


def _ring(module: str, word: int, columns: int, depth: int, copies: int = 1) -> Iterator[Part]:
    """Yield the columns of a ring, whose module rings of the same shape share."""
    if depth == 1 or columns == 1:
        yield Part(module=module, kind="ring", copies=copies, ring=(word * columns, depth))
    else:
        yield Part(module=f"ring__{word}x{depth}", kind="ring", copies=columns * copies, ring=(word, depth),
                   columns=columns)


def _rom(module: str, depth: int, width: int) -> Part:
    return Part(module=module, kind="rom", rom=(depth, width) if depth > 1 else None, varying=width,
                columns=width)


def _constants(module: str, digits: Digits) -> Part:
    """The ROM of a requantiser, whose words are small numbers in fields for the widest."""
    multiplier_width = digits.width * digits.steps
    width = digits.product_width + multiplier_width * len(digits.operands)
    if len(digits.constants) == 1:
        return Part(module=module, kind="rom")
    offsets = np.array([offset for offset, _ in digits.constants])
    multipliers = np.array([multiplier for _, (multiplier,) in digits.constants])
    columns = _columns(offsets, digits.product_width) + _columns(multipliers, multiplier_width)
    varying = [column for column in columns if 0 < column < (1 << len(digits.constants)) - 1]
    return Part(module=module, kind="rom", rom=(len(digits.constants), width), varying=len(varying),
                columns=len(set(varying)))


def _columns(numbers: npt.NDArray[np.int64], bits: int) -> list[int]:
    """Return each bit of a table's words as one number."""
    packed = np.packbits(numbers >> np.arange(bits)[:, None] & 1, axis=1, bitorder="little")
    return [int.from_bytes(column.tobytes(), "little") for column in packed]


def _lookup(layer: Lookup) -> Part:
    """A table in LUTs: for each bit a tree that halves the table, with equal parts made once."""
    x, y = layer.formats
    nodes = dict.fromkeys(range(x.shape.width + 1), 0)
    table = np.roll(np.array(layer.table), layer.low)
    level = set(_columns(table, y.shape.width))
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
    return _controlled("collect", Control(
        "collect", counters=(places, words), state=bits * (2 * places - 1) + 1, features={"places": places}))


def _requantise(module: str, layer: Requantise) -> Iterator[Part]:
    serialise = layer.serialise
    bits = serialise.lanes * layer.scale.digits.operands["sum"].width
    ragged = len(serialise.counts) if serialise.counts[-1] < serialise.count else 1
    yield _controlled(f"{module}__serialise", Control(
        "serialise", counters=(serialise.count, ragged), state=bits * serialise.count + 1,
        features={"bits": bits * (serialise.count - 1)}))
    yield from _scale(f"{module}__scale", layer.scale)


def _scale(module: str, layer: Scale) -> Iterator[Part]:
    digits, form, y = layer.digits, layer.digits.scaling, layer.format
    operands = [shape.width for shape in digits.operands.values()]
    told = digits.width * (1 + len(operands)) + (form.tie is not None) * digits.width
    found = sum(map(len, digits.exceptions))
    broadcast = max(map(len, digits.exceptions))
    counters: Iterable[int] = (len(digits.constants), digits.steps)
    grouped = 0
    if y.group > 1:
        counters = (*counters, y.group * y.fold, len(y.groups), y.channels)
        grouped = len(y.groups)
    elif y.fold > 1 and len(digits.constants) > 1:
        counters = (*counters, y.fold)
    constant = len(digits.constants) == 1  # what the ROM would tell is then part of the logic
    told_stages, stages = _scale_stages(digits) if y.pipelined else (0, 0)
    yield _controlled(module, Control(
        "scale", counters=tuple(counters), state=y.lanes * y.shape.width + 1 + told_stages,
        features={"tell": 0 if constant else (digits.steps - 1) * told, "groups": grouped,
                  "exceptions": found * sum(operands)}))
    yield _constants(f"{module}__rom", digits)

    narrow = digits.width <= WIDEST_IN_LOGIC
    products = () if narrow else tuple(
        (shape.width, digits.width + shape.signed) for shape in digits.operands.values())
    total, partial = digits.top_width, 0
    if digits.steps > 1:
        total, partial = max(total, digits.partial_width + digits.width), digits.partial_width
    tie = form.tie is not None
    corrections = len(form.corrections) if isinstance(form, AddRequantisation) else 0
    yield Part(
        module=f"{module}__lane", kind="scale-lane", copies=y.lanes, products=products,
        state=stages + partial + (tie and digits.steps > 1), absorbed=partial if products else 0, features={
            "one": 1, "digits": sum(operands) * digits.width if narrow else 0,
            "add": total * len(operands),
            "quotient": max(1, digits.top_width - (form.shift - digits.dropped)),
            "tie": tie * digits.width, "exceptions": broadcast * sum(operands), "corrections": corrections})


def _scale_stages(digits: Digits) -> tuple[int, int]:
    """Return the bits that the stages of a requantiser hold, of what all lanes are told and of each lane."""
    form, operands = digits.scaling, [shape.width for shape in digits.operands.values()]
    exceptions = max(map(len, digits.exceptions))
    changes = len(digits.constants) > 1 or digits.steps > 1
    told = changes * (digits.width * len(operands) + max(digits.width + 1, digits.top_width))
    told += exceptions * (2 + sum(operands)) + SCALE_STAGES
    total = digits.top_width
    if digits.steps > 1:
        told += 4 + 2 * (form.tie is not None) * digits.width
        total = max(total, digits.partial_width + digits.width)
    product = min(total, max(operands) + digits.width + len(operands))
    least = form.shift if form.tie is None else form.tie  # bits below it are dropped
    corrections = exceptions + (isinstance(form, AddRequantisation) and bool(form.corrections))
    return told, sum(operands) + product + total - max(0, least - digits.dropped) + 1 + 4 * corrections
