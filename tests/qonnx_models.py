"""Small QONNX models for tests, built node by node as Brevitas exports them."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"


class QonnxModel:
    """Each method adds nodes and returns the name of its output, float as all tensors of QONNX are."""

    def __init__(self, *, opset: int = 13, domain: str = DOMAIN) -> None:
        self.opset = opset
        self.domain = domain
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: dict[str, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def input(self, shape: Sequence[int], name: str = "x") -> str:
        """``shape`` without the batch."""
        self.inputs.append(helper.make_tensor_value_info(name, 1, (1, *shape)))
        return name

    def output(self, name: str) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, 1, None))

    def constant(self, name: str, values: Any) -> str:
        self.initialisers[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def quant(self, x: str, scale: Any, bits: int, name: str, *, zero_point: Any = 0, signed: int = 1,
              narrow: int = 0, rounding_mode: str = "ROUND", operator: str = "Quant") -> str:
        parameters = [self.constant(f"{name}_{part}", np.asarray(value, np.float32)) for part, value in
                      (("scale", scale), ("zeropt", zero_point), ("bits", bits))]
        return self.node(operator, [x, *parameters], name, domain=self.domain, signed=signed, narrow=narrow,
                         rounding_mode=rounding_mode)

    def weight(self, name: str, integers: np.ndarray, scale: Any, bits: int, **options: Any) -> str:
        """Float weights that the Quant behind them turns into ``integers``."""
        scale = np.asarray(scale, np.float32)
        steps = integers - np.asarray(options.get("zero_point", 0))
        values = self.constant(f"{name}_float", (steps * scale).astype(np.float32))
        return self.quant(values, scale, bits, name, **options)

    def batch_normalisation(self, x: str, name: str, gamma: Any, beta: Any, mean: Any, variance: Any,
                            epsilon: float = 0.0) -> str:
        constants = [self.constant(f"{name}_{part}", np.asarray(value, np.float32)) for part, value in
                     (("gamma", gamma), ("beta", beta), ("mean", mean), ("variance", variance))]
        return self.node("BatchNormalization", [x, *constants], name, epsilon=epsilon)

    def proto(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "test", self.inputs, self.outputs,
                                  list(self.initialisers.values()))
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(self.domain, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def save(self, path: Path) -> Path:
        path.write_bytes(self.proto().SerializeToString())
        return path
