# amaranth: UnusedElaboratable=no
"""Networks whose branches meet: they never hang, and with a row less in their shortcuts they do."""
from collections.abc import Callable

import numpy as np
import pytest
from small_graphs import Network

from headrace.gen import dependence
from headrace.gen.errors import HeadraceError
from headrace.gen.graph import Graph
from headrace.gen.plan import plan
from headrace.sim import verify


def inception() -> Graph:
    net = Network((3, 5, 3))
    x = net.conv("x", 4)
    narrow = net.conv(x, 2)
    wide = net.conv(net.conv(x, 3), 4, 5)
    pooled = net.conv(net.pool(x, 3, 1), 3)
    net.conv(net.concat(narrow, wide, net.conv(net.conv(x, 2), 3, 3), pooled), 3)
    return net.graph()


def dense_net() -> Graph:
    net = Network((3, 5, 3))
    y = net.conv("x", 4, 3)
    for _ in range(3):
        y = net.concat(y, net.conv(net.conv(y, 4), 2, 3))
    return net.graph()


def dense_block() -> Graph:
    """As torchvision writes a dense block: each layer concatenates all that came before anew."""
    net = Network((3, 5, 3))
    parts = [net.conv("x", 4, 3)]
    for _ in range(3):
        y = net.concat(*parts) if len(parts) > 1 else parts[0]
        parts.append(net.conv(net.conv(y, 4), 2, 3))
    net.concat(*parts)
    return net.graph()


def u_net() -> Graph:
    net = Network((2, 8, 4))
    a = net.conv("x", 3, 3)
    b = net.conv(net.pool(a, 2, 2), 4, 3)
    c = net.conv(net.pool(b, 2, 2), 5, 3)
    b = net.conv(net.concat(net.upsample(c, 2, 2), b), 4, 3)
    a = net.conv(net.concat(a, net.upsample(b, 2, 2)), 3, 3)
    net.lookup(a)
    return net.graph()


def stride_2_rejoins() -> Graph:
    net = Network((3, 6, 4))
    half = net.conv(net.conv("x", 3, 3, stride=2, depthwise=True), 4)
    net.concat(net.lookup("x"), net.upsample(half, 2, 2))
    return net.graph()


def whole_image_ahead() -> Graph:
    """The coarse branch is upsampled from one row, so that the shortcut holds the whole image."""
    net = Network((2, 4, 4))
    net.add("x", net.upsample(net.pool("x", 4, 4, "average"), 4, 4))
    return net.graph()


def same_tensor_twice() -> Graph:
    net = Network((3, 4, 3))
    net.concat("x", net.conv("x", 2), "x")
    return net.graph()


def crossing() -> Graph:
    """Neither branch is nested in the other; after x every beat of a row of c comes at once."""
    net = Network((3, 5, 3))
    c = net.conv("x", 3)
    net.add(net.add("x", c), net.conv(c, 3))
    return net.graph()


def reversed_order() -> Graph:
    net = Network((3, 5, 4))
    c = net.conv("x", 2, 3)
    net.concat(net.conv(c, 2, 3), c, "x")
    return net.graph()


NETWORKS: dict[str, Callable[[], Graph]] = {make.__name__: make for make in (
    inception, dense_net, dense_block, u_net, stride_2_rejoins, whole_image_ahead, same_tensor_twice,
    crossing, reversed_order)}


def patterns(kind: str) -> dict[str, np.ndarray]:
    """Return random gaps with long stops, or a trickle of input and output."""
    valid, ready = np.random.default_rng(1).random((2, 997)) < {"stalls": 0.7, "trickle": 0.3}[kind]
    if kind == "stalls":
        valid[100:300] = ready[500:800] = False
    return {"valid": valid, "ready": ready}


def frames(graph: Graph, count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-128, 128, (count, *graph.tensors[graph.input].shape))


@pytest.mark.parametrize("kind", ("stalls", "trickle"))
@pytest.mark.parametrize("name", NETWORKS)
def test_never_hangs(name: str, kind: str) -> None:
    graph = NETWORKS[name]()
    result = verify.run(graph, plan(graph), frames(graph, 2), engine="amaranth", **patterns(kind))
    assert set(result.mismatches.values()) == {0}


@pytest.mark.parametrize("name", NETWORKS)
def test_slack_is_for_speed_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependence, "SLACK", 0)
    graph = NETWORKS[name]()
    result = verify.run(graph, plan(graph), frames(graph, 2), engine="amaranth")
    assert set(result.mismatches.values()) == {0}


@pytest.mark.parametrize("name", sorted({*NETWORKS} - {"inception"}))  # whose layers hold enough
def test_a_row_less_hangs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependence, "SLACK", -1)
    monkeypatch.setattr(verify, "DEADLINE", 1000)
    graph = NETWORKS[name]()
    with pytest.raises(HeadraceError, match=r"^simulation hangs: "):
        verify.run(graph, plan(graph), frames(graph, 1), engine="amaranth")
