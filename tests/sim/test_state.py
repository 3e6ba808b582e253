"""What a netlist keeps of the rows of windows: counted in its registers."""
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Keep, Means
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.gen.planning.planner import plan
from headrace.gen.planning.table import plan_table
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.hdl.layers.output_stationary import OutputStationary
from headrace.hdl.layers.window import Depthwise, MaxPool
from headrace.sim import inputs, verify

REGISTER = re.compile(r"cell \$dff \S+\n\s+parameter \\WIDTH (\d+)")
NARROW_CUT = 38_752  # bytes: K - S rows at the input of every expansion of MobileNetV2 1.0 / 224


def registers(hierarchy: Hierarchy, module: str) -> int:
    """Return the bits of all registers of a module and of those that it instantiates."""
    own = sum(map(int, REGISTER.findall(hierarchy.modules[module])))
    return own + sum(registers(hierarchy, child) for child in hierarchy.children[module])


def kept(graph: Graph, layout: Plan) -> int:
    """Return the register bits of windows, without the newest rows of one that is held whole: operands."""
    network, hierarchy = elaborate.network(graph, layout), Hierarchy()
    hierarchy.build(network)
    bits = 0
    for name, (layer, _) in network.layers.items():
        if (ring := f"{name}__held") not in hierarchy.modules:
            continue
        if isinstance(layer, OutputStationary):
            kernel, stride = layer.hold.kernel[0], layer.hold.stride[0]
            bits += registers(hierarchy, ring) * max(0, kernel - stride) // kernel
        elif isinstance(layer, Depthwise | MaxPool):
            bits += registers(hierarchy, ring)
    return bits


@pytest.mark.parametrize("cycles", (1000, 4000))
@pytest.mark.parametrize("keep", get_args(Keep))
def test_window_bits(digits: Path, keep: Keep, cycles: int) -> None:
    graph = load(digits)
    layout = plan(graph, cycles=cycles, means=Means(keep=keep))
    assert kept(graph, layout) == plan_table(graph, layout).to_json()["window_bits"]


@pytest.mark.bench
def test_narrow_rows_of_mobilenet(shared: Path) -> None:
    """The standard MobileNetV2, rows kept where they are narrow: one photo, and the windows' registers."""
    graph = load(shared / "models" / "mobilenet_v2_1.0_224_features_qdq.onnx")
    layout = plan(graph, cycles=401_408, means=Means(keep="narrow"))
    assert (bits := kept(graph, layout)) <= 1.3 * 8 * NARROW_CUT
    golden = shared / "golden" / "mobilenet_v2_1.0_224_features_qdq.npz"
    result = verify.run(graph, layout, inputs.load([golden], graph)[:1])
    assert not any(result.mismatches.values()), str(result.first)
    np.testing.assert_array_equal(result.output.ravel(), np.load(golden)["y"][0].ravel())
    print(f"{bits / 8:,.0f} bytes in windows, {layout.multipliers} multipliers, {layout.cycles_per_frame} "
          f"cycles per frame, first frame after {result.first_frame_latency}, 0 mismatches in "
          f"{len(result.mismatches)} layers")
