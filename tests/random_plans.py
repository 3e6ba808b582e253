"""Random options: everything that a user may ask of a plan, together."""
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partialmethod
from math import inf
from typing import Any, Literal

import pytest
from hypothesis import strategies as st

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.info import info
from headrace.gen.ir.means import Keep, Means
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds.place import Option, Place
from headrace.gen.netlist.target import TARGETS
from headrace.gen.planning.choice import Choice, Chosen
from headrace.gen.planning.planner import default_budget
from headrace.gen.request import Request
from headrace.hdl.base.platform import BLOCKRAM, LUTRAM, REGISTERS

Draw = Callable[[st.SearchStrategy[Any]], Any]

MOST_CYCLES = 12_000  # per frame, of a network that is slowed down
MOST_UNROLLED = 300  # weights

_SPEEDS = {"fastest": inf, "slowest": 0.02, "unrolled": 2.0}  # where a network is too large for the extreme


@dataclass(frozen=True)
class Options:
    """What `headrace plan` is asked for, and how the streams are driven."""

    speed: float | Literal["fastest", "slowest", "unrolled"]  # in default budgets
    fold: int | None
    keep: Keep
    rings: str
    pipelined: bool
    target: Literal["", "xc7", "ice40"]  # any; of pairs; of lanes that multiply bit by bit
    stalls: bool
    whim: int | None  # chooses each layer's option instead of the price


@st.composite
def every_option(draw: Draw) -> Options:
    speeds = "fastest", "slowest", "unrolled", 0.02, 0.05, 0.2, 0.5, 1.0, 1.0, 2.0
    return Options(
        speed=draw(st.sampled_from(speeds)), fold=draw(st.sampled_from((None, None, None, 1, 2, 3, 8))),
        keep=draw(st.sampled_from(("wide", "narrow"))),
        rings=draw(st.sampled_from((REGISTERS, LUTRAM, BLOCKRAM))), pipelined=draw(st.booleans()),
        target=draw(st.sampled_from(("", "xc7", "ice40"))), stalls=draw(st.booleans()),
        whim=draw(st.one_of(st.none(), st.integers(0, 99))))


def planned(graph: Graph, options: Options) -> Plan:
    """Plan as asked, or as near to it as is small enough to simulate."""
    with pytest.MonkeyPatch.context() as patch:
        if options.whim is not None:
            patch.setattr(Choice, "cheapest", partialmethod(_any, whim=options.whim))
        return _planned(graph, options)


def _any(self: Choice, each: int, whim: int) -> Chosen:
    """Choose any of the options that are fast enough: of readouts, steps, banks, drains, pairs."""
    def choose(place: Place[Any], fast: list[Option]) -> Option:
        possible = list(self.priced(place, fast))
        return possible[zlib.crc32(f"{whim} {place.node.name}".encode()) % len(possible)]
    return self.choose(each, choose)


def _planned(graph: Graph, options: Options) -> Plan:
    target = TARGETS[options.target] if options.target else None
    if target is not None and options.rings == LUTRAM and not target.lut_ram:
        options = replace(options, rings=BLOCKRAM)
    if options.speed == "unrolled" and info(graph).weights <= MOST_UNROLLED:
        plain = Means(rings=options.rings, pipelined=options.pipelined)
        return Request(unroll=True, target=target, means=plain).plan(graph)
    request = Request(target=target, means=Means(
        fold=options.fold, keep=options.keep, rings=options.rings, pipelined=options.pipelined))
    if options.speed == "slowest":
        slowest = replace(request, cycles=1 << 32).plan(graph)
        if slowest.cycles_per_frame <= MOST_CYCLES:
            return slowest
    speed = options.speed if isinstance(options.speed, float) else _SPEEDS[options.speed]
    cycles = int(min(default_budget(graph) / speed, MOST_CYCLES))
    return as_fast(graph, replace(request, cycles=max(cycles, 1)))


def as_fast(graph: Graph, request: Request) -> Plan:
    """Plan as asked, or for as many more cycles as the planner's refusal names."""
    try:
        return request.plan(graph)
    except HeadraceError as error:
        least = re.search(r"allow at least (\d+)$", str(error))
        assert least is not None, error
        return replace(request, cycles=int(least[1])).plan(graph)
