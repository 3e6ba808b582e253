"""The register at the end of a layer, from which the next one reads."""
from collections.abc import Sequence
from typing import Any

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import stream

from headrace.hdl.base.rows import RowFormat


class OutputRegister:
    """A register that a stream leaves from; a beat moves in every cycle. Latency is one cycle.

    In a pipelined stream, :py:`room` follows from registers alone. So the reader's answer comes too late for
    the next beat, which has a second place to go to if the reader did not take.

    Parameters
    ----------
    m : :class:`Module`
        To which the logic is added.
    o : :class:`stream.Interface`
        The stream.
    format : :class:`RowFormat`
        That of the stream.

    Attributes
    ----------
    room : :class:`Value`
        A beat can be taken in this cycle.
    """

    def __init__(self, m: Module, o: stream.Interface, *, format: RowFormat) -> None:
        self._m, self._o = m, o
        self._spare: Any = None
        if format.pipelined:
            self._spare = Signal.like(o.payload, name="spare", reset_less=True)
            self._full = Signal(name="full")  # the second place
            self.room: Value = ~self._full
        else:
            self.room = ~o.valid | o.ready

    def load(self, finished: Value, values: Sequence[Value]) -> None:
        """Take ``values``, one for each lane, where ``finished`` is high and there is :py:`room`."""
        m, o = self._m, self._o
        enters = Signal(name="enters")
        payload = Signal.like(o.payload, name="payload", reset_less=True)
        m.d.comb += [enters.eq(finished & self.room), o.payload.eq(payload)]
        leaves: Value = enters  # for the first place
        if self._spare is not None:
            free, full, spare = Signal(name="free"), self._full, self._spare
            m.d.comb += free.eq(~o.valid | o.ready)
            leaves = free & (full | finished)
            with m.If(free):
                m.d.sync += full.eq(0)
            with m.Elif(enters):
                m.d.sync += full.eq(1)
            with m.If(enters):
                m.d.sync += [place.eq(value) for place, value in zip(spare, values, strict=True)]
            values = [Mux(full, place, value) for place, value in zip(spare, values, strict=True)]
        with m.If(o.ready):
            m.d.sync += o.valid.eq(0)
        with m.If(leaves):
            m.d.sync += o.valid.eq(1)
            m.d.sync += [y.eq(value) for y, value in zip(payload, values, strict=True)]


def output_bits(format: RowFormat) -> int:
    """Return the bits of the registers of :class:`OutputRegister`."""
    return (format.lanes * format.shape.width + 1) * (2 if format.pipelined else 1)


def spare_bits(format: RowFormat) -> int:
    """Return how many of them are chosen from in a second place."""
    return format.lanes * format.shape.width if format.pipelined else 0
