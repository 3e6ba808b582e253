"""Kernels, strides, pads, groups and zero points: the reference against ONNX Runtime."""
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from headrace.gen.ir.graph import Conv, Graph
from headrace.gen.ir.info import info
from headrace.sim import reference
from onnx_forms import assert_exact, random
from onnx_models import Q, QdqModel

ENDS = [(0, 255), (255, 0)]


def convolution(folder: Path, image: tuple[int, int, int], weight: np.ndarray, *, dtype: type = np.uint8,
                ends: tuple[int, int] = (120, 100), **options: object) -> tuple[Graph, Conv]:
    """A convolution whose results spread over the output's range."""
    rng = np.random.default_rng(weight.size)
    shift = 128 if dtype is np.int8 else 0
    model = QdqModel()
    x = model.input(image, Q(0.03, ends[0] - shift, dtype))
    depth = int(np.prod(weight.shape[1:]))
    scale = rng.uniform(0.005, 0.02, len(weight)).astype(np.float32)
    model.conv(x, weight, Q(0.012 * depth ** 0.5, ends[1] - shift, dtype), name="y", scale=scale,
               bias=rng.integers(-3000, 3000, len(weight)), **options)
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    graph = assert_exact(model.save(folder / "net.onnx"), count=3)
    (node,) = graph.nodes
    assert isinstance(node, Conv)
    return graph, node


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", range(1, 8))
def test_kernels_and_strides(tmp_path: Path, kernel: int, stride: int, depthwise: bool) -> None:
    """Kernels that are not square over a map that is not square, with pads that differ on every side."""
    rng = np.random.default_rng([kernel, stride])
    other = 8 - kernel
    weight = random(rng, np.int8, 4, 1 if depthwise else 4, kernel, other)
    pads = [min(1, kernel - 1), min(2, other - 1), min(2, kernel - 1), 0]
    _, node = convolution(tmp_path, (4, 11, 8), weight, group=4 if depthwise else 1, pads=pads,
                          strides=[stride, 4 - stride], ends=ENDS[kernel % 2])
    assert node.window.pads == tuple(pads)


@pytest.mark.parametrize("size", [(7, 8), (8, 5), (1, 9)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_pads(tmp_path: Path, mode: str, stride: int, size: tuple[int, int]) -> None:
    weight = random(np.random.default_rng(stride), np.int8, 3, 2, 1 if mode == "VALID" else 4, 3)
    graph, _ = convolution(tmp_path, (2, *size), weight, auto_pad=mode, strides=[stride, stride])
    if mode != "VALID":
        assert graph.tensors["y_q"].shape[1:] == tuple(-(-side // stride) for side in size)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("ends", ENDS)
def test_zero_points_at_the_ends(tmp_path: Path, ends: tuple[int, int], dtype: type) -> None:
    weight = random(np.random.default_rng(1), np.int8, 5, 3, 3, 3)
    convolution(tmp_path, (3, 6, 7), weight, dtype=dtype, ends=ends, pads=[1, 1, 1, 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize(("channels", "multiplier"), [(1, 4), (2, 2), (3, 3), (4, 5)])
def test_depth_multipliers(tmp_path: Path, channels: int, multiplier: int, dtype: type) -> None:
    weight = random(np.random.default_rng(channels), np.int8, channels * multiplier, 1, 3, 2)
    graph, node = convolution(tmp_path, (channels, 7, 6), weight, dtype=dtype, group=channels, strides=[2, 1],
                              pads=[1, 0, 1, 1])
    assert node.groups == channels and node.depth_multiplier == (multiplier if channels > 1 else 4)
    (layer,) = info(graph).layers
    assert layer.weights == weight.size and layer.multiplications == weight.size * 4 * 6
    assert layer.operation == ("convolution" if channels == 1 else "depthwise convolution")


def test_order_of_depth_multipliers(tmp_path: Path) -> None:
    """Input channel c makes the output channels c m to c m + m - 1."""
    weight = np.arange(1, 7, dtype=np.int8).reshape(6, 1, 1, 1)
    _, node = convolution(tmp_path, (2, 3, 3), weight, group=2)
    x = np.array([10, 1000], np.int16).reshape(1, 2, 1, 1)
    sums = reference.accumulate(node, x, 0)[0, :, 0, 0] - node.bias
    assert sums.tolist() == [10, 20, 30, 4000, 5000, 6000]


@pytest.mark.parametrize(("groups", "channels", "outputs"), [(2, 4, 6), (3, 6, 3), (2, 8, 2)])
def test_groups(tmp_path: Path, groups: int, channels: int, outputs: int) -> None:
    """They become dense weights, with zeros for the channels of other groups."""
    weight = random(np.random.default_rng(groups), np.int8, outputs, channels // groups, 3, 3)
    _, node = convolution(tmp_path, (channels, 6, 5), weight, group=groups, pads=[1, 1, 1, 1])
    assert node.groups == 1 and node.weight.shape == (outputs, channels, 3, 3)
    each, depth = outputs // groups, channels // groups
    for row in range(outputs):
        mine = slice(row // each * depth, (row // each + 1) * depth)
        np.testing.assert_array_equal(node.weight[row, mine], weight[row])
        assert np.count_nonzero(node.weight[row]) == np.count_nonzero(weight[row])


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("kernel", [(2, 3), (5, 4)])
def test_max_pool(tmp_path: Path, kernel: tuple[int, int], mode: str) -> None:
    model = QdqModel()
    x = model.input((3, 9, 7), Q(0.1, 255))
    model.operator("MaxPool", [x], Q(0.1, 255), name="y", kernel_shape=kernel, strides=[2, 3], auto_pad=mode)
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    assert_exact(model.save(tmp_path / "net.onnx"))
