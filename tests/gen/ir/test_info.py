"""`headrace info`: the table behind the multiplications per output position."""
import json
from math import prod
from pathlib import Path

import pytest

from headrace.gen.cli.main import main
from headrace.gen.ir.info import info
from headrace.models.mobilenet_v2 import MobileNetV2
from small_graphs import Network

ENDS = (((16, 16), 9 * 3 * 32, 221_184), ((1, 1), 960 * 320, 307_200))  # tile, weights, their product


@pytest.mark.parametrize("source", ("seeded", "mobilenet_v2_1.0_224_features_qdq",
                                    "mobilenet_v2_1.0_224_features_ortptq_u8s8pc_qdq"))
def test_mobilenet(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest, tmp_path: Path,
                   source: str) -> None:
    if source == "seeded":
        path = tmp_path / "net.onnx"
        path.write_bytes(MobileNetV2().build()[0].SerializeToString())
    else:
        path = request.getfixturevalue("shared") / "models" / f"{source}.onnx"
    assert main(["info", str(path), "--json"]) == 0
    network = json.loads(capsys.readouterr().out)
    layers = [layer for layer in network["layers"] if layer["weights"]]
    assert len(layers) == 51
    for layer, (tile, weights, products) in zip(layers[::50], ENDS, strict=True):
        assert (tuple(layer["tile"]), layer["weights"]) == (tile, weights)
        assert layer["multiplications_per_position"] == products
    for layer in network["layers"]:
        assert layer["multiplications_per_position"] == layer["weights"] * prod(layer["tile"])
    assert network["multiplications_per_position"] == 5_702_528 == network["multiplications"] / 49
    assert sum(layer["multiplications_per_position"] for layer in layers) == 5_702_528
    assert main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "51 of them with weights: 1,780,160 weights, 279,423,872 multiplications per frame" in out
    assert "5,702,528 behind each of the 7x7 output positions" in out
    assert out.splitlines()[2].split()[8:11] == ["10,838,016", "16x16", "221,184"]


def test_sizes_that_do_not_divide() -> None:
    net = Network((2, 5, 5))
    net.conv(net.conv("x", 3), 4, 3, stride=2)
    first, last = info(net.graph()).layers
    assert first.tile == (5 / 3, 5 / 3) and first.multiplications_per_position == 6 * 25 / 9
    assert last.tile == (1, 1) and last.multiplications_per_position == 3 * 4 * 9
