"""The integer graph: what an imported network is, free of any file format.

Every tensor is an image of integers, channels x height x width, with an affine quantisation; a vector is
an image of height and width 1. Nodes are in topological order. The arithmetic of each node is exact and
follows ONNX Runtime's integer kernels; :mod:`headrace.sim.reference` carries it out.
"""
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from headrace.hdl.arithmetic.geometry import Window as Window


@dataclass(frozen=True)
class Quantisation:
    """``real = (integer - zero_point) * scale``; integers are 8 bits wide."""

    scale: float  # a float32 value
    zero_point: int
    signed: bool

    @property
    def lo(self) -> int:
        return -128 if self.signed else 0

    @property
    def hi(self) -> int:
        return 127 if self.signed else 255


@dataclass(frozen=True)
class Tensor:
    name: str
    channels: int
    height: int
    width: int
    quantisation: Quantisation

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width


@dataclass(frozen=True, eq=False)
class Conv:
    """``y = sat(rint(f32(acc) * multiplier) + zero_point)``; ``acc = sum((x - x_zp) * weight) + bias``.

    Outside the image stands the input's zero point. A fully connected layer over a C x H x W image is a
    convolution whose kernel is H x W. ``groups`` is 1 (dense) or the number of input channels (depthwise):
    then input channel c makes the output channels c*m to c*m + m-1, with depth multiplier m.
    """

    name: str
    inputs: tuple[str]
    output: str
    weight: npt.NDArray[np.int16]  # [out, in / groups, tap rows, tap columns], zero point taken off
    bias: npt.NDArray[np.int64]  # [out]
    multiplier: npt.NDArray[np.float32]  # [out]
    window: Window
    groups: int
    lo: int  # saturation: the output type's range, narrowed by Relu and Clip
    hi: int
    bias_rounding: float = 0.0  # output steps by which a bias differs, at most, from the file's real one

    @property
    def depthwise(self) -> bool:
        return self.groups > 1

    @property
    def depth_multiplier(self) -> int:
        """Output channels per group; of interest where the convolution is depthwise."""
        return len(self.weight) // self.groups


@dataclass(frozen=True, eq=False)
class Pool:
    """Maximum or average of a window.

    ``max`` ignores what is outside the image and keeps the quantisation; its inputs already lie within
    ``lo`` and ``hi``. ``average`` counts the input's zero point there:
    ``y = sat(rint(sum(x - x_zp) * x_scale / taps / y_scale + y_zp))``, in float32 but for the sum, which is
    exact. The zero point is added *before* rounding, as in `Add`. ONNX Runtime has no integer kernel here: it
    does the same, but multiplies before it adds up, and so rounds every addend and every partial sum. Where
    float32 holds these as they are both are equal; else they differ by one where that rounding decides on
    which side of half a step a mean lies (:mod:`headrace.sim.ties`). No function of the sum reproduces that.
    """

    name: str
    inputs: tuple[str]
    output: str
    kind: Literal["max", "average"]
    window: Window
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class GlobalAveragePool:
    """``y = sat(rint(f32(sum(x - x_zp)) * multiplier) + zero_point)`` over the whole image."""

    name: str
    inputs: tuple[str]
    output: str
    multiplier: np.float32
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Add:
    """``y = sat(rint((a - a_zp) * factors[0] + (b - b_zp) * factors[1] + y_zp))`` in float32.

    The zero point is added before rounding. :class:`headrace.gen.numerics.rules.AddRule` states the order of
    the operations, which decides single values.
    """

    name: str
    inputs: tuple[str, str]
    output: str
    factors: tuple[np.float32, np.float32]  # scale of each input over the scale of the output
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Sub:
    """``y = sat(rint(((a - a_zp) * a_scale - (b - b_zp) * b_scale) / y_scale) + y_zp)`` in float32.

    The order of the operations is that of :class:`headrace.gen.numerics.rules.SubRule`.
    """

    name: str
    inputs: tuple[str, str]
    output: str
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Mul:
    """``y = sat(rint(f32((a - a_zp) * (b - b_zp)) * multiplier + y_zp))`` in float32, the product exact.

    The zero point is added before rounding, as in `Add`. The second input is of the shape of the first, or a
    vector of a value for each of its channels.
    """

    name: str
    inputs: tuple[str, str]
    output: str
    multiplier: np.float32  # scale of a x scale of b / scale of the output
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Lookup:
    """``y = table[x - lo of x's type]``: any function of one activation, or one for each channel.

    Where ``ties`` is true, ONNX Runtime makes the table's value or one next to it, as its float32 functions
    depend there on where in a tensor a value stands (:mod:`headrace.sim.ties`).
    """

    name: str
    inputs: tuple[str]
    output: str
    table: npt.NDArray[np.int16]  # [256], or [channels, 256]
    lo: int  # least and greatest value that the output may take
    hi: int
    function: tuple[str, ...] = ()  # the operators of the file, where it is more than another quantisation
    ties: npt.NDArray[np.bool_] | None = None  # as the table

    @property
    def by_channel(self) -> bool:
        return self.table.ndim > 1

    def look_up(self, of: npt.NDArray[Any], places: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what the table, or another of its shape, has at places (N, C, H, W) from its first on."""
        channel = (np.arange(len(of))[:, None, None],) if self.by_channel else ()
        found: npt.NDArray[Any] = of[*channel, places]
        return found


@dataclass(frozen=True, eq=False)
class Concat:
    """All channels of the first input, then all of the second, and so on; of one quantisation."""

    name: str
    inputs: tuple[str, ...]
    output: str
    lo: int  # least and greatest value that the inputs take
    hi: int


@dataclass(frozen=True, eq=False)
class Interleave:
    """The first channel of each input, then the second of each, and so on; of one quantisation and shape."""

    name: str
    inputs: tuple[str, ...]
    output: str
    lo: int  # least and greatest value that the inputs take
    hi: int


@dataclass(frozen=True, eq=False)
class Slice:
    """``y[c][i][j] = x[channels[c]][rows[i]][columns[j]]``, all ascending; keeps the quantisation."""

    name: str
    inputs: tuple[str]
    output: str
    channels: range
    rows: range
    columns: range
    lo: int  # least and greatest value that the input takes
    hi: int


@dataclass(frozen=True, eq=False)
class Upsample:
    """``y[c][i][j] = x[c][i // factors[0]][j // factors[1]]``; keeps the quantisation."""

    name: str
    inputs: tuple[str]
    output: str
    factors: tuple[int, int]  # vertical, horizontal
    lo: int  # least and greatest value that the input takes
    hi: int


Node = Conv | Pool | GlobalAveragePool | Add | Sub | Mul | Lookup | Concat | Interleave | Slice | Upsample


@dataclass(frozen=True, eq=False)
class Graph:
    """A network with one input and one output.

    ``host`` names the operators of the file that come after ``output``, and are left to the host.
    """

    name: str
    input: str
    output: str
    tensors: dict[str, Tensor]
    nodes: tuple[Node, ...]
    host: tuple[str, ...] = ()

    def consumers(self, tensor: str) -> Iterator[Node]:
        return (node for node in self.nodes if tensor in node.inputs)

    def verify(self) -> None:
        """Assert that the graph is well formed; every pass may rely on it."""
        known = {self.input}
        for node in self.nodes:
            assert known.issuperset(node.inputs), f"{node.name} reads a tensor before it is made"
            assert node.output not in known, f"{node.output} is made twice"
            known.add(node.output)
            x, y = self.tensors[node.inputs[0]], self.tensors[node.output]
            match node:
                case Conv():
                    out, depth, *kernel = node.weight.shape
                    assert [*map(len, (node.window.tap_rows, node.window.tap_columns))] == kernel
                    assert out == y.channels
                    assert node.groups in (1, x.channels) and depth * node.groups == x.channels
                    assert out == node.depth_multiplier * node.groups
                    assert node.bias.shape == node.multiplier.shape == (out,)
                    assert node.window.output_size(x.height, x.width) == (y.height, y.width)
                case Pool():
                    assert y.channels == x.channels
                    assert node.window.output_size(x.height, x.width) == (y.height, y.width)
                case GlobalAveragePool():
                    assert y.shape == (x.channels, 1, 1)
                case Add() | Sub():
                    assert all(self.tensors[name].shape == y.shape for name in node.inputs)
                case Mul():
                    assert x.shape == y.shape
                    assert self.tensors[node.inputs[1]].shape in (y.shape, (y.channels, 1, 1))
                case Lookup():
                    assert y.shape == x.shape and node.table.shape in ((256,), (x.channels, 256))
                    assert node.lo <= node.table.min() and node.table.max() <= node.hi
                case Concat():
                    inputs = [self.tensors[name] for name in node.inputs]
                    assert len(inputs) > 1 and sum(each.channels for each in inputs) == y.channels
                    assert {(each.height, each.width, each.quantisation) for each in inputs} == {
                        (y.height, y.width, y.quantisation)}
                case Interleave():
                    same = {(self.tensors[name].shape, self.tensors[name].quantisation)
                            for name in node.inputs}
                    ((channels, *sides), quantisation), = same
                    assert len(node.inputs) > 1 and quantisation == y.quantisation
                    assert y.shape == (channels * len(node.inputs), *sides)
                case Slice():
                    places = node.channels, node.rows, node.columns
                    assert x.quantisation == y.quantisation and y.shape == tuple(map(len, places))
                    assert all(each.step > 0 and 0 <= each[0] and each[-1] < size
                               for each, size in zip(places, x.shape, strict=True))
                case Upsample():
                    assert min(node.factors) >= 1 and x.quantisation == y.quantisation
                    assert y.shape == (x.channels, *np.multiply(x.shape[1:], node.factors))
            assert y.quantisation.lo <= node.lo <= node.hi <= y.quantisation.hi
        assert self.output in known and known == set(self.tensors)
