"""Additions, subtractions, multiplications and concatenations: where branches meet."""
from abc import abstractmethod
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from headrace.gen.ir.graph import Add, Concat, Graph, Interleave, Mul, Sub
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.kind import Kind, Site
from headrace.gen.kinds.needs import Needs, complete
from headrace.gen.kinds.place import BIT_BY_BIT, SLOWEST, N, Option, Pace, Place, at_least
from headrace.hdl.layers import add, concat, gate, mul
from headrace.hdl.layers.layer import Layer

T = TypeVar("T")

Turns = npt.NDArray[np.int64]
"""Of each beat of an operand, in order: the step of the join that takes it."""


class Join(Kind[N]):
    """A layer of several inputs."""

    passes_on = True

    @abstractmethod
    def starts(self, beats: Sequence[int]) -> tuple[list[int], int]:
        """Return in which step of a row each operand's turn begins, and the steps of a row.

        ``beats`` are those of a row of each operand.
        """

    def turns(self, height: int, beats: Sequence[int], fold: int) -> list[Turns]:
        """Return, for each operand, in which step each of its beats is taken; ``fold`` to a channel's row."""
        starts, row = self.starts(beats)
        return [(np.arange(height)[:, None] * row + np.arange(start, start + count)).ravel()
                for start, count in zip(starts, beats, strict=True)]

    def held(self, place: Place[N]) -> tuple[int, ...]:
        """Return the rows to hold of each input: without which it hangs, and that come while gates wait."""
        return tuple(rows and rows + late_rows(place, name)
                     for rows, name in zip(place.held, place.node.inputs, strict=True))

    def needs(self, node: N, graph: Graph, inputs: Sequence[Needs], held: tuple[int, ...],
              fold: int) -> Needs:
        early = [index for index, rows in enumerate(held) if rows]
        height = graph.tensors[node.output].height
        turns = self.turns(height, [need.shape[1] for need in inputs], fold)
        return steps(inputs, turns, early).reshape(height, -1)


class Elementwise(Join[N]):
    """A join that makes each value of the two in the same place, and requantises it."""

    def ports(self, node: N) -> tuple[str, ...]:
        return "a", "b"

    def starts(self, beats: Sequence[int]) -> tuple[list[int], int]:
        return [0] * len(beats), beats[0]

    def pace(self, place: Place[N]) -> Pace:
        """Return how its rows come, but for what is held."""
        return max(place.paces, key=sum)

    def options(self, place: Place[N]) -> Iterator[Option]:
        y, budget = place.y, place.budget
        row = y.channels * place.fold  # beats
        longest, held = BIT_BY_BIT if place.means.addressed else SLOWEST, self.held(place)
        for steps in range(1, max(2, min(budget // y.height // row, longest) + 1)):
            pace = tuple(max(time, row * steps) for time in self.pace(place))
            spread = max(place.spread, row * steps)
            yield place.option(self.name, pace, steps, spread=spread, shortcut_rows=held,
                               fold=place.fold, delay=spread)


class AddKind(Elementwise[Add]):
    name, of = "add", Add

    def make(self, site: Site[Add], plan: LayerPlan) -> Layer:
        return _sum(site, plan)


class SubKind(Elementwise[Sub]):
    name, of = "sub", Sub

    def make(self, site: Site[Sub], plan: LayerPlan) -> Layer:
        return _sum(site, plan)


class MulKind(Elementwise[Mul]):
    name, of = "mul", Mul

    def suits(self, node: Mul, graph: Graph, means: Means) -> bool:
        a, b = (graph.tensors[name] for name in node.inputs)
        return a.shape == b.shape

    def make(self, site: Site[Mul], plan: LayerPlan) -> Layer:
        return mul.Mul(**_multiplied(site, plan))


class GateKind(Elementwise[Mul]):
    """The product of a map and a vector, which comes once per frame."""

    name, of = "gate", Mul

    def suits(self, node: Mul, graph: Graph, means: Means) -> bool:
        return not MulKind().suits(node, graph, means)

    def alike(self, node: Mul) -> tuple[str, ...]:
        return node.inputs[:1]

    def turns(self, height: int, beats: Sequence[int], fold: int) -> list[Turns]:
        row, vector = beats
        return [np.arange(height * row), np.arange(vector) * fold]

    def pace(self, place: Place[Mul]) -> Pace:
        return place.pace

    def held(self, place: Place[Mul]) -> tuple[int, ...]:
        rows, other = place.held
        waits = sum(each.delay for each in branch(place.node, place.graph, place.made))
        return rows and rows + 1 + -(-waits * place.y.height // max(sum(place.pace), place.budget)), other

    def options(self, place: Place[Mul]) -> Iterator[Option]:
        """As of any elementwise layer, whose rows wait for the vector."""
        return (replace(option, delay=sum(place.pace)) for option in super().options(place))

    def make(self, site: Site[Mul], plan: LayerPlan) -> Layer:
        return gate.Gate(**_multiplied(site, plan))


def _multiplied(site: Site[Mul], plan: LayerPlan) -> dict[str, Any]:
    """Return what a layer takes that multiplies."""
    (a, b), name, constants = site.inputs, site.node.name, site.constants
    zero_points = [site.graph.tensors[each].quantisation.zero_point for each in site.node.inputs]
    return dict(a=a, b=b, o=site.o, rows=plan.shortcut_rows, steps=plan.requantise_steps,
                zero_points=zero_points, sum=constants.sum_shape(name), scaling=constants.sums[name])


def branch(node: Mul, graph: Graph, made: Mapping[str, T]) -> Iterator[T]:
    """Yield what is made of the vectors on the way to a gate, the last first."""
    makers = {each.output: each for each in graph.nodes}
    name = node.inputs[1]
    while name in makers and graph.tensors[name].height * graph.tensors[name].width == 1:
        yield made[name]
        name = makers[name].inputs[0]


class Gathering(Join[N]):
    """A join whose channels are those of its inputs."""

    def ports(self, node: N) -> tuple[str, ...]:
        return tuple(f"i{index}" for index in range(len(node.inputs)))

    def options(self, place: Place[N]) -> Iterator[Option]:
        row = place.y.channels * place.fold
        yield place.option(self.name, at_least(row, max(place.paces, key=sum)), fold=place.fold,
                           spread=max(place.spread, row), shortcut_rows=self.held(place))


class ConcatKind(Gathering[Concat]):
    name, of = "concat", Concat

    def starts(self, beats: Sequence[int]) -> tuple[list[int], int]:
        *starts, row = accumulate(beats, initial=0)
        return starts, row

    def make(self, site: Site[Concat], plan: LayerPlan) -> Layer:
        return concat.Concat(inputs=site.inputs, rows=plan.shortcut_rows)


class InterleaveKind(Gathering[Interleave]):
    name, of = "interleave", Interleave

    def starts(self, beats: Sequence[int]) -> tuple[list[int], int]:
        return [*range(len(beats))], sum(beats)

    def turns(self, height: int, beats: Sequence[int], fold: int) -> list[Turns]:
        channel, part = np.divmod(np.arange(height * beats[0]), fold)
        return [(channel * len(beats) + index) * fold + part for index in range(len(beats))]

    def make(self, site: Site[Interleave], plan: LayerPlan) -> Layer:
        return concat.Concat(inputs=site.inputs, rows=plan.shortcut_rows, in_turn=True)


def _sum(site: Site[Add] | Site[Sub], plan: LayerPlan) -> Layer:
    a, b = site.inputs
    return add.Add(a=a, b=b, o=site.o, rows=plan.shortcut_rows, steps=plan.requantise_steps,
                   scaling=site.constants.adds[site.node.name])


def late_rows(place: Place[N], early: str) -> int:
    """Return how many rows of an operand come while gates on the way to the others wait for their vectors."""
    gates = {name for name, option in place.made.items() if option.layer.kind == GateKind.name}
    if not gates:
        return 0

    def before(*names: str) -> set[str]:
        found = {*names}
        for node in reversed(place.graph.nodes):
            if node.output in found:
                found.update(node.inputs)
        return found

    rows = 0
    for name in gates & before(*place.node.inputs) - before(early):
        held, height = place.made[name].layer.shortcut_rows[0], place.graph.tensors[name].height
        rows += -(-(1 + held - height) * place.y.height // height) if held else 0
    return rows


def steps(needs: Sequence[Needs], turns: Sequence[Turns], held: Container[int]) -> npt.NDArray[np.int64]:
    """Return what each step of a join needs; of operands that are held, whole rows."""
    found = np.zeros(1 + max(int(turn[-1]) for turn in turns), np.int64)
    for index, (need, turn) in enumerate(zip(needs, turns, strict=True)):
        found[turn] = np.maximum(found[turn], (complete(need) if index in held else need).ravel())
    return np.maximum.accumulate(found)
