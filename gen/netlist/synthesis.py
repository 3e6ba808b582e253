"""What each layer costs on an FPGA: every layer through yosys by itself, hierarchy kept."""
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from amaranth import Module, Value
from amaranth.back import rtlil  # type: ignore[attr-defined]
from joblib import Parallel, delayed

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.netlist import verilog, yosys
from headrace.gen.netlist.jobs import Cache, Workers
from headrace.gen.netlist.resources import Report, Resources, classify
from headrace.gen.netlist.target import Target
from headrace.gen.system import processes
from headrace.hdl.base.hierarchy import Hierarchy, instance, ports

BATCH_CHARACTERS = 1_500_000
"""RTLIL that goes through one run of Yosys."""

_BUNDLE = "headrace_layers"
_OUTPUTS = "roms.json", "memories.json", "cells.json"

CLOCK_PERIOD_PS = 10_000
"""Clock that logic is mapped for: 100 MHz."""

BLANK_WORDS, BLANK_WIDTH = 256, 32
"""Size from which a ROM becomes block RAMs in every family, whatever it holds."""


def synthesise(hierarchy: Hierarchy, *, target: Target, workers: Workers | None = None,
               cache: Path | None = None,
               progress: Callable[[int, int], None] | None = None) -> Report:
    """Synthesise every layer of a netlist for an FPGA family.

    Parameters
    ----------
    target : :class:`Target`
    workers : :class:`Workers`
        Who runs Yosys; by default a process for each processor.
    cache : :class:`Path`
        Folder of what was synthesised before; by default in the user's cache folder.
    progress
        Called with the number of layers done and of all.

    Raises
    ------
    :exc:`HeadraceError`
        If the target has no memory for the netlist's rings, Yosys is missing or fails, or workers or cache
        cannot be used.
    """
    target.check_rings(hierarchy.rings)
    names = _with_logic(hierarchy)
    store, version = Cache(cache), yosys.version()
    procedure = version, *_blank_roms(target), Path(__file__).read_text("utf-8")
    keys = {name: store.key(*procedure, *verilog.rtlil(hierarchy, verilog.closure(hierarchy, name)))
            for name in names}
    found = {name: cells for name, key in keys.items() if (cells := store.get(key)) is not None}
    if missing := [name for name in names if name not in found]:
        with (workers or Workers()).ready() as count:
            jobs = [delayed(_synthesise)(batch, _design(hierarchy, batch), target, version)
                    for batch in _batches(hierarchy, missing, count)]
            for layers in Parallel(return_as="generator_unordered")(jobs):
                for name, cells in layers.items():
                    store.put(keys[name], cells)
                found |= layers
                if progress is not None:
                    progress(len(found), len(names))
    elif progress is not None:
        progress(len(found), len(names))
    return Report(target.name, {name: classify(**found[name]) for name in names})


def _with_logic(hierarchy: Hierarchy) -> list[str]:
    """Return the layers that are more than wires."""
    return [name for name in verilog.layers(hierarchy) if "\n  cell $" in hierarchy.modules[name]
            or len(verilog.closure(hierarchy, name)) > 1]


def _batches(hierarchy: Hierarchy, names: list[str], jobs: int) -> Iterator[list[str]]:
    """Yield layers to go through one run of Yosys together: small ones share the time it takes to start."""
    sizes = {name: sum(len(hierarchy.modules[module]) for module in verilog.closure(hierarchy, name))
             for name in names}
    limit = min(sum(sizes.values()) / (2 * jobs), BATCH_CHARACTERS)
    batch: list[str] = []
    for name in sorted(names, key=lambda name: -sizes[name]):
        if batch and sum(sizes[member] for member in batch) + sizes[name] > limit:
            yield batch
            batch = []
        batch.append(name)
    if batch:
        yield batch


def _design(hierarchy: Hierarchy, names: list[str]) -> str:
    """Return RTLIL of layers and all they instantiate, in a module that bundles them."""
    modules = dict.fromkeys(module for name in names for module in verilog.closure(hierarchy, name))
    return "\n".join([_bundle(hierarchy, names), *verilog.rtlil(hierarchy, modules)])


def _synthesise(names: list[str], design: str, target: Target, version: str) -> dict[str, dict[str, Any]]:
    """Return, for each layer, the arguments of :py:`classify()`. Runs on a worker."""
    with processes.interruptible_worker():
        if yosys.version() != version:
            raise HeadraceError(f"a worker runs {yosys.version()} and not {version}")
        memories, before, after = _counted(design, target)
    return {name: {"cells": dict(_cells(after, name)), "writable": _cells(before, name)["writable_memory"],
                   "rom_bits": _rom_bits(memories, before, name)} for name in names}


def synthesise_modules(hierarchy: Hierarchy, *, target: Target, jobs: int = 2) -> dict[str, Resources]:
    """Synthesise a netlist; return what each module has, without the modules that it instantiates."""
    done = Parallel(n_jobs=jobs, backend="threading")(
        delayed(_synthesise_modules)(hierarchy, batch, target)
        for batch in _batches(hierarchy, _with_logic(hierarchy), jobs))
    return {name: made for modules in done for name, made in modules.items()}


def _synthesise_modules(hierarchy: Hierarchy, names: list[str], target: Target) -> dict[str, Resources]:
    _, _, after = _counted(_design(hierarchy, names), target)
    modules = dict.fromkeys(module for name in names for module in verilog.closure(hierarchy, name))
    return {module: classify(_cells(after, module, without=modules), 0, 0) for module in modules
            if f"\\{module}" in after}


def _counted(design: str, target: Target) -> list[Mapping[str, Any]]:
    """Return what yosys counts in each module: memories, those with a write port, and primitives."""
    try:
        made = _run(design, _blank_roms(target))
    except HeadraceError:  # a ROM that became logic, whose content matters: see _blank_roms
        made = _run(design, commands(target, _BUNDLE))
    try:
        return [json.loads(made[output])["modules"] for output in _OUTPUTS]
    except (ValueError, KeyError, TypeError) as error:
        raise HeadraceError(f"{yosys.version()} writes statistics of another form than expected") from error


def commands(target: Target, top: str) -> list[str]:
    """Return the Yosys commands that make a target's netlist of RTL whose processes are gone."""
    return [
        "opt_clean -purge",  # names that differ in their first character alone confuse abc9
        # Without a clock to meet, abc9 spends LUTs on the delay of every path across a module's border.
        f"scratchpad -set abc9.D {CLOCK_PERIOD_PS}",
        *target.synthesis.format(top).splitlines(),
    ]


def _run(design: str, script: list[str]) -> dict[str, str]:
    return yosys.run("\n".join([
        "read_rtlil design.il",
        f"hierarchy -top {_BUNDLE}",
        "design -save read",
        "memory_unpack",
        "tee -q -o roms.json stat -json",
        "design -load read",
        "proc",
        "memory_collect",
        "design -save netlist",
        "chtype -set \\writable_memory t:$mem_v2 r:WR_PORTS>0 %i t:$memwr* %u",
        "tee -q -o memories.json stat -json",
        "design -load netlist",
        *script,
        "tee -q -o cells.json stat -json",
        "",
    ]), files={"design.il": design}, outputs=_OUTPUTS)


def _blank_roms(target: Target) -> list[str]:
    """Return a target's script that forgets what large ROMs hold before they become block RAMs.

    To write their content into primitives takes Yosys longer than all else, and is no part of a report. The
    script fails if one of these ROMs is left over after the step that maps memories.
    """
    *setup, command = commands(target, _BUNDLE)
    step = target.memory_step
    return [
        *setup,
        f"{command} -run begin:{step}",
        f"select -set blank t:$mem_v2 r:SIZE>={BLANK_WORDS} %i r:WIDTH>={BLANK_WIDTH} %i r:WR_PORTS=0 %i",
        "setparam -set INIT 0 @blank",
        "setattr -set blank 1 @blank",
        f"{command} -run {step}:map_ffram",
        "select -assert-none t:$mem_v2 a:blank %i",
        f"{command} -run map_ffram:check",  # that step gives cells names, which takes as long as abc9
        "blackbox =A:whitebox",  # as it does: cells of the family are no modules
    ]


def _bundle(hierarchy: Hierarchy, names: list[str]) -> str:
    """Return RTLIL of a module that has the given modules side by side, and all their ports."""
    m = Module()
    made: dict[str, tuple[Value, None]] = {}
    for name in names:
        signature = hierarchy.signatures[name]
        interface = signature.create(path=(name,))
        m.submodules[name] = instance(name, signature, interface)
        made |= {f"{name}__{port}": (value, None) for port, value, _ in ports(signature, interface)}
    text: str = rtlil.convert(m, name=_BUNDLE, ports=made, emit_src=False)
    return text


def _cells(modules: Mapping[str, Any], name: str, without: Iterable[str] = ()) -> Counter[str]:
    """Return the cells of a module and of all it instantiates, from a report of `stat`, by type."""
    total: Counter[str] = Counter()
    for cell, count in modules[f"\\{name}"]["num_cells_by_type"].items():
        number = int(count["local_count"] if isinstance(count, dict) else count)  # by version of Yosys
        if cell in without:
            continue
        if f"\\{cell}" in modules:
            for inner, times in _cells(modules, cell, without).items():
                total[inner] += number * times
        else:
            total[cell] += number
    return total


def _rom_bits(memories: Mapping[str, Any], before: Mapping[str, Any], name: str) -> int:
    """Return the bits of the memories in a module and in all it instantiates, but for writable ones."""
    found = memories[f"\\{name}"]
    writable = before[f"\\{name}"]["num_cells_by_type"].get("writable_memory", 0)
    bits = 0 if writable else int(found["num_memory_bits"])
    for cell, count in found["num_cells_by_type"].items():
        if f"\\{cell}" in memories:
            number = int(count["local_count"] if isinstance(count, dict) else count)
            bits += number * _rom_bits(memories, before, cell)
    return bits
