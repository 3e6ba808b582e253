"""Which beats of one tensor a beat of another depends on: how deep a shortcut must be.

A network can hang where its branches meet, at an Add or a Concat, if what arrives early has no place to wait:
the fork waits for the early branch to take a beat, that branch for its turn at the join, and the join for
a beat of another branch that the fork holds back. How many rows have to be held follows from the windows
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
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.gen.ir.graph import Add, Concat, Conv, GlobalAveragePool, Graph, Lookup, Node, Pool, Upsample
from headrace.hdl.arithmetic.geometry import rows_in_turn

Needs = npt.NDArray[np.int64]  # by beat: [rows, channels * fold]
Folds = Mapping[str, int]  # of tensors that are folded
Keys = npt.NDArray[Any]  # by beat: the needs of several forks as one number of any size

SLACK = 2
"""Rows beyond the necessary: what the layers of the other branches take early, so that none waits."""


def shortcuts(graph: Graph, folds: Folds = MappingProxyType({})) -> dict[str, tuple[int, ...]]:
    """Return, for each node by name, how many rows of each input must be held; 0 if none."""
    held: dict[str, tuple[int, ...]] = {}
    for node in graph.nodes:
        held[node.name] = shortcut_rows(graph, node, held, folds)
    return held


def shortcut_rows(graph: Graph, join: Node, held: Mapping[str, tuple[int, ...]], folds: Folds,
                  addressed: Container[str] = ()) -> tuple[int, ...]:
    """Return how many rows of each input of a node must be held, given those of the nodes before it.

    ``addressed`` are the tensors whose layers take all rows that they need before they give one.
    """
    if len(join.inputs) == 1:
        return (0,)
    forks = _forks(graph, join)
    needs = [_needs(graph, join, fork, held, folds, addressed) for fork in forks]
    beats = [graph.tensors[fork].channels * graph.tensors[fork].height * folds.get(fork, 1) for fork in forks]
    keys = [_keys([np.maximum.accumulate(need[index].ravel()) for need in needs], beats)
            for index in range(len(join.inputs))]
    turns = _turns(graph, join, folds)
    first = [np.searchsorted(turn, np.arange(1 + max(int(turn[-1]) for turn in turns))) for turn in turns]
    early: set[int] = set()  # operands with a shortcut
    while True:
        steps = _keys([_steps(need, turns, early) for need in needs], beats)
        found = next((index for index, key in enumerate(keys) if index not in early
                      and (np.append(key, steps[-1])[first[index]] < steps).any()), None)
        if found is None:
            break
        early.add(found)

    def rows(index: int) -> int:
        tensor = graph.tensors[join.inputs[index]]
        come = np.searchsorted(keys[index], steps, side="right")
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


def _turns(graph: Graph, join: Node, folds: Folds) -> list[npt.NDArray[np.int64]]:
    """Return, for each operand of a join, in which step each of its beats is taken."""
    shapes = [(graph.tensors[name].height, graph.tensors[name].channels * folds.get(name, 1))
              for name in join.inputs]
    starts = np.cumsum([0, *(beats for _, beats in shapes)]) if isinstance(join, Concat) else None
    row = shapes[0][1] if starts is None else starts[-1]
    if starts is None:
        starts = np.zeros(len(shapes), np.int64)
    return [(np.arange(height)[:, None] * row + np.arange(start, start + beats)).ravel()
            for start, (height, beats) in zip(starts, shapes, strict=False)]


def _steps(needs: Sequence[Needs], turns: Sequence[npt.NDArray[np.int64]],
           held: Container[int]) -> npt.NDArray[np.int64]:
    """Return what each step of a join needs; of operands that are held, whole rows."""
    steps = np.zeros(1 + max(int(turn[-1]) for turn in turns), np.int64)
    for index, (need, turn) in enumerate(zip(needs, turns, strict=True)):
        steps[turn] = np.maximum(steps[turn], (_complete(need) if index in held else need).ravel())
    return np.maximum.accumulate(steps)


def _complete(needs: Needs) -> Needs:
    """Return what each beat's whole row needs."""
    return np.repeat(needs[:, -1:], needs.shape[1], axis=1)


def _needs(graph: Graph, join: Node, fork: str, held: Mapping[str, tuple[int, ...]], folds: Folds,
           addressed: Container[str]) -> list[Needs]:
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
            known[node.output] = _through(graph, node, [
                known[name] if name in known else 0 * beats(name) for name in node.inputs],
                held[node.name], folds, node.output in addressed)
    return [known[name] if name in known else 0 * beats(name) for name in join.inputs]


def _through(graph: Graph, node: Node, needs: list[Needs], held: tuple[int, ...], folds: Folds,
             addressed: bool) -> Needs:
    out, fold = graph.tensors[node.output], folds.get(node.output, 1)
    match node:
        case Add() | Concat():
            early = [index for index, rows in enumerate(held) if rows]
            return _steps(needs, _turns(graph, node, folds), early).reshape(out.height, -1)
        case Lookup():
            return needs[0]
        case Upsample():  # a row is repeated once it is complete
            passes = [needs[0], *[_complete(needs[0])] * (node.factors[0] - 1)]
            return np.stack(passes, axis=1).reshape(out.height, -1)
        case GlobalAveragePool():
            return _whole(needs[0][-1:], out.channels)
        case Conv() | Pool():
            height = graph.tensors[node.inputs[0]].height
            last = [node.window.first_row(row) + node.window.kernel[0] - 1 for row in range(out.height)]
            if addressed:
                needed, freed = rows_in_turn(node.window, height)
                last = [sum(freed[:row]) + count - 1 for row, count in enumerate(needed)]
            reached: Needs = needs[0][np.clip(last, 0, height - 1)]
            reached[np.array(last) >= height] = needs[0][-1, -1]  # bottom padding: after the whole image
            if addressed or (isinstance(node, Conv) and not node.depthwise):  # needs every channel
                return np.repeat(reached[:, -1:], out.channels * fold, axis=1)
            whole = _whole(reached, graph.tensors[node.inputs[0]].channels)
            return np.repeat(whole, out.channels // whole.shape[1] * fold, axis=1)


def _whole(needs: Needs, channels: int) -> Needs:
    """Return what all columns of each channel need."""
    last: Needs = needs.reshape(len(needs), channels, -1)[..., -1]
    return last


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
