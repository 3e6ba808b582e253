"""QONNX's Quant node: its parameters, and what it makes of constants."""
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.gen.importer.source.file import quote
from headrace.gen.importer.source.node import OnnxNode

MAX_BITS = 32  # of a bias; weights and activations have up to 8
_ROUNDINGS = ("ROUND", "HALF_EVEN")


@dataclass(frozen=True, eq=False)
class Grid:
    """A quantised constant: ``real = integers * scale``; the zero point is taken off.

    ``scale`` has as many dimensions as ``integers`` and broadcasts against it.
    """

    integers: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float32]
    bits: int

    @property
    def real(self) -> npt.NDArray[np.float64]:
        return self.integers.astype(np.float64) * self.scale

    def transpose(self, axes: tuple[int, ...]) -> "Grid":
        return Grid(self.integers.transpose(axes), self.scale.transpose(axes), self.bits)


Value = npt.NDArray[np.generic] | Grid


def real(value: Value) -> npt.NDArray[np.generic]:
    return value.real if isinstance(value, Grid) else value


@dataclass(frozen=True, eq=False)
class Quantiser:
    """``real = (clip(rint(x / scale + zero_point), lo, hi) - zero_point) * scale``; 0 has an integer."""

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.float32]  # integers
    bits: int
    signed: bool
    lo: int
    hi: int

    @classmethod
    def read(cls, node: OnnxNode, constants: Mapping[str, Value]) -> "Quantiser":
        """Take the attributes and the constant inputs of a Quant node.

        Raises
        ------
        :exc:`HeadraceError`
            If they are not constants, or of a value that is not supported.
        """
        node.expect_inputs(4, 4)
        signed, narrow = (node.integer(name, default) for name, default in (("signed", 1), ("narrow", 0)))
        for name, value in (("signed", signed), ("narrow", narrow)):
            if value not in (0, 1):
                raise node.error(f"{name} {value} is not supported; 0 and 1 are")
        rounding = node.text("rounding_mode", "ROUND")
        if rounding.upper() not in _ROUNDINGS:
            raise node.error(f"rounding_mode {quote(rounding)} is not supported; ROUND (half to even) is")
        node.finish()
        scale, zero, width = (
            _numbers(node, what, constants.get(name))
            for what, name in zip(("scale", "zero point", "bit width"), node.inputs[1:], strict=True))
        if not (scale > 0).all():
            raise node.error("its scale is not everywhere positive")
        bits = float(width.reshape(-1)[0])
        if width.size != 1 or bits not in range(2, MAX_BITS + 1):
            text = f"{bits:g}" if width.size == 1 else f"of shape {list(width.shape)}"
            raise node.error(f"bit width {text} is not supported; one integer of 2 to {MAX_BITS} is")
        # In an unsigned range, `narrow` leaves out the highest integer instead of the lowest.
        lowest = -1 << (int(bits) - 1) if signed else 0
        lo, hi = lowest + (signed & narrow), lowest + (1 << int(bits)) - 1 - (narrow & (1 - signed))
        if (zero != np.rint(zero)).any() or (zero < lo).any() or (zero > hi).any():
            raise node.error(f"its zero point is not an integer of {lo} to {hi}")
        return cls(scale, zero, int(bits), bool(signed), lo, hi)

    def constant(self, node: OnnxNode, values: npt.NDArray[np.generic]) -> Grid:
        """Quantise a constant with the arithmetic of QONNX: float32, half to even."""
        if values.dtype != np.float32:
            raise node.error(f"quantises a constant of {values.dtype}; float32 is supported")
        scale, zero = (_fit(node, array, values.shape) for array in (self.scale, self.zero_point))
        steps = np.clip(np.rint(values.astype(np.float32) / scale + zero), self.lo, self.hi)
        if np.isnan(steps).any():
            raise node.error("quantises a constant that holds NaN")
        return Grid(steps.astype(np.int64) - zero.astype(np.int64), scale, self.bits)


def _numbers(node: OnnxNode, what: str, value: Value | None) -> npt.NDArray[np.float32]:
    if not isinstance(value, np.ndarray):
        raise node.error(f"its {what} is not a constant; float constants are supported")
    if value.dtype.kind not in "if" or not value.size or not np.isfinite(value).all():
        raise node.error(f"its {what} is not finite numbers")
    return value.astype(np.float32)


def _fit(node: OnnxNode, array: npt.NDArray[np.float32], shape: tuple[int, ...],
         ) -> npt.NDArray[np.float32]:
    """``array`` with as many dimensions as ``shape``, against which it broadcasts."""
    shaped = array.reshape(()) if array.size == 1 else array
    shaped = shaped.reshape((1,) * (len(shape) - shaped.ndim) + shaped.shape)
    if shaped.ndim != len(shape) or any(
            size not in (1, whole) for size, whole in zip(shaped.shape, shape, strict=True)):
        raise node.error(f"a scale or zero point of shape {list(array.shape)} for values of {list(shape)}")
    return shaped
