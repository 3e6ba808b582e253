"""A layer's place in a plan: what is known of the streams before it, and the ways to unroll it there."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Generic, TypeAlias, TypeVar

from headrace.gen.ir.graph import Graph, Node, Tensor
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import LayerPlan

N = TypeVar("N", bound=Node)

Pace: TypeAlias = tuple[int, ...]
"""Cycles from row to row of a tensor, if nothing behind it makes it wait; of overlapping groups, from one
to the next."""

SLOWEST = 8
"""The most cycles a requantiser takes per output: beyond that it hardly gets smaller."""

BIT_BY_BIT = 32
"""The same of one beside which all else is small, too: enough for digits of a bit."""

BURST = 16
"""Finished rows leave in a burst, in this part of a row's time: the next layer waits for a whole row."""


@dataclass(frozen=True)
class Option:
    """One way to unroll a layer, and how fast that is."""

    layer: LayerPlan
    pace: Pace
    spread: int  # cycles from the first beat of a row to its last
    chosen: int = 0  # operands that are chosen among the columns that lanes serve in turn
    bursts: bool = False  # a row's beats leave as fast as they are requantised, and then none for a while


@dataclass(frozen=True)
class Place(Generic[N]):
    """A node in a plan whose layers before it are chosen.

    Parameters
    ----------
    budget : :class:`int`
        Cycles per frame that are aimed at; options that are slower are of interest, too.
    made : mapping of :class:`str` to :class:`Option`
        What is chosen for the tensors before it; the network's input is none of them.
    held : tuple of :class:`int`
        The rows to hold of each of its inputs.
    folds : sequence of :class:`int`
        The numbers of columns that a lane may serve; only one where tensors before it decide.
    """

    graph: Graph
    node: N
    budget: int
    made: Mapping[str, Option]
    held: tuple[int, ...]
    folds: Sequence[int]
    means: Means

    @cached_property
    def x(self) -> Tensor:
        """Its first input."""
        return self.graph.tensors[self.node.inputs[0]]

    @cached_property
    def y(self) -> Tensor:
        return self.graph.tensors[self.node.output]

    @cached_property
    def paces(self) -> list[Pace]:
        """Of each input."""
        return [self.made[name].pace if name in self.made else (0,) * self.x.height
                for name in self.node.inputs]

    @property
    def pace(self) -> Pace:
        """Of the first input."""
        return self.paces[0]

    @cached_property
    def spread(self) -> int:
        """Cycles from the first beat of a row of an input to its last."""
        return max(self.made[name].spread if name in self.made else self.x.channels
                   for name in self.node.inputs)

    @cached_property
    def before(self) -> LayerPlan | None:
        """What is chosen for the layer before; None of the network's input."""
        return self.made[self.x.name].layer if self.x.name in self.made else None

    @property
    def beats(self) -> int:
        """Of a row of the input."""
        return self.x.channels * (self.before.fold if self.before else 1)

    @property
    def fold(self) -> int:
        """That of a layer which passes on what comes."""
        return self.folds[0]

    def steps(self, affordable: int) -> int:
        """Return the cycles that a requantiser takes per output."""
        return max(self.fastest, min(affordable, SLOWEST))

    @property
    def fastest(self) -> int:
        """The fewest cycles from beat to beat of a stream."""
        return 2 if self.means.pipelined else 1

    def unrolled(self, unrollings: Sequence[int], multiplications: int) -> Iterator[tuple[int, int]]:
        """Yield how many columns a lane may serve, and how many operands at a time.

        More than one column, unless other layers decide, where a column has work for half of a lane's time,
        and then not many more operands than its multiplications per frame, ``multiplications``, ask for.
        """
        for fold, p_in in product(self.folds, unrollings):
            least = multiplications * fold / self.budget
            if fold == 1 or len(self.folds) == 1 or (
                    2 * multiplications <= self.budget and least <= p_in < min(fold, 2 * least + 1)):
                yield fold, p_in

    def option(self, kind: str, pace: Pace, steps: int = 1, *, spread: int | None = None, cycles: int = 0,
               fold: int = 1, chosen: int = 0, bursts: bool = False, **fields: Any) -> Option:
        """Return an option whose layer takes at least so many cycles per frame; more if its pace does."""
        layer = LayerPlan(name=self.node.name, kind=kind, lanes=self.y.width // fold, fold=fold,
                          requantise_steps=steps, cycles=max(cycles, sum(pace)), **fields)
        return Option(layer, pace, max(pace) if spread is None else spread, chosen, bursts)


def at_least(cycles: int, pace: Sequence[int]) -> Pace:
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
