"""BatchNormalization behind a quantised convolution."""
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

from headrace.sim import reference
from onnx_forms import assert_exact, images, random
from onnx_models import Q, QdqModel, refusal

X, Y = Q(0.03, 120), Q(0.4, 100)
IMAGE = (4, 7, 6)


SHAPES = {"conv": (6, 4, 3, 3), "depthwise": (4, 1, 3, 3), "gemm": (4, 6)}


def normalised(kind: str = "conv", *, gamma: object = None, weight: np.ndarray | None = None,
               scale: object = 0.01, zero: int = 0, bias: np.ndarray | None = None, variance: object = 1.0,
               clip: str | None = None, **attributes: object) -> QdqModel:
    model = QdqModel()
    x = model.input((4,) if kind == "gemm" else IMAGE, X)
    rng = np.random.default_rng(9)
    weight = rng.integers(-127, 128, SHAPES[kind]).astype(np.int8) if weight is None else weight
    count = 6 if kind != "depthwise" else 4
    options = {"group": 4} if kind == "depthwise" else {}
    axis = 1 if kind == "gemm" else 0
    model.conv(x, weight, Y, name="y", scale=scale, zero_point=zero, bias=bias, axis=axis,
               operator="Gemm" if kind == "gemm" else "Conv", **options)
    model.nodes = [node for node in model.nodes if node.name not in ("y_q", "y_dq")]
    gamma = rng.uniform(-2, 2, count) if gamma is None else np.broadcast_to(gamma, count)
    parameters = {"gamma": gamma, "beta": rng.uniform(-3, 3, count), "mean": rng.uniform(-3, 3, count),
                  "var": np.broadcast_to(variance, count)}
    out = model.node("BatchNormalization", ["y_raw", *(
        model.constant(name, np.asarray(value, np.float32)) for name, value in parameters.items())], "bn",
        **attributes)
    model.quantise(model.node("Relu", [out], "act") if clip else out, Y, name="y")
    return model


@pytest.mark.parametrize("clip", [None, "Relu"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["conv", "depthwise", "gemm"])
def test_folded(tmp_path: Path, kind: str, bias: bool, per_channel: bool, clip: str | None) -> None:
    """The graph is what ONNX Runtime computes, and the real numbers it stands for are the file's."""
    count = 4 if kind == "depthwise" else 6
    scale = np.linspace(0.005, 0.02, count).astype(np.float32) if per_channel else np.float32(0.01)
    before = np.arange(count) * 1000 - 2000 if bias else None
    model = normalised(kind, scale=scale, bias=before, epsilon=0.01, clip=clip, variance=0.5)
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    graph = assert_exact(model.save(tmp_path / "net.onnx"))
    (node,) = graph.nodes
    assert node.lo == (100 if clip else 0)
    values = {tensor.name: np.frombuffer(tensor.raw_data, np.float32) for tensor in model.initialisers
              if tensor.name in ("gamma", "beta", "mean", "var")}
    factor = values["gamma"] / np.sqrt(values["var"] + 0.01)
    (weights,) = (tensor for tensor in model.initialisers if tensor.name == "y_w_q")
    integers = np.frombuffer(weights.raw_data, np.int8).reshape(tuple(weights.dims)).astype(float)
    integers = (integers.T if kind == "gemm" else integers).reshape(count, -1)
    wanted = integers * np.broadcast_to(scale, count)[:, None] * factor[:, None]
    real = node.multiplier.astype(float)[:, None] * Y.scale  # of one step of the accumulator
    np.testing.assert_allclose(node.weight.reshape(count, -1) * real / X.scale, wanted, rtol=1e-5)
    old = 0 if before is None else before * X.scale * scale
    offset = values["beta"] + (old - values["mean"]) * factor
    assert (abs(node.bias * real[:, 0] - offset) <= 0.51 * real[:, 0]).all()


def test_zero_gamma_and_zero_points(tmp_path: Path) -> None:
    weight = random(np.random.default_rng(2), np.uint8, 6, 4, 3, 3) // 2 + 64
    model = normalised(gamma=[0, 1, -1, 2, -0.5, 0.1], weight=weight, zero=128)
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    (node,) = assert_exact(model.save(tmp_path / "net.onnx")).nodes
    assert not node.weight[0].any() and node.bias[0]
    np.testing.assert_array_equal(node.weight[2], 128 - weight[2].astype(int))


def test_reference_is_near_real_numbers(tmp_path: Path) -> None:
    model = normalised()
    model.output("y_dq", (6, 5, 4))
    path = model.save(tmp_path / "net.onnx")
    graph = assert_exact(path)
    x = images(graph)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    real = ((x - X.zero_point) * X.scale).astype(np.float32)
    theirs = np.concatenate([session.run(None, {"x": image[None]})[0] for image in real])
    ours = (reference.run(graph, x)["y_q"] - Y.zero_point) * Y.scale
    assert abs(ours - theirs).max() <= 1.01 * Y.scale


@pytest.mark.parametrize(("model", "expected"), [
    (normalised(weight=np.full((6, 4, 3, 3), -128, np.int8), gamma=-1),
     ("has a negative factor, and a weight before it no negative in int8; int8 weights of -127 to 127 have")),
    (normalised(gamma=1e-10),
     ("makes the bias of channel 0 larger than int32 at input scale x weight scale; int32 is supported")),
    (normalised(gamma=1e-44), "makes a weight scale zero or infinite in float32; others are supported"),
    (normalised(variance=-1.0), "makes a weight scale zero or infinite in float32; others are supported"),
    (normalised(training_mode=1), "training_mode 1 is not supported; 0 is"),
    (normalised(frobnicate=1), "attribute 'frobnicate' is not supported"),
])
def test_refused(tmp_path: Path, model: QdqModel, expected: str) -> None:
    assert refusal(model, tmp_path) == f"BatchNormalization 'bn': {expected}"


def test_wrong_place(tmp_path: Path) -> None:
    model = QdqModel()
    parameters = [model.constant(name, np.ones(4, np.float32)) for name in "abcd"]
    model.operator("BatchNormalization", [model.input(IMAGE, X), *parameters], Y, name="y")
    assert refusal(model, tmp_path) == (
        "BatchNormalization 'y': does not stand alone behind a Conv or Gemm; only there it is supported")
    model = normalised()
    model.replace("mean", np.ones(5, np.float32))
    assert refusal(model, tmp_path) == "BatchNormalization 'bn': needs 'mean' as a constant of 1 or 6 values"
    model = normalised(bias=np.ones(6))
    plain = model.constant("plain", np.ones(6, np.int32))
    next(node for node in model.nodes if node.name == "y").input[2] = plain
    assert refusal(model, tmp_path) == (
        "BatchNormalization 'bn': the bias 'plain' before it is neither quantised nor float; "
        "a float constant, and an int32 one behind DequantizeLinear, are supported")
