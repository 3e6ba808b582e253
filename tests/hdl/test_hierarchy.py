# amaranth: UnusedElaboratable=no
"""Netlists: the same text whether layers are elaborated one by one or side by side."""
import pickle
from pathlib import Path

import pytest

from headrace.gen.importer.load import load
from headrace.gen.kinds import elaborate
from headrace.gen.planning.planner import plan
from headrace.hdl.base import hierarchy
from headrace.hdl.base.hierarchy import Hierarchy


@pytest.mark.parametrize("network", ("small", "branched"))  # between them every kind of layer
def test_same_modules_side_by_side(network: str, request: pytest.FixtureRequest,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    graph = load(request.getfixturevalue(network))
    layout = plan(graph)
    made = []
    for limit in (1 << 40, 0):
        monkeypatch.setattr(hierarchy, "WORTH_PROCESSES", limit)
        made.append(Hierarchy())
        made[-1].build(elaborate.axi_top(graph, layout))
    one, other = made
    assert one.modules == other.modules
    assert one.children == other.children
    assert one.signatures.keys() == other.signatures.keys()
    assert list(one.modules)[0] == list(other.modules)[0] == "top"


def test_a_layer_pickles_as_its_arguments(small: Path) -> None:
    graph = load(small)
    layers = elaborate.network(graph, plan(graph)).layers
    for layer, _ in layers.values():
        again = pickle.loads(pickle.dumps(layer))
        assert type(again) is type(layer) and again.signature == layer.signature
