"""Which beats of one tensor a beat of another depends on: how deep a shortcut must be.

A network can hang where its branches meet, at an Add, Sub, Mul or Concat, if what comes early cannot wait
there: the fork waits for the early branch to take a beat, that branch for its turn at the join, and the join
for a beat of another branch that the fork holds back. How many rows have to be held follows from the windows
alone, not from timing.

Whether a beat can move depends on other beats, never on when they moved, and a beat that can move stays able
to until it does. So if *one* order of moves brings every beat through, no order can hang. That order is
this: let ``need_F(beat)`` be the number of beats of a forked tensor ``F`` that a beat depends on; each layer
answers as soon as the rows that a window reaches have come, one with an address as soon as those that it
waits for have. Beats move in the order of their needs, of the first fork of the network, where these are
equal of the second, and so on; a step of a join has the greatest needs of what it has taken so far. A beat
never needs less than one that it depends on, so the data are there. Moves with the same needs include one
beat of any fork at most, which each of its branches is offered by itself. So there is room for them if no
branch stops a fork that has to move on: at every step of every join, for every operand,

- either no beat that was not yet taken needs less than the step does,
- or a shortcut has room for all such beats that need no more than the step does.

A shortcut holds whole rows, and gives a row away when it is complete, which is then what its beats need.

Of the forks, those before the last tensor that every path to a join passes through decide nothing: how many
of their beats have come follows from how many of that tensor's have.
"""
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.gen.ir.graph import Graph, Node
from headrace.gen.kinds import registry
from headrace.gen.kinds.joins import Join, steps
from headrace.gen.kinds.kind import Kind
from headrace.gen.kinds.needs import Needs

Folds = Mapping[str, int]  # of tensors that are folded
Kinds = Mapping[str, Kind[Any]]  # of the layers that make tensors
Keys = npt.NDArray[Any]  # by beat: the needs of several forks as one number of any size

SLACK = 2
"""Rows beyond the necessary: what the layers of the other branches take early, so that none waits."""


def shortcuts(graph: Graph, folds: Folds = MappingProxyType({})) -> dict[str, tuple[int, ...]]:
    """Return, for each node by name, how many rows of each input must be held; 0 if none."""
    held: dict[str, tuple[int, ...]] = {}
    kinds = {node.output: registry.default(node, graph) for node in graph.nodes}
    for node in graph.nodes:
        held[node.name] = shortcut_rows(graph, node, held, folds, kinds)
    return held


def shortcut_rows(graph: Graph, join: Node, held: Mapping[str, tuple[int, ...]], folds: Folds,
                  kinds: Kinds) -> tuple[int, ...]:
    """Return how many rows of each input of a node must be held, given those of the nodes before it."""
    if len(join.inputs) == 1:
        return (0,)
    kind = registry.default(join, graph)
    assert isinstance(kind, Join), f"{kind.name} has several inputs and no turns"
    forks = _forks(graph, join)
    needs = [_needs(graph, join, fork, held, folds, kinds) for fork in forks]
    beats = [graph.tensors[fork].channels * graph.tensors[fork].height * folds.get(fork, 1) for fork in forks]
    keys = [_keys([np.maximum.accumulate(need[index].ravel()) for need in needs], beats)
            for index in range(len(join.inputs))]
    widths = [graph.tensors[name].channels * folds.get(name, 1) for name in join.inputs]
    turns = kind.turns(graph.tensors[join.output].height, widths, folds.get(join.inputs[0], 1))
    first = [np.searchsorted(turn, np.arange(1 + max(int(turn[-1]) for turn in turns))) for turn in turns]
    early: set[int] = set()  # operands with a shortcut
    while True:
        taken = _keys([steps(need, turns, early) for need in needs], beats)
        found = next((index for index, key in enumerate(keys) if index not in early
                      and (np.append(key, taken[-1])[first[index]] < taken).any()), None)
        if found is None:
            break
        early.add(found)

    def rows(index: int) -> int:
        tensor = graph.tensors[join.inputs[index]]
        come = np.searchsorted(keys[index], taken, side="right")
        row = tensor.channels * folds.get(join.inputs[index], 1)
        spans = (come - 1) // row - first[index] // row + 1
        return min(max(int(spans.max()), 1) + SLACK, tensor.height)

    return tuple(rows(index) if index in early else 0 for index in range(len(keys)))


def _keys(needs: Sequence[npt.NDArray[np.int64]], beats: Sequence[int]) -> Keys:
    """Return numbers in the order of the needs of the first fork, where these are equal of the second, ..."""
    keys: Keys = np.zeros(needs[0].size, object)
    for need, count in zip(needs, beats, strict=True):
        keys = keys * (count + 1) + need
    return keys


def _needs(graph: Graph, join: Node, fork: str, held: Mapping[str, tuple[int, ...]], folds: Folds,
           kinds: Kinds) -> list[Needs]:
    """Return, for each beat of each operand, how many beats of :py:`fork` it depends on."""
    def beats(name: str) -> Needs:
        tensor = graph.tensors[name]
        row = tensor.channels * folds.get(name, 1)
        return np.arange(1, tensor.height * row + 1).reshape(tensor.height, row)

    known = {fork: beats(fork)}
    for node in graph.nodes:
        if node is join:
            break
        if known.keys() & set(node.inputs):
            known[node.output] = kinds[node.output].needs(node, graph, [
                known[name] if name in known else 0 * beats(name) for name in node.inputs],
                held[node.name], folds.get(node.output, 1))
    return [known[name] if name in known else 0 * beats(name) for name in join.inputs]


def _forks(graph: Graph, join: Node) -> list[str]:
    """Return the last tensor that every path to a join passes through, and what forks from there on."""
    through: dict[str, list[str]] = {graph.input: [graph.input]}
    for node in graph.nodes:
        through[node.output] = [name for name in through[node.inputs[0]]
                                if all(name in through[other] for other in node.inputs[1:])]
        if node is join:
            break
        through[node.output].append(node.output)
    meeting_point = through[join.output][-1]
    wanted = set(join.inputs)
    for node in reversed(graph.nodes):
        if node.output in wanted:
            wanted.update(node.inputs)
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    order = [graph.input, *(node.output for node in graph.nodes)]
    return [name for name in order[order.index(meeting_point):] if name in wanted and readers[name] > 1]
