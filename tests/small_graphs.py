"""Integer graphs for tests, built layer by layer."""
from typing import Literal

import numpy as np

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
    Tensor,
    Upsample,
    Window,
)

Q = Quantisation(scale=0.5, zero_point=3, signed=True)


class Network:
    """Each method adds a layer and returns the name of its output, which is also the layer's."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.rng = np.random.default_rng(shape)
        self.tensors = {"x": Tensor("x", *shape, Q)}
        self.nodes: list[Node] = []

    def add_node(self, node: Node, *shape: int) -> str:
        self.nodes.append(node)
        self.tensors[node.output] = Tensor(node.output, *shape, Q)
        return node.output

    def name(self, kind: str) -> str:
        return f"{kind}{len(self.nodes)}"

    def conv(self, x: str, channels: int, kernel: int = 1, *, stride: int = 1,
             depthwise: bool = False) -> str:
        source, half, name = self.tensors[x], kernel // 2, self.name("conv")
        window = Window((kernel, kernel), (stride, stride), (half, half, half, half))
        weight = self.rng.integers(-99, 99, (channels, 1 if depthwise else source.channels, kernel, kernel))
        scale = 0.02 / np.sqrt(weight[0].size)
        return self.add_node(Conv(
            name, (x,), name, weight=weight.astype(np.int16), bias=self.rng.integers(-99, 99, channels),
            multiplier=np.full(channels, scale, np.float32), window=window,
            groups=channels if depthwise else 1, lo=-128, hi=127),
            channels, *window.output_size(source.height, source.width))

    def pool(self, x: str, kernel: int, stride: int, kind: Literal["max", "average"] = "max") -> str:
        source, name = self.tensors[x], self.name("pool")
        half = kernel // 2 if stride == 1 else 0
        window = Window((kernel, kernel), (stride, stride), (half, half, half, half))
        return self.add_node(
            Pool(name, (x,), name, kind, window, -128, 127),
            source.channels, *window.output_size(source.height, source.width))

    def average(self, x: str) -> str:
        """Of the whole image."""
        source, name = self.tensors[x], self.name("average")
        multiplier = np.float32(1.7 / (source.height * source.width))
        return self.add_node(
            GlobalAveragePool(name, (x,), name, multiplier, -128, 127), source.channels, 1, 1)

    def upsample(self, x: str, down: int, across: int) -> str:
        channels, height, width = self.tensors[x].shape
        name = self.name("upsample")
        return self.add_node(Upsample(name, (x,), name, (down, across), -128, 127),
                             channels, height * down, width * across)

    def lookup(self, x: str) -> str:
        name, table = self.name("lookup"), self.rng.integers(-128, 128, 256).astype(np.int16)
        return self.add_node(Lookup(name, (x,), name, table, -128, 127), *self.tensors[x].shape)

    def concat(self, *inputs: str) -> str:
        name, first = self.name("concat"), self.tensors[inputs[0]]
        return self.add_node(Concat(name, inputs, name, -128, 127),
                             sum(self.tensors[each].channels for each in inputs), first.height, first.width)

    def interleave(self, *inputs: str) -> str:
        name, first = self.name("interleave"), self.tensors[inputs[0]]
        return self.add_node(Interleave(name, inputs, name, -128, 127), first.channels * len(inputs),
                             first.height, first.width)

    def slice(self, x: str, channels: range, rows: range | None = None, columns: range | None = None) -> str:
        name, source = self.name("slice"), self.tensors[x]
        rows, columns = rows or range(source.height), columns or range(source.width)
        return self.add_node(Slice(name, (x,), name, channels, rows, columns, -128, 127),
                             len(channels), len(rows), len(columns))

    def add(self, a: str, b: str) -> str:
        name = self.name("add")
        return self.add_node(Add(name, (a, b), name, (np.float32(0.613), np.float32(0.729)), -128, 127),
                             *self.tensors[a].shape)

    def sub(self, a: str, b: str) -> str:
        name = self.name("sub")
        return self.add_node(Sub(name, (a, b), name, -128, 127), *self.tensors[a].shape)

    def mul(self, a: str, b: str) -> str:
        name = self.name("mul")
        return self.add_node(Mul(name, (a, b), name, np.float32(0.0113), -128, 127), *self.tensors[a].shape)

    def graph(self) -> Graph:
        graph = Graph("net", "x", self.nodes[-1].output, self.tensors, tuple(self.nodes))
        graph.verify()
        return graph


def inception() -> Graph:
    net = Network((3, 5, 3))
    x = net.conv("x", 4)
    narrow = net.conv(x, 2)
    wide = net.conv(net.conv(x, 3), 4, 5)
    pooled = net.conv(net.pool(x, 3, 1), 3)
    net.conv(net.concat(narrow, wide, net.conv(net.conv(x, 2), 3, 3), pooled), 3)
    return net.graph()


def dense_net() -> Graph:
    net = Network((3, 5, 3))
    y = net.conv("x", 4, 3)
    for _ in range(3):
        y = net.concat(y, net.conv(net.conv(y, 4), 2, 3))
    return net.graph()


def dense_block() -> Graph:
    """As torchvision writes a dense block: each layer concatenates all that came before anew."""
    net = Network((3, 5, 3))
    parts = [net.conv("x", 4, 3)]
    for _ in range(3):
        y = net.concat(*parts) if len(parts) > 1 else parts[0]
        parts.append(net.conv(net.conv(y, 4), 2, 3))
    net.concat(*parts)
    return net.graph()


def u_net() -> Graph:
    net = Network((2, 8, 4))
    a = net.conv("x", 3, 3)
    b = net.conv(net.pool(a, 2, 2), 4, 3)
    c = net.conv(net.pool(b, 2, 2), 5, 3)
    b = net.conv(net.concat(net.upsample(c, 2, 2), b), 4, 3)
    a = net.conv(net.concat(a, net.upsample(b, 2, 2)), 3, 3)
    net.lookup(a)
    return net.graph()


def stride_2_rejoins() -> Graph:
    net = Network((3, 6, 4))
    half = net.conv(net.conv("x", 3, 3, stride=2, depthwise=True), 4)
    net.concat(net.lookup("x"), net.upsample(half, 2, 2))
    return net.graph()


def whole_image_ahead() -> Graph:
    """The coarse branch is upsampled from one row, so that the shortcut holds the whole image."""
    net = Network((2, 4, 4))
    net.add("x", net.upsample(net.pool("x", 4, 4, "average"), 4, 4))
    return net.graph()


def same_tensor_twice() -> Graph:
    net = Network((3, 4, 3))
    net.concat("x", net.conv("x", 2), "x")
    return net.graph()


def crossing() -> Graph:
    """Neither branch is nested in the other; after x every beat of a row of c comes at once."""
    net = Network((3, 5, 3))
    c = net.conv("x", 3)
    net.add(net.add("x", c), net.conv(c, 3))
    return net.graph()


def reversed_order() -> Graph:
    net = Network((3, 5, 4))
    c = net.conv("x", 2, 3)
    net.concat(net.conv(c, 2, 3), c, "x")
    return net.graph()


def skipped_rows() -> Graph:
    """A convolution and a pool that skip three rows of four: one may wait for them, the other does not."""
    net = Network((1, 13, 5))
    x = net.conv("x", 1)
    net.add(net.conv(x, 1, stride=4), net.pool(x, 1, 4))
    return net.graph()


def gated() -> Graph:
    """A product with a table of its other factor, which comes at once, and a difference."""
    net = Network((3, 5, 4))
    x = net.conv("x", 3, 3)
    y = net.mul(x, net.lookup(x))
    net.mul(net.sub(y, net.conv(net.conv(y, 3, 3), 3)), y)
    return net.graph()


def squeezed() -> Graph:
    """A map that waits for a vector which follows from all of it, and is needed once more behind that."""
    net = Network((3, 5, 4))
    x = net.conv("x", 3, 3)
    vector = net.conv(net.conv(net.average(x), 2), 3)
    net.add(net.mul(x, vector), x)
    return net.graph()


def shuffle() -> Graph:
    """As a unit of ShuffleNet: half of the channels passes by the others, then a channel of each in turn."""
    net = Network((3, 5, 4))
    x = net.conv("x", 6, 3)
    half = net.conv(net.conv(net.slice(x, range(3, 6)), 3, 3, depthwise=True), 3)
    y = net.concat(net.slice(x, range(3)), half)
    net.interleave(net.slice(y, range(3)), net.slice(y, range(3, 6)))
    return net.graph()


BRANCHES = (inception, dense_net, dense_block, u_net, stride_2_rejoins, whole_image_ahead, same_tensor_twice,
            crossing, reversed_order, skipped_rows, gated, squeezed, shuffle)
