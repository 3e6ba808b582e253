"""A scale for each channel between a Conv and a depthwise one, as NNCF quantises: the integers stay."""
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from headrace.gen.importer.passes import channels
from onnx_forms import IMAGE, WEIGHT, X, Y, exact, images, original_output
from onnx_models import QdqModel, refusal

SCALES = np.linspace(0.05, 0.4, 6).astype(np.float32)
DEPTHWISE = np.random.default_rng(5).integers(-99, 100, (12, 1, 3, 3)).astype(np.int8)
BIAS = np.linspace(-4, 4, 6)


def network(*, bias: str = "", clip: Any = None, per_channel: bool = True, outputs: int = 6, zero: int = 0,
            scales: np.ndarray = SCALES) -> QdqModel:
    """A convolution, and a depthwise one that reads it with a scale for each of its channels."""
    model = QdqModel()
    weight_scale = np.linspace(0.004, 0.02, 6).astype(np.float32) if per_channel else 0.01
    x = model.input(IMAGE, X)
    values = {"": None, "int32": np.arange(-300, 300, 100), "real": BIAS.astype(np.float32)}[bias]
    model.conv(x, WEIGHT, Y, name="a", scale=weight_scale, bias=values, clip=clip)
    model.nodes = [node for node in model.nodes if node.name not in ("a_q", "a_dq")]
    raw = model.nodes[-1].output[0]
    parameters = [model.constant("scales", scales), model.constant("zeros", np.full(6, zero, np.uint8))]
    model.node("QuantizeLinear", [raw, *parameters], "a_q", axis=1)
    model.node("DequantizeLinear", ["a_q", *parameters], "a_dq", axis=1)
    model.quantisations["a_dq"] = Y
    model.conv("a_dq", DEPTHWISE[:outputs], Y, name="y", scale=weight_scale if outputs == 6 else 0.01,
               group=6, bias=np.resize(BIAS, outputs).astype(np.float32) if bias == "real" else None)
    return model


@pytest.mark.parametrize("bias", ["", "int32", "real"])
@pytest.mark.parametrize("clip", [None, "Relu", (0.0, 200.0)])
@pytest.mark.parametrize(("per_channel", "outputs"), [(True, 6), (False, 6), (False, 12)])
def test_level(tmp_path: Path, bias: str, clip: Any, per_channel: bool, outputs: int) -> None:
    """What ONNX Runtime makes of the levelled network is what it makes of the file, but for ties."""
    graph = exact(network(bias=bias, clip=clip, per_channel=per_channel, outputs=outputs), tmp_path)
    assert [graph.tensors[node.output].quantisation.scale for node in graph.nodes] == pytest.approx(
        [0.4, 0.4])
    ours, theirs = original_output(tmp_path / "form.onnx", graph)
    assert abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 0.01


def test_zero_point(tmp_path: Path) -> None:
    graph = exact(network(zero=90), tmp_path)
    ours, theirs = original_output(tmp_path / "form.onnx", graph)
    assert abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 0.01
    assert len(np.unique(images(graph))) > 200


def test_errors(tmp_path: Path) -> None:
    form = ("QuantizeLinear 'a_q': 6 scales for an activation; one per tensor is supported, and one per "
            "channel between a Conv and depthwise ones that alone read it")
    model = network()
    model.operator("Add", ["a_dq", "a_dq"], Y, name="z")
    model.outputs.append(helper.ValueInfoProto(name="z_dq"))
    assert refusal(model, tmp_path) == form
    model = network()
    dense = network()
    dense.nodes[-3].attribute[0].i = 1
    dense.replace("y_w_q", np.zeros((6, 6, 3, 3), np.int8))
    assert refusal(dense, tmp_path) == form
    model.outputs.append(helper.ValueInfoProto(name="a_q"))
    assert refusal(model, tmp_path) == form
    assert refusal(network(clip=(0.0, 30.0)), tmp_path) == (
        "Clip 'a_raw_act': limits a part of the channels that the QuantizeLinear behind it has different "
        "scales for; a limit of 0 is supported, and one that no channel's range reaches")
    model = network()
    model.replace("zeros", np.arange(6).astype(np.uint8))
    assert refusal(model, tmp_path) == (
        "QuantizeLinear 'a_q': has different zero points for its channels; one is supported")
    assert refusal(network(scales=-SCALES), tmp_path) == (
        "QuantizeLinear 'a_q': its scale is not everywhere a positive and finite float constant")


@pytest.mark.parametrize("part", ["_scale_weights", "_scale_bias"])
def test_a_forgotten_factor_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(channels, part, lambda *_: None)
    graph = exact(network(bias="real"), tmp_path)
    ours, theirs = original_output(tmp_path / "form.onnx", graph)
    assert (ours != theirs).mean() > 0.01


@pytest.mark.parametrize("operator", ["Conv", "Gemm", "MatMul"])
def test_last_layer_in_real_numbers(tmp_path: Path, operator: str) -> None:
    """Nothing says with which scale hardware should give it: the host computes it."""
    model = QdqModel()
    x = model.conv(model.input((4, 3, 3), X), WEIGHT, Y, name="a")
    if operator == "Conv":
        model.node("Conv", [x, model.weight("w", WEIGHT[:, :, :1, :1].repeat(2, 1)[:, :6], 0.01, 0, 0)], "y")
    else:
        flat = model.quantise(model.node("Flatten", [x], "flat"), Y)
        weight = WEIGHT.reshape(-1)[:30].reshape(6, 5)
        model.node(operator, [flat, model.weight("w", weight, 0.01, 0, 0)], "product")
        model.node("Add", ["product", model.constant("b", np.ones(5, np.float32))], "y")
        model.nodes[-1].CopyFrom(helper.make_node(
            "Add" if operator == "MatMul" else "Identity",
            ["product", "b"][:2 if operator == "MatMul" else 1], ["y"]))
    model.outputs.append(helper.ValueInfoProto(name="y"))
    graph = exact(model, tmp_path, "y")
    assert graph.output == ("a_q" if operator == "Conv" else graph.output) and len(graph.nodes) == 1
    assert operator in graph.host
