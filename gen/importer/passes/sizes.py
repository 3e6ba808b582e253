"""Sizes of the input that a file leaves open: the batch, height and width."""
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx

from headrace.gen.importer.passes.layout import nhwc_input
from headrace.gen.importer.source.file import quote
from headrace.gen.ir.errors import HeadraceError

Given = Sequence[int] | Callable[[], Sequence[int] | None] | None  # a function is asked where a size is open
RANKS = (2, 3, 4)  # of an input, with the batch


def fix(model: onnx.ModelProto, path: Path, shape: Given = None) -> onnx.ModelProto:
    """Return ``model`` with an input of fixed sizes, a copy if some were open.

    An open batch, whatever the file calls it, is 1. Other open sizes come from ``shape``, (C, H, W) or the
    file's order where only that agrees with the sizes that it has, (C, W) or (C, 1, W) for a row, or (N) or
    (N, 1, 1) for a vector.

    Raises
    ------
    :exc:`HeadraceError`
        If ``shape`` is needed and not there, or contradicts the file.
    """
    constants = {tensor.name for tensor in model.graph.initializer}  # which may be called inputs too
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1 or len(dims := _dims(inputs[0])) not in RANKS:
        return model  # for the importer to refuse
    where = f"{path}: input {quote(inputs[0].name)} has shape {describe(inputs[0])}"
    if dims[0] > 1:
        raise HeadraceError(f"{where}; a batch of 1, or one of any size, is supported: hardware takes frames "
                            "one by one, so export the network with such a batch")
    sizes = [1, *_sizes(where, dims[1:], shape, nhwc=nhwc_input(model) == inputs[0].name)]
    if sizes == dims:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        if value.name == inputs[0].name:
            for dim, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
                dim.dim_value = size
    del copy.graph.value_info[:]  # these may speak of the batch
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    return copy


def describe(value: onnx.ValueInfoProto) -> str:
    """The shape of an input for a message, with the names of what is open."""
    dims = [str(dim.dim_value) if dim.HasField("dim_value") else quote(dim.dim_param or "?")[1:-1]
            for dim in value.type.tensor_type.shape.dim]
    return f"({', '.join(dims[:9])})"


def _dims(value: onnx.ValueInfoProto) -> list[int]:
    """The sizes, 0 for each that is open."""
    return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else 0
            for dim in value.type.tensor_type.shape.dim]


def _sizes(where: str, dims: list[int], given: Given, *, nhwc: bool) -> Sequence[int]:
    if all(dims) and (given is None or callable(given)):
        return dims
    shape = given() if callable(given) else given
    if shape is None:
        wanted = {1: "N", 2: "C W"}.get(len(dims), "C H W")
        raise HeadraceError(f"{where}; --shape {wanted}, or input data in an .npz or .npy, says what is open")
    orders = [list(shape)]
    if len(shape) == len(dims) == 3:
        orders.insert(0 if nhwc else 1, [*shape[1:], shape[0]])
    elif len(shape) == 3 and len(dims) == 2:  # a row as an image, or with its batch
        orders += [[shape[0], shape[2]]] * (shape[1] == 1) + [[*shape[1:]]]
    elif [*shape[1:]] == [1, 1]:
        orders.append([shape[0]])  # a vector as an image
    for order in orders:
        if len(order) == len(dims) and all(size > 0 and dim in (0, size)
                                           for dim, size in zip(dims, order, strict=True)):
            return order
    raise HeadraceError(f"{where}; ({', '.join(map(str, shape))}) does not fit it")
