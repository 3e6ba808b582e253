"""A model under change: read node by node, kept, replaced or left out."""
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, helper, numpy_helper

from headrace.gen.importer.source import file as onnx_file
from headrace.gen.importer.source.file import quote
from headrace.gen.importer.source.node import CALLED, OnnxNode

MICROSOFT = "com.microsoft"


class Rewrite:
    """The nodes of a model in order, of which a pass makes those of a new model.

    The given model stays as it is. A pass iterates, and calls `keep` or `emit` for each node that the new
    model shall have. All look-ups know what was emitted before only, so that no pass runs in circles.
    ``uses`` counts the readers of each tensor of the given model, its output included.
    """

    def __init__(self, model: onnx.ModelProto, path: Path) -> None:
        self.path = path
        self.uses = Counter(name for node in model.graph.node for name in node.input)
        self.uses.update(value.name for value in model.graph.output)
        self._model = model
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._added: list[onnx.TensorProto] = []
        self._taken = {*self._constants, *self.uses, *(value.name for value in model.graph.input),
                       *(name for node in model.graph.node for name in node.output)}
        self._renamed: dict[str, str] = {}
        self._emitted: dict[str, onnx.NodeProto] = {}  # by first output, in order

    def __iter__(self) -> Iterator[onnx.NodeProto]:
        """Copies of the given nodes, reading what the new model calls their inputs.

        Each has an output, and an input unless it is a Constant; the first ones are there. What a pass
        would take for an ONNX operator of the same name is kept unseen.
        """
        for given in self._model.graph.node:
            for what, names in (("output", given.output), ("input", given.input)):
                if not any(names[:1]) and (what, given.op_type) != ("input", "Constant"):
                    raise self.look(given).error(f"has no first {what}")
            node = onnx.NodeProto()
            node.CopyFrom(given)
            for index, name in enumerate(given.input):
                node.input[index] = self._renamed.get(name, name)
            if _foreign(node):
                self.keep(node)
            else:
                yield node

    def look(self, node: onnx.NodeProto) -> OnnxNode:
        """The node with its attributes, and for messages."""
        return OnnxNode(node, file=str(self.path))

    def keep(self, node: onnx.NodeProto) -> None:
        self._emitted[self._new(node)] = node

    def define(self, node: onnx.NodeProto, tensor: onnx.TensorProto) -> None:
        """Have a constant, of the name of the first output of ``node``, instead of it."""
        self._new(node)
        self.add(tensor)

    def _new(self, node: onnx.NodeProto) -> str:
        name: str = node.output[0]
        if name in self._emitted or name in self._constants:
            raise self.look(node).error(f"its output {quote(name)} is there already")
        return name

    def emit(self, operator: str, inputs: list[str], output: str, *, like: onnx.NodeProto,
             attributes: list[AttributeProto] | None = None, **more: Any) -> str:
        """Add a node in the place of ``like``, under whose name messages speak of it; returns ``output``."""
        node = helper.make_node(operator, inputs, [output], name=like.name or like.output[0], **more)
        node.attribute.extend(attributes or [])
        if (called := self.look(like).called) != operator:
            node.metadata_props.add(key=CALLED, value=called)
        self.keep(node)
        return output

    def remove(self, node: onnx.NodeProto) -> None:
        """Take back a node that was emitted."""
        del self._emitted[node.output[0]]

    def rename(self, name: str, to: str) -> None:
        """Let everything that follows read ``to`` instead of ``name``."""
        self._renamed[name] = to

    def producer(self, name: str, *operators: str) -> onnx.NodeProto | None:
        """The emitted node that makes ``name``, if it is one of ``operators``."""
        node = self._emitted.get(name)
        fits = node is not None and (not operators or node.op_type in operators and not _foreign(node))
        return node if fits else None

    def is_constant(self, name: str, *, dequantised: bool = False) -> bool:
        """Is ``name`` a constant, or if ``dequantised`` one behind its DequantizeLinear?"""
        node = self.producer(name, "DequantizeLinear") if dequantised else None
        return (name if node is None else node.input[0]) in self._constants

    def tensor(self, name: str) -> onnx.TensorProto | None:
        return self._constants.get(name)

    def values(self, name: str) -> npt.NDArray[np.generic] | None:
        """The values of a constant."""
        tensor = self._constants.get(name)
        return None if tensor is None else onnx_file.array(
            tensor, what=f"{self.path}: constant {quote(name)}")

    def integers(self, name: str) -> npt.NDArray[np.int64] | None:
        """The values of a constant of int64 or int32, in one dimension."""
        values = self.values(name)
        return None if values is None or values.dtype not in (np.int64, np.int32) else (
            values.reshape(-1).astype(np.int64))

    def constant(self, name: str, values: npt.NDArray[np.generic]) -> str:
        """Add a constant whose name begins with ``name``; returns its name."""
        return self.add(numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape),
                                                self.fresh(name)))

    def add(self, tensor: onnx.TensorProto) -> str:
        self._constants[tensor.name] = tensor
        self._added.append(tensor)
        return str(tensor.name)

    def fresh(self, name: str) -> str:
        """A name that no tensor has: ``name``, if possible."""
        while name in self._taken:
            name += "'"
        self._taken.add(name)
        return name

    def model(self) -> onnx.ModelProto:
        """The new model. It declares no shapes but its input's, as the given ones may have changed."""
        result = onnx.ModelProto()
        result.CopyFrom(self._model)
        del result.graph.node[:], result.graph.value_info[:], result.graph.output[:]
        result.graph.node.extend(self._emitted.values())
        result.graph.initializer.extend(self._added)
        result.graph.output.extend(onnx.ValueInfoProto(name=self._renamed.get(value.name, value.name))
                                   for value in self._model.graph.output)
        return result


def _foreign(node: onnx.NodeProto) -> bool:
    """Is the operator neither ONNX's nor one of ONNX Runtime's quantised ones?"""
    return node.domain not in ("", "ai.onnx") and (
        node.domain != MICROSOFT or not node.op_type.startswith(("Q", "DequantizeLinear")))
