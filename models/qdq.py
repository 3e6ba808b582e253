"""Quantised networks with random weights whose activations are those of a trained one.

Random weights alone make values that fade or saturate after a few layers. So a few images go along while the
network is built: each convolution is scaled and shifted, channel by channel, so that its outputs on them have
random means and spreads of the size that batch normalisation leaves behind.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Conv, Quantisation
from headrace.gen.system import files
from headrace.hdl.arithmetic.geometry import Window
from headrace.sim import reference

OPSET = 13  # the first with a scale for each channel
IR_VERSION = 8

INPUT = Quantisation(1 / 128, 128, signed=False)  # (pixel - 128) / 128, of a pixel 0 .. 255
RELU6 = Quantisation(float(np.float32(6 / 255)), 0, signed=False)

_MEAN = (0.0, 1.0)  # of a channel's outputs: lowest and highest, of an even distribution
_SPREAD = (0.5, 1.5)


@dataclass(frozen=True, eq=False)
class Activation:
    """A tensor: its name where it is real, and its integers (N, C, H, W) on the images."""

    name: str
    values: npt.NDArray[np.int16]
    quantisation: Quantisation

    @property
    def real(self) -> npt.NDArray[np.float64]:
        return (self.values.astype(np.float64) - self.quantisation.zero_point) * self.quantisation.scale


Output = tuple[Activation, Sequence[int]]
"""What a network ends with, and its shape without the batch."""


class QdqBuilder:
    """Writes a network operator by operator, each between DequantizeLinear and QuantizeLinear.

    Each method adds an operator and returns its output. The file depends on `seed` and what is called alone:
    all sums are those of integers, on every machine.

    Parameters
    ----------
    images : array (N, C, H, W) of uint8
        The inputs whose statistics scales are chosen by.
    """

    def __init__(self, images: npt.NDArray[np.uint8], *, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._images = images
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def input(self) -> Activation:
        return self._quantised("image", "image", self._images.astype(np.int16), INPUT)

    def conv(self, name: str, x: Activation, channels: int, kernel: int = 1, *, stride: int = 1,
             depthwise: bool = False, relu6: bool = True, relu: bool = False) -> Activation:
        """Add a convolution as TensorFlow pads it, so that ceil(size / stride) is the size of its output.

        ``relu`` limits it on one side alone; ``relu6`` has no say then.
        """
        _, depth, height, width = x.values.shape
        (top, bottom), (left, right) = (same(size, kernel, stride) for size in (height, width))
        window = Window((kernel, kernel), (stride, stride), (top, left, bottom, right))
        weight = self._weights(channels, 1 if depthwise else depth, kernel, kernel)
        node = Conv(name, (x.name,), name, weight.astype(np.int16), np.zeros(channels, np.int64),
                    np.ones(channels, np.float32), window, depth if depthwise else 1, 0, 255)
        sums = reference.accumulate(node, x.values, x.quantisation.zero_point)
        inputs, real = self._scaled(name, x, weight, sums)
        self._node("Conv", inputs, f"{name}_real", name, kernel_shape=window.kernel, strides=window.stride,
                   pads=window.pads, group=node.groups)
        if relu:  # which the quantisation does
            return self._quantise(name, f"{name}_real", np.maximum(real, 0))
        return self._quantise(name, f"{name}_real", real, RELU6 if relu6 else None)

    def add(self, name: str, a: Activation, b: Activation, *, relu: bool = False) -> Activation:
        self._node("Add", [a.name, b.name], f"{name}_real", name)
        real = a.real + b.real
        return self._quantise(name, f"{name}_real", np.maximum(real, 0) if relu else real)

    def global_pool(self, name: str, x: Activation) -> Activation:
        self._node("GlobalAveragePool", [x.name], f"{name}_real", name)
        return self._quantise(name, f"{name}_real", _mean(x))

    def flatten(self, name: str, x: Activation) -> Activation:
        """Make a vector of an image of one pixel."""
        self._node("Flatten", [x.name], f"{name}_real", name)
        return self._quantised(name, f"{name}_real", x.values, x.quantisation)

    def gemm(self, name: str, x: Activation, channels: int) -> Activation:
        """Add a fully connected layer behind a vector."""
        weight = self._weights(channels, x.values.shape[1])
        sums = (x.values[:, :, 0, 0].astype(np.float64) - x.quantisation.zero_point) @ weight.T
        inputs, real = self._scaled(name, x, weight, sums[:, :, None, None])
        self._node("Gemm", inputs, f"{name}_real", name, transB=1)
        return self._quantise(name, f"{name}_real", real)

    def model(self, name: str, *outputs: Output) -> onnx.ModelProto:
        """Return the network that ends with `outputs`, each with its shape without the batch."""
        ends = [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, (1, *size)) for tensor, size in (
            ("image", self._images.shape[1:]), *((y.name, shape) for y, shape in outputs))]
        graph = helper.make_graph(self._nodes, name, ends[:1], ends[1:], self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                                 ir_version=IR_VERSION, producer_name="headrace")

    def _weights(self, *shape: int) -> npt.NDArray[np.int8]:
        """Return normally distributed weights, of which each channel uses the whole range."""
        real = self._rng.standard_normal(shape)
        largest = np.abs(real).max(axis=tuple(range(1, len(shape))), keepdims=True)
        weights: npt.NDArray[np.int8] = np.rint(real / largest * 127).astype(np.int8)
        return weights

    def _scaled(self, name: str, x: Activation, weight: npt.NDArray[np.int8],
                sums: npt.NDArray[np.float64]) -> tuple[list[str], npt.NDArray[np.float64]]:
        """Choose scales and biases of a layer's channels; return its inputs and its outputs on the images."""
        integers = sums.astype(np.int64)
        count, axes = sums.size // sums.shape[1], (0, 2, 3)
        mean = np.rint(integers.sum(axis=axes) / count)
        centred = integers - mean.astype(np.int64)[:, None, None]
        spread = np.sqrt(np.maximum(1, np.square(centred).sum(axis=axes) / count))
        target = self._rng.uniform(*_SPREAD, len(weight))
        bias = np.rint(self._rng.uniform(*_MEAN, len(weight)) * spread / target - mean)
        scale = (target / spread / x.quantisation.scale).astype(np.float32)
        bias_scale = np.float32(x.quantisation.scale) * scale
        inputs = [x.name, self._constant(f"{name}_weight", weight, scale),
                  self._constant(f"{name}_bias", bias.astype(np.int32), bias_scale)]
        return inputs, (sums + bias[:, None, None]) * bias_scale.astype(np.float64)[:, None, None]

    def _quantise(self, name: str, source: str, real: npt.NDArray[np.float64],
                  quantisation: Quantisation | None = None) -> Activation:
        """Quantise what an operator makes; by default so that its lowest and highest values just fit."""
        if quantisation is None:
            lowest, highest = min(0.0, float(real.min())), max(0.0, float(real.max()))
            scale = float(np.float32((highest - lowest) / 255)) or 1.0
            quantisation = Quantisation(scale, round(-lowest / scale), signed=False)
        steps = np.rint(real / quantisation.scale) + quantisation.zero_point
        return self._quantised(name, source, np.clip(steps, 0, 255).astype(np.int16), quantisation)

    def _quantised(self, name: str, source: str, values: npt.NDArray[np.int16],
                   quantisation: Quantisation) -> Activation:
        parameters = [self._initialiser(f"{name}_scale", np.float32(quantisation.scale)),
                      self._initialiser(f"{name}_zero_point", np.uint8(quantisation.zero_point))]
        self._node("QuantizeLinear", [source, *parameters], f"{name}_quantised")
        self._node("DequantizeLinear", [f"{name}_quantised", *parameters], f"{name}_dequantised")
        return Activation(f"{name}_dequantised", values, quantisation)

    def _constant(self, name: str, values: npt.NDArray[Any], scale: npt.NDArray[np.float32]) -> str:
        inputs = [self._initialiser(f"{name}_quantised", values), self._initialiser(f"{name}_scale", scale),
                  self._initialiser(f"{name}_zero_point", np.zeros(len(scale), values.dtype))]
        return self._node("DequantizeLinear", inputs, name, axis=0)

    def _initialiser(self, name: str, values: Any) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def _node(self, operator: str, inputs: Sequence[str], output: str, name: str = "",
              **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=name or output, **attributes))
        return output


def save(model: onnx.ModelProto, path: Path, images: npt.NDArray[np.uint8], images_path: Path | None) -> None:
    """Write a network, and its images as an .npz if that has a name.

    Raises
    ------
    :exc:`HeadraceError`
        If a file cannot be written.
    """
    if images_path is not None and images_path.suffix != ".npz":
        raise HeadraceError(f"{images_path}: images go into an .npz file")
    with files.replaced(path) as made:
        made.write_bytes(model.SerializeToString(deterministic=True))
        if images_path is not None:
            with files.replaced(images_path) as archive:
                np.savez_compressed(archive, x=images)


def images(count: int, size: int, *, seed: int) -> npt.NDArray[np.uint8]:
    """Return random square images in colour, which are coarse and fine alike, as photos are."""
    rng = np.random.default_rng((seed, size))
    total, grain = np.zeros((count, 3, size, size), np.int64), 1
    while grain < size:
        side = -(-size // grain)
        coarse = rng.integers(-40, 41, (count, 3, side, side))
        total += coarse.repeat(grain, axis=2).repeat(grain, axis=3)[:, :, :size, :size]
        grain *= 2
    return (total + 128).clip(0, 255).astype(np.uint8)


def same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's padding before and behind: all that is needed, the odd one behind."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def _mean(x: Activation) -> npt.NDArray[np.float64]:
    _, _, height, width = x.values.shape
    sums = (x.values.astype(np.int64) - x.quantisation.zero_point).sum(axis=(2, 3), keepdims=True)
    mean: npt.NDArray[np.float64] = sums * (x.quantisation.scale / (height * width))
    return mean
