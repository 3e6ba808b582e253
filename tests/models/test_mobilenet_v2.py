"""`headrace model`: the standard network, whole and alive, the same bytes every time."""
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.cli.main import main
from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Conv
from headrace.gen.ir.info import info
from headrace.models.mobilenet_v2 import MobileNetV2, rounded
from headrace.models.qdq import images
from headrace.sim import inputs, oracle, reference


def made(folder: Path, **options: object) -> Path:
    model, _ = MobileNetV2(**options).build()  # type: ignore[arg-type]
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def test_standard(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path, x_path = tmp_path / "new" / "net.onnx", tmp_path / "x.npz"
    assert main(["model", "mobilenet_v2", "-o", str(path), "--images", str(x_path)]) == 0
    assert capsys.readouterr().out == (
        f"{path}: 61 layers, 51 of them with weights: 1,780,160 weights, "
        "279,423,872 multiplications per frame\n")
    graph = load(path)
    layers = {layer.name: layer for layer in info(graph).layers}
    assert layers["conv1"].multiplications == 112 * 112 * 9 * 3 * 32
    assert layers["block_16_project"].output == (320, 7, 7)
    assert all(layer.stride == (1, 1) or layer.name == "conv1" or "depthwise" in layer.name
               for layer in layers.values())
    assert layers["block_1_depthwise"].pads == (0, 0, 1, 1)
    x = inputs.load([x_path], graph)
    assert not any(oracle.compare(graph, path, x[:1]).values())


@pytest.mark.parametrize("kind", ("its own", "others", "noise"))
def test_activations_neither_fade_nor_saturate(tmp_path: Path, kind: str) -> None:
    graph = load(made(tmp_path, width=0.35, size=96, seed=3))
    x = {"its own": images(2, 96, seed=3), "others": images(2, 96, seed=4),
         "noise": np.random.default_rng(0).integers(0, 256, (2, 3, 96, 96))}[kind]
    values = reference.run(graph, x)
    for node in graph.nodes:
        y = values[node.output]
        assert len(np.unique(y)) > 80 and y.std() > 10, node.name
        assert (y == node.hi).mean() < 0.03 and (y == node.lo).mean() < 0.6, node.name


def test_classifier(tmp_path: Path) -> None:
    path = made(tmp_path, width=0.1, size=33, classifier=True)
    graph = load(path)
    assert graph.tensors[graph.output].shape == (1000, 1, 1)
    assert graph.tensors["Conv_1_quantised"].shape == (1280, 2, 2)
    assert sum(isinstance(node, Conv) for node in graph.nodes) == 53
    assert not any(oracle.compare(graph, path, images(2, 33, seed=1).astype(np.int16)).values())


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first, second, other = (made(tmp_path, width=0.1, size=32, seed=seed).read_bytes() for seed in (1, 1, 2))
    assert first == second != other


def test_channels_are_rounded() -> None:
    """As TensorFlow's and torchvision's `_make_divisible`."""
    assert [rounded(channels) for channels in (2.4, 11.2, 12, 24.0, 33.6, 448)] == [8, 16, 16, 24, 32, 448]


@pytest.mark.parametrize(("options", "message"), [
    (["--width", "0"], "mobilenet_v2 of width 0.0; 0.05 to 2.0 are supported"),
    (["--size", "31"], "mobilenet_v2 of size 31; 32 to 512 are supported"),
    (["--seed", "-1"], "a seed of -1; 0 and more are supported"),
    (["--size", "32", "--images", "x.png"], "x.png: images go into an .npz file")])
def test_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str],
                 message: str) -> None:
    assert main(["model", "mobilenet_v2", "-o", str(tmp_path / "net.onnx"), *options]) == 1
    assert capsys.readouterr().err == f"headrace: {message}\n"
    assert not list(tmp_path.iterdir())
