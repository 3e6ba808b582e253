"""What follows a convolution and is linear in each channel, folded into its weights and bias."""
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from headrace.gen.importer.passes.quant import Value, real
from headrace.gen.importer.source.node import OnnxNode

Reals = npt.NDArray[np.float64]

_ARITHMETIC = ("Add", "Div", "Mul", "Sub")
_MAX_BIAS = 1 << 30
_LEAST_SCALE = 2.0**-100


@dataclass(frozen=True, eq=False)
class Affine:
    """``factor * x + offset`` for each channel of a result with `rank` dimensions."""

    factor: Reals  # [channels]
    offset: Reals
    rank: int

    def then(self, node: OnnxNode, constants: Mapping[str, Value], x: str) -> "Affine | None":
        """This followed by ``node``, which reads the result as ``x``; None if that is not affine.

        Raises
        ------
        :exc:`HeadraceError`
            If a constant of the node does not fit the channels, or an attribute is not supported.
        """
        if not all(name in constants for name in node.inputs if name != x):
            return None
        if node.operator == "BatchNormalization" and node.inputs[0] == x:
            return self._batch_normalisation(node, constants)
        if node.operator not in _ARITHMETIC:
            return None
        node.expect_inputs(2, 2)
        node.finish()
        position = node.inputs.index(x)
        c = self._channels(node, constants[node.inputs[1 - position]])
        match node.operator, position:
            case "Add", _:
                return replace(self, offset=self.offset + c)
            case "Mul", _:
                return replace(self, factor=self.factor * c, offset=self.offset * c)
            case "Sub", 0:
                return replace(self, offset=self.offset - c)
            case "Sub", _:
                return replace(self, factor=-self.factor, offset=c - self.offset)
            case "Div", 0:
                return replace(self, factor=self.factor / c, offset=self.offset / c)
        raise node.error("divides by a layer's result; dividing it by a constant is supported")

    def _batch_normalisation(self, node: OnnxNode, constants: Mapping[str, Value]) -> "Affine":
        node.expect_inputs(5, 5)
        epsilon = node.real("epsilon", 1e-5)
        node.only("training_mode", 0, 0)
        node.only("spatial", 1, 1)
        node.real("momentum", 0.9)  # of training
        node.finish()
        gamma, beta, mean, variance = (
            self._channels(node, np.asarray(real(constants[name])).reshape(-1, *[1] * (self.rank - 2)))
            for name in node.inputs[1:])
        factor = gamma / np.sqrt(variance + epsilon)
        return replace(self, factor=self.factor * factor, offset=(self.offset - mean) * factor + beta)

    def _channels(self, node: OnnxNode, value: Value) -> Reals:
        """A constant for each channel (axis 1)."""
        array, channels = real(value), self.factor.size
        shape = (1,) * (self.rank - array.ndim) + array.shape
        if shape not in ((1,) * self.rank, (1, channels, *[1] * (self.rank - 2))):
            raise node.error(f"a constant of shape {list(array.shape)} for {channels} channels; "
                             "one value, or one per channel, is supported")
        return np.broadcast_to(array.astype(np.float64).reshape(-1), channels)


@dataclass(frozen=True, eq=False)
class Folded:
    """Weights, [outputs, anything], in units of `scale`; a bias in units of `scale` and the input's scale."""

    weight: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.int32]


def fold(node: OnnxNode, weight: npt.NDArray[np.int64], scale: npt.NDArray[np.float32], affine: Affine,
         x_scale: np.float32) -> Folded:
    """Fold an affine function into integer weights of ``scale`` and inputs of ``x_scale``.

    The factor goes into the scale, its sign into the integers. The bias is rounded to a multiple of input
    scale x weight scale, as ONNX quantises it. Where it would leave 32 bits, the channel gets a coarser
    scale; the weights, which hardly matter beside such a bias, are rounded to it.

    Raises
    ------
    :exc:`HeadraceError`
        If factor or offset are not finite, or a scale is beyond float32.
    """
    if not (np.isfinite(affine.factor) & np.isfinite(affine.offset)).all():
        raise node.error("the constants that follow it (BatchNormalization, …) do not give finite numbers")
    weight = weight * np.sign(affine.factor).astype(np.int64)[:, None]
    wide = np.broadcast_to(scale.astype(np.float64), affine.factor.shape)
    folded = wide * abs(affine.factor)
    dead = folded < _LEAST_SCALE
    folded, weight = np.where(dead, wide, folded), np.where(dead[:, None], 0, weight)
    coarser = np.maximum(1, abs(affine.offset) / (folded * x_scale * _MAX_BIAS))
    weight = np.rint(weight / coarser[:, None]).astype(np.int64)
    single = (folded * coarser).astype(np.float32)
    unit = single.astype(np.float64) * x_scale
    bias = np.rint(affine.offset / unit)
    if not (np.isfinite(single) & (unit > 0)).all() or (abs(bias) > 2 * _MAX_BIAS - 1).any():
        raise node.error("its weight scales, after BatchNormalization, are beyond float32")
    return Folded(weight, single, bias.astype(np.int32))
