"""Where streams part."""
from collections.abc import Sequence

from amaranth import Module, ShapeLike, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Part
from headrace.hdl.base.component import Portable
from headrace.hdl.timing.channel import Channel, Process


class Fork(Portable):
    """Pass every beat to all of :py:`count` outputs, each as soon as it can take it.

    Latency is zero. The input is taken when the last output takes it.

    Members
    -------
    i : :py:`In(stream.Signature(shape))`
    o0, o1, ... : :py:`Out(stream.Signature(shape))`
    """

    i: stream.Interface

    def __init__(self, *, shape: ShapeLike, count: int) -> None:
        self.count = count
        beats = stream.Signature(shape)
        super().__init__({"i": In(beats), **{f"o{index}": Out(beats) for index in range(count)}})

    def output(self, index: int) -> stream.Interface:
        port: stream.Interface = getattr(self, f"o{index}")
        return port

    def elaborate(self, platform: object) -> Module:
        m = Module()
        done = Signal(self.count)
        served = Signal(self.count)
        m.d.comb += self.i.ready.eq(self.i.valid & served.all())
        for index in range(self.count):
            o = self.output(index)
            m.d.comb += [o.payload.eq(self.i.payload), o.valid.eq(self.i.valid & ~done[index]),
                         served[index].eq(done[index] | o.ready)]
            with m.If(self.i.valid):
                m.d.sync += done[index].eq(served[index] & ~self.i.ready)
        return m

    @staticmethod
    def process(i: Channel, outputs: Sequence[Channel]) -> Process:
        """When beats move."""
        while True:
            while i.offered is None:
                yield i
            for o in outputs:
                o.offer(i.offered)
            for o in outputs:
                while o.offered is not None:
                    yield o
            i.take(max(o.taken for o in outputs))

    @staticmethod
    def part(count: int) -> Part:
        """What one of so many outputs costs."""
        return Part(module="", kind="fork", state=count, features={"one": 1, "outputs": count})
