"""An asynchronous serial port, 8N1: a start bit, eight bits of data, the lowest first, a stop bit."""
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer  # type: ignore[import-untyped]
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.rows import table

BITS = 10  # of a byte on the line
LEAST = 4  # cycles per bit: at 2 % between the two ends' rates, a stop bit is still met

Received = data.StructLayout({"byte": 8, "framing_error": 1})


class UartReceiver(wiring.Component):
    """Bytes from a serial line.

    Every start bit sets the time anew; each bit is read once, in its middle. A start bit that is high in its
    middle is none. A byte whose stop bit is low comes with ``framing_error``; the next one starts with the
    next falling edge, so a line that stays low gives one such byte.

    A byte is offered for one cycle, half a bit before the end of its stop bit. The transmitter may be up to
    2 % faster or slower.

    Parameters
    ----------
    divisor : number
        Clock cycles per bit, at least 4, and not necessarily whole: times are rounded one by one and errors
        do not add up.

    Members
    -------
    rx : :py:`In(1)`
        The line, not synchronised; high when idle.
    o : :py:`Out(stream.Signature(Received, always_ready=True))`
    """

    rx: Signal
    o: stream.Interface

    def __init__(self, *, divisor: Fraction | float) -> None:
        self.divisor = checked(divisor)
        super().__init__({"rx": In(1), "o": Out(stream.Signature(Received, always_ready=True))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rx, before, busy = Signal(init=1), Signal(init=1), Signal()
        m.submodules.synchroniser = FFSynchronizer(self.rx, rx, init=1)
        # An edge is seen up to a cycle late, so what is between two cycles is rounded down.
        middles = [floor(self.divisor * (2 * bit + 1) / 2) for bit in range(BITS)]
        bit, expired = _timer(m, [0, *middles], busy)
        shift = Signal(8)
        m.d.sync += before.eq(rx)
        with m.If(~busy):
            m.d.sync += busy.eq(before & ~rx)
        with m.Elif(expired):
            m.d.sync += shift.eq(Cat(shift[1:], rx))
            with m.If((bit == BITS - 1) | (bit == 0) & rx):
                m.d.sync += busy.eq(0)
        m.d.comb += [
            self.o.payload.byte.eq(shift),
            self.o.payload.framing_error.eq(~rx),
            self.o.valid.eq(busy & expired & (bit == BITS - 1)),
        ]
        return m


class UartTransmitter(wiring.Component):
    """Bytes to a serial line, one behind the other without a gap if they come fast enough.

    Parameters
    ----------
    divisor : number
        Clock cycles per bit, as :class:`UartReceiver`'s.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
    tx : :py:`Out(1)`
        From a register; high when idle.
    """

    i: stream.Interface
    tx: Signal

    def __init__(self, *, divisor: Fraction | float) -> None:
        self.divisor = checked(divisor)
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        busy, shift, level = Signal(), Signal(BITS - 1), Signal(init=1)
        edges = [floor(self.divisor * bit + Fraction(1, 2)) for bit in range(BITS + 1)]
        bit, expired = _timer(m, edges, busy)
        done = expired & (bit == BITS - 1)
        m.d.comb += [self.i.ready.eq(~busy | done), self.tx.eq(level)]
        with m.If(busy & expired):
            m.d.sync += [level.eq(shift[0]), shift.eq(Cat(shift[1:], Const(1, 1)))]
        with m.If(self.i.ready):
            m.d.sync += [busy.eq(self.i.valid), level.eq(~self.i.valid),
                         shift.eq(Cat(self.i.payload, Const(1, 1)))]
        return m


def checked(divisor: Fraction | float) -> Fraction:
    """Return a divisor as a fraction.

    Raises
    ------
    :exc:`ValueError`
        If it is too small.
    """
    if divisor < LEAST:
        raise ValueError(f"Divisor must be at least {LEAST}, not {divisor!r}")
    return Fraction(divisor)


def _timer(m: Module, times: Sequence[int], busy: Signal) -> tuple[Any, Any]:
    """Count the cycles from one time to the next while busy; return the number of the bit and its end."""
    lengths = [end - start - 1 for start, end in pairwise(times)]
    timer, bit = Signal(range(max(lengths) + 1)), Signal(range(len(lengths)))
    expired = Signal()
    m.d.comb += expired.eq(timer == table(lengths, bit))
    m.d.sync += timer.eq(timer + 1)
    with m.If(~busy | expired):
        m.d.sync += timer.eq(0)
    with m.If(~busy):
        m.d.sync += bit.eq(0)
    with m.Elif(expired):
        m.d.sync += bit.eq(bit + 1)
        with m.If(bit == len(lengths) - 1):
            m.d.sync += bit.eq(0)
    return bit, expired
