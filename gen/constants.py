"""The constants of all requantisers of a network, with the sums for which they are proved."""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from amaranth import Shape

from headrace.gen import ranges, requantise, requantise_add
from headrace.gen.graph import Add, Concat, Graph, Lookup, Pool, Upsample
from headrace.gen.ranges import Range
from headrace.hdl.requantisation import AddRequantisation, Requantisation


@dataclass(frozen=True, eq=False)
class Constants:
    """What a network's hardware is made with, by node; where values only move, none is needed.

    Attributes
    ----------
    sums : the constants of each convolution and average
    adds : the constants of each addition
    reach : the sums of each channel that the constants in ``sums`` are proved for
    ranges : the values of each channel of each tensor
    """

    sums: dict[str, Requantisation]
    adds: dict[str, AddRequantisation]
    reach: dict[str, Range]
    ranges: dict[str, Range]

    def alive(self, name: str) -> npt.NDArray[np.bool_]:
        """Whether the sum has any effect, for each channel of ``reach``; if not, it may be any number."""
        scaling = self.sums[name]
        corrected = {channel for channel, *_ in scaling.corrections}
        return np.broadcast_to([factor > 0 or channel in corrected for channel, factor
                                in enumerate(scaling.multipliers)], len(self.reach[name]))

    def sum_shape(self, name: str) -> Shape:
        """Return the narrowest shape that holds every finished sum.

        Sums may wrap on the way there: they are computed modulo a power of two, like the result.
        """
        sums, alive = self.reach[name], self.alive(name)
        return Shape.cast(range(sums.lo.min(initial=0, where=alive), sums.hi.max(initial=1, where=alive) + 1))


@lru_cache(maxsize=1)  # hardware and proof are made from the same
def find(graph: Graph) -> Constants:
    """Find the constants of every node, in order, so that the ranges of its inputs are known."""
    found = Constants({}, {}, {}, {graph.input: ranges.whole(graph.tensors[graph.input])})
    for node in graph.nodes:
        x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
        inputs = [found.ranges[name] for name in node.inputs]
        match node:
            case Add():
                second = graph.tensors[node.inputs[1]]
                addition = found.adds[node.name] = requantise_add.add(node, x, second, y)
                made = Range(*(addition.model(a, b) for a, b in (
                    (inputs[0].lo, inputs[1].lo), (inputs[0].hi, inputs[1].hi))))
            case Pool(kind="max") | Upsample():
                made = inputs[0].clip(node.lo, node.hi)
            case Concat():
                made = Range(np.concatenate([each.lo for each in inputs]),
                             np.concatenate([each.hi for each in inputs]))
            case Lookup():
                made = ranges.looked_up(node, x, inputs[0])
            case _:
                sums = found.reach[node.name] = ranges.sums(node, x, inputs[0])
                scaling = found.sums[node.name] = requantise.search(requantise.rule(node, x, y, sums))
                made = Range(scaling.model(sums.lo), scaling.model(sums.hi))
        found.ranges[node.output] = made
    return found
