# amaranth: UnusedElaboratable=no
"""Networks whose branches meet: they never hang, and with a row less in their shortcuts they do."""
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from headrace.gen.cycles import model as cycle_model
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.gen.planning import dependence
from headrace.gen.planning.planner import plan
from headrace.sim import verify
from small_graphs import BRANCHES

NETWORKS = {make.__name__: make for make in BRANCHES}
FOLDED = sorted({*NETWORKS} - {"whole_image_ahead", "same_tensor_twice", "crossing", "reversed_order"})
"""In the others what is added must have the whole rows of the network's input."""


def patterns(kind: str) -> dict[str, np.ndarray]:
    """Return random gaps with long stops, or a trickle of input and output."""
    valid, ready = np.random.default_rng(1).random((2, 997)) < {"stalls": 0.7, "trickle": 0.3}[kind]
    if kind == "stalls":
        valid[100:300] = ready[500:800] = False
    return {"valid": valid, "ready": ready}


def folded(graph: Graph) -> Plan:
    layout = plan(graph, cycles=20_000)
    assert max(layer.fold for layer in layout.layers.values()) > 1
    return layout


def frames(graph: Graph, count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-128, 128, (count, *graph.tensors[graph.input].shape))


@pytest.mark.parametrize("kind", ("stalls", "trickle"))
@pytest.mark.parametrize("name, planned", [
    *((name, plan) for name in NETWORKS), *((name, folded) for name in FOLDED)])
def test_never_hangs(name: str, planned: Callable[[Graph], Plan], kind: str) -> None:
    graph = NETWORKS[name]()
    result = verify.run(graph, planned(graph), frames(graph, 2), engine="amaranth", **patterns(kind))
    assert set(result.mismatches.values()) == {0}


@pytest.mark.parametrize("name", FOLDED)
def test_folded_cycles(name: str) -> None:
    graph = NETWORKS[name]()
    layout = folded(graph)
    result = verify.run(graph, layout, frames(graph, 2), engine="amaranth")
    timing = cycle_model.predict(elaborate.network(graph, layout), 2)
    for layer, cycles in timing.cycles.items():
        assert cycles == result.beats[layer].cycle.tolist(), layer


def with_slack(graph: Graph, slack: int, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Plan with other rows held than necessary."""
    layout = plan(graph)
    monkeypatch.setattr(dependence, "SLACK", slack)
    held = dependence.shortcuts(graph)
    return replace(layout, layers={name: replace(layer, shortcut_rows=held[name])
                                   for name, layer in layout.layers.items()})


@pytest.mark.parametrize("name", NETWORKS)
def test_slack_is_for_speed_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = NETWORKS[name]()
    result = verify.run(graph, with_slack(graph, 0, monkeypatch), frames(graph, 2), engine="amaranth")
    assert set(result.mismatches.values()) == {0}


@pytest.mark.parametrize("name", sorted({*NETWORKS} - {"inception", "skipped_rows"}))  # which hold enough
def test_a_row_less_hangs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "DEADLINE", 1000)
    graph = NETWORKS[name]()
    layout = with_slack(graph, -1, monkeypatch)
    with pytest.raises(HeadraceError, match=r"^simulation hangs: "):
        verify.run(graph, layout, frames(graph, 1), engine="amaranth")
    with pytest.raises(AssertionError, match=r"^the network hangs$"):
        cycle_model.predict(elaborate.network(graph, layout), 1)
