"""Boards: what Amaranth makes of each, before any tool runs."""
import re
import sys

import pytest

from headrace.boards.board_top import BoardTop
from headrace.boards.boards import BOARDS, Board, find
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.netlist.target import ECP5

MHZ = {"ulx3s_85f": 25, "orangecrab_85f": 48, "colorlight_i5": 25, "colorlight_i9": 25, "icebreaker": 12,
       "ice40_hx8k_b_evn": 12}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_clock_and_serial_port(board: Board) -> None:
    platform = board.platform()
    assert platform.default_clk_frequency == MHZ[board.name] * 1e6
    size = re.search(r"UP5K|HX8K|\d\dF", platform.device)
    assert size and size[0].rstrip("F") in board.device.name
    files = platform.prepare(BoardTop(pll=False), "board").files
    constraints = files["board.lpf" if board.device.target == ECP5 else "board.pcf"]
    assert {"uart_0__rx__io", "uart_0__tx__io"} <= set(re.findall(r"\w+", constraints))
    assert f"FREQUENCY PORT \"{platform.default_clk}_0__io\"" in constraints or \
        f"set_frequency {platform.default_clk}_0__io {MHZ[board.name]}" in constraints


def test_pll_makes_the_clock() -> None:
    text = find("ULX3S-85F").platform().prepare(BoardTop(pll=True), "board").files["board.il"]
    assert re.search(r"cell \\pll \\pll\n(    connect .*\n)*    connect \\locked", text)
    assert [board.name for board in BOARDS if not board.has_pll] == ["icebreaker", "ice40_hx8k_b_evn"]


def test_unknown_board() -> None:
    with pytest.raises(HeadraceError, match="^unknown board 'arty': supported are ulx3s_85f, "):
        find("arty")


def test_without_amaranth_boards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amaranth_boards.icebreaker", None)
    with pytest.raises(HeadraceError, match=r"^amaranth-boards is missing: install `headrace\[boards\]`$"):
        find("icebreaker").platform()
