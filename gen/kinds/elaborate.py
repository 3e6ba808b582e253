# amaranth: UnusedElaboratable=no
"""From the integer graph and a plan to gateware."""
from amaranth import signed, unsigned

from headrace.gen.ir.graph import Graph, Tensor, Window
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import registry
from headrace.gen.kinds.kind import Site
from headrace.gen.numerics import constants
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.edge.axi import AxiTop
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
                                          fold=layer.beats, pipelined=plan.pipelined)
    return formats


def network(graph: Graph, plan: Plan) -> Network:
    """Build the gateware of a network: one layer per node, named alike, connected as in the graph."""
    formats = row_formats(graph, plan)
    makers: dict[str, str | None] = {graph.input: None}
    found, layers = constants.find(graph), {}
    for node in graph.nodes:
        planned = plan.layers[node.name]
        kind = registry.named(planned.kind)
        sources = {port: makers[name] for port, name in zip(kind.ports(node), node.inputs, strict=True)}
        layers[node.name] = kind.make(Site(graph, node, formats, found), planned), sources
        makers[node.output] = node.name
    return Network(i=formats[graph.input], o=formats[graph.output], layers=layers)


def axi_top(graph: Graph, plan: Plan) -> AxiTop:
    """Build the gateware of a network between two AXI4-Streams."""
    return AxiTop(network=network(graph, plan),
                  fill=graph.tensors[graph.input].quantisation.zero_point)
