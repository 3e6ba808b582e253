"""Layers whose rows pass a window: depthwise convolutions and pools."""
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeVar

import numpy as np

from headrace.gen.ir.graph import Conv, Graph, Pool, Window
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.kind import Kind, Site
from headrace.gen.kinds.needs import Needs, reached, whole
from headrace.gen.kinds.place import Option, Pace, Place, unrollings
from headrace.gen.kinds.weights import of_lanes
from headrace.hdl.arithmetic.geometry import PassingGroup, merges, passing_groups
from headrace.hdl.layers.layer import Layer
from headrace.hdl.layers.window import Depthwise, MaxPool

W = TypeVar("W", bound=Conv | Pool)


class PassingKind(Kind[W]):
    """A layer that makes each output channel, or some, of one input channel."""

    def options(self, place: Place[W]) -> Iterator[Option]:
        window, x, y = place.node.window, place.x, place.y
        copies = y.channels // x.channels
        passing, arriving = _arriving(place)
        evenly = [time for time, each in zip(arriving, passing, strict=True) if each.emits and time]
        gathered = place.beats * (place.before.together.kernel[0] if place.before else 1)
        for fold, p_in in self.lanes(place):
            selects = window.selects(p_in)
            affordable = min(evenly, default=place.budget // y.height) // x.channels // copies // fold
            for readout, steps in self.rates(place, fold, max(selects, affordable)):
                busy = max(x.channels * copies * fold * max(selects, readout * steps), gathered)
                times = [max(time, busy if each.emits else gathered)
                         for time, each in zip(arriving, passing, strict=True)]
                patience, waits = 0, 0
                if merges(passing):  # the last row comes with the first of the next frame
                    waits = place.budget // y.height // 2
                    if sum(times) > place.budget * 7 // 8:
                        patience = waits
                    times[0], times[-1] = 0, max(times[-1], arriving[0])
                yield place.option(self.name, _emitted(times, passing), steps, p_in=p_in, patience=patience,
                                   waits=waits, fold=fold, readout=readout, multiplies=self.of is Conv)

    def lanes(self, place: Place[W]) -> Iterator[tuple[int, int]]:
        """Yield how many columns a lane may serve, and how many taps at a time."""
        taps, y = place.node.window.taps, place.y
        return place.unrolled(unrollings(taps), taps * y.channels * y.height)

    def rates(self, place: Place[W], fold: int, cycles: int) -> Iterator[tuple[int, int]]:
        """Yield how many columns are read out in turn, and the cycles for each."""
        return place.requantisers(fold, cycles)

    def needs(self, node: W, graph: Graph, inputs: Sequence[Needs], held: tuple[int, ...],
              fold: int) -> Needs:
        x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
        needs = whole(reached(inputs[0], node.window.last_rows(y.height)), x.channels)
        return np.repeat(needs, y.channels // x.channels * fold, axis=1)


class DepthwiseKind(PassingKind[Conv]):
    name, of = "depthwise", Conv

    def suits(self, node: Conv, graph: Graph, means: Means) -> bool:
        return node.depthwise

    def make(self, site: Site[Conv], plan: LayerPlan) -> Layer:
        return Depthwise(**of_lanes(site, plan), window=site.node.window,
                         pad=site.x.quantisation.zero_point, patience=plan.patience)


class AveragePoolKind(PassingKind[Pool]):
    name, of = "average-pool", Pool

    def suits(self, node: Pool, graph: Graph, means: Means) -> bool:
        return node.kind == "average"

    def make(self, site: Site[Pool], plan: LayerPlan) -> Layer:
        node, constants = site.node, site.constants
        return Depthwise(i=site.i, o=site.o, window=node.window, pad=site.x.quantisation.zero_point,
                         p_in=plan.p_in, weights=None, sum=constants.sum_shape(node.name),
                         scaling=constants.sums[node.name], requantise_steps=plan.requantise_steps,
                         readout=plan.readout, patience=plan.patience)


class MaxPoolKind(PassingKind[Pool]):
    name, of = "max-pool", Pool

    def suits(self, node: Pool, graph: Graph, means: Means) -> bool:
        return node.kind == "max"

    def lanes(self, place: Place[Pool]) -> Iterator[tuple[int, int]]:
        """As there is nothing to read out, a lane serves as many columns as there are beats to a row."""
        found = [(fold, p_in) for fold, p_in in super().lanes(place) if fold in place.folds]
        yield from found or product(place.folds, unrollings(place.node.window.taps))

    def rates(self, place: Place[Pool], fold: int, cycles: int) -> Iterator[tuple[int, int]]:
        yield 1, 1

    def make(self, site: Site[Pool], plan: LayerPlan) -> Layer:
        return MaxPool(i=site.i, o=site.o, window=site.node.window, p_in=plan.p_in, patience=plan.patience)


def _arriving(place: Place[W]) -> tuple[list[PassingGroup], list[int]]:
    """Return the groups of rows that pass, and the cycles in which each arrives."""
    together = place.before.together if place.before else Window()
    overlapping = together.kernel > together.stride
    passing = passing_groups(place.node.window, place.x.height, together.kernel[0])
    rows = iter(place.pace)
    return passing, [next(rows) if overlapping else sum(next(rows) for arrives in each.arrives if arrives)
                     for each in passing]


def _emitted(times: Sequence[int], passing: Sequence[PassingGroup]) -> Pace:
    """Return the cycles between those groups that make a row, in the last of which the others come."""
    pace, waited = [], 0
    for time, each in zip(times, passing, strict=True):
        waited += time
        if each.emits:
            pace.append(waited)
            waited = 0
    pace[0] += waited
    return tuple(pace)
