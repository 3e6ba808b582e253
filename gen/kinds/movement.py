"""Layers that take a row and give it at once: tables, repetition, and parts of an image."""
from collections.abc import Iterator, Sequence

import numpy as np

from headrace.gen.ir.graph import Graph, Lookup, Slice, Upsample
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.kind import Kind, Site
from headrace.gen.kinds.needs import Needs, complete
from headrace.gen.kinds.place import Option, Place, at_least
from headrace.hdl.layers import lookup, slice, upsample
from headrace.hdl.layers.layer import Layer

NEVER = 1 << 48
"""Cycles per frame of what cannot be."""


class LookupKind(Kind[Lookup]):
    name, of, passes_on = "lookup", Lookup, True

    def options(self, place: Place[Lookup]) -> Iterator[Option]:
        yield place.option(self.name, at_least(place.beats, place.pace), spread=place.spread, fold=place.fold)

    def make(self, site: Site[Lookup], plan: LayerPlan) -> Layer:
        return lookup.Lookup(i=site.i, o=site.o, tables=np.atleast_2d(site.node.table).tolist())

    def needs(self, node: Lookup, graph: Graph, inputs: Sequence[Needs], held: tuple[int, ...],
              fold: int) -> Needs:
        return inputs[0]


class SliceKind(Kind[Slice]):
    name, of, passes_on = "slice", Slice, True

    def options(self, place: Place[Slice]) -> Iterator[Option]:
        node, pace, waited = place.node, list[int](), 0
        for row, time in enumerate(at_least(place.beats, place.pace)):
            waited += time
            if row in node.rows:
                pace.append(waited)
                waited = 0
        pace[0] += waited
        possible = slice.evenly(node.columns, place.x.width, place.fold)  # or rows must come in fewer beats
        yield place.option(self.name, tuple(pace), spread=place.spread, fold=place.fold,
                           cycles=0 if possible else NEVER)

    def make(self, site: Site[Slice], plan: LayerPlan) -> Layer:
        node = site.node
        return slice.Slice(i=site.i, channels=node.channels, rows=node.rows, columns=node.columns)

    def needs(self, node: Slice, graph: Graph, inputs: Sequence[Needs], held: tuple[int, ...],
              fold: int) -> Needs:
        rows: Needs = inputs[0][np.array(node.rows)]
        channels = rows.reshape(len(rows), -1, fold)[:, np.array(node.channels)]
        return channels.reshape(len(rows), -1)


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
