"""When a kind of layer is chosen, and how it is made: one class, one entry in the registry."""
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic

from headrace.gen.ir.graph import Graph, Node, Tensor
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.needs import Needs
from headrace.gen.kinds.place import N, Option, Place
from headrace.gen.numerics.constants import Constants
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.layer import Layer


@dataclass(frozen=True)
class Site(Generic[N]):
    """A node whose gateware is made, between tensors of these formats."""

    graph: Graph
    node: N
    formats: Mapping[str, RowFormat]  # of tensors
    constants: Constants

    @cached_property
    def x(self) -> Tensor:
        """Its first input."""
        return self.graph.tensors[self.node.inputs[0]]

    @cached_property
    def inputs(self) -> list[RowFormat]:
        return [self.formats[name] for name in self.node.inputs]

    @property
    def i(self) -> RowFormat:
        """Format of the first input."""
        return self.inputs[0]

    @property
    def o(self) -> RowFormat:
        return self.formats[self.node.output]


class Kind(ABC, Generic[N]):
    """A kind of layer for a kind of node.

    Attributes
    ----------
    name : :class:`str`
        As plans say it.
    of : :class:`type`
        The nodes that it is for; :py:`suits` says for which of them.
    passes_on : :class:`bool`
        Its output is folded as its inputs are, all alike.
    """

    name: str
    of: type[N]
    passes_on: bool = False

    def serves(self, node: Node, graph: Graph, means: Means) -> bool:
        """Whether a node can be a layer of this kind."""
        return isinstance(node, self.of) and self.suits(node, graph, means)

    def suits(self, node: N, graph: Graph, means: Means) -> bool:
        return True

    def alike(self, node: N) -> tuple[str, ...]:
        """Return the inputs that are folded as the output is."""
        return tuple(node.inputs) if self.passes_on else ()

    def ports(self, node: N) -> tuple[str, ...]:
        """Return the names of the input ports of the gateware, in the order of the node's inputs."""
        return ("i",)

    @abstractmethod
    def options(self, place: Place[N]) -> Iterator[Option]:
        """Yield the ways to unroll it, also those that are too slow for the budget of cycles per frame."""

    @abstractmethod
    def make(self, site: Site[N], plan: LayerPlan) -> Layer:
        """Make the gateware of an option."""

    @abstractmethod
    def needs(self, node: N, graph: Graph, inputs: Sequence[Needs], held: tuple[int, ...],
              fold: int) -> Needs:
        """Return what each beat of the output needs, of a tensor of which beats of the inputs need so much.

        ``held`` are the rows held of each input, ``fold`` is that of the output.
        """
