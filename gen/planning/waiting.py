"""What it costs to be late where a map waits for a vector: its rows that come meanwhile are held."""
from headrace.gen.estimate.price import Amounts, Prices
from headrace.gen.ir.graph import Graph, Mul
from headrace.gen.kinds import registry
from headrace.gen.kinds.joins import GateKind, branch
from headrace.hdl.area.part import ring_parts

_RING = 8, 32  # bits per word and words of the ring that stands for all


def held_meanwhile(graph: Graph, prices: Prices) -> dict[str, Amounts]:
    """Return what holds a frame of the map that waits for it, in rings, by each node on the way to one.

    A layer there that takes a part of a frame's time longer costs that part of it.
    """
    bits, words = _RING
    ring = prices.amounts(ring_parts("", bits, 1, words)) / (bits * words)
    names = {node.output: node.name for node in graph.nodes}
    found: dict[str, Amounts] = {}
    for node in graph.nodes:
        if isinstance(node, Mul) and isinstance(registry.default(node, graph), GateKind):
            x = graph.tensors[node.inputs[0]]
            frame = 8 * x.channels * x.height * x.width * ring
            for name in branch(node, graph, names):
                found[name] = found.get(name, 0) + frame
    return found
