"""Finished sums on their way out."""
from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import counter
from headrace.hdl.storage.ring import Ring
from headrace.hdl.timing.channel import Channel, Process


class Drain(wiring.Component):
    """A ring that fills with one row's finished sums and then empties, while the next row is summed up.

    Members
    -------
    i, o : stream of :py:`ArrayLayout(word, lanes)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, word: data.Layout, lanes: int, depth: int) -> None:
        self.word, self.lanes, self.depth = word, lanes, depth
        words = stream.Signature(data.ArrayLayout(word, lanes))
        super().__init__({"i": In(words), "o": Out(words)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ring = Ring(word=self.word, columns=self.lanes, depth=self.depth)
        place(m, platform, "ring", ring)
        draining = Signal()
        m.d.comb += [
            self.i.ready.eq(~draining),
            self.o.valid.eq(draining),
            ring.shift.eq(Mux(draining, self.o.ready, self.i.valid)),
            ring.i.eq(self.i.payload),
            self.o.payload.eq(ring.o),
        ]
        _, _, last = counter(m, self.depth, ring.shift, name="index")
        with m.If(ring.shift & last):
            m.d.sync += draining.eq(~draining)
        return m


def draining(i: Channel, o: Channel, depth: int) -> Process:
    """When words move through :class:`Drain`."""
    time = 0
    while True:
        for _ in range(depth):
            while i.offered is None:
                yield i
            time = max(time, i.offered)
            i.take(time)
            time += 1
        for _ in range(depth):
            o.offer(time)
            while o.offered is not None:
                yield o
            time = o.taken + 1
