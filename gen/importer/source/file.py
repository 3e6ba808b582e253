"""ONNX files, which nobody vouches for: read within limits, complete in memory afterwards."""
import os
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.system import files

MAX_BYTES = 1 << 30  # of the file, and of all its external data together
_QUOTED = 80  # characters of a name that a message shows

_DTYPES: dict[int, npt.DTypeLike] = {
    TensorProto.FLOAT: "<f4",
    TensorProto.INT8: "<i1",
    TensorProto.UINT8: "<u1",
    TensorProto.INT32: "<i4",
    TensorProto.INT64: "<i8",
}

# Bits and signedness of types whose values share bytes; onnx knows those of 2 bits since 1.20.
_PACKED = {TensorProto.DataType.Value(name): packing
           for name, packing in (("INT4", (4, True)), ("UINT4", (4, False)),
                                 ("INT2", (2, True)), ("UINT2", (2, False)))
           if name in TensorProto.DataType.keys()}


def quote(name: str) -> str:
    """``name`` for a message: quoted, on one line, cut when it is absurdly long."""
    return repr(name if len(name) <= _QUOTED else name[:_QUOTED] + "…")


def type_name(code: int) -> str:
    """``int8`` for :py:`TensorProto.INT8`; never fails."""
    known = code in TensorProto.DataType.values()
    return TensorProto.DataType.Name(code).lower() if known else f"type {code}"


def read(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file and load its external data, so that the model stands alone.

    Only the files' sizes are bounded here, and with them everything that initialisers can hold.

    Raises
    ------
    :exc:`HeadraceError`
        If the file cannot be read, is larger than 1 GiB or no ONNX, or if its external data is
        missing, too short, too large, or outside the model's folder.
    """
    with files.opened(path) as file:
        try:
            if (size := os.fstat(file.fileno()).st_size) > MAX_BYTES:
                raise HeadraceError(f"{path}: {size} bytes; models up to {MAX_BYTES} are supported")
            content = file.read()
        except OSError as error:
            raise HeadraceError(f"{path}: cannot be read: {error.strerror}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
        text = all(isinstance(name, str) for name in _names(model))
    except (DecodeError, UnicodeDecodeError) as error:
        raise HeadraceError(f"{path}: not an ONNX file, or a damaged one") from error
    if not text:  # protobuf gives bytes for what is not UTF-8
        raise HeadraceError(f"{path}: damaged: a name in it is not text")
    if not model.HasField("graph") or not model.graph.node or not model.opset_import:
        raise HeadraceError(f"{path}: not an ONNX file: it has no graph of operators")
    _load_external(path, model)
    return model


def array(tensor: TensorProto, *, what: str) -> npt.NDArray[np.generic]:
    """The values of a tensor without external data.

    Raises
    ------
    :exc:`HeadraceError`
        If its type is not one that quantised networks need, or its size is not what it declares.
    """
    if (dtype := _DTYPES.get(tensor.data_type)) is None:
        raise HeadraceError(
            f"{what}: {type_name(tensor.data_type)} constants are not supported; "
            "float (32 bits), int8, uint8, int32 and int64 are")
    if tensor.data_location == TensorProto.EXTERNAL:
        raise HeadraceError(f"{what}: external data is supported for initialisers only")
    values: npt.NDArray[np.generic]
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) % np.dtype(dtype).itemsize:
            raise HeadraceError(f"{what}: {len(tensor.raw_data)} bytes are not whole values")
        values = np.frombuffer(tensor.raw_data, dtype)
    else:
        match tensor.data_type:
            case TensorProto.FLOAT:
                values = np.array(tensor.float_data, np.float32)
            case TensorProto.INT64:
                values = np.array(tensor.int64_data, np.int64)
            case _:
                values = np.array(tensor.int32_data, np.int32).astype(dtype)
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape) or prod(shape) != values.size:
        raise HeadraceError(f"{what}: {values.size} values do not fill its shape {list(shape)}")
    return values.reshape(shape)


def packed_bits(tensor: TensorProto) -> int:
    """The bits of a value of which several share a byte, or 0 for every other type."""
    return _PACKED.get(tensor.data_type, (0, False))[0]


def unpack(tensor: TensorProto, *, what: str) -> npt.NDArray[np.generic]:
    """The values of a tensor whose values share bytes, lowest bits first, as int8 or uint8.

    Raises
    ------
    :exc:`HeadraceError`
        If its size is not what it declares.
    """
    bits, signed = _PACKED[tensor.data_type]
    if tensor.data_location == TensorProto.EXTERNAL:
        raise HeadraceError(f"{what}: external data is supported for initialisers only")
    content = (np.frombuffer(tensor.raw_data, np.uint8) if tensor.HasField("raw_data")
               else np.array(tensor.int32_data, np.int32).astype(np.uint8))
    size, each = prod(tensor.dims), 8 // bits
    if min(tensor.dims, default=0) < 0 or len(content) != -(-size // each):
        raise HeadraceError(f"{what}: {len(content)} bytes do not fill its shape {list(tensor.dims)}")
    fields = content[:, None] >> np.arange(0, 8, bits, dtype=np.uint8) & np.uint8((1 << bits) - 1)
    values = fields.reshape(-1)[:size].reshape(tuple(tensor.dims))
    return (values << np.uint8(8 - bits)).view(np.int8) >> np.int8(8 - bits) if signed else values


def _names(model: onnx.ModelProto) -> Iterator[object]:
    graph = model.graph
    yield from (entry.domain for entry in model.opset_import)
    for node in graph.node:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for tensor in graph.initializer:
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)


def _load_external(path: Path, model: onnx.ModelProto) -> None:
    left = MAX_BYTES
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            what = f"{path}: external data of {quote(tensor.name)}"
            content = _external(path.parent, tensor, what=what, limit=left)
            left -= len(content)
            tensor.raw_data = content
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


def _external(folder: Path, tensor: TensorProto, *, what: str, limit: int) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        offset, length = (int(entries.get(key, default))
                          for key, default in (("offset", "0"), ("length", "-1")))
        source = (folder / location).resolve()
        inside = not Path(location).is_absolute() and source.is_relative_to(folder.resolve())
        if not inside:
            raise HeadraceError(f"{what}: {quote(location)} is outside the model's folder")
        if not source.is_file():
            raise HeadraceError(f"{what}: no file {quote(location)} in the model's folder")
        with source.open("rb") as file:
            size = source.stat().st_size
            length = size - offset if length < 0 else length
            if offset < 0 or length < 0 or offset + length > size:
                raise HeadraceError(f"{what}: {quote(location)} ends before the data does")
            if length > limit:
                raise HeadraceError(f"{what}: more than {MAX_BYTES} bytes in all")
            file.seek(offset)
            return bytes(file.read(length))
    except OSError as error:
        reason = f"{quote(location)} cannot be read: {error.strerror}"
        raise HeadraceError(f"{what}: {reason}") from error
    except ValueError as error:  # no number, or a path with a null byte
        raise HeadraceError(f"{what}: damaged reference {quote(location)}") from error
