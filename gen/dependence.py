"""Which beats of one tensor a beat of another depends on: how deep a shortcut must be.

A residual network can hang if its shortcut is too short: the fork waits for room in the shortcut, the
shortcut for its partner at the Add, and the partner for a beat that the fork holds back. Let ``need(n)`` be
the number of beats that must have left the fork before beat ``n`` of the Add's other operand exists. It is
a fact of the windows, not of the timing: each layer answers as soon as the rows that a window reaches have
come. Then no shortcut hangs that holds all of its own beats that exist after ``need(n)`` beats of the fork,
from beat ``n`` on, for every ``n``: whenever the Add waits for beat ``n`` of the other operand, the fork
still moves, up to ``need(n)``, and then that beat comes. By induction every beat comes.
"""
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.gen.graph import Add, Conv, GlobalAveragePool, Graph, Node, Pool

Needs = npt.NDArray[np.int64]

SLACK = 2
"""Rows beyond the necessary: what the layers of the other branch take early, so that neither waits."""


def shortcut_rows(graph: Graph, add: Add) -> tuple[int, int]:
    """Return how many rows of each operand of :py:`add` must be held; 0 if none."""
    source = _meeting_point(graph, add.inputs)
    tensor = graph.tensors[add.output]
    needs = [_needs(graph, name, source).reshape(tensor.height, tensor.channels) for name in add.inputs]
    raw = list(needs)
    held: set[int] = set()
    while early := [index for index in (0, 1) if index not in held
                    and (needs[index] < needs[1 - index]).any()]:
        held.add(early[0])  # from now on its beats are to be had when their row is complete
        needs[early[0]] = np.repeat(needs[early[0]][:, -1:], tensor.channels, axis=1)

    def rows(mine: Needs, other: Needs) -> int:
        exist = np.searchsorted(np.maximum.accumulate(mine.ravel()), other.ravel(), side="right")
        spans = (exist - 1) // tensor.channels - np.arange(other.size) // tensor.channels + 1
        return min(max(int(spans.max()), 1) + SLACK, tensor.height)

    return (rows(raw[0], needs[1]) if 0 in held else 0, rows(raw[1], needs[0]) if 1 in held else 0)


def _needs(graph: Graph, tensor: str, source: str) -> Needs:
    """Return, for each beat of :py:`tensor`, how many beats of :py:`source` it depends on."""
    shape = graph.tensors[source]
    known = {source: np.arange(1, shape.height * shape.channels + 1).reshape(shape.height, shape.channels)}
    makers = {node.output: node for node in graph.nodes}

    def visit(name: str) -> Any:
        if name not in known:
            node = makers[name]
            known[name] = _through(graph, node, [visit(each) for each in node.inputs])
        return known[name]

    needs: Needs = visit(tensor)
    return needs.ravel()


def _through(graph: Graph, node: Node, needs: list[Needs]) -> Needs:
    out = graph.tensors[node.output]
    match node:
        case Add():
            return np.maximum(needs[0], needs[1])
        case GlobalAveragePool():
            last_row: Needs = needs[0][-1:]
            return last_row
        case Conv() | Pool():
            height = graph.tensors[node.inputs[0]].height
            last = [node.window.first_row(row) + node.window.kernel[0] - 1 for row in range(out.height)]
            reached: Needs = needs[0][np.clip(last, 0, height - 1)]
            reached[np.array(last) >= height] = needs[0][-1, -1]  # bottom padding: after the whole image
            if isinstance(node, Conv) and not node.depthwise:  # every output needs every channel
                reached = np.repeat(reached[:, -1:], out.channels, axis=1)
            return reached


def _meeting_point(graph: Graph, tensors: tuple[str, str]) -> str:
    """Return the last tensor that every path to both passes through."""
    through: dict[str, list[str]] = {graph.input: [graph.input]}
    for node in graph.nodes:
        common = [name for name in through[node.inputs[0]]
                  if all(name in through[other] for other in node.inputs[1:])]
        through[node.output] = [*common, node.output]
    a, b = (through[name] for name in tensors)
    return [name for name in a if name in b][-1]
