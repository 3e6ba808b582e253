# amaranth: UnusedElaboratable=no
"""A second simulator: the Verilog of `headrace build` in Verilator, between hostile AXI4-Streams."""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings

import verilator_bench
from axi_subject import Subject, calm, hostile, subject
from axi_trace import Judge
from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import LayerPlan, Plan
from headrace.gen.planning.planner import default_budget, plan, unrolled
from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.base.platform import BLOCKRAM, LUTRAM
from headrace.sim import reference
from random_models import save
from random_networks import networks

pytestmark = pytest.mark.skipif(bool(verilator_bench.missing()), reason=verilator_bench.missing())

NUMBERS = [0, *(pytest.param(number, marks=pytest.mark.full) for number in range(1, 10))]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How a random network is planned, and whether that makes of it what it is here for."""

    layout: Callable[[Graph], Plan]
    shows: Callable[[Plan], bool] = lambda layout: True
    multipliers: int = 60  # at most


def slow(**means: Any) -> Callable[[Graph], Plan]:
    return lambda graph: plan(graph, cycles=12 * default_budget(graph), means=Means(**means))


def some(shows: Callable[[LayerPlan], bool]) -> Callable[[Plan], bool]:
    return lambda layout: any(map(shows, layout.layers.values()))


VARIANTS = {
    "default": Variant(layout=plan),
    "pipelined": Variant(layout=lambda graph: plan(graph, means=Means(pipelined=True))),
    "folded": Variant(layout=slow(), shows=some(lambda layer: layer.fold > 1)),
    "blockram": Variant(layout=slow(rings=BLOCKRAM),
                        shows=some(lambda layer: layer.kind == "addressed")),
    "unrolled-pairs": Variant(layout=lambda graph: unrolled(graph, paired=True),
                              shows=some(lambda layer: layer.paired), multipliers=250),
}


def drawn(number: int, variant: Variant, folder: Path) -> tuple[Graph, Plan]:
    """Return the first of some random networks that is small and shows what it is here for."""
    for batch in range(20):
        for network in batch_of_networks(100 * number + batch):
            try:
                graph = load(save(network, folder / "network.onnx"))
                layout = variant.layout(graph)
            except HeadraceError:
                continue
            if (Judge(graph).length >= 12 and layout.multipliers <= variant.multipliers
                    and layout.cycles_per_frame <= 1200 and variant.shows(layout) and telling(graph)):
                return graph, layout
    raise AssertionError("no such network")


def batch_of_networks(number: int) -> list[Any]:
    """Return some random networks, without the first, which is as simple as can be."""
    found: list[Any] = []

    @given(networks())
    def case(network: Any) -> None:
        found.append(network)

    seed(number)(settings(max_examples=20, deadline=None, database=None,
                          suppress_health_check=list(HealthCheck))(case))()
    return found[1:]


def telling(graph: Graph) -> bool:
    """Return whether what is wrong inside a network is likely to alter what comes out."""
    image = graph.tensors[graph.input]
    x = np.random.default_rng(0).integers(image.quantisation.lo, image.quantisation.hi + 1, (5, *image.shape))
    outputs = reference.run(graph, x)[graph.output]
    return len(np.unique(outputs)) >= 10 and len(np.unique(outputs, axis=0)) == len(x)


def powered_up(subject: Subject, folder: Path, number: int) -> None:
    """Check the Verilog as it is, from its initial values."""
    design = subject.design(folder / "design")
    hostile(subject, design, number, calm(subject, design, number, reset=0))


def from_anything(subject: Subject, folder: Path, number: int) -> None:
    """Check it with registers that hold anything until there is a reset."""
    sources = verilator_bench.without_initial_values(subject.sources, folder / "sources")
    design = subject.design(folder / "random_registers", sources)
    for each in range(3):
        latency = calm(subject, design, 10 * number + each)
    for each in range(2):
        hostile(subject, design, 10 * number + each, latency)


def test_digits(digits: Path, tmp_path: Path) -> None:
    graph = load(digits)
    made = subject(graph, plan(graph), tmp_path / "out")
    powered_up(made, tmp_path, 1)
    from_anything(made, tmp_path, 1)


def test_rows_kept_narrow_in_lutram(small: Path, tmp_path: Path) -> None:
    graph = load(small)
    layout = plan(graph, means=Means(keep="narrow", rings=LUTRAM))
    assert some(lambda layer: layer.together != Window())(layout)
    made = subject(graph, layout, tmp_path / "out")
    powered_up(made, tmp_path, 2)
    from_anything(made, tmp_path, 2)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_random_networks(variant: str, number: int, tmp_path: Path) -> None:
    chosen = VARIANTS[variant]
    graph, layout = drawn(10 * number + list(VARIANTS).index(variant), chosen, tmp_path)
    from_anything(subject(graph, layout, tmp_path / "out"), tmp_path, number)
