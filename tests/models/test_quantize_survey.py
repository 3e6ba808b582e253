"""`headrace quantize` looks at a network first, ends where it is asked to, and takes either order."""
from pathlib import Path

import numpy as np
import onnx
import pytest

from float_models import FloatModel
from headrace.gen.cli.main import main
from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Conv, Lookup, Pool, Upsample
from headrace.models import quantize
from headrace.sim import inputs, oracle


def end(model: FloatModel, name: str) -> FloatModel:
    model.outputs = [onnx.helper.make_tensor_value_info(name, 1, None)]
    return model


def quantised(folder: Path, model: FloatModel, *options: str, frames: int = 3,
              shape: tuple[int, ...] = (3, 12, 12)) -> int:
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(frames, *shape)).astype(np.float32))
    return main(["quantize", str(model.save(folder / "float.onnx")), "--calibration", str(folder / "x.npy"),
                 "-o", str(folder / "q.onnx"), *options])


def assert_exact(folder: Path) -> list[type]:
    graph = load(folder / "q.onnx")
    judged = oracle.judge(graph, folder / "q.onnx", inputs.load([folder / "x.npy"], graph))
    assert not any(judged.mismatches.values())
    return [type(node) for node in graph.nodes]


def odd_network() -> FloatModel:
    """With operators that are not there for hardware, of two kinds, before and behind a Softmax that is."""
    model = FloatModel("torchvision")
    x = model.layer("x", "a", 4, 3, 3)
    x = model.node("Sigmoid", [x], "f")
    x = model.node("LRN", [x], "strange", size=3)
    x = model.node("LRN", [x], "stranger", size=3)
    weight = model.random("b_w", 4, 4, 3, 3)
    x = model.node("Conv", [x, weight], "wide", strides=[9999, 9999], kernel_shape=[3, 3])
    x = model.node("Flatten", [model.node("GlobalAveragePool", [x], "pool")], "flat")
    model.node("Softmax", [x], "y")
    return model


def test_everything_is_listed_before_calibration(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "quantize_static", None)
    assert quantised(tmp_path, end(odd_network(), "y")) == 1
    assert capsys.readouterr().err.removeprefix(f"headrace: {tmp_path / 'float.onnx'}: ") == (
        "3 operators that hardware does not have: LRN 'strange', LRN 'stranger': not supported; Conv 'wide': "
        "strides [9999, 9999] is not supported; 1 to 512 is; --cut 'f' quantises the 4 of 9 operators "
        "before, and leaves the rest to the host\n")


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_cut(tmp_path: Path, kind: str) -> None:
    """At a function, whose values nothing quantises behind it, and at a layer."""
    model = end(odd_network(), "y")
    next(node for node in model.nodes if node.name == "f").op_type = "Tanh"
    assert quantised(tmp_path, model, "--cut", "f", "--activations", kind) == 0
    assert assert_exact(tmp_path) == [Conv, Lookup]
    assert quantised(tmp_path, model, "--cut", "a_clip", "--activations", kind) == 0
    assert assert_exact(tmp_path) == [Conv]


def test_cut_at_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert quantised(tmp_path, end(odd_network(), "y"), "--cut", "strangest") == 1
    assert "no node makes a tensor 'strangest'; like it are 'strange" in capsys.readouterr().err


def test_trial_before_calibration(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """What only the importer knows is said after one sample."""
    model = FloatModel("torchvision")
    x = model.layer("x", "a", 4, 3, 3)
    seen = list[int]()
    quantise = quantize.FloatModel._quantise

    def counted(self: quantize.FloatModel, samples: quantize.Samples, *rest: object) -> None:
        seen.append(len(samples))
        quantise(self, samples, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(quantize.FloatModel, "_quantise", counted)
    model.node("Transpose", [x], "turned", perm=[0, 2, 3, 1])
    model.node("Conv", ["turned", model.random("b_w", 2, 12, 1, 1)], "z", kernel_shape=[1, 1])
    assert quantised(tmp_path, end(model, "z"), frames=20) == 1
    assert "when quantised: Conv 'z': reads an image that a Transpose" in capsys.readouterr().err
    assert seen == [1]


@pytest.mark.parametrize("operator", ["Resize", "MaxPool"])
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_function_before_a_move(tmp_path: Path, operator: str, kind: str) -> None:
    """As YOLO has LeakyRelu before Resize, and SiLU before MaxPool."""
    model = FloatModel("torchvision")
    x = model.layer("x", "a", 4, 3, 3, relu6=False)
    if operator == "Resize":
        x = model.node("LeakyRelu", [x], "f", alpha=0.1)
        x = model.node("Resize", [x, "", model.constant("factors", np.float32([1, 1, 2, 2]))], "moved",
                       mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    else:
        x = model.node("Mul", [x, model.node("Sigmoid", [x], "s")], "f")
        for name in ("moved", "again"):
            x = model.node("MaxPool", [x], name, kernel_shape=[2, 2])
    model.layer(x, "b", 2, 4, 3)
    assert quantised(tmp_path, end(model, "b_clip"), "--activations", kind) == 0
    moves = [Upsample] if operator == "Resize" else [Pool, Pool]
    assert assert_exact(tmp_path) == [Conv, Lookup, *moves, Conv]


@pytest.mark.parametrize("style", ["torchvision", "keras"])
@pytest.mark.parametrize("shape", [(3, 12, 11), (12, 11, 3)])
def test_channels_first_or_last(tmp_path: Path, style: str, shape: tuple[int, ...]) -> None:
    """`check` takes what `quantize` has taken, whatever the network's own order."""
    model = FloatModel("keras" if style == "keras" else "torchvision").mobilenet()
    for axis, size in enumerate((3, 12, 11) if style == "torchvision" else (12, 11, 3)):
        model.input.type.tensor_type.shape.dim[axis + 1].dim_value = size
    assert quantised(tmp_path, model, shape=shape) == 0
    assert main(["check", str(tmp_path / "q.onnx"), "--inputs", str(tmp_path / "x.npy")]) == 0
