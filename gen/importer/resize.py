"""Enlargement of images by whole factors in an ONNX network."""
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from headrace.gen.importer.source.file import quote
from headrace.gen.importer.source.node import OnnxNode, check_image, describe, like
from headrace.gen.importer.values import (
    Arguments,
    Constant,
    Movement,
    Value,
    activation,
    describe_value,
)
from headrace.gen.ir.graph import Upsample

MAX_FACTOR = 64
MAX_SIDE = 1 << 16  # of an output

Floats = npt.NDArray[np.float64]

# Where output pixel i of an axis lies in the input: (i, factor, output size) -> coordinate.
_COORDINATES: dict[str, Callable[[Floats, int, int], Floats]] = {
    "half_pixel": lambda i, factor, _: (i + 0.5) / factor - 0.5,
    "half_pixel_symmetric": lambda i, factor, _: (i + 0.5) / factor - 0.5,
    "pytorch_half_pixel": lambda i, factor, _: (i + 0.5) / factor - 0.5,
    "asymmetric": lambda i, factor, _: i / factor,
    "tf_half_pixel_for_nn": lambda i, factor, _: (i + 0.5) / factor,
    "align_corners": lambda i, factor, size: i * (size // factor - 1) / max(size - 1, 1),
}
_ROUNDINGS: dict[str, Callable[[Floats], Floats]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(node: OnnxNode, args: Arguments) -> Movement:
    """Inputs are x, a region that nearest pixels ignore, scales and sizes; in opset 10, x and scales."""
    node.expect_inputs(1, 4)
    x = activation(node, args, 0)
    check_image(node, x.shape)
    rank = 1 + len(x.shape)
    old = len(args) == 2
    coordinates = node.text("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    rounding = node.text("nearest_mode", "floor" if old else "round_prefer_floor")
    for name, supported in (("mode", "nearest"), ("keep_aspect_ratio_policy", "stretch")):
        if (found := node.text(name, supported)) != supported:
            raise node.error(f"{name} {quote(found)} is not supported; {quote(supported)} is")
    node.only("antialias", 0, 0)
    node.only("exclude_outside", 0, 0)
    for ignored in ("cubic_coeff_a", "extrapolation_value"):
        node.real(ignored, 0)
    node.finish()
    scales = _numbers(node, args[3], "sizes", rank) / (1, *x.shape) if len(args) == 4 else _numbers(
        node, args[-1] if len(args) > 1 else None, "scales", rank)
    down, across = factors = _factors(node, scales)
    channels, height, width = x.tensor.shape
    image = channels, height * down, width * across
    shape = like(x.shape, image)
    if max(image[1:]) > MAX_SIDE:
        raise node.error(f"its output has {describe(shape)}; sides of up to {MAX_SIDE} are supported")
    if not all(_repeats(size, factor, coordinates, rounding)
               for size, factor in zip((height, width), factors, strict=True)):
        raise node.error(f"coordinate_transformation_mode {quote(coordinates)} with nearest_mode "
                         f"{quote(rounding)} does not repeat every pixel {down} x {across} times; "
                         "'asymmetric' with 'floor' and 'half_pixel' with 'round_prefer_floor' do")
    return Movement(node, shape, image, (x,), lambda inputs, y, lo, hi: Upsample(
        "", (inputs[0],), y, factors=factors, lo=lo, hi=hi))


def _numbers(node: OnnxNode, value: Value | None, what: str, rank: int) -> Floats:
    if not isinstance(value, Constant) or value.values.dtype not in (np.float32, np.int64):
        raise node.error(f"its {what} are {describe_value(value)}; a constant is supported")
    if value.values.shape != (rank,):
        raise node.error(f"its {what} have shape {list(value.values.shape)}; [{rank}] is supported")
    return value.values.astype(np.float64)


def _factors(node: OnnxNode, scales: Floats) -> tuple[int, int]:
    """The vertical and the horizontal one."""
    factors = [int(scale) if 1 <= scale <= MAX_FACTOR else 0 for scale in scales]
    if factors != scales.tolist() or factors[:2] != [1, 1]:
        numbers = ", ".join(f"{scale:g}" for scale in scales)
        sides = "vertical, horizontal" if len(factors) == 4 else "horizontal"
        raise node.error(f"scales [{numbers}] are not supported; [1, 1, {sides}] with whole "
                         f"numbers of 1 to {MAX_FACTOR} is")
    down, across = (1, *factors[2:])[-2:]
    return down, across


def _repeats(size: int, factor: int, coordinates: str, rounding: str) -> bool:
    """Whether output pixel i of an axis is input pixel ``i // factor``; ONNX Runtime copies for factor 1."""
    if coordinates not in _COORDINATES or rounding not in _ROUNDINGS:
        return False
    if factor == 1:
        return True
    i = np.arange(size * factor)
    taken = _ROUNDINGS[rounding](_COORDINATES[coordinates](i.astype(np.float64), factor, i.size))
    return np.array_equal(taken.clip(0, size - 1), i // factor)
