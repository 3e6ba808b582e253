"""Additions, multiplications and concatenations: where branches meet."""
from abc import abstractmethod
from collections.abc import Container, Iterator, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from headrace.gen.ir.graph import Add, Concat, Graph, Interleave, Mul
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.kind import Kind, Site
from headrace.gen.kinds.needs import Needs, complete
from headrace.gen.kinds.place import BIT_BY_BIT, SLOWEST, N, Option, Place, at_least
from headrace.hdl.layers import add, concat, mul
from headrace.hdl.layers.layer import Layer

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

    def options(self, place: Place[N]) -> Iterator[Option]:
        y, budget = place.y, place.budget
        row = y.channels * place.fold  # beats
        longest = BIT_BY_BIT if place.means.addressed else SLOWEST
        for steps in range(1, max(2, min(budget // y.height // row, longest) + 1)):
            pace = tuple(max(time, row * steps) for time in max(place.paces, key=sum))  # other: held
            spread = max(place.spread, row * steps)
            yield place.option(self.name, pace, steps, spread=spread, shortcut_rows=place.held,
                               fold=place.fold, delay=spread)


class AddKind(Elementwise[Add]):
    name, of = "add", Add

    def make(self, site: Site[Add], plan: LayerPlan) -> Layer:
        a, b = site.inputs
        return add.Add(a=a, b=b, o=site.o, rows=plan.shortcut_rows, steps=plan.requantise_steps,
                       scaling=site.constants.adds[site.node.name])


class MulKind(Elementwise[Mul]):
    name, of = "mul", Mul

    def make(self, site: Site[Mul], plan: LayerPlan) -> Layer:
        (a, b), name, constants = site.inputs, site.node.name, site.constants
        zero_points = [site.graph.tensors[each].quantisation.zero_point for each in site.node.inputs]
        return mul.Mul(a=a, b=b, o=site.o, rows=plan.shortcut_rows, steps=plan.requantise_steps,
                       zero_points=zero_points, sum=constants.sum_shape(name), scaling=constants.sums[name])


class ConcatKind(Join[Concat]):
    name, of = "concat", Concat

    def ports(self, node: Concat) -> tuple[str, ...]:
        return tuple(f"i{index}" for index in range(len(node.inputs)))

    def starts(self, beats: Sequence[int]) -> tuple[list[int], int]:
        *starts, row = accumulate(beats, initial=0)
        return starts, row

    def options(self, place: Place[Concat]) -> Iterator[Option]:
        row = place.y.channels * place.fold
        yield place.option(self.name, at_least(row, max(place.paces, key=sum)),
                           spread=max(place.spread, row), shortcut_rows=place.held, fold=place.fold)

    def make(self, site: Site[Concat], plan: LayerPlan) -> Layer:
        return concat.Concat(inputs=site.inputs, rows=plan.shortcut_rows)


class InterleaveKind(Join[Interleave]):
    name, of = "interleave", Interleave

    def ports(self, node: Interleave) -> tuple[str, ...]:
        return tuple(f"i{index}" for index in range(len(node.inputs)))

    def starts(self, beats: Sequence[int]) -> tuple[list[int], int]:
        return [*range(len(beats))], sum(beats)

    def turns(self, height: int, beats: Sequence[int], fold: int) -> list[Turns]:
        channel, part = np.divmod(np.arange(height * beats[0]), fold)
        return [(channel * len(beats) + index) * fold + part for index in range(len(beats))]

    def options(self, place: Place[Interleave]) -> Iterator[Option]:
        row = place.y.channels * place.fold
        yield place.option(self.name, at_least(row, max(place.paces, key=sum)),
                           spread=max(place.spread, row), shortcut_rows=place.held, fold=place.fold)

    def make(self, site: Site[Interleave], plan: LayerPlan) -> Layer:
        return concat.Concat(inputs=site.inputs, rows=plan.shortcut_rows, in_turn=True)


def steps(needs: Sequence[Needs], turns: Sequence[Turns], held: Container[int]) -> npt.NDArray[np.int64]:
    """Return what each step of a join needs; of operands that are held, whole rows."""
    found = np.zeros(1 + max(int(turn[-1]) for turn in turns), np.int64)
    for index, (need, turn) in enumerate(zip(needs, turns, strict=True)):
        found[turn] = np.maximum(found[turn], (complete(need) if index in held else need).ravel())
    return np.maximum.accumulate(found)
