"""Compiled simulation: the netlist as C++, compiled once, cached, run at full speed.

Same results as :mod:`headrace.sim.amaranth_run`, cycle for cycle, some thousand times faster.
"""
import ctypes
import functools
import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

from headrace.gen.ir.errors import HeadraceError, shorten
from headrace.gen.netlist import yosys
from headrace.gen.system import processes
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.sim import cxxrtl
from headrace.sim.beats import Beats, Pattern, Progress, hang, pattern, row_bytes

HARNESS = Path(__file__).with_name("harness.cc")

# Without NDEBUG, an address beyond a memory ends the process, even where nobody looks at the result.
FLAGS = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-DNDEBUG", "-DCXXRTL_NDEBUG", "-w",
         "-fno-sanitize=all")

_DONE, _HANG, _STOPPED, _NO_PORT, _MIXED_WIRE, _LOOP = range(6)


class _Stream(ctypes.Structure):
    """The structure of the same name in harness.cc."""

    _fields_ = [("name", ctypes.c_char_p), ("kind", ctypes.c_int64), ("width", ctypes.c_int64),
                ("count", ctypes.c_int64), ("beats", ctypes.c_void_p), ("pattern", ctypes.c_void_p),
                ("period", ctypes.c_int64), ("seen", ctypes.c_int64),
                ("cycle", ctypes.POINTER(ctypes.c_int64)), ("payload", ctypes.POINTER(ctypes.c_uint8))]


_Report = ctypes.CFUNCTYPE(ctypes.c_int)


class Simulation:
    """A compiled netlist. Every run starts from the initial state.

    Attributes
    ----------
    streams : :class:`dict` from :class:`str` to :class:`cxxrtl.Stream`
        Streams at the top of the netlist.
    cycles : :class:`int`
        Length of the last run.
    passes : :class:`int`
        Evaluations of the netlist per cycle besides the one at the clock edge; learned by running it.
    """

    def __init__(self, library: Path, streams: Mapping[str, cxxrtl.Stream]) -> None:
        self.streams = dict(streams)
        self.cycles = self.passes = 0
        try:
            self._library = ctypes.CDLL(str(library))
        except OSError as error:
            raise HeadraceError(f"cannot load the compiled simulation: {error}") from error

    def run(self, *, inputs: Mapping[str, npt.NDArray[np.uint8]], outputs: Mapping[str, int],
            probes: Collection[str] = (), valid: Mapping[str, Pattern] | None = None,
            ready: Mapping[str, Pattern] | None = None, deadline: int = 100_000,
            progress: Progress | None = None) -> dict[str, Beats]:
        """Run until every output has its beats; see :mod:`headrace.sim.beats` for the rules.

        Parameters
        ----------
        inputs : mapping from stream to array (beats, bytes)
            What to send. An input that is left out stays idle.
        outputs : mapping from stream to :class:`int`
            Beats to wait for, for every output and any probe.
        probes : collection of streams
            Streams to record.
        valid, ready : mapping from stream to :data:`Pattern`
        deadline : :class:`int`
            Cycles without any transfer after which the run has failed.

        Raises
        ------
        :exc:`HeadraceError`
            If nothing moves for that long.
        """
        total = sum(outputs.values())
        table = (_Stream * len(self.streams))()
        kept: list[object] = []
        for entry, (name, stream) in zip(table, self.streams.items(), strict=True):
            beats = np.ascontiguousarray(
                inputs.get(name, np.zeros((0, row_bytes(stream.width)))), np.uint8)
            if beats.ndim != 2 or beats.shape[1] != row_bytes(stream.width):
                raise ValueError(f"Beats of {name} must be (beats, {row_bytes(stream.width)}) bytes, "
                                 f"not {beats.shape!r}")
            willing = pattern(valid if stream.kind == cxxrtl.INPUT else ready, name)
            entry.name, entry.kind, entry.width = name.encode(), stream.kind, stream.width
            entry.count = len(beats) if stream.kind == cxxrtl.INPUT else outputs.get(name, 0)
            entry.beats, entry.pattern, entry.period = beats.ctypes.data, willing.ctypes.data, len(willing)
            kept += [beats, willing]
        interruption: list[BaseException] = []
        cycles, passes = ctypes.c_int64(0), ctypes.c_int64(self.passes)

        def report() -> int:
            try:  # also where Control-C arrives
                if progress is not None:
                    seen = {entry.name.decode(): entry.seen for entry in table}
                    progress(sum(seen[name] for name in outputs), total, cycles.value)
            except BaseException as error:
                interruption.append(error)
            return len(interruption)

        status = self._library.headrace_run(
            table, ctypes.c_int64(len(table)), ctypes.c_int64(deadline), ctypes.byref(cycles),
            ctypes.byref(passes), _Report(report))
        try:
            if interruption:
                raise interruption[0]
            self._check(status, table, cycles.value, deadline)
            self.cycles, self.passes = cycles.value, passes.value
            if progress is not None:
                progress(total, total, self.cycles)
            wanted = {*inputs, *outputs, *probes}
            return {name: _beats(entry) for name, entry in zip(self.streams, table, strict=True)
                    if name in wanted}
        finally:
            self._library.headrace_free(table, ctypes.c_int64(len(table)))

    def _check(self, status: int, table: "ctypes.Array[_Stream]", cycle: int, deadline: int) -> None:
        if status == _HANG:
            raise hang(cycle, deadline, {
                entry.name.decode(): f"{entry.seen}" if entry.kind == cxxrtl.PROBE
                else f"{entry.seen} of {entry.count}" for entry in table})
        assert status != _NO_PORT, f"no ports for {[e.name for e in table if e.seen < 0]}"
        assert status != _MIXED_WIRE, "a wire holds bits of registers and of logic"
        assert status != _LOOP, "a combinational loop"
        assert status == _DONE, status


def _beats(entry: _Stream) -> Beats:
    count, width = entry.seen, row_bytes(entry.width)
    cycle = np.ctypeslib.as_array(entry.cycle, (count,)).copy()
    payload = np.ctypeslib.as_array(entry.payload, (count * width,)).copy()
    return Beats(cycle, payload.reshape(count, width))


def compile(hierarchy: Hierarchy, *, optimise: bool = True, cache: Path | None = None) -> Simulation:
    """Compile a netlist, or take it from the cache.

    Parameters
    ----------
    hierarchy : :class:`Hierarchy`
        A netlist whose top module has streams for ports, ``{name}__valid`` and so on. Build it with
        ``fast_rings`` if nothing is to be learned of rings as they are written.
    optimise : :class:`bool`
        Take time for a fast run: not worth it for a few thousand cycles of a small network.
    cache : :class:`Path`
        Folder of what was compiled before; by default in the user's cache folder.

    Raises
    ------
    :exc:`HeadraceError`
        If there is no Yosys or no C++ compiler, or one of them fails.
    """
    folder = (cache or platformdirs.user_cache_path("headrace") / "simulations").absolute()
    flags = (*FLAGS, "-O1" if optimise else "-O0")
    key = hashlib.sha256("\0".join([
        cxxrtl.netlist(hierarchy), Path(cxxrtl.__file__).read_text("utf-8"), HARNESS.read_text("utf-8"),
        yosys.version(), *compiler(), _compiler_version(), *flags]).encode()).hexdigest()
    library = folder / f"{key[:40]}.so"
    if not library.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with processes.removed_afterwards(folder, "headrace-") as temporary:
                _build(hierarchy, temporary, flags).replace(library)
        except OSError as error:
            raise HeadraceError(f"cannot write {folder}: {error.strerror}") from error
    return Simulation(library, cxxrtl.streams(hierarchy))


def _build(hierarchy: Hierarchy, folder: Path, flags: Sequence[str]) -> Path:
    jobs = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name, text in cxxrtl.generate(hierarchy, parts=jobs).items():
        (folder / name).write_text(text, "utf-8")
    sources = [HARNESS, *sorted(folder.glob("*.cc"))]
    objects = [str(folder / f"{source.stem}.o") for source in sources]
    include = yosys.share() / "include" / "backends" / "cxxrtl" / "runtime"
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda pair: _run(folder, "-c", *flags, f"-I{include}", str(pair[0]), "-o", pair[1]),
                      zip(sources, objects, strict=True)))
    _run(folder, "-shared", *objects, "-o", str(folder / "simulation.so"))
    return folder / "simulation.so"


def _run(folder: Path, *arguments: str) -> None:
    done = processes.run([*compiler(), *arguments], folder)
    if done.returncode:
        lines = done.stderr.splitlines() or ["no message"]
        first = next((line for line in lines if "error" in line), lines[-1])
        raise HeadraceError(f"the C++ compiler failed: {shorten(first, 300)}")


@functools.cache
def compiler() -> Sequence[str]:
    """The start of a command line that runs a C++ compiler."""
    if native := shutil.which("c++"):
        return (native,)
    if importlib.util.find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "c++")
    raise HeadraceError("a C++ compiler is missing: install `c++`, or the Python package ziglang")


@functools.cache
def _compiler_version() -> str:
    with processes.workspace() as folder:
        return processes.run([*compiler(), "--version"], folder).stdout
