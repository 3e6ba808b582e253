"""Small QDQ models for tests, built node by node."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError

TYPES = {np.dtype(np.int8): onnx.TensorProto.INT8, np.dtype(np.uint8): onnx.TensorProto.UINT8,
         np.dtype(np.float32): onnx.TensorProto.FLOAT}


@dataclass(frozen=True)
class Q:
    """Scale, zero point and type of an activation."""

    scale: float
    zero_point: int
    dtype: type = np.uint8


class QdqModel:
    """Each method adds an operator with its Q/DQ nodes and returns the name of its real-valued output.

    The quantised tensor behind ``NAME`` is called ``NAME_q``. Nodes, initialisers and outputs are
    plain lists, which a test may spoil before it saves the model. ``weights`` says how they are written: as
    integers, as these behind a Clip, or as real numbers behind a QuantizeLinear. With ``integer_clips`` the
    limits of activations stand behind their QuantizeLinear; with ``dedicated`` each reader has one of its
    own.
    """

    def __init__(self, *, opset: int = 13, weights: Literal["", "Clip", "QuantizeLinear"] = "",
                 integer_clips: bool = False, dedicated: bool = False) -> None:
        self.opset = opset
        self.weights = weights
        self.integer_clips = integer_clips
        self.dedicated = dedicated
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.quantisations: dict[str, Q] = {}

    def input(self, shape: Sequence[int | str], q: Q, *, name: str = "x",
              real: bool = True) -> str:
        """``shape`` without the batch. ``real``: float behind a QuantizeLinear, else integers."""
        dtype = np.dtype(np.float32 if real else q.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], (1, *shape)))
        return self.quantise(name, q) if real else self.dequantise(name, f"{name}_dq", q)

    def conv(self, x: str, weight: np.ndarray, q: Q, *, name: str, scale: float | np.ndarray = 0.01,
             zero_point: int | np.ndarray = 0, bias: np.ndarray | None = None,
             clip: str | tuple[float, float] | None = None, operator: str = "Conv",
             axis: int = 0, **attributes: Any) -> str:
        inputs = [x, self.weight(f"{name}_w", weight, scale, zero_point, axis)]
        if bias is not None and bias.dtype == np.float32:
            inputs.append(self.constant(f"{name}_b", bias))
        elif bias is not None:
            bias_scale = np.float32(self.quantisations[x].scale) * np.asarray(scale, np.float32)
            inputs.append(self.weight(f"{name}_b", bias.astype(np.int32), bias_scale, 0, 0))
        return self.operator(operator, inputs, q, name=name, clip=clip, **attributes)

    def operator(self, operator: str, inputs: Sequence[str], q: Q, *, name: str,
                 clip: str | tuple[float, float] | None = None, **attributes: Any) -> str:
        """``clip`` is "Relu" or the limits of a Clip before the QuantizeLinear."""
        raw = f"{name}_raw"
        self.node(operator, inputs, raw, name=name, **attributes)
        if clip is not None and self.integer_clips:
            return self._limited(raw, q, name, (0.0, np.inf) if clip == "Relu" else clip)
        if clip is not None:
            limits = [] if clip == "Relu" else [
                self.constant(f"{name}_{end}", np.float32(value))
                for end, value in zip(("min", "max"), clip, strict=True)]
            self.node("Clip" if limits else "Relu", [raw, *limits], f"{raw}_act")
            raw += "_act"
        return self.quantise(raw, q, name=name)

    def _limited(self, raw: str, q: Q, name: str, clip: Any) -> str:
        """A Clip of integers."""
        bounds = np.iinfo(q.dtype)
        limits = np.clip(np.rint(np.array(clip) / q.scale) + q.zero_point, bounds.min, bounds.max)
        names = [self.constant(f"{name}_{end}", np.asarray(value, q.dtype))
                 for end, value in zip(("lo", "hi"), limits, strict=True)]
        self.quantise(raw, q, name=f"{name}_all")
        self.nodes.pop()
        self.node("Clip", [f"{name}_all_q", *names], f"{name}_q")
        return self.dequantise(f"{name}_q", f"{name}_dq", q)

    def gemm(self, x: str, weight: np.ndarray, q: Q, *, name: str, **options: Any) -> str:
        """A Gemm of the flattened image; ``weight`` is [outputs, inputs]."""
        same = self.quantisations[x]
        flat = self.quantise(self.node("Flatten", [x], f"{name}_flat"), same)
        return self.conv(flat, weight, q, name=name, operator="Gemm", transB=1, **options)

    def requantise(self, x: str, q: Q, *, name: str) -> str:
        """Another scale and zero point, and nothing else."""
        return self.quantise(x, q, name=name)

    def node(self, operator: str, inputs: Sequence[str], output: str, *, name: str | None = None,
             **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output],
                                           name=output if name is None else name, **attributes))
        return output

    def quantise(self, x: str, q: Q, *, name: str | None = None) -> str:
        name = name or x
        parameters = self.parameters(f"{name}_q", q.scale, q.zero_point, q.dtype)
        self.node("QuantizeLinear", [x, *parameters], f"{name}_q")
        return self.dequantise(f"{name}_q", f"{name}_dq", q)

    def dequantise(self, x: str, output: str, q: Q) -> str:
        parameters = self.parameters(x, q.scale, q.zero_point, q.dtype)
        self.quantisations[output] = q
        return self.node("DequantizeLinear", [x, *parameters], output)

    def weight(self, name: str, values: np.ndarray, scale: float | np.ndarray,
               zero_point: int | np.ndarray, axis: int) -> str:
        scale = np.asarray(scale, np.float32)
        parameters = self.parameters(name, scale, np.broadcast_to(zero_point, scale.shape),
                                     values.dtype)
        attributes = {"axis": axis} if scale.ndim else {}
        if self.weights and values.dtype.itemsize == 1:
            integers = self._computed(f"{name}_q", values, parameters, attributes)
        else:
            integers = self.constant(f"{name}_q", values)
        return self.node("DequantizeLinear", [integers, *parameters], name, **attributes)

    def _computed(self, name: str, values: np.ndarray, parameters: Sequence[str], attributes: dict[str, int],
                  ) -> str:
        """A node that makes the constant ``values``."""
        if self.weights == "Clip":  # of what has greater values, which it limits
            limits = [self.constant(f"{name}_{end}", limit)
                      for end, limit in (("lo", values.min()), ("hi", values.max()))]
            wide = np.where(values == values.max(), np.iinfo(values.dtype).max, values)
            return self.node("Clip", [self.constant(f"{name}_wide", wide), *limits], name)
        along = [1] * values.ndim
        along[attributes.get("axis", 0)] = -1
        scale, zero = (numpy_helper.to_array(tensor).reshape(along if attributes else ())
                       for name in parameters for tensor in self.initialisers if tensor.name == name)
        near = np.random.default_rng(values.size).uniform(-0.45, 0.45, values.shape)
        real = (values.astype(np.float32) - zero + near) * scale
        return self.node("QuantizeLinear", [self.constant(f"{name}_real", real.astype(np.float32)),
                                            *parameters], name, **attributes)

    def parameters(self, name: str, scale: Any, zero_point: Any, dtype: Any) -> tuple[str, str]:
        return (self.constant(f"{name}_scale", np.asarray(scale, np.float32)),
                self.constant(f"{name}_zero", np.asarray(zero_point, dtype)))

    def constant(self, name: str, values: np.ndarray) -> str:
        if all(tensor.name != name for tensor in self.initialisers):
            self.initialisers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def replace(self, name: str, values: Any) -> None:
        """Replace a constant, whatever its type and shape were."""
        (old,) = (tensor for tensor in self.initialisers if tensor.name == name)
        old.CopyFrom(numpy_helper.from_array(np.asarray(values), name))

    def output(self, name: str, shape: Sequence[int], dtype: type = np.float32) -> None:
        """``shape`` without the batch."""
        kind = TYPES[np.dtype(dtype)]
        self.outputs.append(helper.make_tensor_value_info(name, kind, (1, *shape)))

    def pairs(self) -> list[onnx.NodeProto]:
        """The nodes; if `dedicated`, with a QuantizeLinear and a DequantizeLinear for each reader."""
        if not self.dedicated:
            return self.nodes
        makers = {node.output[0]: node for node in self.nodes}
        taken, nodes = set[str](), list[onnx.NodeProto]()
        for node in self.nodes:
            nodes.append(copy := onnx.NodeProto())
            copy.CopyFrom(node)
            for index, name in enumerate(node.input):
                real = makers.get(name)
                whole = makers.get(real.input[0]) if real and real.op_type == "DequantizeLinear" else None
                if not whole or whole.op_type != "QuantizeLinear" or name not in taken:
                    taken.add(name)
                    continue
                for at, each in ((-1, whole), (-1, real)):
                    nodes.insert(at, again := onnx.NodeProto())
                    again.CopyFrom(each)
                    again.output[0] += f"_{copy.output[0]}_{index}"
                    again.name = again.output[0]
                nodes[-2].input[0] = nodes[-3].output[0]
                copy.input[index] = nodes[-2].output[0]
        return nodes

    def proto(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.pairs(), "test", self.inputs, self.outputs, self.initialisers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)],
                                 ir_version=8)

    def save(self, path: Path) -> Path:
        path.write_bytes(self.proto().SerializeToString())
        return path


def refusal(model: QdqModel, folder: Path, *, output: str = "y_dq") -> str:
    """What the importer says about a model that is wrong, without the file's name.

    ``output`` becomes the graph's output if the model has none.
    """
    if not model.outputs:
        model.outputs.append(helper.ValueInfoProto(name=output))
    path = model.save(folder / "net.onnx")
    with pytest.raises(HeadraceError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text.removeprefix(f"{path}: ")
