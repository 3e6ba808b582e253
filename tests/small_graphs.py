"""Integer graphs for tests, built layer by layer."""
from typing import Literal

import numpy as np

from headrace.gen.graph import (
    Add,
    Concat,
    Conv,
    Graph,
    Lookup,
    Node,
    Pool,
    Quantisation,
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
            Pool(name, (x,), name, kind, window, np.float32(1), -128, 127),
            source.channels, *window.output_size(source.height, source.width))

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

    def add(self, a: str, b: str) -> str:
        name = self.name("add")
        return self.add_node(Add(name, (a, b), name, (np.float32(0.613), np.float32(0.729)), -128, 127),
                             *self.tensors[a].shape)

    def graph(self) -> Graph:
        graph = Graph("net", "x", self.nodes[-1].output, self.tensors, tuple(self.nodes))
        graph.verify()
        return graph
