"""Pointwise convolutions with fewer outputs than inputs: lanes hold sums."""
from collections.abc import Iterator

from headrace.gen.ir.graph import Conv, Graph
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.dense import DenseKind, narrows
from headrace.gen.kinds.kind import Site
from headrace.gen.kinds.place import Option, Place, divisors, unrollings
from headrace.gen.kinds.weights import of_lanes
from headrace.hdl.layers.input_stationary import InputStationary
from headrace.hdl.layers.layer import Layer


class InputStationaryKind(DenseKind):
    name = "input-stationary"

    def suits(self, node: Conv, graph: Graph, means: Means) -> bool:
        x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
        return not node.depthwise and narrows(node, x, y)

    def options(self, place: Place[Conv]) -> Iterator[Option]:
        inputs, channels, height = place.x.channels, place.y.channels, place.x.height
        per_row = place.budget // height
        for fold, p_in in place.unrolled(divisors(inputs), inputs * channels * height):
            outputs = channels * fold  # of a lane
            for p_out in unrollings(channels) if fold == 1 else (1,):
                turns = -(-outputs // p_out)
                sums = inputs // p_in * max(turns, p_in * (place.beats // inputs))
                filling = [max(row, sums - turns) for row in place.pace]  # the row before is finished
                for drain in (True, False) if turns > 1 else (False,):
                    cycles = per_row - turns if drain else (place.budget - sum(filling)) // height
                    for readout, steps in place.requantisers(fold, cycles // outputs):
                        leaves = outputs * readout * steps
                        pace = (tuple(max(row, sums, leaves + turns) for row in place.pace) if drain
                                else tuple(row + leaves for row in filling))
                        delay = leaves + (max(pace) if height > 1 else sums)  # a vector comes at once
                        yield place.option(
                            self.name, pace, steps, spread=leaves, delay=delay, drain=drain, p_in=p_in,
                            p_out=p_out, fold=fold, readout=readout, multiplies=True)

    def make(self, site: Site[Conv], plan: LayerPlan) -> Layer:
        return InputStationary(**of_lanes(site, plan), p_out=plan.p_out, drain=plan.drain)
