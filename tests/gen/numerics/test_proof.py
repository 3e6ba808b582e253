"""The proof's table: it counts what the hardware is made with."""
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph
from headrace.gen.kinds import elaborate
from headrace.gen.numerics import constants
from headrace.gen.numerics.proof import prove
from headrace.gen.planning.planner import plan
from onnx_models import Q, QdqModel


def network(folder: Path) -> Graph:
    """A residual with dead channels whose sums float32 takes for ties here and there."""
    rng = np.random.default_rng(5)
    model = QdqModel()
    x = model.input((3, 4, 5), Q(1.0, 0))
    bias = np.array([0, 10**7, 0, -(10**7), 0, 0])
    a = model.conv(x, rng.integers(-90, 90, (6, 3, 1, 1)).astype(np.int8), Q(1.0, 128), name="a", bias=bias,
                   scale=np.array([1 / 30, 1, 1 / 7, 1, 1 / 30, 0.037], np.float32))
    a = model.operator("Add", [a, a], Q(2.6, 7), name="sum")
    a = model.operator("MaxPool", [a], Q(2.6, 7), name="max", kernel_shape=[2, 2])
    model.operator("GlobalAveragePool", [a], Q(2.1, 7), name="mean")
    model.output("mean_dq", (6, 1, 1))
    return load(model.save(folder / "net.onnx"))


def test_every_channel_has_one_form(tmp_path: Path) -> None:
    graph = network(tmp_path)
    proof, found = prove(graph), constants.find(graph)
    assert [layer.name for layer in proof.layers] == ["conv_a", "add_sum", "global_average_pool_mean"]
    assert [layer.channels for layer in proof.layers] == [6, 6, 6]
    conv, add, mean = proof.layers
    scaling = found.sums["conv_a"]
    assert conv.constant == 2 and scaling.multipliers[1] == scaling.multipliers[3] == 0
    assert conv.corrected == len({channel for channel, *_ in scaling.corrections}) > 0
    assert conv.corrections == len(scaling.corrections)
    assert conv.multiplier_bits == max(scaling.multipliers).bit_length() >= conv.mean_multiplier_bits > 0
    sums = found.reach["conv_a"]
    assert conv.cases == sum(len(range(lo, hi + 1)) for lo, hi in zip(sums.lo, sums.hi, strict=True))
    assert add.cases == 1 << 16 and add.corrected in (0, 6)
    total = proof.to_json()["total"]
    assert total["channels"] == 18 == sum(
        total[form] for form in ("linear", "tie_band", "corrected", "constant"))
    assert total["cases"] == conv.cases + add.cases + mean.cases


def test_hardware_is_made_of_what_is_proved(small: Path) -> None:
    graph = load(small)
    proof, found = prove(graph), constants.find(graph)
    layers = {name: layer for name, (layer, _) in elaborate.network(graph, plan(graph)).layers.items()}
    for row in proof.layers:
        layer = layers[row.name]
        made = layer.scaling if row.name in found.adds else layer.requantise.scale.digits.scaling
        assert made == (found.adds | found.sums)[row.name]
        if row.sum_bits:
            assert layer.sum.width == row.sum_bits


@pytest.mark.parametrize("name", [
    "fomo_face_mbv2_0.35_96_qdq", "mlperf_tiny_ad01_qdq", "mlperf_tiny_kws_dscnn_qdq",
    "mlperf_tiny_resnet8_cifar10_qdq", "mlperf_tiny_vww_96_qdq", "mobilenet_v2_1.0_224_qdq"])
def test_real_networks(shared: Path, name: str) -> None:
    """Constants exist, few bits wide, and few channels need a correction."""
    total = prove(load(shared / "models" / f"{name}.onnx")).summary()
    assert total["multiplier_bits"] <= 29
    assert total["corrected"] <= total["channels"] // 40
