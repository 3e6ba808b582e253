"""C++ that simulates a netlist, from the CXXRTL backend of Yosys.

The netlist is prepared for speed, of the run and of the C++ compiler:

- All is flattened but the modules of which a parent has many (lanes), so that these are compiled once.
- What is left is grouped anew: the lanes of a parent; each layer. The time to compile a function grows
  faster than its length, and the design is to be evaluated in one sorted pass however valid and ready run
  through the layers.
- Wide ports, registers and payloads are cut into pieces; see :mod:`headrace.sim.narrow`.
"""
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from amaranth import ClockDomain, Instance, Module, Signal
from amaranth.back import rtlil  # type: ignore[attr-defined]

from headrace.gen.netlist import yosys
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.sim import narrow

MANY = 4
"""Copies from which on a module stays a module."""

_BENCH = "headrace_bench"
_CELL = re.compile(r"^ *cell \\(\S+) \\(\S+)$", re.MULTILINE)
_OUTPUT = re.compile(r"= (cell_\w+\.p_\w+)\.curr;$", re.MULTILINE)
_MODULE = re.compile(r"^(?=void \w+::reset\(\) \{)", re.MULTILINE)
_END = "} // namespace cxxrtl_design\n"

_SETTLED = """
template<size_t Bits>
inline const cxxrtl::value<Bits> &settled(const cxxrtl::value<Bits> &port) { return port; }
template<size_t Bits>
inline const cxxrtl::value<Bits> &settled(const cxxrtl::wire<Bits> &port) { return port.curr; }
"""


INPUT, OUTPUT, PROBE = range(3)


@dataclass(frozen=True)
class Stream:
    """A stream at the top: an input, an output or a probe, and the width of its payload in bits."""

    kind: int
    width: int


def streams(hierarchy: Hierarchy) -> dict[str, Stream]:
    """Return the streams among the ports of the top module: ``{name}__valid``, ``__ready``, ``__payload``."""
    ports = narrow.ports(_top(hierarchy))
    kinds = {("input", "output"): INPUT, ("output", "input"): OUTPUT, ("output", "output"): PROBE}
    found = {}
    for port, (direction, _) in ports.items():
        name = port.removesuffix("__valid")
        if name != port:
            kind = kinds[direction, ports[f"{name}__ready"][0]]
            found[name] = Stream(kind, ports.get(f"{name}__payload", ("", 0))[1])
    return found


def generate(hierarchy: Hierarchy, *, parts: int = 1) -> dict[str, str]:
    """Return C++ by file name: ``design.h`` and translation units of about the same size.

    The design is ``cxxrtl_design``. Its ports are those of the top module, but each output comes in words,
    ``{name}__{lowest bit}``, and inverted.
    """
    made = yosys.run(script(hierarchy), files={"design.il": netlist(hierarchy)},
                     outputs=("design.cc", "design.h"))
    # Outputs of modules marked `top` may be values, which have no `curr`.
    prologue, *modules = _MODULE.split(_OUTPUT.sub(r"= settled(\1);", made["design.cc"]))
    modules[-1], create = modules[-1].split(_END)
    units = [""] * min(parts, len(modules))
    for module in sorted(modules, key=len, reverse=True):
        smallest = min(range(len(units)), key=lambda unit: len(units[unit]))
        units[smallest] += module
    files = {f"design{index}.cc": f"{prologue}{unit}{_END}" for index, unit in enumerate(units)}
    files["design0.cc"] += create
    return {"design.h": made["design.h"] + _SETTLED, **files}


def netlist(hierarchy: Hierarchy) -> str:
    """Return the RTLIL of the design in a bench that cuts its outputs into words."""
    arrays = {array for arrays in _arrays(hierarchy).values() for array in arrays}
    return "\n".join([_bench(hierarchy), *(
        narrow.narrow(name, text) if name in arrays else text
        for name, text in hierarchy.modules.items())])


def script(hierarchy: Hierarchy) -> str:
    """Return the Yosys commands that turn ``design.il`` into ``design.h`` and ``design.cc``."""
    layers = _arrays(hierarchy)
    uses = Counter(array for arrays in layers.values() for array in arrays)
    make_groups = ("select -clear", f"submod {_BENCH}")  # all at once: it cleans up each time
    return "\n".join([
        "read_rtlil design.il",
        f"hierarchy -top {_BENCH}",
        "proc",
        "memory_collect",
        "opt_expr",
        "opt_merge",  # otherwise an expression is written, and compiled, wherever it is used
        "opt_clean -purge",
        *(f"setattr -mod -set keep_hierarchy 1 {narrow.core(array)}" for array in uses),
        "flatten -noscopeinfo",
        "opt_clean -purge",
        "splitnets -driver",
        "splitcells",
        "splitnets -driver",
        "opt_clean -purge",
        f"select -module {_BENCH}",
        *(f'setattr -set submod "{array}_group" t:{narrow.core(array)}'
          for array, count in uses.items() if count == 1),
        *make_groups,
        f"select -module {_BENCH}",
        *(_layer_group(layer, arrays) for layer, arrays in layers.items()),
        *make_groups,
        "opt_clean -purge",
        "check -assert",
        # Only outputs of a top module are written without a second buffer, which would cost another pass.
        "setattr -mod -set top 1 *",
        "write_cxxrtl -nohierarchy -noflatten -noproc -header -g2 design.cc",
        ""])


def _layer_group(layer: str, arrays: Iterable[str]) -> str:
    """Return the commands that mark the cells of a layer, without the registers that others read.

    To the scheduler, whatever comes out of a module depends on all that goes in. With the output register
    outside, only ready does come out, and the layers can be sorted.
    """
    groups = " ".join(f"c:{_BENCH}_{array}_group %u" for array in arrays)
    return "\n".join([
        f"select -set layer c:top.{layer}.* c:$flatten?top.?{layer}.* %u {groups}",
        "select -set read c:* @layer %d %ci1",
        "select -set registers @read w:* %i %ci1 t:$*dff* %i @layer %i",
        f'setattr -set submod "{layer}_layer" @layer @registers %d',
    ])


def _arrays(hierarchy: Hierarchy) -> dict[str, list[str]]:
    """Return the outermost modules that a parent has many of, by layer: by instance in the top module."""
    found: dict[str, list[str]] = {}

    def descend(parent: str, layer: str) -> None:
        cells = [(module, name) for module, name in _CELL.findall(hierarchy.modules[parent])
                 if module in hierarchy.modules]
        counts = Counter(module for module, _ in cells)
        for module, name in dict(cells).items():
            if counts[module] < MANY:
                descend(module, layer or name)
            elif module not in (arrays := found.setdefault(layer or name, [])):
                arrays.append(module)

    descend(next(iter(hierarchy.modules)), "")
    return found


def _top(hierarchy: Hierarchy) -> str:
    return next(iter(hierarchy.modules.values()))


def _bench(hierarchy: Hierarchy) -> str:
    """Return RTLIL of a module around the top.

    The inverters keep its outputs apart from nets inside: `submod` loses nets that are both.
    """
    m, sync = Module(), ClockDomain("sync")  # type: Module, Any
    m.domains.sync = sync
    ports: dict[str, Any] = {"clk": (sync.clk, None), "rst": (sync.rst, None)}
    pins: dict[str, Any] = {"i_clk": sync.clk, "i_rst": sync.rst}
    for name, (direction, width) in narrow.ports(_top(hierarchy)).items():
        if name in ports:
            continue
        pins[f"{direction[0]}_{name}"] = net = Signal(width, name=name)
        if direction == "input":
            ports[name] = net, None
            continue
        for start in range(0, width, narrow.WORD):
            word = Signal(min(narrow.WORD, width - start), name=f"{name}__{start}")
            m.d.comb += word.eq(~net[start:start + len(word)])
            ports[word.name] = word, None
    m.submodules.top = Instance(next(iter(hierarchy.modules)), **pins)
    text: str = rtlil.convert(m, name=_BENCH, ports=ports, emit_src=False)
    return text
