"""docs/adding-a-layer.md, followed: a kind of layer that only this test knows."""
from typing import Any

import numpy as np
import pytest

from headrace.gen.estimate.estimate import estimate
from headrace.gen.ir.graph import Lookup
from headrace.gen.ir.means import Means
from headrace.gen.kinds import elaborate, registry
from headrace.gen.netlist.target import ECP5
from headrace.gen.planning.planner import plan
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.sim import verify
from small_graphs import Network
from toy_kind import Invert, InvertKind


def network() -> Any:
    net = Network((3, 6, 4))
    before = net.conv("x", 4, 3)
    inverted = net.lookup(before)
    node = net.nodes[-1]
    assert isinstance(node, Lookup)
    node.table[:] = ~np.arange(-128, 128)
    net.lookup(net.add(net.conv(inverted, 4, 3, depthwise=True), inverted))  # this table is another one
    return net.graph()


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_kind_is_an_entry_in_the_registry(monkeypatch: pytest.MonkeyPatch, pipelined: bool) -> None:
    graph, means = network(), Means(pipelined=pipelined)
    assert "invert" not in {layer.kind for layer in plan(graph, cycles=600, means=means).layers.values()}
    monkeypatch.setattr(registry, "KINDS", [InvertKind(), *registry.KINDS])

    layout = plan(graph, cycles=600, means=means)
    assert [layer.kind for layer in layout.layers.values()].count("invert") == 1
    toy, _ = elaborate.network(graph, layout).layers["lookup1"]
    assert isinstance(toy, Invert)

    x = np.random.default_rng(0).integers(-128, 128, (3, 3, 6, 4))
    result = verify.run(graph, layout, x, engine="amaranth")
    assert not any(result.mismatches.values())
    assert (result.cycles_per_frame, result.first_frame_latency) == (
        layout.cycles_per_frame, layout.first_frame_latency)

    hierarchy = Hierarchy()
    hierarchy.build(toy, name="toy")
    assert hierarchy.modules.keys() == {"toy"}
    bits = toy.formats[1].lanes * 8 + 1
    assert estimate(graph, layout, target=ECP5).layers["lookup1"].ff == bits * (1 + pipelined)


def test_a_kind_that_lacks_something_cannot_be_made() -> None:
    class WithoutNeeds(InvertKind):
        needs = registry.Kind.needs
    with pytest.raises(TypeError, match="needs"):
        WithoutNeeds()
