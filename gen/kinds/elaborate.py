# amaranth: UnusedElaboratable=no
"""From the integer graph and a plan to gateware."""
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
from amaranth import Shape, signed, unsigned

from headrace.gen.ir.graph import (
    Add,
    Concat,
    Conv,
    GlobalAveragePool,
    Graph,
    Lookup,
    Node,
    Pool,
    Tensor,
    Upsample,
)
from headrace.gen.ir.plan import LayerPlan, Plan
from headrace.gen.numerics import constants
from headrace.gen.numerics.constants import Constants
from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.arithmetic.requantisation import signed_width
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.edge.axi import AxiTop
from headrace.hdl.layers.add import Add as AddLayer
from headrace.hdl.layers.addressed import Addressed
from headrace.hdl.layers.concat import Concat as ConcatLayer
from headrace.hdl.layers.global_pool import GlobalPool
from headrace.hdl.layers.input_stationary import InputStationary
from headrace.hdl.layers.lookup import Lookup as LookupLayer
from headrace.hdl.layers.output_stationary import OutputStationary
from headrace.hdl.layers.upsample import Upsample as UpsampleLayer
from headrace.hdl.layers.window import Depthwise, MaxPool
from headrace.hdl.network import Network


def row_format(tensor: Tensor, *, together: Window = Window(), fold: int = 1,  # noqa: B008
               pipelined: bool = False) -> RowFormat:
    shape = signed(8) if tensor.quantisation.signed else unsigned(8)
    return RowFormat(channels=tensor.channels, height=tensor.height, lanes=tensor.width // fold,
                     shape=shape, together=together, fold=fold, pipelined=pipelined)


def row_formats(graph: Graph, plan: Plan) -> dict[str, RowFormat]:
    """Return how each tensor travels."""
    formats = {graph.input: row_format(graph.tensors[graph.input], pipelined=plan.pipelined)}
    for node in graph.nodes:
        layer = plan.layers[node.name]
        formats[node.output] = row_format(graph.tensors[node.output], together=layer.together,
                                          fold=layer.fold, pipelined=plan.pipelined)
    return formats


def network(graph: Graph, plan: Plan) -> Network:
    """Build the gateware of a network: one layer per node, named alike, connected as in the graph."""
    formats = row_formats(graph, plan)
    makers: dict[str, str | None] = {graph.input: None}
    found, layers = constants.find(graph), {}
    for node in graph.nodes:
        sources = {port: makers[name] for port, name in zip(_ports(node), node.inputs, strict=True)}
        layers[node.name] = layer(graph, node, plan.layers[node.name], formats, found), sources
        makers[node.output] = node.name
    return Network(i=formats[graph.input], o=formats[graph.output], layers=layers)


def _ports(node: Node) -> tuple[str, ...]:
    """Return the names of the input ports of a node's gateware."""
    match node:
        case Add():
            return "a", "b"
        case Concat():
            return tuple(f"i{index}" for index in range(len(node.inputs)))
        case _:
            return ("i",)


def axi_top(graph: Graph, plan: Plan) -> AxiTop:
    """Build the gateware of a network between two AXI4-Streams."""
    return AxiTop(network=network(graph, plan),
                  fill=graph.tensors[graph.input].quantisation.zero_point)


def layer(graph: Graph, node: Node, plan: LayerPlan, formats: Mapping[str, RowFormat],
          found: Constants) -> Any:
    """Build the gateware of one node, between tensors of these formats."""
    x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
    i, o = formats[node.inputs[0]], formats[node.output]
    steps = plan.requantise_steps
    match node:
        case Add():
            return AddLayer(a=i, b=formats[node.inputs[1]], o=o, rows=plan.shortcut_rows, steps=steps,
                            scaling=found.adds[node.name])
        case Lookup():
            return LookupLayer(i=i, o=o, table=node.table.tolist())
        case Concat():
            return ConcatLayer(inputs=[formats[name] for name in node.inputs],
                               rows=plan.shortcut_rows)
        case Upsample():
            return UpsampleLayer(i=i, factors=node.factors)
        case GlobalAveragePool():
            return GlobalPool(i=i, o=o, sum=found.sum_shape(node.name), scaling=found.sums[node.name],
                              requantise_steps=steps)
        case Pool(kind="max"):
            return MaxPool(i=i, o=o, window=node.window, p_in=plan.p_in, patience=plan.patience)
        case Pool():
            return Depthwise(i=i, o=o, window=node.window, pad=x.quantisation.zero_point,
                             p_in=plan.p_in, patience=plan.patience, weights=None,
                             sum=found.sum_shape(node.name), scaling=found.sums[node.name],
                             requantise_steps=steps)
        case Conv():
            weights = node.weight.reshape(y.channels, -1) * found.alive(node.name)[:, None]
            if plan.kind == "addressed":
                return Addressed(
                    i=i, o=o, window=node.window, pad=x.quantisation.zero_point, depthwise=node.depthwise,
                    weights=weights.tolist(), weight=weight_shape(weights), sum=found.sum_shape(node.name),
                    scaling=found.sums[node.name], requantise_steps=steps, serial=plan.serial)
            common: dict[str, Any] = dict(
                i=i, o=o, weights=weights.tolist(), weight=weight_shape(weights), p_in=plan.p_in,
                sum=found.sum_shape(node.name), scaling=found.sums[node.name], requantise_steps=steps,
                paired=plan.paired)
            if plan.kind == "input-stationary":
                return InputStationary(p_out=plan.p_out, drain=plan.drain, **common)
            common |= dict(window=node.window, pad=x.quantisation.zero_point)
            if plan.kind == "depthwise":
                return Depthwise(patience=plan.patience, **common)
            return OutputStationary(p_out=plan.p_out, banks=plan.banks, **common)


def weight_shape(weights: npt.NDArray[Any]) -> Shape:
    """Return the narrowest signed shape that holds every weight."""
    return signed(signed_width(int(weights.min()), int(weights.max())))
