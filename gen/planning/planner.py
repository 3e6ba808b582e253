"""The choice of a plan: the cheapest that a number of cycles per frame allows.

Every layer keeps up with the layers before it, at the lowest price (:mod:`headrace.gen.planning.choice`). As
multipliers come whole, they are used better at some rates than at others; the best of those close to what was
allowed is taken. Then the cycle model says what the network takes as a whole; where that is more than was
allowed, because layers make each other wait, all of them are planned for fewer cycles.
"""
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from math import ceil
from operator import itemgetter

from headrace.gen.cycles import model as cycle_model
from headrace.gen.estimate.price import Prices
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import Output, Plan
from headrace.gen.kinds import elaborate
from headrace.gen.kinds.place import Place
from headrace.gen.planning.choice import PORTS, Choice, Chosen, TooFast, options, pairs, ports
from headrace.gen.planning.dependence import shortcuts
from headrace.hdl.base.platform import REGISTERS

_FRAMES = 6  # the cycle model is asked for; the last ones come steadily
_LEAST = 0.5  # of the cycles allowed are what layers are planned for
_STEPS = 64  # of a number of cycles that does not suffice: the first step to a larger one is one of them
_NEAR = 998  # thousandths of the cycles allowed: all of them, but for what layers wait for each other
_CLOSE = range(995, 945, -5)  # thousandths of the cycles allowed, if multipliers are used better


def default_budget(graph: Graph) -> int:
    """Return the cycles of one pixel per clock, or four per beat of the busiest stream if more."""
    image = graph.tensors[graph.input]
    return max(image.height * image.width,
               max(4 * tensor.channels * tensor.height for tensor in graph.tensors.values()))


def plan(graph: Graph, *, cycles: int | None = None, prices: Prices = Prices(),  # noqa: B008
         means: Means = Means()) -> Plan:  # noqa: B008
    """Plan a network for at most so many cycles between frames, back to back.

    Without a number, :py:`default_budget()` is aimed at, or what the slowest layer needs if that is more, and
    the nearest to it that was found is returned.

    Raises
    ------
    :exc:`HeadraceError`
        If a layer, or the layers together, cannot be that fast; the message has a number that suffices.
    :exc:`ValueError`
        If lanes are to multiply bit by bit for a target that does not.
    """
    if means.serial and not prices.serial:
        raise ValueError("lanes multiply bit by bit only for a target whose lanes may")
    try:
        return try_plan(graph, cycles, prices, means)
    except TooFast as error:
        assert cycles is not None
        raise TooFast(error.reason, _sufficient(graph, error.least, prices, means)) from error


def _sufficient(graph: Graph, cycles: int, prices: Prices, means: Means) -> int:
    """Return cycles that suffice, at least so many: layers that keep up may still make each other wait."""
    step = max(1, cycles // _STEPS)
    while True:
        try:
            try_plan(graph, cycles, prices, means)
            return cycles
        except TooFast as error:
            cycles, step = max(cycles + step, error.least), 2 * step


def try_plan(graph: Graph, cycles: int | None, prices: Prices, means: Means) -> Plan:
    """The same, for who looks for a number of cycles: a failure does not search for one that suffices.

    Raises
    ------
    :exc:`TooFast`
    """
    image, most = graph.tensors[graph.input], means.fold
    if most is None and (cycles is None or cycles <= image.height * image.width):
        most = 1
    choice = Choice(graph, means, prices, most)
    budget = default_budget(graph) if cycles is None else cycles
    while True:
        try:
            each, multipliers = budget, _multipliers(choice.fewest(budget))
            break
        except TooFast as error:
            if cycles is not None:
                raise
            budget = max(budget + 1, error.least)
    for part in _CLOSE:
        fewer = max(1, budget * part // 1000)
        with suppress(TooFast):
            closer = _multipliers(choice.fewest(fewer))
            if closer * fewer < multipliers * each:
                each, multipliers = fewer, closer
    each, made = _bargain(choice, {each, max(1, budget * _NEAR // 1000)})
    best = attempt = _fastest(graph, budget, made, means)
    while attempt.cycles_per_frame > budget and each > max(1, budget * _LEAST):
        each = max(1, min(each - 1, int(each * budget / attempt.cycles_per_frame)))
        try:
            attempt = _fastest(graph, budget, choice.cheapest(each), means)
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
    No layer has addresses, whatever rings are made of. With :py:`paired`, lanes share multipliers in pairs
    wherever they can.
    """
    held, means = shortcuts(graph), Means(pipelined=pipelined, rings=rings)
    made: Chosen = {}
    for node in graph.nodes:
        place = Place(graph, node, 1, made, held[node.name], (1,), 1, replace(means, rings=REGISTERS))
        option = max(options(place), key=lambda option: (
            option.layer.multipliers, option.layer.p_in, -sum(option.pace)))
        if (bits := ports(place, option.layer)) >= PORTS:
            raise HeadraceError(f"layer {node.name}, fully unrolled, may have {bits:,} bits of inputs in a "
                                f"module, which netlists cannot; fewer than {PORTS:,} are supported")
        layer = replace(option.layer, paired=paired and pairs(graph, node))
        made[node.output] = replace(option, layer=layer)
    return _timed(graph, None, made, means)


def _bargain(choice: Choice, rates: Iterable[int]) -> tuple[int, Chosen]:
    """Return the number of cycles for which the network costs least, and the options chosen for it.

    Raises
    ------
    :exc:`TooFast`
        If none of them can be met.
    """
    found: list[tuple[float, int, Chosen]] = []
    for each in rates:
        try:
            made, price = choice.bargain(each)
        except TooFast as error:
            refused = error
        else:
            found.append((price, each, made))
    if not found:
        raise refused
    _, each, made = min(found, key=itemgetter(0))
    return each, made


def _multipliers(made: Chosen) -> int:
    return sum(option.layer.multipliers for option in made.values())


def _fastest(graph: Graph, budget: int, made: Chosen, means: Means) -> Plan:
    """As :func:`_timed`; where that is too slow, layers may also wait for the next frame to come."""
    plan = _timed(graph, budget, made, means)
    waiting = {name: replace(option, layer=replace(option.layer, patience=option.waits))
               for name, option in made.items()}
    if plan.cycles_per_frame <= budget or waiting == made:
        return plan
    return min(plan, _timed(graph, budget, waiting, means), key=lambda plan: plan.cycles_per_frame)


def _timed(graph: Graph, budget: int | None, made: Chosen, means: Means) -> Plan:
    """Make a plan of options, with what the cycle model says."""
    layers = {node.name: made[node.output].layer for node in graph.nodes}
    draft = Plan(budget, 0, 0, layers, means.pipelined, means.rings)
    timing = cycle_model.predict(elaborate.network(graph, draft), _FRAMES, endless=True)
    return replace(draft, cycles_per_frame=timing.cycles_per_frame,
                   first_frame_latency=timing.first_frame_latency, outputs={
                       name: Output(timing.cycles[name][0], waits) for name, waits in timing.waits.items()})
