# amaranth: UnusedElaboratable=no
"""From a plan to a board's bitstream: the network behind a serial port, synthesised, placed and routed."""
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any

from headrace.boards.board_top import SERIAL, BoardTop
from headrace.boards.boards import Board
from headrace.boards.place_route import Timing, timing, utilisation
from headrace.boards.pll import make as make_pll
from headrace.boards.top import BAUD, SILENCE, SerialTop
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.gen.netlist import tools, verilog
from headrace.gen.planning.fit import Use
from headrace.gen.system import processes
from headrace.gen.system.folder import PLAN, replaced
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.hdl.edge.uart import BITS, LEAST

_NAME = "board"  # of all files of the build
_YOSYS_LOG, _NEXTPNR_LOG, _REPORT = f"{_NAME}.rpt", f"{_NAME}.tim", "report.json"
_LOGS = {"yosys": _YOSYS_LOG, "nextpnr-ecp5": _NEXTPNR_LOG, "nextpnr-ice40": _NEXTPNR_LOG}
_KEPT = {_YOSYS_LOG: "yosys.log", _NEXTPNR_LOG: "nextpnr.log", _REPORT: "nextpnr.json"}
_SUFFIXES = ".bit", ".bin"
FIGURES = "figures.json"

LOGIC_PS = 6_000
"""Time that abc9 gives the logic between two registers: half of what it takes, the rest is wires."""

_BEFORE_SYNTHESIS = f"""
hierarchy -top {_NAME}
proc
opt_clean -purge  # names that differ in their first character alone confuse abc9
scratchpad -set abc9.D {LOGIC_PS}
"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a bitstream is made: ``clock`` in MHz, by default that of the board's oscillator."""

    clock: float | None = None
    baud: int = BAUD
    seed: int = 1
    nextpnr: tuple[str, ...] = ()  # further arguments


@dataclass(frozen=True, kw_only=True)
class Bitstream:
    """A bitstream and what was measured of it; ``clock`` is the board's in MHz, ``timing`` what could be."""

    file: Path
    board: str
    device: str
    clock: float
    baud: int
    cycles_per_frame: float
    timing: Timing
    uses: tuple[Use, ...]

    @property
    def frames_per_second(self) -> float:
        """At the achieved clock, frames back to back."""
        return self.timing.achieved * 1e6 / self.cycles_per_frame

    def to_json(self) -> dict[str, Any]:
        return {"file": str(self.file), "board": self.board, "device": self.device, "clock_mhz": self.clock,
                "baud": self.baud, "achieved_mhz": self.timing.achieved,
                "critical_path": {"source": self.timing.source, "sink": self.timing.sink,
                                  "ns": self.timing.delay},
                "cycles_per_frame": self.cycles_per_frame, "frames_per_second": self.frames_per_second,
                "use": [asdict(use) for use in self.uses]}


def bitstream(graph: Graph, plan: Plan, board: Board, folder: Path, *, settings: Settings | None = None,
              progress: Callable[[int, int], None] | None = None) -> Bitstream:
    """Write a network's bitstream for a board, logs, plan and figures into a new folder.

    A failure leaves all as it was. Files of an earlier output are replaced, others in the folder stay.

    Parameters
    ----------
    progress
        Called with the number of tools that have run and of all.

    Raises
    ------
    :exc:`HeadraceError`
        If a tool or package is missing or fails, the design does not fit the board or misses its clock, the
        clock cannot be made, the network is too slow for the serial line, or the folder cannot be written.
    """
    settings = settings or Settings()
    with replaced(folder) as made, processes.workspace() as work:
        commands, clock = _prepare(graph, plan, board, settings, work)
        for done, (tool, *arguments) in enumerate(commands):
            if progress is not None:
                progress(done, len(commands))
            try:
                tools.run(tool, arguments, work, log=_LOGS.get(tool, ""))
            except HeadraceError as error:
                if _LOGS.get(tool) == _NEXTPNR_LOG:
                    _check_fits(graph, board, utilisation(_text(work / _NEXTPNR_LOG)), error)
                raise
        found = timing(_text(work / _REPORT))
        if found.achieved < clock:
            raise HeadraceError(f"{graph.name} reaches {found.achieved:.1f} MHz on {board.title} and not the "
                                f"clock of {clock:g} MHz: try another --clock or --seed")
        (file,) = (work / f"{_NAME}{suffix}" for suffix in _SUFFIXES if (work / f"{_NAME}{suffix}").exists())
        output = f"{graph.name}{file.suffix}"
        for source, target in (_KEPT | {file.name: output}).items():
            shutil.copy(work / source, made / target)
        result = Bitstream(
            file=folder / output, board=board.name, device=board.device.name, clock=clock,
            baud=settings.baud, cycles_per_frame=plan.cycles_per_frame, timing=found,
            uses=utilisation(_text(work / _NEXTPNR_LOG)))
        for target, content in ((PLAN, plan.to_json()), (FIGURES, result.to_json())):
            (made / target).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return result


def _prepare(graph: Graph, plan: Plan, board: Board, settings: Settings,
             work: Path) -> tuple[list[list[str]], float]:
    """Write what the tools read; return their command lines and the clock in MHz."""
    board.device.target.check_rings(plan.rings)
    platform = board.platform()
    clock: float = platform.default_clk_frequency / 1e6
    if settings.clock is not None:
        source, clock = make_pll(board, clock, settings.clock)
        platform.add_file("pll.v", source)
    _check_line(graph, plan, clock * 1e6, settings.baud)
    serial = SerialTop(axi=elaborate.axi_top(graph, plan), clock=clock * 1e6, baud=settings.baud)
    hierarchy = Hierarchy(rings=plan.rings)
    hierarchy.build(serial, name=SERIAL)
    platform.add_file("network.il", "\n".join(verilog.rtlil(hierarchy, hierarchy.modules)))
    build = platform.prepare(
        BoardTop(pll=settings.clock is not None), _NAME, emit_src=False,
        synth_opts="" if board.device.target.flat else "-noflatten", script_after_read=_BEFORE_SYNTHESIS,
        nextpnr_opts=["--report", _REPORT, "--timing-allow-fail", "--seed", str(settings.seed),
                      *settings.nextpnr])
    build.extract(work)
    commands: list[list[str]] = json.loads(build.files[f"build_{_NAME}.json"])["commands"]
    return commands, clock


def _check_line(graph: Graph, plan: Plan, clock: float, baud: int) -> None:
    """Refuse a rate that the clock does not serve, or at which images may come faster than the network."""
    least, most = ceil(2 * BITS / SILENCE), int(clock / LEAST)
    if not least <= baud <= most:
        raise HeadraceError(f"--baud must be {least} to {most} at {clock / 1e6:g} MHz, not {baud}")
    image = BITS * prod(graph.tensors[graph.input].shape)
    if plan.cycles_per_frame > image * clock / baud:
        raise HeadraceError(
            f"at {baud} baud an image may come every {image * clock / baud:,.0f} cycles, and {graph.name} "
            f"takes one every {plan.cycles_per_frame:,.0f}: allow it fewer --cycles, or ask for a --baud of "
            f"at most {int(image * clock / plan.cycles_per_frame)}")


def _check_fits(graph: Graph, board: Board, uses: tuple[Use, ...], error: HeadraceError) -> None:
    if lacking := ", ".join(str(use) for use in uses if not use.fits):
        raise HeadraceError(f"{graph.name} needs {lacking} on {board.device.name}: allow it more --cycles, "
                            "or use --fit") from error


def _text(file: Path) -> str:
    return file.read_text("utf-8", "backslashreplace") if file.exists() else ""
