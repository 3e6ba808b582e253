"""The choice of a plan: as few multipliers as a number of cycles per frame allows.

Every layer gets the fewest at which it keeps up with the layers before it. As multipliers come whole, they
are used better at some rates than at others; the best of those close to what was allowed is taken. Then the
cycle model says what the network takes as a whole; where that is more than was allowed, because layers make
each other wait, all of them are planned for fewer cycles.
"""
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Any

import numpy as np

from headrace.gen.cycles import model as cycle_model
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Conv, Graph, Node, Window
from headrace.gen.ir.info import info
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import LayerPlan, Plan
from headrace.gen.kinds import elaborate, registry
from headrace.gen.kinds.place import Option, Place
from headrace.gen.planning.dependence import shortcut_rows, shortcuts
from headrace.gen.planning.folding import Alike, Folding
from headrace.hdl.base.platform import REGISTERS

PORTS = 1 << 16
"""Bits that come into a module: Amaranth's netlist counts no further."""

WEIGHT, SUM = 9, 32
"""Bits of the widest."""

_FRAMES = 4  # the cycle model is asked for; the last ones come steadily
LATENCY = 0.25  # of all multipliers: what one frame less of latency is worth
_CHOICE = 0.05  # of a multiplier: what each further column costs that an operand is chosen from
_BITWISE = 0.3  # of a multiplier: what a lane costs that multiplies bit by bit
_LEAST = 0.5  # of the cycles allowed are what layers are planned for
_STEPS = 64  # of a number of cycles that does not suffice: the first step to a larger one is one of them
_CLOSE = range(995, 945, -5)  # thousandths of the cycles allowed, if multipliers are used better


class TooFast(HeadraceError):
    """A number of cycles that cannot be met; no fewer than `least` can be, and they may not suffice either.

    ``reason`` is the message up to the number that suffices.
    """

    def __init__(self, reason: str, least: int) -> None:
        super().__init__(f"{reason}: allow at least {least}")
        self.reason, self.least = reason, least


def default_budget(graph: Graph) -> int:
    """Return the cycles of one pixel per clock, or four per beat of the busiest stream if more."""
    image = graph.tensors[graph.input]
    return max(image.height * image.width,
               max(4 * tensor.channels * tensor.height for tensor in graph.tensors.values()))


def plan(graph: Graph, *, cycles: int | None = None, paired: bool = False,
         means: Means = Means()) -> Plan:  # noqa: B008
    """Plan a network for at most so many cycles between frames, back to back.

    Without a number, :py:`default_budget()` is aimed at, or what the slowest layer needs if that is more, and
    the nearest to it that was found is returned. With :py:`paired`, lanes share multipliers in pairs wherever
    they can, which changes no cycle.

    Raises
    ------
    :exc:`HeadraceError`
        If a layer, or the layers together, cannot be that fast; the message has a number that suffices.
    """
    try:
        return try_plan(graph, cycles, paired, means)
    except TooFast as error:
        assert cycles is not None
        raise TooFast(error.reason, _sufficient(graph, error.least, paired, means)) from error


def _sufficient(graph: Graph, cycles: int, paired: bool, means: Means) -> int:
    """Return cycles that suffice, at least so many: layers that keep up may still make each other wait."""
    step = max(1, cycles // _STEPS)
    while True:
        try:
            try_plan(graph, cycles, paired, means)
            return cycles
        except TooFast as error:
            cycles, step = max(cycles + step, error.least), 2 * step


def try_plan(graph: Graph, cycles: int | None, paired: bool, means: Means) -> Plan:
    """The same, for who looks for a number of cycles: a failure does not search for one that suffices.

    Raises
    ------
    :exc:`TooFast`
    """
    image = graph.tensors[graph.input]
    if means.fold is None and (cycles is None or cycles <= image.height * image.width):
        means = replace(means, fold=1)
    choice = _Choice(graph, means)
    budget = default_budget(graph) if cycles is None else cycles
    while True:
        try:
            each, made = budget, choice.options(budget)
            break
        except TooFast as error:
            if cycles is not None:
                raise
            budget = max(budget + 1, error.least)
    for part in _CLOSE:
        fewer = budget * part // 1000
        with suppress(TooFast):
            closer = choice.options(fewer)
            if _multipliers(closer) * fewer < _multipliers(made) * each:
                each, made = fewer, closer
    best = attempt = _timed(graph, budget, made, paired, means)
    while attempt.cycles_per_frame > budget and each > budget * _LEAST:
        each = min(each - 1, int(each * budget / attempt.cycles_per_frame))
        try:
            attempt = _timed(graph, budget, choice.options(each), paired, means)
        except TooFast:
            break
        best = min(best, attempt, key=lambda plan: plan.cycles_per_frame)
    if cycles is not None and best.cycles_per_frame > cycles:
        raise TooFast(f"{cycles} cycles per frame were allowed, but layers that keep up with it make each "
                       "other wait", max(cycles + 1, ceil(best.cycles_per_frame)))
    return best


def unrolled(graph: Graph, *, paired: bool = False, pipelined: bool = False, rings: str = REGISTERS) -> Plan:
    """Plan a network with a multiplier for every weight that a step can use.

    Dense layers have one for every weight, and no ROM that turns. A depthwise layer has one for every tap, as
    its stream brings a channel at a time. Where streams cannot bring more, a row takes a cycle per channel.
    No layer has addresses, whatever rings are made of.
    """
    held = shortcuts(graph)
    made: dict[str, Option] = {}
    for node in graph.nodes:
        place = Place(graph, node, 1, made, held[node.name], (1,), Means(pipelined=pipelined))
        most = max(_options(place), key=lambda option: (
            option.layer.multipliers, option.layer.p_in, -sum(option.pace)))
        if (bits := _ports(place, most.layer)) >= PORTS:
            raise HeadraceError(f"layer {node.name}, fully unrolled, may have {bits:,} bits of inputs in a "
                                f"module, which netlists cannot; fewer than {PORTS:,} are supported")
        made[node.output] = most
    return _timed(graph, None, made, paired, Means(pipelined=pipelined, rings=rings))


class _Choice:
    """Plans every layer of a network for a number of cycles per frame."""

    def __init__(self, graph: Graph, means: Means) -> None:
        self.graph, self.folding, self.means = graph, Folding(graph, means.fold), means
        self.multiplications = info(graph).multiplications
        self._held: dict[tuple[Any, ...], tuple[int, ...]] = {}

    def options(self, each: int) -> dict[str, Option]:
        """Return the option chosen for each tensor."""
        whole: set[Alike] = set()  # not to be folded
        while True:
            made: dict[str, Option] = {}
            held: dict[str, tuple[int, ...]] = {}
            for node in self.graph.nodes:
                folds = self._folds(node, made, whole)
                held[node.name] = self._rows(node, made, held)
                place = Place(self.graph, node, each, made, held[node.name], folds, self.means)
                possible = [option for option in _options(place) if _ports(place, option.layer) < PORTS]
                if not possible:
                    raise HeadraceError(f"layer {node.name} has too large a window: a module may have "
                                        f"{PORTS:,} bits of inputs or more, which netlists cannot")
                fast = [option for option in possible if option.layer.cycles <= each]
                if not fast and folds != (1,):
                    whole.add(self.folding.alike(node.output))
                    break
                if not fast:
                    least = min(option.layer.cycles for option in possible)
                    raise TooFast(f"layer {node.name} needs {least} cycles per frame however far it is "
                                   f"unrolled, more than the {each} allowed", least)
                price = partial(_cost, channels=self.graph.tensors[node.output].channels,
                                frame=LATENCY * self.multiplications / each**2)
                made[node.output] = min(fast, key=price)
            else:
                return made

    def _folds(self, node: Node, made: Mapping[str, Option], whole: Container[Alike]) -> tuple[int, ...]:
        alike = self.folding.alike(node.output)
        if alike in whole:
            return (1,)
        return next(((made[name].layer.fold,) for name in alike if name in made),
                    self.folding.possible(node.output))

    def _rows(self, node: Node, made: Mapping[str, Option],
              held: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """Return the rows that a node must hold of its inputs, as those before it are folded."""
        folds = {name: option.layer.fold for name, option in made.items() if option.layer.fold > 1}
        kinds = {name: option.layer.kind for name, option in made.items()}
        key = node.name, *kinds.items(), *folds.items()
        if key not in self._held:
            self._held[key] = shortcut_rows(self.graph, node, held, folds, {
                name: registry.named(kind) for name, kind in kinds.items()})
        return self._held[key]


def _options(place: Place[Any]) -> Iterator[Option]:
    """Yield the options of every kind that a node can be."""
    for kind in registry.serving(place.node, place.graph, place.means):
        yield from kind.options(place)


def _ports(place: Place[Any], layer: LayerPlan) -> int:
    """Return a bound of the bits that come into any module of a layer, where that may be many."""
    if not layer.multiplies:
        return 0
    window: Window = place.node.window
    side = max(1, layer.p_in // window.taps)  # channels of a word
    lane = 2 * 8 * side * window.taps + WEIGHT * layer.p_in * layer.p_out
    columns = place.x.width if side == place.x.channels else 1  # of a module of the window
    return max(lane, columns * side * window.kernel[0] * 8, layer.lanes * layer.p_out * SUM)


def _multipliers(made: Mapping[str, Option]) -> int:
    return sum(option.layer.multipliers for option in made.values())


def _timed(graph: Graph, budget: int | None, made: Mapping[str, Option], paired: bool,
           means: Means) -> Plan:
    """Make a plan of options, with what the cycle model says."""
    layers = {node.name: made[node.output].layer for node in graph.nodes}
    if paired:
        layers = {node.name: replace(layers[node.name], paired=_pairs(graph, node)) for node in graph.nodes}
    draft = Plan(budget, 0, 0, layers, means.pipelined, means.rings)
    timing = cycle_model.predict(elaborate.network(graph, draft), _FRAMES, endless=True)
    return replace(draft, cycles_per_frame=timing.cycles_per_frame,
                   first_frame_latency=timing.first_frame_latency)


def _pairs(graph: Graph, node: Node) -> bool:
    """Whether lanes of a layer can share multipliers: there are two, which multiply by two bits or more."""
    return (isinstance(node, Conv) and graph.tensors[node.output].width > 1
            and not np.isin(node.weight, (-1, 0)).all())


def _cost(option: Option, channels: int, frame: float) -> tuple[float, ...]:
    """Return what an option costs: rows that leave one by one, multipliers of 8 by 8 bits, then control.

    A requantiser multiplies by 24 bits or so, in as many cycles as it may take; a draining row takes
    shift registers for a sum per channel, some 256 of which are worth a multiplier. A frame of
    latency is worth a part of all multipliers, and a layer delays the others by about a row.
    """
    layer = option.layer
    sums = layer.drain * channels * layer.fold
    multipliers = layer.multipliers * (_BITWISE if layer.serial else 1)
    area = (multipliers + layer.lanes * (3 / layer.requantise_steps + sums / 256)
            + option.chosen * (layer.fold - 1) * _CHOICE)
    return (-layer.together.kernel[0], area + frame * max(option.pace), layer.p_in * layer.p_out, layer.p_in)
