# amaranth: UnusedElaboratable=no
"""Whole networks in both simulators, against the integer reference."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph
from headrace.gen.planning.planner import plan
from headrace.sim import inputs, verify
from onnx_models import Q, QdqModel


def patterns(seed: int) -> dict[str, np.ndarray]:
    """Hostile patterns: random gaps, and sides that now and then stop for a long time."""
    rng = np.random.default_rng(seed)
    valid, ready = rng.random((2, 997)) < 0.7
    valid[100:300] = ready[500:800] = False
    return {"valid": valid, "ready": ready}


def frames(graph: Graph, count: int) -> np.ndarray:
    q = graph.tensors[graph.input].quantisation
    return np.random.default_rng(1).integers(q.lo, q.hi + 1, (count, *graph.tensors[graph.input].shape))


def test_digits_in_amaranth_under_random_stalls(digits: Path, digits_images: Path) -> None:
    graph = load(digits)
    x = inputs.load([digits_images], graph)[:2]
    result = verify.run(graph, plan(graph), x, engine="amaranth", **patterns(1))
    assert sum(result.mismatches.values()) == 0 and len(result.mismatches) == len(graph.nodes)


def test_digits_compiled(digits: Path, digits_images: Path) -> None:
    graph = load(digits)
    x = inputs.load([digits_images], graph)[:100]
    result = verify.run(graph, plan(graph), x)
    assert sum(result.mismatches.values()) == 0
    labels = np.load(digits_images)["labels"][:100]
    assert (result.output.reshape(100, -1).argmax(1) == labels).mean() >= 0.96


@pytest.mark.parametrize("stalls", (None, 2, 3))
@pytest.mark.parametrize("network, cycles", (("small", None), ("small", 1500), ("branched", None)))
def test_simulators_agree_on_every_beat(network: str, cycles: int | None, stalls: int | None,
                                        request: pytest.FixtureRequest) -> None:
    graph = load(request.getfixturevalue(network))
    layout = plan(graph, cycles=cycles)
    options = patterns(stalls) if stalls else {}
    slow, fast = (verify.run(graph, layout, frames(graph, 3), engine=engine, **options)
                  for engine in ("amaranth", "cxxrtl"))
    assert sum(slow.mismatches.values()) == sum(fast.mismatches.values()) == 0
    assert slow.beats.keys() == fast.beats.keys() == {node.name for node in graph.nodes} | {"i", "o"}
    for name, beats in slow.beats.items():
        count = min(len(beats.cycle), len(fast.beats[name].cycle))
        assert beats.cycle[:count].tolist() == fast.beats[name].cycle[:count].tolist(), name
        assert (beats.payload[:count] == fast.beats[name].payload[:count]).all(), name
        assert count == len(beats.cycle), name
    assert slow.to_json() == fast.to_json()


def test_digits_agrees_between_simulators(digits: Path, digits_images: Path) -> None:
    graph = load(digits)
    x = inputs.load([digits_images], graph)[:1]
    slow, fast = (verify.run(graph, plan(graph), x, engine=engine) for engine in ("amaranth", "cxxrtl"))
    assert slow.to_json() == fast.to_json()
    assert all((slow.beats[name].cycle == fast.beats[name].cycle).all() for name in slow.mismatches)


def test_consumer_that_stops_for_a_whole_frame_changes_nothing(small: Path) -> None:
    graph = load(small)
    ready = np.ones(20_000, np.bool_)
    ready[1000:9000] = False
    result = verify.run(graph, plan(graph), frames(graph, 6), ready=ready)
    assert sum(result.mismatches.values()) == 0


@pytest.mark.parametrize("engine", ("amaranth", "cxxrtl"))
def test_rows_that_no_window_reaches_are_seen(tmp_path: Path, engine: verify.Engine) -> None:
    """The network's last beat leaves before the first layer's last row."""
    model = QdqModel()
    weight = np.array([[[[50]], [[-70]]], [[[99]], [[3]]]], np.int8)
    x = model.conv(model.input((2, 9, 3), Q(0.1, 3)), weight, Q(0.2, 9), name="a")
    model.conv(x, weight, Q(0.3, 7), name="b", strides=[5, 1])
    model.output("b_dq", (2, 2, 3))
    graph = load(model.save(tmp_path / "net.onnx"))
    result = verify.run(graph, plan(graph), frames(graph, 2), engine=engine)
    assert not any(result.mismatches.values())


def test_mismatch_is_named(small: Path) -> None:
    """Compare the hardware of one network with the reference of another."""
    graph = load(small)
    x = frames(graph, 2)
    right = verify.run(graph, plan(graph), x)
    node = graph.nodes[3]
    bias = node.bias + np.array([0, 0, 100_000, 0])
    other = replace(graph, nodes=(*graph.nodes[:3], replace(node, bias=bias), *graph.nodes[4:]))
    wrong = verify.compare(other, plan(graph), x, right.beats)
    assert wrong.mismatches["conv_project"] > 0 == wrong.mismatches["conv_depthwise"]
    assert wrong.first is not None
    assert (wrong.first.layer, wrong.first.frame, wrong.first.row, wrong.first.channel,
            wrong.first.column) == ("conv_project", 0, 0, 2, 0)
    assert str(wrong.first).startswith("layer conv_project, frame 0, row 0, channel 2, column 0: ")


def test_fomo_face(shared: Path) -> None:
    graph = load(shared / "models" / "fomo_face_mbv2_0.35_96_qdq.onnx")
    golden = shared / "golden" / "fomo_face_mbv2_0.35_96_qdq.npz"
    result = verify.run(graph, plan(graph), inputs.load([golden], graph)[:1])
    assert sum(result.mismatches.values()) == 0
    assert (result.output == np.load(golden)["y"][:1]).all()
