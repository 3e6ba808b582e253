"""Biases that a file has as real numbers: rounded as ONNX Runtime rounds them, and said so."""
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from headrace.gen.cli.main import main
from headrace.gen.importer import convolution
from headrace.gen.importer.load import load
from onnx_forms import IMAGE, WEIGHT, X, Y, exact, images, original_output
from onnx_models import Q, QdqModel

BIAS = np.random.default_rng(3).uniform(-9, 9, 6).astype(np.float32)
SCALES = np.linspace(0.004, 0.02, 6).astype(np.float32)
SIGNED = Q(0.03, -8, np.int8), Q(0.4, -28, np.int8)


def build(kind: str, scale: Any, form: str, *, clip: Any = None) -> QdqModel:
    x, y = SIGNED if form == "S8S8" else (X, Y)
    weight, zero = (WEIGHT, 0) if form != "U8U8" else ((WEIGHT.astype(np.int16) + 128).astype(np.uint8), 128)
    model = QdqModel()
    if kind == "conv":
        model.conv(model.input(IMAGE, x), weight, y, name="y", bias=BIAS, scale=scale, zero_point=zero,
                   clip=clip)
        return model
    vector, weight = model.input((12,), x), weight.reshape(6, -1)[:, :12]
    if kind == "gemm":
        model.conv(vector, weight, y, name="y", operator="Gemm", transB=1, bias=BIAS, scale=scale,
                   zero_point=zero, clip=clip)
    else:
        product = model.node("MatMul", [vector, model.weight("w", weight.T.copy(), scale, zero, 1)],
                             "product")
        model.operator("Add", [model.constant("b", BIAS), product], y, name="y", clip=clip)
    return model


@pytest.mark.parametrize("kind", ["conv", "gemm", "matmul"])
@pytest.mark.parametrize("scale", [0.01, SCALES])
@pytest.mark.parametrize("form", ["U8S8", "U8U8", "S8S8"])
def test_rounded(tmp_path: Path, kind: str, scale: Any, form: str) -> None:
    """ONNX Runtime, given the real bias, computes what the reference does."""
    graph = exact(build(kind, scale, form), tmp_path)
    (node,) = graph.nodes
    unit = np.broadcast_to(np.float32(0.03) * np.asarray(scale, np.float32), 6)
    np.testing.assert_array_equal(node.bias, np.rint(BIAS / unit))
    off = abs(BIAS / unit.astype(float) - node.bias) * unit / 0.4
    assert node.bias_rounding == pytest.approx(off.max(), rel=1e-5) and node.bias_rounding > 0
    ours, theirs = original_output(tmp_path / "form.onnx", graph)
    assert abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 0.01  # the real bias, near ties


@pytest.mark.parametrize("clip", ["Relu", (0.0, 6.0)])
def test_limited(tmp_path: Path, clip: Any) -> None:
    exact(build("conv", SCALES, "U8S8", clip=clip), tmp_path)


def test_onnx_runtime_rounds_so(tmp_path: Path) -> None:
    """The integers are those that its own optimiser puts into QLinearConv."""
    model = build("conv", SCALES, "U8S8")
    model.output("y_dq", (6, 7, 5))
    path = model.save(tmp_path / "net.onnx")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    optimised = onnx.load(tmp_path / "optimised.onnx").graph
    (conv,) = (node for node in optimised.node if node.op_type == "QLinearConv")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in optimised.initializer}
    np.testing.assert_array_equal(constants[conv.input[8]], load(path).nodes[0].bias)


def test_a_wrong_rounding_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*args: Any) -> Any:
        bias, rest = rounded(*args)
        return bias - 9, rest

    rounded = convolution._rounded
    monkeypatch.setattr(convolution, "_rounded", down)
    with pytest.raises(AssertionError):
        exact(build("conv", SCALES, "U8S8"), tmp_path)


def test_batch_normalisation_behind(tmp_path: Path) -> None:
    model = build("conv", SCALES, "U8S8")
    model.nodes = [node for node in model.nodes if node.name not in ("y_q", "y_dq")]
    parameters = [model.constant(name, np.full(6, value, np.float32)) for name, value in
                  (("gamma", 0.7), ("beta", 0.2), ("mean", -0.4), ("variance", 2.0))]
    model.quantise(model.node("BatchNormalization", ["y_raw", *parameters], "bn"), Y, name="y")
    graph = exact(model, tmp_path)
    ours, theirs = original_output(tmp_path / "form.onnx", graph)
    assert abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 0.01
    assert len(np.unique(images(graph))) > 200


def test_info(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = build("conv", 0.01, "U8S8")
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    path = str(model.save(tmp_path / "net.onnx"))
    assert main(["info", path, "--json"]) == 0
    most = json.loads(capsys.readouterr().out)["layers"][0]["bias_rounding"]
    assert 0 < most <= 0.5 * 0.0003 / 0.4
    assert main(["info", path]) == 0
    assert (f"real biases of 1 layers rounded to multiples of input scale x weight scale, as ONNX Runtime "
            f"rounds them: by up to {most:.2g} of an output step (conv_y)") in (
                " ".join(capsys.readouterr().out.split()))


def test_int32_is_not_rounded(tmp_path: Path) -> None:
    model = QdqModel()
    model.conv(model.input(IMAGE, X), WEIGHT, Y, name="y", bias=np.arange(6))
    assert exact(model, tmp_path).nodes[0].bias_rounding == 0
