"""`headrace quantize`: float networks to QDQ files that import, and nothing else is ever written."""
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from float_models import FloatModel, Style
from headrace.gen.cli.main import main
from headrace.gen.importer.load import load
from headrace.sim import inputs, oracle


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["quantize", *(str(argument) for argument in arguments)])
    return code, *capsys.readouterr()


def data(folder: Path, *shape: int) -> Path:
    np.savez(folder / "data.npz", x=np.random.default_rng(0).normal(size=shape).astype(np.float32))
    return folder / "data.npz"


@pytest.mark.parametrize(("style", "options", "types"), [
    ("torchvision", [], (False, True)),
    ("torchvision", ["--activations", "int8", "--per-tensor"], (True, False)),
    ("torchvision", ["--weights", "uint8", "--method", "percentile"], (False, True)),
    ("keras", ["--method", "entropy"], (False, True)),
    ("keras", ["--activations", "int8"], (True, True))])
def test_end_to_end(capsys: pytest.CaptureFixture[str], tmp_path: Path, style: Style, options: list[str],
                    types: tuple[bool, bool]) -> None:
    """Quantise, import, and compare every tensor with ONNX Runtime."""
    model = FloatModel(style).mobilenet().save(tmp_path / "float.onnx")
    samples = data(tmp_path, 16, *((3, 12, 12) if style == "torchvision" else (12, 12, 3)))
    out = tmp_path / "new" / "net.onnx"
    code, text, error = run(capsys, model, "--calibration", samples, "-o", out, "--json", *options)
    summary = json.loads(text)
    assert (code, error) == (0, "")
    assert summary["samples"] == 16 and summary["agreement"] >= 14 and summary["sqnr"] > 15
    assert [file.name for file in out.parent.iterdir()] == ["net.onnx"]
    graph = load(out)
    assert len(graph.nodes) == summary["layers"] == 11
    signed, per_channel = types
    assert all(tensor.quantisation.signed == signed for tensor in graph.tensors.values())
    assert (len(set(graph.nodes[0].multiplier.tolist())) > 1) == per_channel
    x = np.load(samples)["x"]
    np.save(tmp_path / "x.npy", x if style == "torchvision" else x.transpose(0, 3, 1, 2))
    counts = oracle.compare(graph, out, inputs.load([tmp_path / "x.npy"], graph))
    assert len(counts) == 12 and not any(counts.values())


def test_summary_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = FloatModel("torchvision", batch=1, opset=11).mobilenet().save(tmp_path / "float.onnx")
    samples = data(tmp_path, 16, 3, 12, 12)
    code, text, _ = run(capsys, model, "--calibration", samples, "-o", tmp_path / "q.onnx", "--samples", 5)
    assert code == 0 and text.startswith("11 layers; ") and " of 5, quantisation noise " in text


@pytest.mark.parametrize("style", ("torchvision", "keras"))
def test_images(capsys: pytest.CaptureFixture[str], tmp_path: Path, style: Style) -> None:
    """A folder of images, normalised as PyTorch does it, gives the file that the same array gives."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "notes.txt").write_text("no image")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3)).astype(np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    x = (pixels.astype(np.float32) * np.float32(1 / 255) - mean) / std
    np.save(tmp_path / "x.npy", x.transpose(0, 3, 1, 2) if style == "torchvision" else x)
    model = FloatModel(style).mobilenet().save(tmp_path / "float.onnx")
    for source, name in ((tmp_path / "images", "a.onnx"), (tmp_path / "x.npy", "b.onnx")):
        code, _, error = run(capsys, model, "--calibration", source, "-o", tmp_path / name,
                             "--mean", *mean.tolist(), "--std", *std.tolist())
        assert (code, error) == (0, "")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, model: FloatModel, *options: object,
            calibration: object = None) -> str:
    """The one line for a wrong request, which leaves nothing behind."""
    path = model.save(tmp_path / "float.onnx")
    calibration = data(tmp_path, 2, 3, 12, 12) if calibration is None else calibration
    before = sorted(tmp_path.rglob("*"))
    code, text, error = run(capsys, path, "--calibration", calibration, "-o", tmp_path / "q.onnx", *options)
    assert (code, text, error.count("\n")) == (1, "", 1)
    assert sorted(tmp_path.rglob("*")) == before
    assert logging.root.manager.disable == logging.NOTSET
    return error.strip().removeprefix("headrace: ").replace(f"{tmp_path}/", "")


def test_what_the_importer_refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = FloatModel("torchvision").mobilenet()
    gemm = model.nodes.pop()
    gemm.input[0] = model.node("Softmax", ["flat"], "soft")
    model.nodes.append(gemm)
    assert refused(capsys, tmp_path, model) == (
        "float.onnx: 1 operator that hardware does not have: Softmax 'soft': not supported; --cut 'flat' "
        "quantises the 25 of 27 operators before, and leaves the rest to the host")


def test_what_the_tools_refuse(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = FloatModel("torchvision").mobilenet()
    model.nodes[-1].input[1] = "fc_b"
    assert refused(capsys, tmp_path, model).startswith("float.onnx: ONNX Runtime cannot quantise it: ")


def test_sizes_are_known_and_bounded(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Before anything is carried out."""
    model = FloatModel("torchvision").mobilenet()
    model.nodes[-1].op_type = "Nonsense"
    assert refused(capsys, tmp_path, model).startswith(
        "float.onnx: 1 operator that hardware does not have: Nonsense 'y': not supported; --cut 'flat' ")
    model = FloatModel("keras").mobilenet()
    model.initialisers = [tensor for tensor in model.initialisers if tensor.name != "stem_pads"]
    model.constant("stem_pads", np.array([0, 0, 0, 0, 0, 0, 1 << 13, 1 << 13]))
    assert refused(capsys, tmp_path, model, calibration=data(tmp_path, 2, 12, 12, 3)) == (
        f"float.onnx: Pad 'stem_pad': its output has {3 * 8204 ** 2} elements; up to 67108864 are supported")


@pytest.mark.parametrize(("shape", "expected"), [
    ((2, 3, 12, 12), ("a batch of 1, or one of any size, is supported: hardware takes frames one by one, so "
                     "export the network with such a batch")),
    ((1, 3, 12, 12, 1), "four, three or two sizes are supported"),
    (("N", 3, "h", 8), "(3, 12, 12) does not fit it")])
def test_wrong_shapes(capsys: pytest.CaptureFixture[str], tmp_path: Path, shape: tuple[Any, ...],
                      expected: str) -> None:
    model = FloatModel("torchvision").mobilenet()
    model.input = helper.make_tensor_value_info("x", 1, shape)
    assert refused(capsys, tmp_path, model) == (
        f"float.onnx: input 'x' has shape ({', '.join(map(str, shape))}); {expected}")


@pytest.mark.parametrize("shape", [("N", 3, "h", "w"), (None, 3, None, 12)])
@pytest.mark.parametrize("given", [[], ["--shape", 3, 12, 12]])
def test_open_sizes(capsys: pytest.CaptureFixture[str], tmp_path: Path, shape: tuple[Any, ...],
                    given: list[object]) -> None:
    """They are those of the calibration data, or as told; the file written has them."""
    model = FloatModel("torchvision").mobilenet()
    model.input = helper.make_tensor_value_info("x", 1, shape)
    code, _, err = run(capsys, model.save(tmp_path / "float.onnx"), "--calibration",
                       data(tmp_path, 4, 3, 12, 12), "-o", tmp_path / "out.onnx", *given)
    assert (code, err) == (0, "")
    graph = load(tmp_path / "out.onnx")
    assert graph.tensors[graph.input].shape == (3, 12, 12)


@pytest.mark.parametrize(("name", "shape"), [("conv1d", (4, 32)), *(
    (name, (3, 16, 16)) for name in ("dilated", "shuffle", "split", "focus"))])
def test_exported(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, shape: tuple[int, ...],
                  ) -> None:
    """Files that torch.onnx.export has written."""
    samples, out = data(tmp_path, 8, *shape), tmp_path / "out.onnx"
    code, _, err = run(capsys, Path(__file__).parents[1] / "data" / f"{name}.onnx", "--calibration", samples,
                       "-o", out)
    assert (code, err) == (0, "")
    graph = load(out)
    assert set(oracle.compare(graph, out, inputs.load([samples], graph)).values()) == {0}


def test_several_outputs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = FloatModel("torchvision").mobilenet()
    path = model.save(tmp_path / "float.onnx")
    proto = onnx.load(path)
    proto.graph.output.append(helper.make_tensor_value_info(proto.graph.node[0].output[0], 1, None))
    onnx.save(proto, path)
    code, out, err = run(capsys, path, "--calibration", data(tmp_path, 2, 3, 12, 12), "-o",
                         tmp_path / "out.onnx")
    names = ", ".join(repr(value.name) for value in proto.graph.output)
    assert (code, out) == (1, "") and err == (
        f"headrace: {path}: 2 graph outputs ({names}); networks with one are supported, and --cut TENSOR "
        "quantises up to one of them\n")


def test_wrong_type(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = FloatModel("torchvision").mobilenet()
    model.input = helper.make_tensor_value_info("x", 2, (1, 3, 12, 12))
    assert refused(capsys, tmp_path, model) == "float.onnx: input 'x' is of uint8; float is supported"


@pytest.mark.parametrize(("array", "expected"), [
    (np.zeros((2, 3, 12, 12), np.uint8),
     "an array of uint8; real numbers are supported, scaled as the float network takes them"),
    (np.zeros((2, 12, 3, 12)), "shape (2, 12, 3, 12); (N, 3, 12, 12) is supported"),
    (np.zeros((0, 3, 12, 12)), "shape (0, 3, 12, 12); (N, 3, 12, 12) is supported"),
    (np.full((1, 3, 12, 12), np.nan), "holds NaN or infinity, which cannot be quantised"),
    (np.full((1, 3, 12, 12), 1e300), "holds NaN or infinity, which cannot be quantised")])
def test_wrong_calibration_data(capsys: pytest.CaptureFixture[str], tmp_path: Path, array: np.ndarray,
                                expected: str) -> None:
    np.save(tmp_path / "x.npy", array)
    model = FloatModel("torchvision").mobilenet()
    assert refused(capsys, tmp_path, model, calibration=tmp_path / "x.npy") == f"x.npy: {expected}"


def test_wrong_images(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    image, model = tmp_path / "x.png", FloatModel("torchvision").mobilenet()
    text = refused(capsys, tmp_path, model, calibration=tmp_path / "empty")
    assert text == "empty: no images in this folder"
    assert refused(capsys, tmp_path, model, "--mean", 1, 2, calibration=image) == (
        "2 means and 1 standard deviations for images of 3 channels")
    model.input = helper.make_tensor_value_info("x", 1, (1, 2, 12, 12))
    assert refused(capsys, tmp_path, model, calibration=image) == (
        "x.png: an image cannot be the network's input of shape (2, 12, 12); .npz and .npy are supported")


def test_quantised_already(capsys: pytest.CaptureFixture[str], small: Path, tmp_path: Path) -> None:
    code, _, error = run(capsys, small, "--calibration", small, "-o", tmp_path / "q.onnx")
    assert (code, error) == (1, f"headrace: {small}: quantised already; a float network is supported\n")


def test_the_float_network_is_not_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = FloatModel("torchvision").mobilenet().save(tmp_path / "float.onnx")
    before = path.read_bytes()
    code, _, error = run(capsys, path, "--calibration", data(tmp_path, 1, 3, 12, 12), "-o", path)
    assert (code, error) == (1, f"headrace: {path}: is the float network; name another file\n")
    assert path.read_bytes() == before
