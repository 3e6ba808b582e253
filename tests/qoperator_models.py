"""Small models in operator-oriented quantisation, built node by node."""
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnx_models import TYPES, Q, QdqModel

MS = "com.microsoft"

_FORMS = {"Add": "QLinearAdd", "AveragePool": "QLinearAveragePool", "LeakyRelu": "QLinearLeakyRelu",
          "GlobalAveragePool": "QLinearGlobalAveragePool", "Mul": "QLinearMul"}


class QOperatorModel(QdqModel):
    """With integers all through: methods return integer tensors. ``parameters`` are shared by name."""

    def q(self, name: str, q: Q) -> list[str]:
        return [name, *self.parameters(name, q.scale, q.zero_point, q.dtype)]

    def w(self, name: str, values: np.ndarray, scale: object, zero: object = 0) -> list[str]:
        scale = np.asarray(scale, np.float32)
        self.constant(name, values)
        return [name, *self.parameters(name, scale, np.broadcast_to(zero, scale.shape), values.dtype)]

    def linear(self, operator: str, inputs: list[str], y: str, q: Q, *last: str, domain: str = "",
               **attributes: object) -> str:
        return self.node(operator, [*inputs, *self.q(y, q)[1:], *last], y, domain=domain, **attributes)

    def known(self, name: str) -> list[str]:
        """A tensor of the model with its scale and zero point."""
        return self.q(name, self.quantisations[name])

    def made(self, name: str, q: Q) -> str:
        self.quantisations[name] = q
        return name

    def input(self, shape: Sequence[int | str], q: Q, *, name: str = "x", real: bool = True) -> str:
        dtype = np.dtype(np.float32 if real else q.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], (1, *shape)))
        if real:
            name = self.linear("QuantizeLinear", [name], f"{name}_q", q)
        return self.made(name, q)

    def output(self, name: str, shape: Sequence[int], dtype: type | None = None) -> None:
        super().output(name, shape, dtype or self.quantisations[name].dtype)

    def conv(self, x: str, weight: np.ndarray, q: Q, *, name: str, scale: float | np.ndarray = 0.01,
             zero_point: int | np.ndarray = 0, bias: np.ndarray | None = None,
             clip: str | tuple[float, float] | None = None, **attributes: Any) -> str:
        raw = f"{name}_raw" if clip else name
        last = [] if bias is None else [self.constant(f"{name}_b", bias.astype(np.int32))]
        self.linear("QLinearConv", [*self.known(x), *self.w(f"{name}_w", weight, scale, zero_point)], raw, q,
                    *last, **attributes)
        return self.clipped(raw, q, clip, name)

    def gemm(self, x: str, weight: np.ndarray, q: Q, *, name: str, scale: float | np.ndarray,
             zero_point: int | np.ndarray = 0, bias: np.ndarray | None = None,
             clip: str | tuple[float, float] | None = None) -> str:
        """``weight`` is [outputs, inputs]; without a bias it is a QLinearMatMul."""
        raw = f"{name}_raw" if clip else name
        flat = [self.node("Flatten", [x], f"{name}_flat"), *self.known(x)[1:]]
        if bias is None:
            columns = self.w(f"{name}_w", weight.T.copy(), scale, zero_point)
            self.linear("QLinearMatMul", [*flat, *columns], raw, q)
        else:
            inputs = [*flat, *self.w(f"{name}_w", weight, scale, zero_point),
                      self.constant(f"{name}_b", bias.astype(np.int32))]
            self.linear("QGemm", inputs, raw, q, domain=MS, transB=1)
        return self.clipped(raw, q, clip, name)

    def clipped(self, raw: str, q: Q, clip: str | tuple[float, float] | None, name: str) -> str:
        """What Relu and Clip are among integers."""
        self.made(raw, q)
        if not clip:
            return raw
        limits = np.iinfo(q.dtype)
        low, high = (0.0, np.inf) if clip == "Relu" else clip
        ends = [np.asarray(np.clip(np.rint(end / q.scale) + q.zero_point, limits.min, limits.max), q.dtype)
                for end in (low, high)]
        return self.made(self.node("Clip", [raw, *(
            self.constant(f"{name}_{index}", end) for index, end in enumerate(ends))], name), q)

    def operator(self, operator: str, inputs: Sequence[str], q: Q, *, name: str,
                 clip: str | tuple[float, float] | None = None, **attributes: Any) -> str:
        assert clip is None
        if operator == "Concat":
            sources = [part for x in inputs for part in self.known(x)]
            self.node("QLinearConcat", [*self.q(name, q)[1:], *sources], name, domain=MS, **attributes)
        elif operator in _FORMS:
            sources = [part for x in inputs for part in self.known(x)]
            self.linear(_FORMS[operator], sources, name, q, domain=MS, **attributes)
        elif operator in ("GlobalMaxPool", "SpaceToDepth"):  # of real numbers only
            self.node("DequantizeLinear", self.known(inputs[0]), f"{name}_real")
            self.node(operator, [f"{name}_real"], f"{name}_raw", **attributes)
            self.linear("QuantizeLinear", [f"{name}_raw"], name, q)
        else:
            self.node(operator, inputs, name, **attributes)
        return self.made(name, q)

    def requantise(self, x: str, q: Q, *, name: str) -> str:
        self.node("DequantizeLinear", self.known(x), f"{name}_real")
        return self.made(self.linear("QuantizeLinear", [f"{name}_real"], name, q), q)

    def proto(self) -> onnx.ModelProto:
        model = super().proto()
        model.opset_import.append(helper.make_opsetid(MS, 1))
        return model
