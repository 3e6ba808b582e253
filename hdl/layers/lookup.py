"""Any function of one activation, as a table."""
from collections.abc import Iterator, Sequence

import numpy as np
from amaranth import Module, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part, columns_of
from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.base.hierarchy import place_copies
from headrace.hdl.base.output import OutputRegister, output_bits, spare_bits
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.layer import Layer, State
from headrace.hdl.timing.channel import Channel, Process, Scheduler
from headrace.hdl.timing.pipeline import register


class LookupLane(wiring.Component):
    """``y = words[x]``, where ``x`` counts as unsigned. Combinational.

    Members
    -------
    x : :py:`In(x)`
    y : :py:`Out(y)`
    """

    x: Signal
    y: Signal

    def __init__(self, *, x: Shape, y: Shape, words: Sequence[int]) -> None:
        self.words = words
        super().__init__({"x": In(x), "y": Out(y)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory: Memory = Memory(shape=self.y.shape(), depth=len(self.words), init=self.words)
        m.submodules.words = memory
        port = memory.read_port(domain="comb")
        m.d.comb += [port.addr.eq(self.x), self.y.eq(port.data)]
        return m


class Lookup(Layer):
    """``y = table[x - lo]``, where ``lo`` is the least value of the input's shape.

    Takes a beat per cycle; latency is one cycle, that of the :class:`OutputRegister`.

    Parameters
    ----------
    i, o : :class:`RowFormat`
        Of the same size.
    table : sequence of 256 :class:`int`

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, o: RowFormat, table: Sequence[int]) -> None:
        if len(table) != 1 << i.shape.width:
            raise ValueError(f"A table of {1 << i.shape.width} values is needed, not of {len(table)}")
        self.formats, self.table = (i, o), [int(value) for value in table]
        self.low = -(1 << i.shape.width - 1) if i.shape.signed else 0
        super().__init__({"i": In(i.signature), "o": Out(o.signature)})

    def model(self, *images: Image) -> Image:
        """Compute an image of the same size, bit for bit."""
        (x,) = images
        return np.array(self.table)[x - self.low]

    @property
    def rom(self) -> None:
        return None

    def state(self) -> State:
        return State()

    def control(self) -> Control:
        _, o = self.formats
        return Control("lookup-row", state=output_bits(o), features={"spare": spare_bits(o)})

    def modules(self, rings: str) -> Iterator[Part]:
        """A table in LUTs: for each bit a tree that halves the table, with equal parts made once."""
        i, o = self.formats
        nodes = dict.fromkeys(range(i.shape.width + 1), 0)
        table = np.roll(np.array(self.table), self.low)
        level = set(columns_of(table, o.shape.width))
        for inputs in range(i.shape.width, 1, -1):
            level = {column for column in level if 0 < column < (1 << (1 << inputs)) - 1}
            nodes[inputs] = len(level)
            half = 1 << inputs - 1
            level = {part for column in level for part in (column & (1 << half) - 1, column >> half)}
        yield Part(module="lane", kind="lookup", copies=o.lanes, rom=(len(table), o.shape.width), features={
            "fours": nodes[4], "sixes": nodes[6], "above": sum(nodes[inputs] for inputs in (5, 7, 8))})

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        return [register(inputs[0], o, pipelined=self.formats[1].pipelined)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.formats
        words = np.roll(self.table, self.low).tolist()  # from 0 on, then the negative values
        lanes = place_copies(m, platform, "lane", lambda: LookupLane(x=i.shape, y=o.shape, words=words),
                             o.lanes)
        output = OutputRegister(m, self.o, format=o)
        m.d.comb += self.i.ready.eq(output.room)
        m.d.comb += [lane.x.eq(x) for lane, x in zip(lanes, self.i.payload, strict=True)]
        output.load(self.i.valid, [lane.y for lane in lanes])
        return m
