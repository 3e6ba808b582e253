# amaranth: UnusedElaboratable=no
"""Random networks: hardware, integer reference and ONNX Runtime agree on every value of every tensor."""
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from headrace.gen.errors import HeadraceError
from headrace.gen.graph import Graph
from headrace.gen.means import Means
from headrace.gen.onnx_import import load
from headrace.gen.plan import Plan
from headrace.gen.planner import default_budget, plan
from headrace.sim import oracle, verify
from random_networks import Network, networks, save

FRAMES = 2
NETWORKS = [*range(25), *(pytest.param(number, marks=pytest.mark.full) for number in range(25, 250))]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a network that hangs fail at once, so that hypothesis can make it smaller."""
    monkeypatch.setattr(verify, "DEADLINE", 5_000)


def layout(graph: Graph, speed: float, pipelined: bool) -> Plan:
    """Plan for more or fewer multipliers than by default, as far as the layers can; in block RAM if slow."""
    means = Means(pipelined=pipelined, rings="blockram" if speed < 0.1 else "registers")
    try:
        return plan(graph, cycles=int(default_budget(graph) / speed), means=means)
    except HeadraceError:
        return plan(graph, means=means)


def agree(network: Network, speed: float, stalls: bool, pipelined: bool) -> None:
    with TemporaryDirectory() as folder:
        path = save(network, Path(folder, "net.onnx"))
        graph = load(path)
        rng = np.random.default_rng(network.seed)
        q = graph.tensors[graph.input].quantisation
        x = rng.integers(q.lo, q.hi + 1, (FRAMES, *network.shape))
        assert set(oracle.compare(graph, path, x).values()) == {0}
    patterns = dict(zip(("valid", "ready"), rng.random((2, 97)) < 0.7, strict=True)) if stalls else {}
    result = verify.run(graph, layout(graph, speed, pipelined), x, engine="amaranth", **patterns)
    assert result.first is None and not any(result.mismatches.values()), str(result.first)


@pytest.mark.parametrize("number", NETWORKS)
def test_random_networks(number: int) -> None:
    """Two examples each: the simplest network, with which hypothesis begins, and a random one.

    In a longer run, hypothesis would mostly alter what it has drawn before.
    """
    case = given(networks(), st.sampled_from((0.05, 0.2, 1.0, 1.0, 3.0)), st.booleans(), st.booleans())(agree)
    options = settings(max_examples=2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    seed(number)(options(case))()
