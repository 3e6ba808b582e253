# amaranth: UnusedElaboratable=no
"""What is on a board: a network and its link to a host."""
from fractions import Fraction

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.hierarchy import place
from headrace.hdl.edge.axi import AxiTop
from headrace.hdl.edge.link import Link
from headrace.hdl.edge.uart import BITS, UartReceiver, UartTransmitter

BAUD = 1_000_000
SILENCE = 0.1  # seconds; a host with other things to do may pause for some milliseconds


class SerialTop(wiring.Component):
    """A network behind a serial port, for any board that has a clock and two pins.

    :mod:`headrace.hdl.edge.link` is the protocol. Bytes are not held up: the network must take pixels as
    fast as they come, an image of B bytes in :py:`10 B clock / baud` cycles. To a network that is slower, or
    whose results are so many more than the image's values that they wait for the line, the answer is
    :py:`OVERRUN`.

    Parameters
    ----------
    axi : :class:`AxiTop`
    clock, baud : number
        Frequency of the clock and rate of the line, in Hz; at least four cycles per bit.
    silence : number
        Seconds after which a request is cut off.

    Members
    -------
    rx : :py:`In(1)`
        From the host; need not be synchronised.
    tx : :py:`Out(1)`
    """

    rx: Signal
    tx: Signal

    def __init__(self, *, axi: AxiTop, clock: float, baud: float = BAUD, silence: float = SILENCE) -> None:
        if silence * baud < 2 * BITS:
            raise ValueError(f"Silence must be at least two bytes, {2 * BITS / baud:g} s, not {silence!r}")
        self.axi = axi
        self.link = Link(pixels=axi.guard.beats, pixel_bytes=axi.pixel, timeout=round(clock * silence))
        divisor = Fraction(clock) / Fraction(baud)
        self.receiver, self.transmitter = UartReceiver(divisor=divisor), UartTransmitter(divisor=divisor)
        super().__init__({"rx": In(1), "tx": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi, link = self.axi, self.link
        place(m, platform, "axi_top", axi)
        m.submodules.receiver, m.submodules.transmitter = self.receiver, self.transmitter
        m.submodules.link = link
        wiring.connect(m, self.receiver.o, link.i)
        wiring.connect(m, link.o, self.transmitter.i)
        image, result = link.image, link.result
        # A register between results and link, whose bytes are slow: neither waits for the other's logic.
        with m.If(result.ready):
            m.d.sync += result.valid.eq(0)
        with m.If(~result.valid):
            m.d.sync += [result.valid.eq(axi.m_axis_tvalid), result.payload.value.eq(axi.m_axis_tdata),
                         result.payload.last.eq(axi.m_axis_tlast)]
        m.d.comb += [
            self.receiver.rx.eq(self.rx), self.tx.eq(self.transmitter.tx),
            axi.s_axis_tdata.eq(image.payload.pixel), axi.s_axis_tlast.eq(image.payload.last),
            axi.s_axis_tvalid.eq(image.valid), image.ready.eq(axi.s_axis_tready),
            axi.m_axis_tready.eq(~result.valid),
        ]
        return m
