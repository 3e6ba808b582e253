"""Boards that bitstreams are made for."""
import pkgutil
from dataclasses import dataclass, replace
from typing import Any

from headrace.gen.estimate.devices import Device
from headrace.gen.estimate.devices import find as device_named
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.netlist.target import ECP5

LINK_LUTS, LINK_FLIP_FLOPS = 480, 200
"""What the serial link takes: 463 to 471 and 193 to 194, with yosys."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board with an FPGA, an oscillator and, as the platform's resource ``uart`` 0, a serial port.

    None has a reset button: a design starts from the registers' initial values, or by the platform's power-on
    reset.
    """

    name: str
    title: str
    device: Device
    kind: str  # of Amaranth's platform: module:class

    @property
    def room(self) -> Device:
        """Its FPGA without what the serial link takes (docs/link.md)."""
        return replace(self.device, lut=self.device.lut - LINK_LUTS, ff=self.device.ff - LINK_FLIP_FLOPS)

    @property
    def has_pll(self) -> bool:
        """Whether the clock can be another than the oscillator's."""
        return self.device.target == ECP5

    def platform(self) -> Any:
        """Return a new platform, which takes one design.

        Raises
        ------
        :exc:`HeadraceError`
            If amaranth-boards is missing.
        """
        try:
            return pkgutil.resolve_name(self.kind)()
        except ImportError as error:
            raise HeadraceError("amaranth-boards is missing: install `headrace[boards]`") from error


def _board(name: str, title: str, device: str, kind: str) -> Board:
    return Board(name=name, title=title, device=device_named(device), kind=kind)


BOARDS: tuple[Board, ...] = (
    _board("ulx3s_85f", "ULX3S 85F", "LFE5U-85", "amaranth_boards.ulx3s:ULX3S_85F_Platform"),
    _board("orangecrab_85f", "OrangeCrab r0.2 85F", "LFE5U-85",
           "headrace.boards.platforms:OrangeCrab85Platform"),
    _board("colorlight_i5", "Colorlight i5, extension board", "LFE5U-25",
           "headrace.boards.platforms:ColorlightI5Platform"),
    _board("colorlight_i9", "Colorlight i9, extension board", "LFE5U-45",
           "headrace.boards.platforms:ColorlightI9Platform"),
    _board("icebreaker", "iCEBreaker", "iCE40UP5K", "amaranth_boards.icebreaker:ICEBreakerPlatform"),
    _board("ice40_hx8k_b_evn", "iCE40-HX8K breakout board", "iCE40HX8K",
           "amaranth_boards.ice40_hx8k_b_evn:ICE40HX8KBEVNPlatform"),
)


def find(name: str) -> Board:
    """Return the board of a name; hyphens are as good as underscores.

    Raises
    ------
    :exc:`HeadraceError`
        If there is none.
    """
    for board in BOARDS:
        if board.name == name.lower().replace("-", "_"):
            return board
    raise HeadraceError(f"unknown board {name!r}: supported are {', '.join(board.name for board in BOARDS)}")
