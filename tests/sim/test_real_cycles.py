"""The cycle model against the compiled hardware of real networks, beat by beat, at several budgets."""
from pathlib import Path

import numpy as np
import pytest

from headrace.gen import cycle_model, elaborate
from headrace.gen.graph import Graph
from headrace.gen.onnx_import import load
from headrace.gen.plan import Plan
from headrace.gen.planner import plan, unrolled
from headrace.sim import inputs, verify

BUDGETS = {
    "fomo_face_mbv2_0.35_96_qdq": (9_216, 18_432, 60_000),
    "mlperf_tiny_resnet8_cifar10_qdq": (4_096, 8_192, 30_000),
    "mlperf_tiny_kws_dscnn_qdq": (3_600, 6_400, 20_000),
    "mobilenet_v2_1.0_224_features_qdq": (50_176, 100_352, 401_408),
}


def check(graph: Graph, layout: Plan, x: np.ndarray) -> verify.Result:
    """Compare every beat of every layer; return what the hardware did."""
    result = verify.run(graph, layout, x)
    assert sum(result.mismatches.values()) == 0
    timing = cycle_model.predict(elaborate.network(graph, layout), len(x))
    assert timing.frame_ends == result.frame_ends
    for name, cycles in timing.cycles.items():
        assert cycles == result.beats[name].cycle.tolist(), name
    return result


@pytest.mark.parametrize("budget, paired", ((512, False), (512, True), (1000, False), (1000, True),
                                            (1500, False)))
def test_digits(digits: Path, digits_images: Path, budget: int, paired: bool) -> None:
    graph = load(digits)
    layout = plan(graph, cycles=budget, paired=paired)
    result = check(graph, layout, inputs.load([digits_images], graph)[:4])
    assert result.cycles_per_frame == layout.cycles_per_frame <= budget


def test_digits_unrolled(digits: Path, digits_images: Path) -> None:
    """A row takes as many cycles as its stream has channels: the widest has 16 of 8 rows."""
    graph = load(digits)
    layout = unrolled(graph)
    result = check(graph, layout, inputs.load([digits_images], graph)[:4])
    assert result.cycles_per_frame == layout.cycles_per_frame == 8 * 16


@pytest.mark.full
@pytest.mark.parametrize("name, budget", [(name, budget) for name, budgets in BUDGETS.items()
                                          for budget in budgets])
def test_real_networks(shared: Path, name: str, budget: int) -> None:
    graph = load(shared / "models" / f"{name}.onnx")
    x = inputs.load([shared / "golden" / f"{name}.npz"], graph)
    layout = plan(graph, cycles=budget)
    result = check(graph, layout, np.concatenate([x] * 3)[:3])
    assert layout.cycles_per_frame <= budget
    if name.startswith("mobilenet") and budget == 50_176:
        assert layout.multipliers <= 6_500 and result.first_frame_latency <= 3.3 * budget
    if name.startswith("mobilenet") and budget == 100_352:
        assert layout.multipliers <= 3_450
