"""The kinds of layers that a plan chooses among: a new one is an entry here."""
from collections.abc import Iterator
from typing import Any

from headrace.gen.ir.graph import Graph, Node
from headrace.gen.ir.means import Means
from headrace.gen.kinds.addressed import AddressedKind
from headrace.gen.kinds.global_pool import GlobalPoolKind
from headrace.gen.kinds.input_stationary import InputStationaryKind
from headrace.gen.kinds.joins import AddKind, ConcatKind, GateKind, InterleaveKind, MulKind, SubKind
from headrace.gen.kinds.kind import Kind
from headrace.gen.kinds.movement import LookupKind, SliceKind, UpsampleKind
from headrace.gen.kinds.output_stationary import OutputStationaryKind
from headrace.gen.kinds.passing import AveragePoolKind, DepthwiseKind, MaxPoolKind

KINDS: list[Kind[Any]] = [
    AddressedKind(), InputStationaryKind(), OutputStationaryKind(), DepthwiseKind(), AveragePoolKind(),
    MaxPoolKind(), GlobalPoolKind(), AddKind(), SubKind(), MulKind(), GateKind(), ConcatKind(),
    InterleaveKind(), LookupKind(), SliceKind(), UpsampleKind()]
"""Of options that cost the same, that of the first kind is chosen."""


def serving(node: Node, graph: Graph, means: Means = Means()) -> Iterator[Kind[Any]]:  # noqa: B008
    """Return the kinds that a node can be a layer of; without means of its own, at least one."""
    return (kind for kind in KINDS if kind.serves(node, graph, means))


def default(node: Node, graph: Graph) -> Kind[Any]:
    """Return the kind of a node that asks for no special means."""
    return next(serving(node, graph))


def named(name: str) -> Kind[Any]:
    """Return the kind that plans call so."""
    return next(kind for kind in KINDS if kind.name == name)
