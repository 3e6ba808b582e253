"""A kind of layer of its own, as docs/adding-a-layer.md builds it: lookups that are inverters."""
from collections.abc import Iterator, Sequence

from amaranth import Module
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from headrace.gen.ir.graph import Graph, Lookup
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.kind import Kind, Site
from headrace.gen.kinds.needs import Needs
from headrace.gen.kinds.place import Option, Place, at_least
from headrace.hdl.area.part import Control, Part
from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.base.output import OutputRegister, output_bits
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.layer import Layer, State
from headrace.hdl.timing.channel import Channel, Process, Scheduler
from headrace.hdl.timing.pipeline import register


class Invert(Layer):
    """``y = ~x``; an :class:`OutputRegister`."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, o: RowFormat) -> None:
        self.formats = i, o
        super().__init__({"i": In(i.signature), "o": Out(o.signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        output = OutputRegister(m, self.o, format=self.formats[1])
        m.d.comb += self.i.ready.eq(output.room)
        output.load(self.i.valid, [~x for x in self.i.payload])
        return m

    def model(self, *images: Image) -> Image:
        return ~images[0]

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        return [register(inputs[0], o, pipelined=self.formats[1].pipelined)]

    def control(self) -> Control:
        return Control("lookup-row", state=output_bits(self.formats[1]))  # as much as one of a Lookup

    def modules(self, rings: str) -> Iterator[Part]:
        return iter(())

    @property
    def rom(self) -> None:
        return None

    def state(self) -> State:
        return State()


class InvertKind(Kind[Lookup]):
    name, of, passes_on = "invert", Lookup, True

    def suits(self, node: Lookup, graph: Graph, means: Means) -> bool:
        lo = graph.tensors[node.inputs[0]].quantisation.lo
        return all(y == ~x for x, y in enumerate(node.table, start=lo))

    def options(self, place: Place[Lookup]) -> Iterator[Option]:
        yield place.option(self.name, at_least(place.beats, place.pace), spread=place.spread, fold=place.fold)

    def make(self, site: Site[Lookup], plan: LayerPlan) -> Layer:
        return Invert(i=site.i, o=site.o)

    def needs(self, node: Lookup, graph: Graph, inputs: Sequence[Needs], held: tuple[int, ...],
              fold: int) -> Needs:
        return inputs[0]
