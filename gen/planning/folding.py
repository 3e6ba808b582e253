"""Which tensors must be folded alike: those that are added, concatenated or only pass through."""
from math import gcd

from headrace.gen.ir.graph import Graph
from headrace.gen.kinds import registry

Alike = frozenset[str]


class Folding:
    """The tensors of a network by how they are folded.

    Parameters
    ----------
    graph : :class:`Graph`
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._alike: dict[str, Alike] = {name: frozenset({name}) for name in graph.tensors}
        for node in graph.nodes:
            alike = node.output, *registry.default(node, graph).alike(node)
            joined = frozenset[str]().union(*(self._alike[name] for name in alike))
            self._alike |= dict.fromkeys(joined, joined)

    def alike(self, tensor: str) -> Alike:
        """Return the tensors that are folded like this one, itself among them."""
        return self._alike[tensor]

    def possible(self, tensor: str) -> tuple[int, ...]:
        """Return the beats in which rows of all tensors like this one can come; the network's input has whole
        rows."""
        alike = self._alike[tensor]
        if self.graph.input in alike:
            return (1,)
        width = gcd(*(self.graph.tensors[name].width for name in alike))
        return tuple(fold for fold in range(1, width + 1) if width % fold == 0)
