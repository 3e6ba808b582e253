"""Random networks with random options: hardware, reference, ONNX Runtime and cycle model agree.

`make test` draws the first :data:`FEW`, `make test-full` ten times as many, `make random` others each time.
"""
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from bounds import inside
from headrace.gen.cycles import model as cycle_model
from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.sim import oracle, verify
from headrace.sim.beats import Pattern
from random_examples import drawn
from random_models import save
from random_networks import Network
from random_plans import Options, planned

FRAMES = 2
FEW = 40


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    drawn = metafunc.config.getoption("--random")
    first, count = drawn or (0, 10 * FEW)
    metafunc.parametrize("number", [
        pytest.param(number, marks=[] if drawn or number < FEW else pytest.mark.full)
        for number in range(first, first + count)])


def test_random_networks(number: int) -> None:
    agree(*drawn(number))


def agree(network: Network, options: Options) -> None:
    with TemporaryDirectory() as folder:
        path = save(network, Path(folder, "net.onnx"))
        graph = load(path)
        rng = np.random.default_rng(network.seed)
        q = graph.tensors[graph.input].quantisation
        x = rng.integers(q.lo, q.hi + 1, (FRAMES, *network.shape))
        assert set(oracle.compare(graph, path, x).values()) == {0}
    inside(graph, network.seed)
    hardware_agrees(graph, planned(graph, options), x, options)


def hardware_agrees(graph: Graph, plan: Plan, x: np.ndarray, options: Options) -> None:
    patterns: dict[str, Pattern] = {}
    if options.stalls:
        patterns = dict(zip(("valid", "ready"), np.random.default_rng(1).random((2, 97)) < 0.7, strict=True))
    with pytest.MonkeyPatch.context() as patch:  # one that hangs fails soon, so that it can be made smaller
        patch.setattr(verify, "DEADLINE", 3_000 + 3 * int(plan.cycles_per_frame))
        hardware = verify.Hardware(graph, plan, fast_rings=False, optimise=False)
        result = hardware.run(x, **patterns)
    assert result.first is None and not any(result.mismatches.values()), str(result.first)
    if not patterns:
        predicted = cycle_model.predict(elaborate.network(graph, plan), len(x))
        for layer, cycles in predicted.cycles.items():
            assert cycles == result.beats[layer].cycle.tolist(), layer
