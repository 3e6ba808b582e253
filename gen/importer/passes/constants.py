"""The constants of a QONNX model: initialisers, and what nodes compute from constants alone."""
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from headrace.gen.importer.passes.quant import Grid, Quantiser, Value, real
from headrace.gen.importer.source import file as onnx_file
from headrace.gen.importer.source.file import quote
from headrace.gen.importer.source.node import OnnxNode

MAX_ELEMENTS = 1 << 26  # computed in all

_ARITHMETIC: dict[str, Callable[..., npt.NDArray[np.generic]]] = {
    "Add": np.add, "Div": np.divide, "Mul": np.multiply, "Sub": np.subtract}


class Constants(Mapping[str, Value]):
    """Values by name. Initialisers are read when they are asked for."""

    def __init__(self, path: Path, initialisers: Mapping[str, onnx.TensorProto]) -> None:
        self._path = path
        self._initialisers = initialisers
        self._values: dict[str, Value] = {}
        self._left = MAX_ELEMENTS

    def __getitem__(self, name: str) -> Value:
        if name not in self._values:
            what = f"{self._path}: constant {quote(name)}"
            self._values[name] = onnx_file.array(self._initialisers[name], what=what)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._initialisers.keys() | self._values.keys())

    def __len__(self) -> int:
        return len(self._initialisers.keys() | self._values.keys())

    def __contains__(self, name: object) -> bool:
        return name in self._values or name in self._initialisers

    def spend(self, node: OnnxNode, count: int) -> None:
        """Account for elements that ``node`` is about to make.

        Raises
        ------
        :exc:`HeadraceError`
            If they are too many, all nodes together.
        """
        self._left -= count
        if self._left < 0:
            raise node.error(f"more than {MAX_ELEMENTS} elements of computed constants")

    def evaluate(self, node: OnnxNode) -> bool:
        """Compute what a node makes of constants; False if it has other inputs or is not of this kind.

        Raises
        ------
        :exc:`HeadraceError`
            If the node is wrong.
        """
        if len(node.outputs) != 1 or not all(name in self for name in node.inputs):
            return False
        (name,) = node.outputs
        match node.operator:
            case "Transpose":
                node.expect_inputs(1, 1)
                value = self[node.inputs[0]]
                rank = (value.integers if isinstance(value, Grid) else value).ndim
                axes = node.integers("perm", tuple(reversed(range(rank))))
                node.finish()
                if sorted(axes) != list(range(rank)):
                    raise node.error(f"perm {list(axes)} is no order of {rank} dimensions")
                self._values[name] = value.transpose(axes)
            case operator if operator in _ARITHMETIC:
                self._values[name] = self._arithmetic(node)
            case operator if is_quant(operator):
                quantiser = Quantiser.read(node, self)
                values = self[node.inputs[0]]
                if isinstance(values, Grid):
                    raise node.error("quantises a constant a second time")
                self.spend(node, values.size)
                self._values[name] = quantiser.constant(node, values)
            case _:
                return False
        return True

    def _arithmetic(self, node: OnnxNode) -> npt.NDArray[np.generic]:
        node.expect_inputs(2, 2)
        node.finish()
        a, b = (real(self[name]) for name in node.inputs)
        try:
            shape = np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise node.error(f"constants of shapes {list(a.shape)} and {list(b.shape)} do not fit") from None
        if prod(shape) > max(a.size, b.size):
            raise node.error(f"constants of shapes {list(a.shape)} and {list(b.shape)} make a larger one; "
                             "one as large as the larger is supported")
        if a.dtype.kind != "f" or b.dtype.kind != "f":
            raise node.error(f"computes with constants of {a.dtype} and {b.dtype}; float is supported")
        self.spend(node, prod(shape))
        return np.asarray(_ARITHMETIC[node.operator](a, b), np.float32)


def is_quant(operator: str) -> bool:
    """Whether an operator, with its domain, is a Quant of QONNX."""
    return operator in _QUANTS


DOMAINS = ("finn.custom_op.general", "onnx.brevitas", "qonnx.custom_op.general")
_QUANTS = frozenset(f"{domain}.{name}" for domain in DOMAINS for name in ("IntQuant", "Quant"))
