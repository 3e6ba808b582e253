"""Whatever the two sides of a stream do, no value changes, no frame is lost and nothing hangs.

Networks with residuals and other branches that meet, compiled. Pauses of a whole frame begin exactly where
they shall: until then, a run with a pause is the undisturbed run, whose cycles are known.
"""
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import Plan
from headrace.gen.planning.planner import plan, unrolled
from headrace.sim import reference, verify
from headrace.sim.beats import Pattern, always
from small_graphs import BRANCHES, inception, u_net

FRAMES = 3
PERIOD = 1 << 14
DENSITIES = (0.03, 0.3, 0.5, 0.9)


def pause(cycles: np.ndarray, beat: int, length: int) -> Pattern:
    """Stop once that beat of an undisturbed run has moved, for so many cycles, and never again."""
    pattern = np.ones(1 << 22, np.bool_)
    pattern[cycles[beat] + 1:cycles[beat] + 1 + length] = False
    return pattern


def one_in(count: int) -> Pattern:
    return np.arange(count) == count - 1


def bursts(on: int, off: int) -> Pattern:
    return np.arange(on + off) < on


def random(density: float, seed: int) -> Pattern:
    return np.random.default_rng(seed).random(PERIOD) < density


Hostility = tuple[str, Pattern, Pattern]
"""What the sides do, when the source is willing, when the consumer is."""


def pauses(calm: verify.Result, latencies: int) -> Iterator[Hostility]:
    """A side, or both, rests for longer than a frame takes: between frames, amid them, in a first row."""
    i, o = calm.beats["i"].cycle, calm.beats["o"].cycle
    sent, given = len(i) // FRAMES, len(o) // FRAMES
    whole = latencies * calm.first_frame_latency  # enough for all that is under way to come to rest
    for beat in sorted({*range(sent - 1, sent + 8), sent + sent // 2, 2 * sent - 1, 2 * sent}):
        if beat < len(i) - 1:
            yield f"source pauses after beat {beat}", pause(i, beat, whole), always
    for beat in sorted({0, given // 2, given - 1, given}):
        yield f"consumer stops after beat {beat}", always, pause(o, beat, whole)
        yield f"both stop, the consumer after beat {beat}", pause(i, sent, whole), pause(o, beat, whole)


def rhythms(calm: verify.Result) -> Iterator[Hostility]:
    frame = calm.first_frame_latency
    for count in (2, 3, 17):
        yield f"source one in {count}", one_in(count), always
        yield f"consumer one in {count}", always, one_in(count)
        yield f"both one in {count}", one_in(count), one_in(count + 1)
    for on, off in ((3, 61), (64, 64), (7, 200), (frame, frame)):
        yield f"source in bursts of {on}, {off}", bursts(on, off), always
        yield f"consumer in bursts of {on}, {off}", always, bursts(on, off)
        yield f"both in bursts of {on}, {off}", bursts(on, off), bursts(off, on)
    for density in DENSITIES:
        yield f"random source {density}", random(density, 1), always
        yield f"random consumer {density}", always, random(density, 2)
        for seed, other in enumerate(DENSITIES):
            yield f"random, {density} and {other}", random(density, seed), random(other, seed + 10)


def check(graph: Graph, layout: Plan, *, latencies: int = 2) -> None:
    """``latencies`` are of a first frame: how long pauses are, longer than what the layers hold can last."""
    source = graph.tensors[graph.input]
    low, high = source.quantisation.lo, source.quantisation.hi
    x = np.random.default_rng(5).integers(low, high + 1, (FRAMES, *source.shape))
    expected = reference.run(graph, x)[graph.output]
    hardware = verify.Hardware(graph, layout)
    calm = hardware.run(x)

    def same(what: str, valid: Pattern, ready: Pattern) -> int:
        result = hardware.run(x, valid=valid, ready=ready)
        assert result.first is None and not any(result.mismatches.values()), f"{what}: {result.first}"
        assert np.array_equal(result.output, expected), what
        return result.frame_ends[-1] - calm.frame_ends[-1]

    assert same("nothing", always, always) == 0
    for each in pauses(calm, latencies):
        assert same(*each) > calm.first_frame_latency, f"{each[0]}: nobody waited"
    assert max(same(*rhythm) for rhythm in rhythms(calm)) > 0


@pytest.mark.parametrize("make", BRANCHES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("pipelined", (False, True))
def test_branches(make: Callable[[], Graph], pipelined: bool) -> None:
    graph = make()
    check(graph, plan(graph, means=Means(pipelined=pipelined)))


@pytest.mark.parametrize("make", (inception, u_net), ids=lambda make: make.__name__)
def test_addressed(make: Callable[[], Graph]) -> None:
    """Shortcuts beside layers that wait for whole rows."""
    graph = make()
    check(graph, plan(graph, cycles=1 << 20, means=Means(rings="blockram")), latencies=4)


def test_digits(digits: Path) -> None:
    graph = load(digits)
    check(graph, plan(graph, cycles=512))


@pytest.mark.full
@pytest.mark.parametrize("factor", (2, 5, None))
@pytest.mark.parametrize("make", BRANCHES, ids=lambda make: make.__name__)
def test_branches_slow_and_unrolled(make: Callable[[], Graph], factor: int | None) -> None:
    graph = make()
    layout = plan(graph)
    check(graph, plan(graph, cycles=factor * int(layout.cycles_per_frame)) if factor else unrolled(graph))


@pytest.mark.full
@pytest.mark.parametrize("cycles", (1000, 1500, None))
def test_digits_slow_and_unrolled(digits: Path, cycles: int | None) -> None:
    graph = load(digits)
    check(graph, plan(graph, cycles=cycles) if cycles else unrolled(graph))


@pytest.mark.full
@pytest.mark.parametrize("cycles", (9_216, 18_432))
def test_face_detection(shared: Path, cycles: int) -> None:
    graph = load(shared / "models" / "fomo_face_mbv2_0.35_96_qdq.onnx")
    check(graph, plan(graph, cycles=cycles))
