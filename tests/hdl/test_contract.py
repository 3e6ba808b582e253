"""What a layer says of itself against its gateware as elaborated: modules, ROM, registers."""
from pathlib import Path

import pytest
from rtlil_cells import cells, has_cells, registers

from headrace.gen.importer.load import load
from headrace.gen.kinds import elaborate
from headrace.hdl.area.part import Part
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.hdl.layers.addressed import Addressed
from headrace.hdl.layers.layer import Layer
from random_examples import drawn
from random_models import save
from random_plans import planned

NETWORKS = range(16)

def module(name: str, part: Part) -> str:
    """Return the name of a part's module; rings of one shape share theirs."""
    shared = part.module.startswith("ring__")
    return part.module if shared else f"{name}__{part.module}" if part.module else name


def check(name: str, layer: Layer) -> None:
    hierarchy = Hierarchy()
    hierarchy.build(layer, name=name)
    parts = {module(name, part): part for part in layer.parts()}
    assert parts.keys() <= hierarchy.modules.keys()
    for other in hierarchy.modules.keys() - parts.keys():  # which only connect
        assert not has_cells(hierarchy.modules[other]), other
    for each, part in parts.items():
        if part.ring is not None:
            width, depth = part.ring
            assert registers(hierarchy.modules[each]) == width * depth, each
    spare = 5 if isinstance(layer, Addressed) else 0  # bits that a stride never changes
    assert 0 <= registers(hierarchy.modules[name]) - parts[name].state <= spare
    if layer.rom is not None:
        memories = cells(hierarchy.modules[f"{name}__rom"], "mem_v2")
        assert len(memories) == (layer.rom.depth > 1)
        for memory in memories:
            assert (memory["SIZE"], memory["WIDTH"]) == (layer.rom.depth, layer.rom.width)


@pytest.mark.parametrize("number", NETWORKS)
def test_layers_are_what_they_say(tmp_path: Path, number: int) -> None:
    """Of plans with every option: plain, pipelined, folded, paired, by address, bit by bit."""
    network, options = drawn(number)
    graph = load(save(network, tmp_path / "net.onnx"))
    plan = planned(graph, options)
    for name, (layer, _) in elaborate.network(graph, plan).layers.items():
        check(name, layer)
