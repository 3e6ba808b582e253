"""Layers that take a row and give it at once: tables and repetition."""
from collections.abc import Iterator, Sequence

import numpy as np

from headrace.gen.ir.graph import Graph, Lookup, Upsample
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.kind import Kind, Site
from headrace.gen.kinds.needs import Needs, complete
from headrace.gen.kinds.place import Option, Place, at_least
from headrace.hdl.layers import lookup, upsample
from headrace.hdl.layers.layer import Layer


class LookupKind(Kind[Lookup]):
    name, of, passes_on = "lookup", Lookup, True

    def options(self, place: Place[Lookup]) -> Iterator[Option]:
        yield place.option(self.name, at_least(place.beats, place.pace), spread=place.spread, fold=place.fold)

    def make(self, site: Site[Lookup], plan: LayerPlan) -> Layer:
        return lookup.Lookup(i=site.i, o=site.o, tables=np.atleast_2d(site.node.table).tolist())

    def needs(self, node: Lookup, graph: Graph, inputs: Sequence[Needs], held: tuple[int, ...],
              fold: int) -> Needs:
        return inputs[0]


class UpsampleKind(Kind[Upsample]):
    name, of, passes_on = "upsample", Upsample, True

    def options(self, place: Place[Upsample]) -> Iterator[Option]:
        repeated = [0] * (place.node.factors[0] - 1)
        rows = [time for row in place.pace for time in (row, *repeated)]
        yield place.option(self.name, at_least(place.beats, rows), spread=place.spread, fold=place.fold)

    def make(self, site: Site[Upsample], plan: LayerPlan) -> Layer:
        return upsample.Upsample(i=site.i, factors=site.node.factors)

    def needs(self, node: Upsample, graph: Graph, inputs: Sequence[Needs], held: tuple[int, ...],
              fold: int) -> Needs:
        passes = [inputs[0], *[complete(inputs[0])] * (node.factors[0] - 1)]  # repeated once complete
        return np.stack(passes, axis=1).reshape(graph.tensors[node.output].height, -1)
