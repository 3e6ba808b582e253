"""PLLs, by the tool that comes with the place and route of a family."""
import re

from headrace.boards.board_top import PLL
from headrace.boards.boards import Board
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.netlist import tools
from headrace.gen.system import processes

_FREQUENCY = re.compile(r"output clock_out, // ([\d.]+) MHz")


def make(board: Board, source: float, clock: float) -> tuple[str, float]:
    """Return Verilog of the module :data:`headrace.boards.board_top.PLL`, and the clock that it makes.

    All frequencies are in MHz; the clock is the nearest one that the PLL can make.

    Raises
    ------
    :exc:`HeadraceError`
        If the board has no PLL that is supported, the tool is missing, or it finds no clock within a tenth.
    """
    if not board.has_pll:
        raise HeadraceError(f"--clock is not supported on {board.title}: its clock is {source:g} MHz")
    with processes.workspace() as folder:
        tools.run("ecppll", [
            "--module", PLL, "--clkin_name", "clock_in", "--clkin", f"{source:g}",
            "--clkout0_name", "clock_out", "--clkout0", f"{clock:g}", "--file", "pll.v"], folder)
        text = (folder / "pll.v").read_text("utf-8")
    made = _FREQUENCY.search(text)
    if made is None or abs(float(made[1]) - clock) > clock / 10:
        raise HeadraceError(f"the PLL of {board.device.name} makes no {clock:g} MHz of {source:g} MHz")
    return text, float(made[1])
