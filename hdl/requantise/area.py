"""What a requantiser costs."""
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from headrace.hdl.area.part import Control, Part, columns_of, controlled
from headrace.hdl.base.output import output_bits, spare_bits
from headrace.hdl.lanes.steps import SCALE_STAGES
from headrace.hdl.requantise.scale import Scale
from headrace.hdl.requantise.scale_lane import WIDEST_IN_LOGIC, Digits


def scale_parts(module: str, layer: Scale) -> Iterator[Part]:
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
    yield controlled(module, Control(
        "scale", counters=tuple(counters), state=output_bits(y) + told_stages,
        features={"tell": 0 if constant else (digits.steps - 1) * told, "groups": grouped,
                  "exceptions": found * sum(operands), "spare": spare_bits(y)}))
    yield _constants(f"{module}__rom", digits)

    narrow = digits.width <= WIDEST_IN_LOGIC
    products = () if narrow else tuple(
        (shape.width, digits.width + shape.signed) for shape in digits.operands.values())
    total, partial = digits.top_width, 0
    if digits.steps > 1:
        total, partial = max(total, digits.partial_width + digits.width), digits.partial_width
    tie = form.tie is not None
    yield Part(
        module=f"{module}__lane", kind="scale-lane", copies=y.lanes, products=products,
        state=stages + partial + (tie and digits.steps > 1), absorbed=partial if products else 0, features={
            "one": 1, "digits": sum(operands) * digits.width if narrow else 0,
            "add": total * len(operands),
            "quotient": max(1, digits.top_width - (form.shift - digits.dropped)),
            "tie": tie * digits.width, "exceptions": broadcast * sum(operands),
            "corrections": len(digits.fixed)})


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
    corrections = exceptions + bool(digits.fixed)
    return told, sum(operands) + product + total - max(0, least - digits.dropped) + 1 + 4 * corrections


def _constants(module: str, digits: Digits) -> Part:
    """The ROM of a requantiser, whose words are small numbers in fields for the widest."""
    return replace(_rom(digits), module=module)


@lru_cache(maxsize=1 << 12)  # planners ask often
def _rom(digits: Digits) -> Part:
    multiplier_width = digits.width * digits.steps
    width = digits.product_width + multiplier_width * len(digits.operands)
    if len(digits.constants) == 1:
        return Part(module="", kind="rom")
    offsets = np.array([offset for offset, _ in digits.constants])
    multipliers = np.array([multiplier for _, (multiplier,) in digits.constants])
    columns = columns_of(offsets, digits.product_width) + columns_of(multipliers, multiplier_width)
    varying = [column for column in columns if 0 < column < (1 << len(digits.constants)) - 1]
    return Part(module="", kind="rom", rom=(len(digits.constants), width), varying=len(varying),
                columns=len(set(varying)))
