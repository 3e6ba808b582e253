"""Inverted residuals as exporters write them, equal to the plain QDQ form."""
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from headrace.gen.ir.graph import Graph
from onnx_forms import assert_alike, assert_exact, finish
from onnx_models import Q, QdqModel

IMAGE = Q(0.02, 128)
NARROW, WIDE = Q(0.05, 120), Q(0.03, 0)  # behind linear layers, and behind Relu6
SUM = Q(0.07, 111)
CLASSES = Q(0.3, 90)
SIDES = (12, 10)


def weights(**shapes: tuple[int, ...]) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Integers, scales of each output channel and bias of each layer."""
    rng = np.random.default_rng(11)
    return {name: (rng.integers(-127, 128, shape).astype(np.int8),
                   (rng.uniform(0.5, 1.5, shape[0]) / np.sqrt(np.prod(shape[1:])) / 40).astype(np.float32),
                   rng.integers(-500, 500, shape[0])) for name, shape in shapes.items()}


LAYERS = weights(stem=(8, 3, 3, 3), expand=(16, 8, 1, 1), depthwise=(16, 1, 3, 3), project=(8, 16, 1, 1),
                 classifier=(10, 8))
DIVIDED = weights(stem=(8, 3, 3, 3), depthwise=(16, 1, 3, 3), classifier=(10, 256))


def layer(model: QdqModel, x: str, name: str, y: Q, **options: object) -> str:
    weight, scale, bias = LAYERS[name]
    clip = (0.0, 6.0) if y is WIDE else None
    return model.conv(x, weight, y, name=name, scale=scale, bias=bias, clip=clip, **options)


def plain(folder: Path) -> Graph:
    """The form of the importer: N x C x H x W, pads in the windows, Gemm."""
    model = QdqModel()
    x = layer(model, model.input((3, *SIDES), IMAGE), "stem", NARROW, strides=[2, 2], pads=[1, 1, 1, 1])
    e = layer(model, x, "expand", WIDE)
    d = layer(model, e, "depthwise", WIDE, group=16, pads=[1, 1, 1, 1])
    s = model.operator("Add", [x, layer(model, d, "project", NARROW)], SUM, name="sum")
    m = model.operator("GlobalAveragePool", [s], NARROW, name="mean")
    flat = model.quantise(model.node("Flatten", [m], "flat"), NARROW)
    layer(model, flat, "classifier", CLASSES, operator="Gemm", transB=1)
    return finish(model, folder / "plain.onnx", "classifier_dq")


def test_torchvision(tmp_path: Path) -> None:
    """ReduceMean without keepdims, transposed weights of Linear, Dropout, a Constant node, Softmax last."""
    model = QdqModel(opset=18)
    x = layer(model, model.input((3, *SIDES), IMAGE), "stem", NARROW, strides=[2, 2], pads=[1, 1, 1, 1])
    e = layer(model, x, "expand", WIDE)
    d = layer(model, e, "depthwise", WIDE, group=16, pads=[1, 1, 1, 1], kernel_shape=[3, 3], dilations=[1, 1])
    s = model.operator("Add", [x, layer(model, d, "project", NARROW)], SUM, name="sum")
    model.nodes.append(helper.make_node("Constant", [], ["axes"], value_ints=[-1, -2]))
    m = model.operator("ReduceMean", [s, "axes"], NARROW, name="mean", keepdims=0)
    weight, scale, bias = LAYERS["classifier"]
    m = model.node("Dropout", [m], "dropped")
    product = model.node("MatMul", [m, model.node("Transpose", [model.weight("w", weight, scale, 0, 0)], "wt",
                                                  perm=[1, 0])], "product")
    offset = model.weight("b", bias.astype(np.int32), np.float32(NARROW.scale) * scale, 0, 0)
    y = model.operator("Add", [product, offset], CLASSES, name="classifier")
    model.outputs.append(helper.ValueInfoProto(name=model.node("Softmax", [y], "probabilities")))
    graph = assert_exact(model.save(tmp_path / "net.onnx"))
    assert_alike(graph, plain(tmp_path))
    assert graph.host == ("DequantizeLinear", "Softmax")


@pytest.mark.parametrize("explicit", [False, True])
def test_keras(tmp_path: Path, explicit: bool) -> None:
    """N x H x W x C around every convolution, a Pad before stride 2, mean over [1, 2], MatMul with Add."""
    model = QdqModel(opset=18)
    x = model.input((*SIDES, 3), IMAGE)

    def convolution(x: str, name: str, y: Q, **options: object) -> str:
        q = model.quantisations[x]
        nchw = model.node("Transpose", [x], f"{name}_nchw", perm=[0, 3, 1, 2])
        model.quantisations[nchw] = q
        layer(model, nchw, name, y, **options)
        quantise, dequantise = model.nodes.pop(-2), model.nodes.pop(-1)
        nhwc = model.node("Transpose", [quantise.input[0]], f"{name}_nhwc", perm=[0, 2, 3, 1])
        quantise.input[0] = nhwc
        model.nodes.extend([quantise, dequantise])
        return dequantise.output[0]

    if explicit:
        amounts = model.constant("amounts", np.array([0, 1, 1, 0, 0, 1, 1, 0]))
        x = model.node("Pad", [x, amounts, model.constant("zero", np.float32(0))], "padded")
        model.quantisations["padded"] = IMAGE
        x = convolution(x, "stem", NARROW, strides=[2, 2], auto_pad="VALID")
    else:
        x = convolution(x, "stem", NARROW, strides=[2, 2], pads=[1, 1, 1, 1])
    e = convolution(x, "expand", WIDE)
    d = convolution(e, "depthwise", WIDE, group=16, auto_pad="SAME_UPPER")
    s = model.operator("Add", [x, convolution(d, "project", NARROW)], SUM, name="sum")
    axes = model.constant("axes", np.array([1, 2]))
    m = model.operator("ReduceMean", [s, axes], NARROW, name="mean", keepdims=1)
    flat = model.node("Reshape", [m, model.constant("shape", np.array([-1, 8]))], "flat")
    weight, scale, bias = LAYERS["classifier"]
    product = model.node("MatMul", [flat, model.weight("w", weight.T.copy(), scale, 0, 1)], "product")
    offset = model.weight("b", bias.astype(np.int32), np.float32(NARROW.scale) * scale, 0, 0)
    model.operator("Add", [product, offset], CLASSES, name="classifier")
    model.outputs.append(helper.ValueInfoProto(name="classifier_dq"))
    graph = assert_exact(model.save(tmp_path / "net.onnx"))
    assert_alike(graph, plain(tmp_path))
    assert graph.tensors[graph.input].shape == (3, *SIDES)


def test_batch_norm_and_depth_multiplier(tmp_path: Path) -> None:
    """Convolutions with BatchNormalization, and a classifier of all pixels in N x H x W x C order."""
    model = QdqModel()
    rng = np.random.default_rng(12)
    x = model.input((3, 14, 14), IMAGE)
    limits = [model.constant(name, np.float32(value)) for name, value in (("zero", 0), ("six", 6))]
    for name, options in (("stem", {"strides": [2, 2]}), ("depthwise", {"group": 8})):
        weight, scale, bias = DIVIDED[name]
        model.conv(x, weight, WIDE, name=name, scale=scale, bias=bias, **options)
        del model.nodes[-2:]
        parameters = [model.constant(f"{name}_{what}", rng.uniform(low, 2, len(weight)).astype(np.float32))
                      for what, low in (("gamma", -2), ("beta", -1), ("mean", -1), ("variance", 0.2))]
        normal = model.node("BatchNormalization", [f"{name}_raw", *parameters], f"{name}_normal",
                            epsilon=1e-3)
        x = model.quantise(model.node("Clip", [normal, *limits], f"{name}_act"), WIDE, name=name)
    weight, scale, bias = DIVIDED["classifier"]
    nhwc = model.node("Transpose", [x], "nhwc", perm=[0, 2, 3, 1])
    flat = model.node("Reshape", [nhwc, model.constant("shape", np.array([1, -1]))], "flat")
    model.quantisations[flat] = WIDE
    model.conv(flat, weight, CLASSES, name="classifier", scale=scale, bias=bias, operator="Gemm", transB=1)
    model.outputs.append(helper.ValueInfoProto(name="classifier_dq"))
    graph = assert_exact(model.save(tmp_path / "net.onnx"))
    assert [type(node).__name__ for node in graph.nodes] == ["Conv"] * 3
    assert graph.nodes[1].depth_multiplier == 2 and graph.tensors["depthwise_q"].shape == (16, 4, 4)
    np.testing.assert_array_equal(graph.nodes[2].weight, weight.reshape(10, 4, 4, 16).transpose(0, 3, 1, 2))
