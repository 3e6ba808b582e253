"""BatchNormalization behind a quantised convolution, folded into its scales and its bias."""
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from headrace.gen.importer.source.file import quote
from headrace.gen.importer.source.node import OnnxNode
from headrace.gen.importer.source.rewrite import Rewrite

Reals = npt.NDArray[np.float64]


def fold(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Fold each BatchNormalization into the Conv or Gemm that it alone reads.

    With f = gamma / sqrt(variance + epsilon), the weight scale of a channel becomes scale x abs(f), rounded
    to float32; a negative f negates the integers around their zero point, a zero makes them the zero point.
    The bias beta + (bias - mean) f is rounded to an integer at the new scale, input scale x weight scale.
    These two roundings are what the folded network differs in from the file's real numbers.

    Raises
    ------
    :exc:`HeadraceError`
        If it stands elsewhere, or the folded integers do not fit their types.
    """
    if not any(node.op_type == "BatchNormalization" for node in model.graph.node):
        return model
    rewrite = Rewrite(model, path)
    for node in rewrite:
        if node.op_type == "BatchNormalization":
            _fold(rewrite, node)
        else:
            rewrite.keep(node)
    return rewrite.model()


def _fold(rewrite: Rewrite, node: onnx.NodeProto) -> None:
    look = rewrite.look(node)
    look.expect_inputs(5, 5)
    look.only("training_mode", 0, 0)
    look.real("momentum", 0)  # concerns training
    epsilon = np.float64(np.float32(look.real("epsilon", 1e-5)))
    look.finish()
    layer = rewrite.producer(node.input[0], "Conv", "Gemm")
    if layer is None or rewrite.uses[node.input[0]] != 1 or len(layer.input) < 2:
        raise look.error("does not stand alone behind a Conv or Gemm; only there it is supported")
    axis = 0 if layer.op_type == "Conv" or rewrite.look(layer).integer("transB", 0) else 1
    x, weights = (rewrite.producer(name, "DequantizeLinear") for name in layer.input[:2])
    if x is None or weights is None or len(x.input) < 2 or len(weights.input) < 2:
        raise look.error("its Conv or Gemm has an input or weights without DequantizeLinear; "
                         "quantised ones are supported")
    integers = rewrite.values(weights.input[0])
    if integers is None or integers.dtype not in (np.int8, np.uint8) or integers.ndim <= axis:
        raise look.error("the weights before it are no int8 or uint8 constant; these are supported")
    count = integers.shape[axis]
    gamma, beta, mean, variance = (_channels(rewrite, look, name, count) for name in node.input[1:])
    scale = _channels(rewrite, look, weights.input[1], count)
    zero = _channels(rewrite, look, weights.input[2], count) if len(weights.input) > 2 else np.zeros(count)
    x_scale = _channels(rewrite, look, x.input[1], 1)
    with np.errstate(all="ignore"):
        factor = gamma / np.sqrt(variance + epsilon)
        scale = np.where(factor == 0, scale, scale * abs(factor)).astype(np.float32).astype(np.float64)
        bias_scale = (x_scale * scale).astype(np.float32)
        bias = _bias(rewrite, look, layer, count)
        folded = np.rint((beta + (bias - mean) * factor) / bias_scale)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise look.error("makes a weight scale zero or infinite in float32; others are supported")
    if not (fits := abs(folded) < 2.0**31).all():
        raise look.error(f"makes the bias of channel {int(np.argmin(fits))} larger than int32 at "
                         "input scale x weight scale; int32 is supported")
    along = tuple(-1 if index == axis else 1 for index in range(integers.ndim))
    centre = zero.reshape(along).astype(np.int16)
    signed = (integers.astype(np.int16) - centre) * np.sign(factor).reshape(along).astype(np.int16) + centre
    limits = np.iinfo(np.int8 if integers.dtype == np.int8 else np.uint8)
    if signed.size and not limits.min <= signed.min() <= signed.max() <= limits.max:
        raise look.error(f"has a negative factor, and a weight before it no negative in {integers.dtype}; "
                         "int8 weights of -127 to 127 have")
    name = node.output[0]
    scaled = rewrite.emit(
        "DequantizeLinear", [rewrite.constant(f"{name}/weights", signed.astype(integers.dtype)),
                             rewrite.constant(f"{name}/scale", scale.astype(np.float32)),
                             rewrite.constant(f"{name}/zero", zero.astype(integers.dtype))],
        rewrite.fresh(f"{name}/weights_real"), like=node, axis=axis)
    shift = rewrite.emit("DequantizeLinear", [rewrite.constant(f"{name}/bias", folded.astype(np.int32)),
                                              rewrite.constant(f"{name}/bias_scale", bias_scale)],
                         rewrite.fresh(f"{name}/bias_real"), like=node, axis=0)
    rewrite.remove(layer)
    rewrite.emit(layer.op_type, [layer.input[0], scaled, shift], name, like=layer,
                 attributes=list(layer.attribute))


def _bias(rewrite: Rewrite, look: OnnxNode, layer: onnx.NodeProto, count: int) -> Reals:
    """The bias before the normalisation, in real numbers."""
    if len(layer.input) < 3 or not layer.input[2]:
        return np.zeros(count)
    if (real := rewrite.values(layer.input[2])) is not None and real.dtype == np.float32:
        return _channels(rewrite, look, layer.input[2], count)
    node = rewrite.producer(layer.input[2], "DequantizeLinear")
    if node is None or len(node.input) < 2:
        raise look.error(f"the bias {quote(layer.input[2])} before it is neither quantised nor float; "
                         "a float constant, and an int32 one behind DequantizeLinear, are supported")
    return _channels(rewrite, look, node.input[0], count) * _channels(rewrite, look, node.input[1], count)


def _channels(rewrite: Rewrite, look: OnnxNode, name: str, count: int) -> Reals:
    """A constant of one value, or of one for each channel, as [count]."""
    values = rewrite.values(name)
    if values is None or values.size not in (1, count):
        raise look.error(f"needs {quote(name)} as a constant of 1 or {count} values")
    with np.errstate(invalid="ignore"):  # signalling NaN
        return np.broadcast_to(values.reshape(-1).astype(np.float64), count)
