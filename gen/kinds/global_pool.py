"""The average of a whole image."""
from collections.abc import Iterator, Sequence

from headrace.gen.ir.graph import GlobalAveragePool, Graph
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.kind import Kind, Site
from headrace.gen.kinds.needs import Needs, whole
from headrace.gen.kinds.place import SLOWEST, Option, Place
from headrace.hdl.layers.global_pool import GlobalPool
from headrace.hdl.layers.layer import Layer


class GlobalPoolKind(Kind[GlobalAveragePool]):
    name, of = "global-pool", GlobalAveragePool

    def options(self, place: Place[GlobalAveragePool]) -> Iterator[Option]:
        *rows, last = [max(row, place.beats) for row in place.pace]
        steps = max(1, min((place.budget - sum(rows)) // place.x.channels, SLOWEST))
        last = max(last, steps * place.x.channels)
        yield place.option(self.name, (sum(rows) + last,), steps, delay=last)

    def make(self, site: Site[GlobalAveragePool], plan: LayerPlan) -> Layer:
        name, constants = site.node.name, site.constants
        return GlobalPool(i=site.i, o=site.o, sum=constants.sum_shape(name), scaling=constants.sums[name],
                          requantise_steps=plan.requantise_steps)

    def needs(self, node: GlobalAveragePool, graph: Graph, inputs: Sequence[Needs], held: tuple[int, ...],
              fold: int) -> Needs:
        return whole(inputs[0][-1:], graph.tensors[node.output].channels)
