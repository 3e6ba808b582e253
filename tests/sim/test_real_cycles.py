"""The cycle model against the compiled hardware of real networks, beat by beat, at several budgets."""
from pathlib import Path

import numpy as np
import onnx
import pytest

from headrace.gen.cycles import model as cycle_model
from headrace.gen.estimate.price import Prices
from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.gen.netlist.target import ICE40, XC7, XCUP
from headrace.gen.planning.planner import plan, unrolled
from headrace.models.mobilenet_v2 import MobileNetV2
from headrace.sim import inputs, verify

BUDGETS = {
    "fomo_face_mbv2_0.35_96_qdq": (9_216, 18_432, 60_000),
    "mlperf_tiny_resnet8_cifar10_qdq": (4_096, 8_192, 30_000),
    "mlperf_tiny_kws_dscnn_qdq": (3_600, 6_400, 20_000),
}
STANDARD = "mobilenet_v2_1.0_224_features_qdq"
LIMITS = {50_176: 6_496, 100_352: 3_611, 401_408: 1_484}  # multipliers of the standard MobileNetV2


def check(graph: Graph, layout: Plan, x: np.ndarray) -> verify.Result:
    """Compare every beat of every layer; return what the hardware did."""
    result = verify.run(graph, layout, x)
    assert sum(result.mismatches.values()) == 0
    timing = cycle_model.predict(elaborate.network(graph, layout), len(x))
    assert timing.frame_ends == result.frame_ends
    for name, cycles in timing.cycles.items():
        assert cycles == result.beats[name].cycle.tolist(), name
    return result


@pytest.mark.parametrize("budget, paired, means", (
    (512, False, Means()), (512, True, Means()), (1000, True, Means(fold=1)), (1500, False, Means()),
    (4000, True, Means()), (1000, False, Means(keep="narrow")), (4000, False, Means(keep="narrow")),
    (512, False, Means(pipelined=True)), (1000, True, Means(pipelined=True, fold=1)),
    (4000, False, Means(pipelined=True)), (4000, False, Means(pipelined=True, keep="narrow")),
    (12_000, False, Means(rings="blockram")), (12_000, False, Means(rings="blockram", pipelined=True)),
    (30_000, False, Means(rings="blockram", serial=True)),
    (100_000, False, Means(rings="blockram", serial=True, pipelined=True))))
def test_digits(digits: Path, digits_images: Path, budget: int, paired: bool, means: Means) -> None:
    graph = load(digits)
    target = ICE40 if means.serial else XC7 if paired else None
    layout = plan(graph, cycles=budget, prices=Prices(target), means=means)
    result = check(graph, layout, inputs.load([digits_images], graph)[:5])
    assert result.cycles_per_frame == layout.cycles_per_frame <= budget


@pytest.mark.parametrize("pipelined, cycles", ((False, 8 * 16), (True, 8 * 16 + 8 * 3)))
def test_digits_unrolled(digits: Path, digits_images: Path, pipelined: bool, cycles: int) -> None:
    """A row takes as many cycles as its stream has channels: the widest has 16 of 8 rows.

    Pipelined, a row's sums must leave their stages before the next row is begun.
    """
    graph = load(digits)
    layout = unrolled(graph, pipelined=pipelined)
    result = check(graph, layout, inputs.load([digits_images], graph)[:5])
    assert result.cycles_per_frame == layout.cycles_per_frame == cycles


@pytest.mark.full
@pytest.mark.parametrize("name, budget", [(name, budget) for name, budgets in BUDGETS.items()
                                          for budget in budgets])
def test_real_networks(shared: Path, name: str, budget: int) -> None:
    graph, x = real(shared, name)
    layout = plan(graph, cycles=budget)
    check(graph, layout, x)
    assert layout.cycles_per_frame <= budget


@pytest.mark.full
@pytest.mark.parametrize("name", BUDGETS)
def test_pipelined(shared: Path, name: str) -> None:
    graph, x = real(shared, name)
    check(graph, plan(graph, cycles=2 * max(BUDGETS[name]), means=Means(pipelined=True)), x)


@pytest.mark.full
@pytest.mark.parametrize("fold", (2, 6, 48))
@pytest.mark.parametrize("pipelined", (False, True))
def test_folds(shared: Path, fold: int, pipelined: bool) -> None:
    """Lanes that serve two columns, six, or as many as the cycles leave time for."""
    graph, x = real(shared, "fomo_face_mbv2_0.35_96_qdq")
    layout = plan(graph, cycles=400_000, means=Means(fold=fold, pipelined=pipelined))
    assert 1 < max(layer.fold for layer in layout.layers.values()) <= fold
    check(graph, layout, x)
    assert layout.cycles_per_frame <= 400_000


@pytest.mark.full
@pytest.mark.parametrize("budget", (9_216, 18_432, 60_000))
def test_small_mobilenet(tmp_path: Path, budget: int) -> None:
    model, images = MobileNetV2(width=0.35, size=96).build()
    onnx.save(model, tmp_path / "mobilenet.onnx")
    graph = load(tmp_path / "mobilenet.onnx")
    layout = plan(graph, cycles=budget)
    check(graph, layout, images[:3].astype(np.int16))
    assert layout.cycles_per_frame <= budget


@pytest.mark.bench
@pytest.mark.parametrize("budget", LIMITS)
def test_standard_mobilenet(shared: Path, budget: int) -> None:
    """Three frames back to back: every value of every layer, every beat in its cycle."""
    graph, x = real(shared, STANDARD)
    layout = plan(graph, cycles=budget, prices=Prices(XCUP))
    result = check(graph, layout, x)
    assert layout.cycles_per_frame <= budget and layout.multipliers <= LIMITS[budget]
    assert result.first_frame_latency <= 3.5 * budget
    print(f"{layout.multipliers} multipliers, {result.cycles_per_frame} cycles per frame, "
          f"first frame after {result.first_frame_latency}, 0 mismatches in {len(result.mismatches)} layers")


def real(shared: Path, name: str) -> tuple[Graph, np.ndarray]:
    """Return a network, and three frames for it."""
    graph = load(shared / "models" / f"{name}.onnx")
    x = inputs.load([shared / "golden" / f"{name}.npz"], graph)
    return graph, np.concatenate([x] * 3)[:3]
