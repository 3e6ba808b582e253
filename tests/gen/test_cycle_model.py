# amaranth: UnusedElaboratable=no
"""The cycle model against the simulated hardware: every beat of every layer, to the cycle."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import small_graphs
from headrace.gen import cycle_model, elaborate
from headrace.gen.graph import Graph
from headrace.gen.onnx_import import load
from headrace.gen.planner import default_budget, plan
from headrace.sim import verify

FRAMES = 3


def agree(graph: Graph, cycles: int, engine: verify.Engine) -> None:
    layout = plan(graph, cycles=cycles)
    q = graph.tensors[graph.input].quantisation
    x = np.random.default_rng(1).integers(q.lo, q.hi + 1, (FRAMES, *graph.tensors[graph.input].shape))
    result = verify.run(graph, layout, x, engine=engine)
    assert set(result.mismatches.values()) == {0}
    timing = cycle_model.predict(elaborate.network(graph, layout), FRAMES)
    for node in graph.nodes:
        measured = result.beats[node.name].cycle.tolist()
        assert timing.cycles[node.name][:len(measured)] == measured, node.name
    per_frame = len(result.beats["o"].cycle) // FRAMES
    assert list(timing.frame_ends) == result.beats["o"].cycle[per_frame - 1::per_frame].tolist()


@pytest.mark.parametrize("times", (1, 4))
@pytest.mark.parametrize("network", ("small", "branched"))
def test_files(network: str, times: int, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(network)
    graph = load(path)
    agree(graph, 2 * times * default_budget(graph), "cxxrtl")


@pytest.mark.parametrize("times", (1, 4))
@pytest.mark.parametrize("make", small_graphs.BRANCHES, ids=lambda make: make.__name__)
def test_branches(make: Callable[[], Graph], times: int) -> None:
    graph = make()
    agree(graph, 2 * times * default_budget(graph), "amaranth")
