"""Any function of one activation, as a table."""
from collections.abc import Sequence

import numpy as np
from amaranth import Module, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.base.hierarchy import Layer, place_copies
from headrace.hdl.base.rows import RowFormat


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
    """``y = table[x - lo]``, where ``lo`` is the least value of the input's shape; an output register.

    Takes a beat per cycle; latency is one cycle.

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

    def model(self, x: Image) -> Image:
        """Compute an image of the same size, bit for bit."""
        return np.array(self.table)[x - self.low]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.formats
        words = np.roll(self.table, self.low).tolist()  # from 0 on, then the negative values
        lanes = place_copies(m, platform, "lane", lambda: LookupLane(x=i.shape, y=o.shape, words=words),
                             o.lanes)
        payload = Signal(o.layout, reset_less=True)
        m.d.comb += [self.i.ready.eq(o.room(self.o)), self.o.payload.eq(payload)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
        for lane, x, y in zip(lanes, self.i.payload, payload, strict=True):
            m.d.comb += lane.x.eq(x)
            with m.If(self.i.ready):
                m.d.sync += y.eq(lane.y)
        return m
