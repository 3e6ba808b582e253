# amaranth: UnusedElaboratable=no
"""What connects a network to a board's clock and pins."""
from typing import Any

from amaranth import ClockDomain, ClockSignal, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer  # type: ignore[import-untyped]

SERIAL, PLL = "top", "pll"
"""Modules that come as files: a :class:`headrace.boards.top.SerialTop`, and a PLL.

The PLL has the ports ``clock_in``, ``clock_out`` and ``locked``.
"""


class BoardTop(Elaboratable):
    """The module :data:`SERIAL` between a platform's clock and its serial port, ``uart`` 0.

    Parameters
    ----------
    pll : :class:`bool`
        Whether the clock comes from the module :data:`PLL`, which holds the design in reset until it has
        locked, or is the oscillator's.
    """

    def __init__(self, *, pll: bool) -> None:
        self._pll = pll

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self._pll:
            oscillator = io.Buffer(io.Direction.Input, platform.request(platform.default_clk, dir="-"))
            locked = Signal()
            m.domains.sync = ClockDomain()
            m.submodules.oscillator = oscillator
            m.submodules.pll = Instance(
                PLL, i_clock_in=oscillator.i, o_clock_out=ClockSignal(), o_locked=locked)
            m.submodules.reset = ResetSynchronizer(~locked)
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer(io.Direction.Input, uart.rx)
        m.submodules.tx = tx = io.Buffer(io.Direction.Output, uart.tx)
        m.submodules.serial = Instance(
            SERIAL, i_clk=ClockSignal(), i_rst=ResetSignal(allow_reset_less=True), i_rx=rx.i, o_tx=tx.o)
        return m
