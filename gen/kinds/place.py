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


@dataclass(frozen=True)
class Option:
    """One way to unroll a layer, and how fast that is."""

    layer: LayerPlan
    pace: Pace
    spread: int  # cycles from the first beat of a row to its last
    delay: int  # cycles by which it delays what is behind it
    waits: int = 0  # its patience, if the layers before it have no time to be held up


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
        The beats that a row of its output may come in; only one number where tensors before it decide.
    most : :class:`int` or None
        The most columns that a lane may serve; None for any number.
    """

    graph: Graph
    node: N
    budget: int
    made: Mapping[str, Option]
    held: tuple[int, ...]
    folds: Sequence[int]
    most: int | None
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
        return self.x.channels * (self.before.beats if self.before else 1)

    @property
    def fold(self) -> int:
        """That of a layer which passes on what comes."""
        return self.folds[0]

    def requantisers(self, fold: int, cycles: int, longest: int = SLOWEST) -> Iterator[tuple[int, int]]:
        """Yield how many columns share a requantiser, and the cycles it takes for each: one, or all it has.

        A sum of each lane takes no more than ``cycles``; the fastest way is there in any case.
        """
        readouts = sorted(beats // fold for beats in self.folds if beats % fold == 0)
        for readout in readouts:
            if readout <= cycles or readout == readouts[0]:
                slowest = max(1, min(cycles // readout, longest))
                yield from ((readout, steps) for steps in sorted({1, slowest}))

    def unrolled(self, unrollings: Sequence[int], multiplications: int) -> Iterator[tuple[int, int]]:
        """Yield how many columns a lane may serve, and how many operands at a time.

        More than one column where a column has work for half of a lane's time, and then not many more
        operands than its multiplications per frame, ``multiplications``, ask for.
        """
        for fold, p_in in product(self.lane_folds, unrollings):
            least = multiplications * fold / self.budget
            if fold == 1 or 2 * multiplications <= self.budget and least <= p_in < min(fold, 2 * least + 1):
                yield fold, p_in

    @cached_property
    def lane_folds(self) -> list[int]:
        """The numbers of columns that a lane may serve."""
        found = {fold for beats in self.folds for fold in divisors(beats)}
        return sorted(fold for fold in found if self.most is None or fold <= self.most)

    def option(self, kind: str, pace: Pace, steps: int = 1, *, spread: int | None = None, cycles: int = 0,
               fold: int = 1, readout: int = 1, delay: int | None = None, waits: int = 0,
               **fields: Any) -> Option:
        """Return an option whose layer takes at least so many cycles per frame; more if its pace does."""
        layer = LayerPlan(name=self.node.name, kind=kind, lanes=self.y.width // fold, fold=fold,
                          readout=readout, requantise_steps=steps, cycles=max(cycles, sum(pace)), **fields)
        return Option(layer, pace, max(pace) if spread is None else spread,
                      max(pace) if delay is None else delay, waits)


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
