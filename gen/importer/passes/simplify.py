"""What changes no value: Constant nodes, Identity, Dropout, Cast to the same type, packed weights."""
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

from headrace.gen.importer.source import file as onnx_file
from headrace.gen.importer.source.file import quote, type_name
from headrace.gen.importer.source.rewrite import MICROSOFT, Rewrite

_OPERATORS = frozenset({"Cast", "Constant", "Dropout", "Identity"})
_QDQ = frozenset({"DequantizeLinear", "QuantizeLinear"})


def simplify(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Make Constant nodes initialisers, widen weights of 2 or 4 bits to 8, leave out what does nothing.

    The widened weights have the same values: what they cost follows from these. QuantizeLinear and
    DequantizeLinear of ONNX Runtime become those of ONNX.
    """
    packed = any(onnx_file.packed_bits(tensor) for tensor in model.graph.initializer)
    if not packed and not any(node.op_type in _OPERATORS or node.op_type in _QDQ and node.domain == MICROSOFT
                              for node in model.graph.node):
        return model
    rewrite = Rewrite(model, path)
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    widened: dict[str, str] = {}
    for node in rewrite:
        source = "".join(node.input[:1])
        kind = types.get(source, TensorProto.UNDEFINED)
        if node.op_type in _QDQ:
            node.ClearField("domain")
        match node.op_type:
            case "Constant":
                constant(rewrite, node)
                continue
            case "QuantizeLinear":
                zero = rewrite.tensor(node.input[2]) if len(node.input) > 2 else None
                kind = zero.data_type if zero is not None else TensorProto.UINT8
            case "DequantizeLinear":
                kind = TensorProto.FLOAT
                for index in (0, 2):
                    if index < len(node.input) and rewrite.is_constant(source):
                        node.input[index] = _widened(rewrite, node.input[index], widened)
            case "Dropout" if len(node.input) > 2 and not _is_zero(rewrite, node.input[2]):
                raise rewrite.look(node).error("training_mode is not supported; inference is")
            case "Identity" | "Dropout":
                rewrite.rename(node.output[0], source)
                continue
            case "Cast":
                if (to := rewrite.look(node).integer("to", 0)) != kind:
                    raise rewrite.look(node).error(
                        f"to {type_name(to)} is not supported; a Cast to the type that its input has is; "
                        "--cut TENSOR builds up to a tensor")
                rewrite.rename(node.output[0], source)
                continue
        types[node.output[0]] = TensorProto.UNDEFINED if node.op_type.startswith("QL") else kind
        rewrite.keep(node)
    return rewrite.model()


def constant(rewrite: Rewrite, node: onnx.NodeProto) -> None:
    """Add the value of a Constant node as an initialiser of the output's name."""
    tensor = TensorProto()
    attribute = node.attribute[0] if len(node.attribute) == 1 else AttributeProto()
    match attribute.name, attribute.type:
        case "value", AttributeProto.TENSOR:
            tensor.CopyFrom(attribute.t)
        case "value_float", AttributeProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(attribute.f, np.float32)))
        case "value_floats", AttributeProto.FLOATS:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(attribute.floats, np.float32)))
        case "value_int", AttributeProto.INT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(attribute.i, np.int64)))
        case "value_ints", AttributeProto.INTS:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(attribute.ints, np.int64)))
        case name, _:
            raise rewrite.look(node).error(f"attribute {quote(name)} is not supported; value, value_float, "
                                           "value_floats, value_int and value_ints are")
    tensor.name = node.output[0]
    rewrite.define(node, tensor)


def _is_zero(rewrite: Rewrite, name: str) -> bool:
    """Is ``name`` nothing, or a constant without a bit set?"""
    tensor = rewrite.tensor(name)
    return not name or tensor is not None and not any(tensor.raw_data) and not any(tensor.int32_data)


def _widened(rewrite: Rewrite, name: str, widened: dict[str, str]) -> str:
    """The constant ``name`` with a byte for each value."""
    tensor = rewrite.tensor(name)
    if tensor is None or not onnx_file.packed_bits(tensor):
        return name
    if name not in widened:
        what = f"{rewrite.path}: constant {quote(name)}"
        widened[name] = rewrite.constant(f"{name}/int8", onnx_file.unpack(tensor, what=what))
    return widened[name]
