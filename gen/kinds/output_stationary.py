"""Dense convolutions whose lanes hold the window."""
from collections.abc import Iterator
from functools import partial

from headrace.gen.ir.graph import Conv, Graph, Pool, Window
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.dense import DenseKind, narrows
from headrace.gen.kinds.kind import Site
from headrace.gen.kinds.place import SLOWEST, Option, Place, divisors, unrollings
from headrace.gen.kinds.weights import of_lanes
from headrace.hdl.arithmetic.geometry import held_groups, strides, whole
from headrace.hdl.layers.layer import Layer
from headrace.hdl.layers.output_stationary import OutputStationary


class OutputStationaryKind(DenseKind):
    name = "output-stationary"

    def suits(self, node: Conv, graph: Graph, means: Means) -> bool:
        x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
        return not node.depthwise and not narrows(node, x, y)

    def options(self, place: Place[Conv]) -> Iterator[Option]:
        x, y, window, together = place.x, place.y, place.node.window, _together(place)
        overlapping = together.kernel > together.stride
        held = together if overlapping else window
        groups, _ = held_groups(held, x.height)
        rows = [sum(group.inside) if overlapping else 1 for group in groups if group.emits]  # made in a turn
        emits, taps = len(rows), window.taps
        unrolled = [*unrollings(taps), *(taps * side for side in divisors(x.channels) if side > 1)]
        for fold, p_in in place.unrolled(unrolled, x.channels * taps * y.channels * sum(rows)):
            words = x.channels // max(1, p_in // taps)
            span = words * window.selects(p_in)  # steps of one sweep
            fill = (len(groups) - emits) * words
            for p_out in unrollings(y.channels) if fold == 1 and not overlapping else (1,):
                sweeps = -(-y.channels // p_out) * fold
                possible = (place.budget - fill) // sum(rows) // y.channels // fold
                arrive = sum(place.pace)
                # Rows need not come evenly, as others land while one is in use; with one bank they land once
                # the first sweep has taken those before.
                land = x.height * place.beats + len(groups) * (span if held.stride == (1, 1) else 0)
                lands = span + held.enters * place.spread
                cycles = max(span // p_out, min(possible, SLOWEST // 2))
                for readout, steps in place.requantisers(fold, cycles):
                    row = sweeps * max(span, p_out * readout * steps)
                    banks = 2 if x.height > 1 and lands > max(row, place.budget // emits) else 1
                    pace = (fill + row * rows[0], *(row * made for made in rows[1:]))
                    option = partial(
                        place.option, self.name, pace, steps, cycles=max(arrive, land), p_in=p_in,
                        p_out=p_out, banks=banks, fold=fold, readout=readout, multiplies=True)
                    if not overlapping:
                        yield option()
                    if together != Window() and p_out == 1:
                        yield option(together=together)

    def make(self, site: Site[Conv], plan: LayerPlan) -> Layer:
        return OutputStationary(**of_lanes(site, plan), window=site.node.window,
                                pad=site.x.quantisation.zero_point, p_out=plan.p_out, banks=plan.banks)


def _together(place: Place[Conv]) -> Window:
    """Return which rows of a pointwise layer should leave together.

    Those of a window of the only reader, if they are to be kept where they are narrow; or as many as it
    skips. None where one lane can be all of the reader, with an address, in the cycles allowed.
    """
    graph, node, means = place.graph, place.node, place.means
    if node.output == graph.output or node.window != Window():
        return Window()
    match [*graph.consumers(node.output)]:
        case [Conv(depthwise=True) | Pool() as reader]:
            kernel, stride = reader.window.kernel[0], reader.window.stride[0]
            read = graph.tensors[reader.output]
            multiplications = read.channels * read.height * read.width * reader.window.taps
            if means.addressed and isinstance(reader, Conv) and multiplications <= place.budget:
                return Window()
            fewer = place.x.channels < place.y.channels and reader.window.dilation[0] == 1
            if means.keep == "narrow" and kernel > stride and fewer:
                return whole(reader.window)
            if kernel >= stride > 1:
                return strides(reader.window, place.y.height)
    return Window()
