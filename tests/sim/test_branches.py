# amaranth: UnusedElaboratable=no
"""Networks whose branches meet: none hangs under hostile stalls, and none with a row less holds out."""
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from small_graphs import Network

from headrace.gen.dependence import SLACK
from headrace.gen.errors import HeadraceError
from headrace.gen.graph import Graph
from headrace.gen.plan import Plan, plan
from headrace.sim import verify


def inception() -> Graph:
    net = Network((3, 7, 5))
    x = net.conv("x", 4)
    narrow = net.conv(x, 2)
    wide = net.conv(net.conv(x, 3), 4, 5)
    pooled = net.conv(net.pool(x, 3, 1), 3)
    net.conv(net.concat(narrow, wide, net.conv(net.conv(x, 2), 3, 3), pooled), 3)
    return net.graph()


def dense_net() -> Graph:
    net = Network((3, 6, 4))
    y = net.conv("x", 4, 3)
    for _ in range(3):
        y = net.concat(y, net.conv(net.conv(y, 4), 2, 3))
    return net.graph()


def dense_block() -> Graph:
    """As torchvision writes a dense block: each layer concatenates all that came before anew."""
    net = Network((3, 6, 4))
    parts = [net.conv("x", 4, 3)]
    for _ in range(3):
        y = net.concat(*parts) if len(parts) > 1 else parts[0]
        parts.append(net.conv(net.conv(y, 4), 2, 3))
    net.concat(*parts)
    return net.graph()


def u_net() -> Graph:
    net = Network((2, 8, 8))
    a = net.conv("x", 3, 3)
    b = net.conv(net.pool(a, 2, 2), 4, 3)
    c = net.conv(net.pool(b, 2, 2), 5, 3)
    b = net.conv(net.concat(net.upsample(c, 2, 2), b), 4, 3)
    a = net.conv(net.concat(a, net.upsample(b, 2, 2)), 3, 3)
    net.lookup(a)
    return net.graph()


def stride_2_rejoins() -> Graph:
    net = Network((3, 8, 6))
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
    net = Network((3, 6, 4))
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
HOSTILE = (("even", 0), ("stalls", 1), ("stalls", 2), ("starved", 3))


def patterns(kind: str, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    valid, ready = rng.random((2, 997)) < {"even": 1, "stalls": 0.6, "starved": 0.2}[kind]
    if kind == "stalls":
        valid[100:300] = ready[500:800] = False
    return {"valid": valid, "ready": ready}


def frames(graph: Graph, count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-128, 128, (count, *graph.tensors[graph.input].shape))


def without_slack(graph: Graph, *, less: int = 0) -> Plan:
    """Return a plan whose shortcuts hold what is necessary, less so many rows."""
    layout = plan(graph)
    return replace(layout, layers={name: replace(layer, shortcut_rows=tuple(
        max(count - SLACK - less, 1) if count else 0 for count in layer.shortcut_rows))
        for name, layer in layout.layers.items()})


@pytest.mark.parametrize("kind, seed", HOSTILE)
@pytest.mark.parametrize("name", NETWORKS)
def test_never_hangs(name: str, kind: str, seed: int) -> None:
    graph = NETWORKS[name]()
    result = verify.run(graph, plan(graph), frames(graph, 3), engine="amaranth", **patterns(kind, seed))
    assert set(result.mismatches.values()) == {0}


@pytest.mark.parametrize("name", NETWORKS)
def test_needs_no_slack(name: str) -> None:
    graph = NETWORKS[name]()
    result = verify.run(graph, without_slack(graph), frames(graph, 2), engine="amaranth")
    assert set(result.mismatches.values()) == {0}


@pytest.mark.parametrize("name", ("dense_block", "u_net", "whole_image_ahead", "reversed_order"))
def test_hangs_with_a_row_less(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "DEADLINE", 2000)
    graph = NETWORKS[name]()
    with pytest.raises(HeadraceError, match=r"^simulation hangs: "):
        verify.run(graph, without_slack(graph, less=1), frames(graph, 1), engine="amaranth")
