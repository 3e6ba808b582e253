"""Functions of one activation as ONNX Runtime computes them: 256 values for a table."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from headrace.gen.importer.source import file as onnx_file
from headrace.gen.importer.source.file import quote
from headrace.gen.importer.source.functions import PLACE_DECIDES
from headrace.gen.importer.source.node import OnnxNode
from headrace.gen.ir.errors import shorten
from headrace.gen.ir.graph import Quantisation

ERRORS = tuple(
    getattr(ort_errors, name)
    for name in ("EPFail", "EngineError", "Fail", "InvalidArgument", "InvalidGraph",
                 "InvalidProtobuf", "NoModel", "NotImplemented", "RuntimeException"))

LOG_FATAL_ONLY = 4  # errors are raised
_REASON = 200  # characters of a message
_COUNT = 256
_ROUNDING = 2.0**-21  # of the greatest real number, which float32 results may be apart in other places
_IR_VERSION = 10
_X, _Y = "x", "y"

ort.set_default_logger_severity(LOG_FATAL_ONLY)


def options(*, signed: bool) -> ort.SessionOptions:
    """How ONNX Runtime is asked for what hardware shall compute: by integer kernels that never saturate."""
    result = ort.SessionOptions()
    result.log_severity_level = LOG_FATAL_ONLY
    result.intra_op_num_threads = 1
    if signed:
        result.add_session_config_entry("session.qdqisint8allowed", "1")
    else:  # makes int8 weights uint8, for which there are exact kernels
        result.add_session_config_entry("session.x64quantprecision", "1")
    return result


@dataclass(frozen=True, eq=False)
class Table:
    """What ONNX Runtime makes of each integer, from the least of its type on.

    Attributes
    ----------
    ties : where it may make one more or one less of it, as float32 results depend on a value's place there
    numbers : where the function, before it is quantised, is a number
    """

    values: npt.NDArray[np.int16]  # [256], or [channels, 256]
    ties: npt.NDArray[np.bool_]
    numbers: npt.NDArray[np.bool_]


def compute(node: OnnxNode, nodes: Sequence[onnx.NodeProto], constants: Mapping[str, onnx.TensorProto],
            opsets: Sequence[onnx.OperatorSetIdProto], *, real: str, shape: tuple[int, ...], x: Quantisation,
            y: Quantisation) -> Table:
    """Carry out the functions between a DequantizeLinear and a QuantizeLinear.

    Parameters
    ----------
    node : :class:`OnnxNode`
        The last function, for messages.
    nodes
        The functions in order, and the DequantizeLinears of what they read, constants or not.
    constants
        What they read; those of several elements have to be alike, or in each channel.
    real
        The tensor that is quantised at the end.
    shape
        Of an activation that has all values in each of its channels, with the batch; of one channel if that
        stands for all.

    Raises
    ------
    :exc:`HeadraceError`
        If ONNX Runtime cannot carry them out.
    """
    names = {"": ""}  # those of the file might be any
    body = list[onnx.NodeProto]()
    for each in nodes:
        body.append(copy := onnx.NodeProto())
        copy.CopyFrom(each)
        copy.ClearField("name")
        for given in (copy.input, copy.output):
            given[:] = [names.setdefault(name, f"t{len(names)}") for name in given]
        if each.op_type == "DequantizeLinear" and each.input[0] not in constants:
            copy.input[:] = [_X, "x_scale", "x_zero"]
    real = names[real]
    made = [_reduced(tensor, names[name], shape) for name, tensor in constants.items() if name in names]
    made += [*_parameters(_X, x), *_parameters(_Y, y)]
    last = helper.make_node("QuantizeLinear", [real, "y_scale", "y_zero"], [_Y])
    opset_imports = [entry for entry in opsets if entry.domain in ("", "ai.onnx")]

    def model(nodes: Sequence[onnx.NodeProto], output: str, kind: int) -> bytes:
        source = helper.make_tensor_value_info(_X, _type(x), shape)
        graph = helper.make_graph(nodes, "function", [source], [helper.make_tensor_value_info(
            output, kind, None)], made)
        return bytes(helper.make_model(graph, opset_imports=opset_imports, ir_version=_IR_VERSION,
                                       ).SerializeToString())

    once = np.arange(x.lo, x.hi + 1).astype(np.int8 if x.signed else np.uint8)
    values = np.broadcast_to(once.reshape(shape[2:] or (_COUNT, 1)), shape)
    plain = options(signed=x.signed)
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        integers = _run(model([*body, last], _Y, _type(y)), options(signed=x.signed), values)
        reals = _run(model(body, real, TensorProto.FLOAT), plain, values)
    except ERRORS as error:
        raise node.error(f"ONNX Runtime cannot compute it: {shorten(str(error), _REASON)}") from error
    if integers.shape != shape or reals.shape != shape:
        raise node.error("makes more or fewer values of each; one is supported")
    integers, reals = (each.T if len(shape) == 2 else each.reshape(shape[1], _COUNT)
                       for each in (integers, reals))
    if shape[1] == 1:
        integers, reals = integers[0], reals[0]
    ties = np.zeros(integers.shape, np.bool_)
    if any(each.op_type in PLACE_DECIDES for each in body):
        ties = _near_ties(reals, y)
    return Table(integers.astype(np.int16), ties, ~np.isnan(reals))


def _run(model: bytes, options: ort.SessionOptions, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {_X: x})[0])


def _near_ties(reals: npt.NDArray[np.float32], y: Quantisation) -> npt.NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        wide = np.where(np.isfinite(reals), reals, 0).astype(np.float64)
        steps = wide / y.scale
        reach = _ROUNDING * max(1.0, abs(wide).max()) / y.scale
        near: npt.NDArray[np.bool_] = abs(abs(steps - np.rint(steps)) - 0.5) <= reach
    return near


def _type(q: Quantisation) -> int:
    return int(TensorProto.INT8 if q.signed else TensorProto.UINT8)


def _parameters(name: str, q: Quantisation) -> list[onnx.TensorProto]:
    zero = np.array(q.zero_point, np.int8 if q.signed else np.uint8)
    return [numpy_helper.from_array(np.array(q.scale, np.float32), f"{name}_scale"),
            numpy_helper.from_array(zero, f"{name}_zero")]


def _reduced(tensor: onnx.TensorProto, name: str, shape: tuple[int, ...]) -> onnx.TensorProto:
    """The first element of a tensor, or that of each channel, with as many dimensions."""
    values = onnx_file.array(tensor, what=f"constant {quote(tensor.name)}")
    at = values.ndim - len(shape) + 1  # of the channels
    kept = at if 0 <= at and values.shape[at] == shape[1] else None
    part = tuple(slice(None if axis == kept else 1) for axis in range(values.ndim))
    return numpy_helper.from_array(np.array(values[part]), name)
