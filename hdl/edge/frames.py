"""Frames of bytes, as RFC 1662 (PPP in HDLC-like framing) delimits them.

A flag stands before and behind each frame, one between two is enough. A byte of the frame that is the flag or
the escape is sent as the escape and the byte with bit 5 inverted. So a flag is always the border of a frame,
whatever became of the bytes before it.
"""
from amaranth import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.edge.uart import Received

FLAG, ESCAPE, INVERTED = 0x7E, 0x7D, 0x20


class Status(enum.Enum, shape=3):
    """What became of a frame."""

    OK = 0
    CHECKSUM = 1
    """All its bytes came, and some of them are wrong."""
    LENGTH = 2
    """It is announced with another length than the network's image has."""
    CUT_OFF = 3
    """It ended early."""
    TOO_LONG = 4
    """More bytes came than announced."""
    FRAMING = 5
    """A byte had no stop bit."""
    OVERRUN = 6
    """A pixel came before the network took the one before."""


Part = data.StructLayout({"byte": 8, "end": 1, "status": Status})
"""A byte of a frame; or, with ``end``, no byte but the end of a frame, and whether that is amiss."""

Raw = data.StructLayout({"byte": 8, "flag": 1})
"""A byte of a frame; or, with ``flag``, a flag."""


class Unstuff(wiring.Component):
    """Find frames among received bytes.

    What stands between two flags is a frame, and so is what silence ends; nothing between two flags is
    none. An end that is amiss says :py:`FRAMING` if a byte of the frame had no stop bit, otherwise
    :py:`CUT_OFF` after silence or behind an escape. Latency is zero.

    Parameters
    ----------
    timeout : :class:`int`
        Cycles without a byte after which a frame is cut off.

    Members
    -------
    i : :py:`In(stream.Signature(Received, always_ready=True))`
    o : :py:`Out(stream.Signature(Part, always_ready=True))`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, timeout: int) -> None:
        self.timeout = timeout
        super().__init__({"i": In(stream.Signature(Received, always_ready=True)),
                          "o": Out(stream.Signature(Part, always_ready=True))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inside, escaped, broken = Signal(), Signal(), Signal()
        silence = Signal(range(self.timeout))
        part, byte = self.o.payload, self.i.payload.byte
        cut_off = escaped | ~self.i.valid
        m.d.comb += [
            part.byte.eq(Mux(escaped, byte ^ INVERTED, byte)),
            part.status.eq(Mux(broken, Status.FRAMING, Mux(cut_off, Status.CUT_OFF, Status.OK))),
        ]
        m.d.sync += silence.eq(silence + 1)
        with m.If(self.i.valid):
            m.d.sync += [silence.eq(0), inside.eq(1)]
            with m.If(self.i.payload.framing_error):
                m.d.sync += broken.eq(1)
            with m.Elif(byte == FLAG):
                m.d.comb += part.end.eq(1)
            with m.Elif((byte == ESCAPE) & ~escaped):
                m.d.sync += escaped.eq(1)
            with m.Else():
                m.d.comb += self.o.valid.eq(1)
                m.d.sync += escaped.eq(0)
        with m.Elif(silence == self.timeout - 1):
            m.d.comb += part.end.eq(1)
        with m.If(part.end):
            m.d.comb += self.o.valid.eq(inside)
            m.d.sync += [inside.eq(0), escaped.eq(0), broken.eq(0), silence.eq(0)]
        return m


class Stuff(wiring.Component):
    """Make of frames what is sent. Latency is zero; an escaped byte takes two transfers.

    Members
    -------
    i : :py:`In(stream.Signature(Raw))`
    o : :py:`Out(stream.Signature(8))`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(Raw)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        byte, special, escaped = self.i.payload.byte, Signal(), Signal()
        m.d.comb += [
            special.eq(~self.i.payload.flag & ((byte == FLAG) | (byte == ESCAPE))),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready & (~special | escaped)),
            self.o.payload.eq(Mux(~special, byte, Mux(escaped, byte ^ INVERTED, ESCAPE))),
        ]
        with m.If(special & self.o.valid & self.o.ready):
            m.d.sync += escaped.eq(~escaped)
        return m
