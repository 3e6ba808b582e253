# amaranth: UnusedElaboratable=no
"""The cycle model against the simulated hardware: every beat of every layer, to the cycle."""
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import small_graphs
from headrace.gen.cycles import model as cycle_model
from headrace.gen.estimate.price import Prices
from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.gen.netlist.target import ICE40
from headrace.gen.planning.planner import default_budget, plan
from headrace.sim import verify

FRAMES = 3
ADDRESSED = (small_graphs.inception, small_graphs.dense_net, small_graphs.u_net,
             small_graphs.stride_2_rejoins, small_graphs.skipped_rows)


def agree(graph: Graph, layout: Plan, engine: verify.Engine) -> None:
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
    agree(graph, plan(graph, cycles=2 * times * default_budget(graph)), "cxxrtl")


@pytest.mark.parametrize("pipelined", (False, True))
@pytest.mark.parametrize("times", (1, 4))
@pytest.mark.parametrize("make", small_graphs.BRANCHES, ids=lambda make: make.__name__)
def test_branches(make: Callable[[], Graph], times: int, pipelined: bool) -> None:
    graph = make()
    slower = 4 if pipelined else 2  # no beat comes every cycle
    layout = plan(graph, cycles=slower * times * default_budget(graph), means=Means(pipelined=pipelined))
    agree(graph, layout, "amaranth")


@pytest.mark.parametrize("pipelined, serial", ((False, False), (True, False), (True, True)))
@pytest.mark.parametrize("make", ADDRESSED, ids=lambda make: make.__name__)
def test_addressed(make: Callable[[], Graph], pipelined: bool, serial: bool) -> None:
    graph = make()
    prices = Prices(ICE40, latency=0)
    layout = plan(graph, cycles=1 << 20, prices=prices,
                  means=Means(rings="blockram", pipelined=pipelined, serial=serial))
    assert any((layer.kind, layer.serial) == ("addressed", serial) for layer in layout.layers.values())
    agree(graph, layout, "cxxrtl")


def test_beats_land_column_by_column() -> None:
    """A fast plan in block RAM is not slower for a layer of few multiplications whose input comes in rows."""
    net = small_graphs.Network((8, 16, 16))
    net.conv("x", 1, stride=4)
    for cycles in (500, 4000):
        layout = plan(net.graph(), cycles=cycles, means=Means(rings="blockram", fold=16))
        assert layout.layers["conv0"].kind == ("addressed" if cycles == 4000 else "output-stationary")
        agree(net.graph(), layout, "amaranth")


@pytest.mark.parametrize("steps", (1, 2))
@pytest.mark.parametrize("make", small_graphs.BRANCHES, ids=lambda make: make.__name__)
def test_more_in_the_stages_than_leaves(make: Callable[[], Graph], steps: int) -> None:
    """Requantisers that are faster than their output register, which plans avoid, and as fast."""
    graph = make()
    layout = plan(graph, means=Means(pipelined=True))
    layers = {name: replace(layer, requantise_steps=steps) for name, layer in layout.layers.items()}
    agree(graph, replace(layout, layers=layers), "amaranth")
