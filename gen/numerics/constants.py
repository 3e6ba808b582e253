"""The constants of all requantisers of a network, with the sums for which they are proved."""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from amaranth import Shape

from headrace.gen.ir.graph import Add, Graph, Sub
from headrace.gen.numerics import reach, requantise, requantise_add
from headrace.gen.numerics.ranges import Range
from headrace.hdl.arithmetic.requantisation import AddRequantisation, Requantisation


@dataclass(frozen=True, eq=False)
class Constants:
    """What a network's hardware is made with, by node; where values only move, none is needed.

    Attributes
    ----------
    sums : the constants of each convolution, average and multiplication
    adds : the constants of each addition and subtraction
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
    """Find the constants of every node, for what it can reach.

    Raises
    ------
    :exc:`HeadraceError`
        If a sum can leave int32.
    """
    reached, tensors = reach.find(graph), graph.tensors
    return Constants(
        sums={name: requantise.search(rule) for name, rule in reached.rules.items()},
        adds={node.name: requantise_add.add(node, *(tensors[name] for name in (*node.inputs, node.output)))
              for node in graph.nodes if isinstance(node, Add | Sub)},
        reach=reached.sums, ranges=reached.values)
