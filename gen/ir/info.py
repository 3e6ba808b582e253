"""What a network is: the table behind `headrace info`."""
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from headrace.gen.ir.graph import (
    Add,
    Concat,
    Conv,
    GlobalAveragePool,
    Graph,
    Interleave,
    Lookup,
    Mul,
    Node,
    Pool,
    Quantisation,
    Slice,
    Sub,
    Upsample,
)
from headrace.hdl.arithmetic.requantisation import signed_width

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class LayerInfo:
    """One node. Shapes are channels x height x width."""

    name: str
    operation: str
    input: Shape
    output: Shape
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]
    weights: int
    weight_bits: int  # with the zero point taken off; 0 without weights
    multiplications: int  # per frame, padding included
    tile: tuple[float, float]  # positions of its output for each position of the network's output
    multiplications_per_position: float  # of the network's output: weights x tile
    quantisation: Quantisation  # of the output
    saturation: tuple[int, int]
    bias_rounding: float  # of a bias that the file has as a real number, in steps of the output


@dataclass(frozen=True)
class NetworkInfo:
    name: str
    input: Shape
    output: Shape
    quantisation: Quantisation  # of the input
    layers: tuple[LayerInfo, ...]
    host: tuple[str, ...]  # operators left to the host

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)

    @property
    def multiplications(self) -> int:
        return sum(layer.multiplications for layer in self.layers)

    @property
    def multiplications_per_position(self) -> float:
        """The share of each position of the output in a frame's multiplications."""
        return ratio(self.multiplications, self.output[1] * self.output[2])

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"weights": self.weights, "multiplications": self.multiplications,
                               "multiplications_per_position": self.multiplications_per_position}


def ratio(a: int, b: int) -> float:
    """``a / b``, as an integer where it is one."""
    return a / b if a % b else a // b


def info(graph: Graph) -> NetworkInfo:
    image = graph.tensors[graph.input]
    return NetworkInfo(graph.name, image.shape, graph.tensors[graph.output].shape, image.quantisation,
                       tuple(_layers(graph)), graph.host)


def _layers(graph: Graph) -> Iterator[LayerInfo]:
    out = graph.tensors[graph.output]
    for node in graph.nodes:
        x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
        kernel, stride, pads, weights, bits, products = (1, 1), (1, 1), (0, 0, 0, 0), 0, 0, 0
        if isinstance(node, Conv | Pool):
            kernel = len(node.window.tap_rows), len(node.window.tap_columns)
            stride, pads = node.window.stride, node.window.pads
        if isinstance(node, Conv):
            weights, products = node.weight.size, node.weight.size * y.height * y.width
            bits = signed_width(int(node.weight.min()), int(node.weight.max()))
        tile = ratio(y.height, out.height), ratio(y.width, out.width)
        yield LayerInfo(node.name, operation(node), x.shape, y.shape, kernel, stride, pads, weights, bits,
                        products, tile, ratio(products, out.height * out.width), y.quantisation,
                        (node.lo, node.hi), node.bias_rounding if isinstance(node, Conv) else 0.0)


def operation(node: Node) -> str:
    """Return what a node does, for a table."""
    match node:
        case Conv(depthwise=True):
            return f"depthwise convolution{_dilation(node)}"
        case Conv():
            return f"convolution{_dilation(node)}"
        case Pool():
            return f"{node.kind} pool{_dilation(node)}"
        case GlobalAveragePool():
            return "global average pool"
        case Add():
            return "add"
        case Sub():
            return "subtract"
        case Mul():
            return "multiply"
        case Lookup():
            by_channel = ("by channel",) if node.by_channel else ()
            return " ".join(("lookup", ", ".join(node.function), *by_channel)).strip()
        case Concat():
            return "concatenation"
        case Interleave():
            return f"channels of {len(node.inputs)} in turn"
        case Slice():
            return "slice"
        case Upsample():
            return "upsampling {} x {}".format(*node.factors)


def _dilation(node: Conv | Pool) -> str:
    down, across = node.window.dilation
    return "" if (down, across) == (1, 1) else f", dilation {down} x {across}"
