"""Convolutions of one lane, which finds its operands by address."""
from collections.abc import Iterator, Sequence

import numpy as np

from headrace.gen.ir.graph import Conv, Graph, Window
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.kind import Kind, Site
from headrace.gen.kinds.needs import Needs, reached
from headrace.gen.kinds.place import BIT_BY_BIT, Option, Place
from headrace.gen.kinds.weights import of_layer
from headrace.hdl.arithmetic.geometry import rows_in_turn
from headrace.hdl.arithmetic.requantisation import signed_width
from headrace.hdl.layers.addressed import Addressed
from headrace.hdl.layers.layer import Layer


class AddressedKind(Kind[Conv]):
    """Where rings are block RAM; before a row leaves it takes all rows that it reaches."""

    name, of = "addressed", Conv

    def suits(self, node: Conv, graph: Graph, means: Means) -> bool:
        return means.addressed

    def options(self, place: Place[Conv]) -> Iterator[Option]:
        if place.y.width not in place.folds or place.before and place.before.together != Window():
            return
        yield self._option(place, 1)
        if place.means.serial:
            weight = place.node.weight
            yield self._option(place, signed_width(int(weight.min()), int(weight.max())))

    def _option(self, place: Place[Conv], bits: int) -> Option:
        """Return that of a layer which multiplies by so many ``bits`` of a weight one after another."""
        node, y = place.node, place.y
        outputs = y.channels * y.width  # of a row
        span = node.window.taps * (1 if node.depthwise else place.x.channels) * bits
        steps = min(max(span, place.budget // y.height // outputs), BIT_BY_BIT)
        pace = (outputs * max(span, steps),) * y.height
        lanes = place.x.channels * place.x.width // place.beats  # columns of a beat, which land one by one
        land = place.x.height * place.beats * (lanes + 1 if lanes > 1 else 1)
        return place.option(self.name, pace, steps, cycles=max(sum(place.pace), land), fold=y.width,
                            serial=bits > 1, multiplies=True)

    def make(self, site: Site[Conv], plan: LayerPlan) -> Layer:
        return Addressed(**of_layer(site, plan), window=site.node.window, pad=site.x.quantisation.zero_point,
                         depthwise=site.node.depthwise, serial=plan.serial)

    def needs(self, node: Conv, graph: Graph, inputs: Sequence[Needs], held: tuple[int, ...],
              fold: int) -> Needs:
        needed, freed = rows_in_turn(node.window, graph.tensors[node.inputs[0]].height)
        last = [sum(freed[:row]) + count - 1 for row, count in enumerate(needed)]
        return np.repeat(reached(inputs[0], last)[:, -1:], graph.tensors[node.output].channels * fold, axis=1)
