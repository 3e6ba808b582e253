"""`headrace model`: the other standard networks, as ONNX Runtime runs them, and the reference."""
from math import prod
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from headrace.gen.cli.main import main
from headrace.gen.importer.load import load
from headrace.models.qdq import images
from headrace.models.standard import NETWORKS, Standard
from headrace.sim import oracle

SHAPES = {"yolov3_tiny": [(1, 255, 1, 1), (1, 255, 2, 2)]}
WEIGHTS = {"efficientnet_lite0": 4_608_000, "mobilenet_v3_small": 2_530_000, "resnet18": 11_678_000,
           "yolov3_tiny": 8_840_000}  # of the published networks, about


def made(folder: Path, name: str) -> Path:
    model, _ = Standard(name, width=0.15, size=32, seed=2).build()
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_runs_it(tmp_path: Path, name: str) -> None:
    session = ort.InferenceSession(made(tmp_path, name))
    frames = [(frame[None].astype(np.float32) - 128) / 128 for frame in images(4, 32, seed=2)]
    found = [session.run(None, {"image": frame}) for frame in frames]
    assert [y.shape for y in found[0]] == SHAPES.get(name, [(1, 1000)])
    assert all(len(np.unique(y)) > 20 for y in found[0])
    assert not np.array_equal(found[0][0], found[1][0])


@pytest.mark.parametrize(("name", "cut"), [
    ("efficientnet_lite0", None), ("mobilenet_v3_small", None), ("resnet18", None),
    ("yolov3_tiny", "boxes_coarse_dequantised"),
    ("yolov3_tiny", "boxes_fine_dequantised")])
def test_reference_is_onnx_runtime(tmp_path: Path, name: str, cut: str | None) -> None:
    path = made(tmp_path, name)
    graph = load(path, cut)
    compared = oracle.judge(graph, path, images(2, 32, seed=5).astype(np.int16), cut=cut)
    assert not any(compared.mismatches.values())


@pytest.mark.full
@pytest.mark.parametrize("name", NETWORKS)
def test_as_published(name: str) -> None:
    model, _ = Standard(name, size=64).build()
    weights = sum(prod(tensor.dims) for tensor in model.graph.initializer
                  if tensor.name.endswith("_weight_quantised"))
    assert weights == pytest.approx(WEIGHTS[name], rel=0.02)


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("resnet18", "mobilenet_v3_small"):
        path = tmp_path / f"{name}.onnx"
        assert main(["model", name, "-o", str(path), "--size", "32", "--width", "0.1"]) == 0
        assert capsys.readouterr().out.startswith(f"{path}: ") and path.exists()


@pytest.mark.parametrize(("options", "message"), [
    (["--width", "3"], "resnet18 of width 3.0; 0.05 to 2.0 are supported"),
    (["--size", "40"], "resnet18 of size 40; multiples of 32 from 32 to 512 are supported"),
    (["--seed", "-1"], "a seed of -1; 0 and more are supported"),
    (["--classifier"], "--classifier is for mobilenet_v2; resnet18 ends as it was published")])
def test_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str],
                 message: str) -> None:
    assert main(["model", "resnet18", "-o", str(tmp_path / "net.onnx"), *options]) == 1
    assert capsys.readouterr().err == f"headrace: {message}\n"
    assert not list(tmp_path.iterdir())
