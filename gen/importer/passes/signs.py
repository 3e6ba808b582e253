"""int8 beside uint8 where ONNX Runtime has no integer kernels for it."""
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from headrace.gen.importer.source.rewrite import Rewrite

_SHIFT = 128
_INT8, _UINT8, _OTHER = np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.void)
_TYPES: dict[int, np.dtype[Any]] = {TensorProto.INT8: _INT8, TensorProto.UINT8: _UINT8}


def unify(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Let all activations be of the type that the network's input has, and weights int8 if that is int8.

    An integer of the other type moves by 128, and its zero point with it, which changes no real number. A
    model of DequantizeLinear and QuantizeLinear is meant; one that is so already is kept.
    """
    signs = _Signs(Rewrite(model, path))
    kinds = [_TYPES[kind] for value in model.graph.input
             if (kind := value.type.tensor_type.elem_type) in _TYPES
             and signs.rewrite.tensor(value.name) is None]
    kinds += [signs.made(node) for node in model.graph.node
              if node.op_type == "QuantizeLinear" and not signs.rewrite.is_constant("".join(node.input[:1]))]
    types = {kind for kind in kinds if kind in _TYPES.values()}
    weights = types == {_INT8} and any(map(signs.weighs_unsigned, model.graph.node))
    if len(types) < 2 and not weights:
        return model
    signs.wanted = kinds[0]
    for node in signs.rewrite:
        signs.visit(node)
        signs.rewrite.keep(node)
    return signs.rewrite.model()


class _Signs:
    def __init__(self, rewrite: Rewrite) -> None:
        self.rewrite = rewrite
        self.wanted: np.dtype[Any] = _UINT8
        self.kinds: dict[str, np.dtype[Any]] = {}  # of tensors of integers, as the file has them
        self.shifted: dict[str, str] = {}  # constants that were replaced

    def made(self, node: onnx.NodeProto) -> np.dtype[Any]:
        """The type that a QuantizeLinear makes."""
        zero = self.rewrite.tensor(node.input[2]) if len(node.input) > 2 else None
        written = [attribute.i for attribute in node.attribute if attribute.name == "output_dtype"]
        kind = zero.data_type if zero is not None else next(filter(None, written), TensorProto.UINT8)
        return _TYPES.get(kind, _OTHER)  # which the importer refuses

    def weighs_unsigned(self, node: onnx.NodeProto) -> bool:
        values = self.rewrite.tensor("".join(node.input[:1]))
        return (node.op_type == "DequantizeLinear" and values is not None
                and values.data_type == TensorProto.UINT8)

    def visit(self, node: onnx.NodeProto) -> None:
        """Alter the node."""
        source = node.input[0]
        if node.op_type == "QuantizeLinear":
            kind = self.kinds[node.output[0]] = self.made(node)
            if kind in _TYPES.values() and kind != self.wanted:
                kept = [attribute for attribute in node.attribute if attribute.name != "output_dtype"]
                del node.attribute[:]
                node.attribute.extend(kept)
                self.shift_zero(node, kind)
        elif node.op_type == "DequantizeLinear":
            values = self.rewrite.tensor(source)
            zero = self.rewrite.tensor(node.input[2]) if len(node.input) > 2 else None
            known = values if values is not None else zero
            kind = self.kinds.get(source, _OTHER) if known is None else _TYPES.get(known.data_type, _OTHER)
            if values is not None and (kind, self.wanted) == (_UINT8, _INT8):
                node.input[0] = self.moved(source, kind)
                self.shift_zero(node, kind)
            elif values is None and kind in _TYPES.values() and kind != self.wanted:
                self.shift_zero(node, kind)
        elif source in self.kinds:
            self.kinds.update(dict.fromkeys(node.output, self.kinds[source]))

    def shift_zero(self, node: onnx.NodeProto, kind: np.dtype[Any]) -> None:
        if len(node.input) < 3 or not node.input[2]:
            scale = self.rewrite.values(node.input[1]) if len(node.input) > 1 else None
            zeros = np.zeros(() if scale is None else scale.shape, kind)
            node.input[2:] = [self.rewrite.constant(f"{node.output[0]}/zero", _move(zeros))]
        else:
            node.input[2] = self.moved(node.input[2], kind)

    def moved(self, name: str, kind: np.dtype[Any]) -> str:
        """The name of the constant ``name`` with every value moved."""
        values = self.rewrite.values(name)
        if values is None or values.dtype != kind:
            return name  # for the importer to refuse
        if name not in self.shifted:
            self.shifted[name] = self.rewrite.constant(f"{name}/shifted", _move(values))
        return self.shifted[name]


def _move(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """int8 as uint8 and the reverse, 128 more or less."""
    wanted = np.uint8 if values.dtype == np.int8 else np.int8
    return (values.astype(np.int16) + (_SHIFT if wanted == np.uint8 else -_SHIFT)).astype(wanted)
