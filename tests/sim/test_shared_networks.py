"""Real networks: the compiled hardware equals the reference in every layer, and the outputs of the file."""
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.importer.load import load
from headrace.gen.planning.planner import plan
from headrace.sim import inputs, verify

FRAMES = 2


@pytest.mark.full
@pytest.mark.parametrize("name", [
    "mlperf_tiny_ad01_qdq", "mlperf_tiny_kws_dscnn_qdq", "mlperf_tiny_resnet8_cifar10_qdq",
    "mlperf_tiny_vww_96_qdq", "fomo_face_mbv2_0.35_96_qdq", "fomo_face_mbv2_0.35_96_qdq_explicit_act"])
def test_hardware(shared: Path, name: str) -> None:
    graph = load(shared / "models" / f"{name}.onnx")
    golden = shared / "golden" / f"{name.removesuffix('_explicit_act')}.npz"
    result = verify.run(graph, plan(graph), inputs.load([golden], graph)[:FRAMES])
    assert result.first is None and not any(result.mismatches.values()), str(result.first)
    np.testing.assert_array_equal(result.output.reshape(FRAMES, -1),
                                  np.load(golden)["y"][:FRAMES].reshape(FRAMES, -1))
