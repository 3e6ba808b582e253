"""Small float MobileNetV2s for tests, as PyTorch and Keras export them."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

Style = Literal["torchvision", "keras"]


class FloatModel:
    """Each method adds nodes and returns the name of its output; weights are random."""

    def __init__(self, style: Style, *, size: int = 12, opset: int = 13, batch: int | str = "N") -> None:
        self.style = style
        self.opset = opset
        self.rng = np.random.default_rng(5)
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []
        shape = (3, size, size) if style == "torchvision" else (size, size, 3)
        self.input = helper.make_tensor_value_info("x", 1, (batch, *shape))
        self.outputs = [helper.make_tensor_value_info("y", 1, (batch, 5))]

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: Any) -> str:
        values = np.asarray(values)
        self.initialisers.append(numpy_helper.from_array(
            values.astype(np.float32) if values.dtype.kind == "f" else values, name))
        return name

    def random(self, name: str, *shape: int) -> str:
        return self.constant(name, self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])))

    def layer(self, x: str, name: str, outputs: int, inputs: int, kernel: int = 1, *, stride: int = 1,
              relu6: bool = True) -> str:
        """A convolution with BatchNormalization (PyTorch) or a bias (Keras); depthwise if ``inputs`` is 1."""
        attributes: dict[str, Any] = {"group": outputs if inputs == 1 else 1, "strides": [stride, stride],
                                      "kernel_shape": [kernel, kernel]}
        weight = self.random(f"{name}_w", outputs, inputs, kernel, kernel)
        if self.style == "torchvision":
            x = self.node("Conv", [x, weight], f"{name}_c", pads=[kernel // 2] * 4, **attributes)
            parameters = [self.constant(f"{name}_{part}", values) for part, values in (
                ("gamma", self.rng.uniform(0.5, 2, outputs)), ("beta", self.rng.normal(size=outputs)),
                ("mean", self.rng.normal(size=outputs)), ("variance", self.rng.uniform(0.5, 2, outputs)))]
            x = self.node("BatchNormalization", [x, *parameters], f"{name}_bn")
            return self.clip(x, name) if relu6 else x
        if stride == 2 and kernel > 1:  # Keras pads by hand before strides
            pads = self.constant(f"{name}_pads", np.array([0, 0, 0, 0, 0, 0, 1, 1]))
            x = self.node("Pad", [x, pads], f"{name}_pad", mode="constant")
            attributes["auto_pad"] = "VALID"
        else:
            attributes["auto_pad"] = "SAME_UPPER"
        x = self.node("Conv", [x, weight, self.random(f"{name}_b", outputs)], f"{name}_c", **attributes)
        if not relu6:
            return x
        return self.node("Min", [self.node("Relu", [x], f"{name}_relu"),
                                 self.constant(f"{name}_six", np.float32(6))], f"{name}_min")

    def clip(self, x: str, name: str) -> str:
        limits = []
        for end, value in (("lo", 0.0), ("hi", 6.0)):
            self.nodes.append(helper.make_node("Constant", [], [f"{name}_{end}"],
                                               value=numpy_helper.from_array(np.float32(value).reshape(()))))
            limits.append(f"{name}_{end}")
        return self.node("Clip", [x, *limits], f"{name}_clip")

    def mobilenet(self) -> "FloatModel":
        """A stem, an inverted residual with and one without a shortcut, and a classifier."""
        x = "x"
        if self.style == "keras":
            x = self.node("Transpose", [x], "nchw", perm=[0, 3, 1, 2])
        x = self.layer(x, "stem", 6, 3, 3, stride=2)
        y = self.layer(self.layer(x, "a_expand", 12, 6), "a_deep", 12, 1, 3)
        x = self.node("Add", [x, self.layer(y, "a_project", 6, 12, relu6=False)], "a_add")
        y = self.layer(self.layer(x, "b_expand", 12, 6), "b_deep", 12, 1, 3, stride=2)
        x = self.layer(self.layer(y, "b_project", 8, 12, relu6=False), "head", 16, 8)
        if self.style == "torchvision":
            x = self.node("Flatten", [self.node("GlobalAveragePool", [x], "pool")], "flat")
            self.node("Gemm", [x, self.random("fc_w", 5, 16), self.random("fc_b", 5)], "y", transB=1)
            return self
        x = self.node("ReduceMean", [x], "pool", axes=[2, 3], keepdims=0)
        x = self.node("MatMul", [x, self.random("fc_w", 16, 5)], "fc")
        self.node("Softmax", [self.node("Add", [x, self.random("fc_b", 5)], "logits")], "y", axis=-1)
        return self

    def save(self, path: Path) -> Path:
        graph = helper.make_graph(self.nodes, "test", [self.input], self.outputs, self.initialisers)
        path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)],
                                           ir_version=8).SerializeToString())
        return path
