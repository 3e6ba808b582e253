"""The ways to unroll one layer, and how fast each is behind the layers before it."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

from headrace.gen.ir.graph import (
    Add,
    Concat,
    Conv,
    GlobalAveragePool,
    Graph,
    Lookup,
    Node,
    Pool,
    Tensor,
    Upsample,
    Window,
)
from headrace.gen.ir.means import Keep, Means
from headrace.gen.ir.plan import Kind, LayerPlan
from headrace.hdl.arithmetic.geometry import held_groups, merges, passing_groups, strides, whole
from headrace.hdl.arithmetic.requantisation import signed_width

Pace: TypeAlias = tuple[int, ...]
"""Cycles from row to row of a tensor, if nothing behind it makes it wait; of overlapping groups, from one
to the next."""

SLOWEST = 8
"""The most cycles a requantiser takes per output: beyond that it hardly gets smaller."""

BIT_BY_BIT = 32
"""The same of one beside which all else is small, too: enough for digits of a bit."""

BURST = 16
"""Finished rows leave in a burst, in this part of a row's time: the next layer waits for a whole row."""

NARROW, BURST_WIDE = 4, 4
"""Cycles per output of a pipelined addition, whose digits are then narrow enough for a fast clock, if its
rows leave in this part of a row's time."""


@dataclass(frozen=True)
class Option:
    layer: LayerPlan
    pace: Pace
    spread: int  # cycles from the first beat of a row to its last
    chosen: int = 0  # operands that are chosen among the columns that lanes serve in turn


def options(graph: Graph, node: Node, budget: int, made: Mapping[str, Option], held: tuple[int, ...],
            folds: Sequence[int] = (1,), means: Means = Means()) -> Iterator[Option]:  # noqa: B008
    """Yield the ways to unroll a layer, also those that are too slow for the budget of cycles per frame.

    ``made`` are the options chosen for the tensors before it; the network's input is none of them. ``held``
    are the rows to hold of each of the node's inputs. ``folds`` are the numbers of columns that a lane may
    serve; only one where tensors before it decide.
    """
    x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
    paces = [made[name].pace if name in made else (0,) * x.height for name in node.inputs]
    spread = max(made[name].spread if name in made else x.channels for name in node.inputs)
    beats = x.channels * (made[x.name].layer.fold if x.name in made else 1)
    place = _Place(node, x, y, paces[0], spread, budget, beats, folds, 2 if means.pipelined else 1)
    fold = folds[0]  # of those that pass on what comes
    grouped = x.name in made and made[x.name].layer.together != Window()
    if means.addressed and isinstance(node, Conv) and y.width in folds and not grouped:
        yield _addressed(place, node, 1)
        if means.serial:
            yield _addressed(place, node, signed_width(int(node.weight.min()), int(node.weight.max())))
    match node:
        case Add():
            burst = [made[name].layer for name in node.inputs if name in made]
            affordable = budget // y.height // y.channels // fold
            longest = BIT_BY_BIT if means.addressed else NARROW if means.pipelined else 0
            steps = min([max(place.steps(affordable // BURST), min(affordable // BURST_WIDE, longest)),
                         *(each.requantise_steps for each in burst if each.kind == "input-stationary")])
            pace = tuple(max(row, y.channels * fold * steps) for row in max(paces, key=sum))  # other: held
            yield place.option("add", pace, steps, spread=spread, shortcut_rows=held, fold=fold)
        case Concat():
            row = y.channels * fold
            pace = _at_least(row, max(paces, key=sum))
            yield place.option("concat", pace, spread=max(spread, row), shortcut_rows=held, fold=fold)
        case Lookup():
            yield place.option("lookup", _at_least(beats, paces[0]), spread=spread, fold=fold)
        case Upsample():
            rows = [time for row in paces[0] for time in (row, *[0] * (node.factors[0] - 1))]
            yield place.option("upsample", _at_least(beats, rows), spread=spread, fold=fold)
        case GlobalAveragePool():
            rows = [max(row, beats) for row in paces[0]]
            steps = place.steps((budget - sum(rows[:-1])) // x.channels)
            yield place.option("global-pool", (sum(rows[:-1]) + max(rows[-1], steps * x.channels),), steps)
        case Conv(groups=1) if narrows(node, x, y):
            yield from _input_stationary(place)
        case Conv(groups=1):
            together = _together(graph, node, means.keep, budget if means.addressed else 0)
            yield from _output_stationary(place, node.window, together)
        case Conv() | Pool():
            source = made[x.name].layer if x.name in made else None
            yield from _window(place, node, source.together if source else Window())


def narrows(node: Conv, x: Tensor, y: Tensor) -> bool:
    """Whether a convolution is one whose lanes hold sums rather than operands."""
    return node.window == Window() and y.channels < x.channels and x.width > 1


@dataclass(frozen=True)
class _Place:
    node: Node
    x: Tensor
    y: Tensor
    pace: Pace  # of the input
    spread: int
    budget: int
    beats: int  # of a row of the input
    possible: Sequence[int]
    fastest: int  # cycles per requantised output

    def steps(self, affordable: int) -> int:
        """Return the cycles that a requantiser takes per output."""
        return max(self.fastest, min(affordable, SLOWEST))

    def option(self, kind: Kind, pace: Pace, steps: int = 1, *, spread: int | None = None,
               cycles: int = 0, fold: int = 1, planes: int = 0, **fields: Any) -> Option:
        """Return an option; in each column that a window reaches a lane sees ``planes`` values."""
        window = self.node.window if isinstance(self.node, Conv | Pool) else Window()
        lanes = self.y.width // fold
        layer = LayerPlan(name=self.node.name, kind=kind, lanes=lanes, fold=fold, requantise_steps=steps,
                          cycles=max(cycles, sum(pace)), **fields)
        return Option(layer, pace, max(pace) if spread is None else spread, planes * window.reached(lanes))

    def folds(self, unrolled: Sequence[int], multiplications: int) -> Iterator[tuple[int, int]]:
        """Yield how many columns a lane may serve, and how many operands at a time.

        More than one column, unless other layers decide, where a column has work for half of a lane's time,
        and then not many more operands than its multiplications per frame, ``multiplications``, ask for.
        """
        for fold, p_in in product(self.possible, unrolled):
            least = multiplications * fold / self.budget
            if fold == 1 or len(self.possible) == 1 or (
                    2 * multiplications <= self.budget and least <= p_in < min(fold, 2 * least + 1)):
                yield fold, p_in


def _input_stationary(place: _Place) -> Iterator[Option]:
    inputs, channels, height = place.x.channels, place.y.channels, place.x.height
    per_row = place.budget // height
    for fold, p_in in place.folds(divisors(inputs), inputs * channels * height):
        outputs = channels * fold  # of a lane
        for p_out in unrollings(channels) if fold == 1 else (1,):
            turns = -(-outputs // p_out)
            sums = inputs // p_in * max(turns, p_in * (place.beats // inputs))
            fields = dict(p_in=p_in, p_out=p_out, fold=fold, planes=p_in)
            if turns > 1:
                steps = place.steps(max(per_row // BURST, min(2 * outputs, per_row - turns)) // outputs)
                pace = tuple(max(row, sums, outputs * steps + turns) for row in place.pace)
                yield place.option("input-stationary", pace, steps, spread=outputs * steps, drain=True,
                                   **fields)
            filling = [max(row, sums - turns) for row in place.pace]  # the row before is finished
            steps = place.steps((place.budget - sum(filling)) // height // outputs)
            pace = tuple(row + outputs * steps for row in filling)
            yield place.option("input-stationary", pace, steps, spread=outputs * steps, **fields)


def _output_stationary(place: _Place, window: Window, together: Window) -> Iterator[Option]:
    x, y, taps = place.x, place.y, window.taps
    overlapping = together.kernel > together.stride
    held = together if overlapping else window
    groups, _ = held_groups(held, x.height)
    rows = [sum(group.inside) if overlapping else 1 for group in groups if group.emits]  # made in each turn
    emits = len(rows)
    unrolled = [*unrollings(taps), *(taps * side for side in divisors(x.channels) if side > 1)]
    for fold, p_in in place.folds(unrolled, x.channels * taps * y.channels * sum(rows)):
        words = x.channels // max(1, p_in // taps)
        span = words * max(1, -(-taps // p_in))  # steps of one sweep
        fill = (len(groups) - emits) * words
        for p_out in unrollings(y.channels) if fold == 1 and not overlapping else (1,):
            sweeps = -(-y.channels // p_out) * fold
            possible = (place.budget - fill) // sum(rows) // y.channels // fold
            steps = place.steps(max(span // p_out, min(possible, SLOWEST // 2)))
            row = sweeps * max(span, p_out * steps)
            # With one bank rows land once the first sweep has taken those before.
            lands = span + min(held.kernel[0], held.stride[0]) * place.spread
            banks = 2 if x.height > 1 and lands > max(row, place.budget // emits) else 1
            pace = tuple(row * made for made in rows)
            pace = (fill + pace[0], *pace[1:])
            # The input's rows need not come evenly, as others land while one is in use.
            arrive = sum(place.pace)
            land = x.height * place.beats + len(groups) * (span if held.stride == (1, 1) else 0)
            fields = dict(cycles=max(arrive, land), p_in=p_in, p_out=p_out, banks=banks, fold=fold,
                          planes=window.kernel[0] * max(1, p_in // taps))
            if not overlapping:
                yield place.option("output-stationary", pace, steps, **fields)
            if together != Window() and p_out == 1:
                yield place.option("output-stationary", pace, steps, **fields, together=together)


def _addressed(place: _Place, node: Conv, bits: int) -> Option:
    """Return that of a layer which multiplies by so many ``bits`` of a weight one after another."""
    y, outputs = place.y, place.y.channels * place.y.width  # of a row
    span = node.window.taps * (1 if node.depthwise else place.x.channels) * bits
    steps = max(place.fastest, min(max(span, place.budget // y.height // outputs), BIT_BY_BIT))
    pace = (outputs * max(span, steps),) * y.height
    lanes = place.x.channels * place.x.width // place.beats  # columns of a beat, which land one by one
    land = place.x.height * place.beats * (lanes + 1 if lanes > 1 else 1)
    return place.option("addressed", pace, steps, cycles=max(sum(place.pace), land), fold=y.width,
                        serial=bits > 1)


def _together(graph: Graph, node: Conv, keep: Keep, addressed: int) -> Window:
    """Return which rows of a pointwise layer should leave together.

    Those of a window of the only reader, if they are to be kept where they are narrow; or as many as it
    skips. None where one lane can be all of the reader, with an address, in :py:`addressed` cycles.
    """
    if node.output == graph.output or node.window != Window():
        return Window()
    match [*graph.consumers(node.output)]:
        case [Conv(depthwise=True) | Pool() as reader]:
            kernel, stride = reader.window.kernel[0], reader.window.stride[0]
            x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
            read = graph.tensors[reader.output]
            if (isinstance(reader, Conv)
                    and read.channels * read.height * read.width * reader.window.taps <= addressed):
                return Window()
            if keep == "narrow" and kernel > stride and x.channels < y.channels:
                return whole(reader.window)
            if kernel >= stride > 1:
                return strides(reader.window, y.height)
    return Window()


def _window(place: _Place, node: Conv | Pool, together: Window) -> Iterator[Option]:
    kind: Kind = ("depthwise" if isinstance(node, Conv)
                  else "max-pool" if node.kind == "max" else "average-pool")
    channels, copies = place.x.channels, place.y.channels // place.x.channels
    group, overlapping = together.kernel[0], together.kernel > together.stride
    passing = passing_groups(node.window, place.x.height, group)
    taps = node.window.taps
    for fold, p_in in place.folds(unrollings(taps), taps * place.y.channels * place.y.height):
        selects = -(-node.window.taps // p_in)
        rows = iter(place.pace)
        arriving = [next(rows) if overlapping else sum(next(rows) for arrives in each.arrives if arrives)
                    for each in passing]
        evenly = [time for time, each in zip(arriving, passing, strict=True) if each.emits and time]
        steps = 1
        if kind != "max-pool":
            affordable = min(evenly, default=place.budget // place.y.height) // channels // copies // fold
            steps = place.steps(max(selects, affordable))
        gathered = place.beats * group
        busy = max(channels * copies * fold * max(selects, steps), gathered)
        times = [max(time, busy if each.emits else gathered)
                 for time, each in zip(arriving, passing, strict=True)]
        patience = 0
        if merges(passing):  # the last row comes with the first of the next frame
            if sum(times) > place.budget * 7 // 8:
                patience = place.budget // place.y.height // 2
            times[0], times[-1] = 0, max(times[-1], arriving[0])
        pace, waited = [], 0
        for time, each in zip(times, passing, strict=True):
            waited += time
            if each.emits:
                pace.append(waited)
                waited = 0
        pace[0] += waited
        yield place.option(kind, tuple(pace), steps, p_in=p_in, patience=patience, fold=fold,
                           planes=node.window.kernel[0])


def _at_least(cycles: int, pace: Sequence[int]) -> Pace:
    """Return the pace of rows that take some cycles each, and catch up where they have waited."""
    late = 0
    times: list[int] = []
    for _ in range(2):  # frames, as the last row of one may delay the first of the next
        times = []
        for row in pace:
            times.append(max(row - late, cycles))
            late += times[-1] - row
    return tuple(times)


def unrollings(number: int) -> list[int]:
    """Return the least unrolling for each number of steps that a loop of so many turns can take."""
    steps = {-(-number // unrolling) for unrolling in range(1, number + 1)}
    return sorted(-(-number // count) for count in steps)


def divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
