# amaranth: UnusedElaboratable=no
"""Components as an FPGA family's netlist beside the RTL they were made of, cycle by cycle.

Both get the same random inputs in one compiled bench, and whatever they put out is compared in every cycle;
the payload of a stream only while it is valid. Registers start as in hardware. Inputs follow no rule of
streams: none is needed for a netlist to be the RTL.

Cells behave as Yosys' own models of the family say, or those in the folder `cells` where it has none. Of
block RAMs only iCE40's has a model; a netlist with another is refused.
"""
import ctypes
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth import Cat, ClockDomain, Instance, Module, Shape, Signal, Value
from amaranth.back import rtlil
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from headrace.gen.netlist import synthesis, verilog, yosys
from headrace.gen.netlist.target import find
from headrace.hdl.base.hierarchy import Hierarchy, place
from headrace.sim.compiled import compiler

HARNESS = Path(__file__).with_name("netlist_equivalence.cc")
CELLS = Path(__file__).with_name("cells")
MODELS = {"ecp5": "-D NO_INCLUDES +/ecp5/cells_sim.v", "ice40": "+/ice40/cells_sim.v",
          "xc7": "+/xilinx/cells_sim.v", "xcup": "+/xilinx/cells_sim.v"}
FLAGS = ("-std=c++17", "-O0", "-fPIC", "-shared", "-DNDEBUG", "-DCXXRTL_NDEBUG", "-w")

HIGH = {"rst": 2}
"""Of 256 cycles, those in which an input of one bit is high; by default half of them."""

_MODULE = re.compile(r"^module (\\\S+)$", re.MULTILINE)

Mutation = Callable[[str], str]
"""Changes a netlist's text."""


class Bundle(wiring.Component):
    """Components side by side, with all their ports."""

    def __init__(self, components: Mapping[str, Any]) -> None:
        self.components = dict(components)
        super().__init__({name: Out(component.signature) for name, component in components.items()})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, component in self.components.items():
            place(m, platform, name, component)
            wiring.connect(m, wiring.flipped(getattr(self, name)), component)
        return m


@dataclass(frozen=True)
class Port:
    """A port of a component: ``unit`` is the bits of each number in it."""

    component: str
    name: str
    flow: Any
    width: int
    unit: int

    @property
    def full_name(self) -> str:
        return f"{self.component}__{self.name}"


@dataclass(frozen=True)
class Comparison:
    """When each netlist first differed, by component; output bits that never changed, by port."""

    differs: Sequence[Mapping[str, int | None]]
    still: Mapping[str, Sequence[int]]


def compare(components: Mapping[str, Any], target: str, *, cycles: int, high: Mapping[str, int] | None = None,
            mutations: Sequence[Mutation] = (), flat: bool = False) -> Comparison:
    """Synthesise components and run their netlist beside their RTL.

    Parameters
    ----------
    components : mapping from :class:`str` to :class:`wiring.Component`
    target : :class:`str`
        A key of :data:`MODELS`.
    cycles : :class:`int`
    high : mapping from :class:`str` to :class:`int`
        As :data:`HIGH`, by name of a port.
    mutations : sequence of :data:`Mutation`
        Each makes a further netlist, compared as well, of the first.
    flat : :class:`bool`
        Flatten before synthesis, as bitstreams for iCE40 do.
    """
    gold = Hierarchy()
    gold.build(Bundle(components))
    netlist = synthesise(gold, target, flat=flat)
    netlists = [netlist, *(mutation(netlist) for mutation in mutations)]
    found = list(_ports(components))
    design = {f"gate{index}.il": _prefixed(text, f"gate{index}") for index, text in enumerate(netlists)}
    design["gold.il"] = _prefixed("\n".join(verilog.rtlil(gold, gold.modules)), "gold")
    design["bench.il"] = _bench(components, found, len(netlists))
    own = CELLS / f"{target}.v"
    if own.exists():
        design["cells.v"] = own.read_text()
    script = [
        *(f"read_rtlil {file}" for file in design if file.endswith(".il")),
        # Put off until a cell is met: iCE40's large memory alone takes minutes.
        f"read_verilog -defer {MODELS[target]}",
        *(["read_verilog -defer -overwrite cells.v"] if own.exists() else []),
        "hierarchy -check -top bench",
        "proc",
        "memory_collect",
        # A module of each component is left, as the time to compile a function grows faster than its length.
        *(f"setattr -mod -set keep_hierarchy 1 {kind}__{name}" for name in components
          for kind in ("gold", *(f"gate{index}" for index in range(len(netlists)) if not flat))),
        "flatten -noscopeinfo",
        "delete =$abstract*",
        "select -assert-none =A:blackbox",
        "opt_expr",
        "opt_merge",
        "opt_clean -purge",
        "setundef -undriven -random 1 gate* bench",
        "check -assert",
        "write_cxxrtl -nohierarchy -noflatten -noproc -g2 design.cc",
        ""]
    made = yosys.run("\n".join(script), files=design, outputs=["design.cc"])
    with tempfile.TemporaryDirectory(prefix="headrace-") as name:
        folder = Path(name)
        (folder / "design.cc").write_text(made["design.cc"])
        include = yosys.share() / "include" / "backends" / "cxxrtl" / "runtime"
        subprocess.run([*compiler(), *FLAGS, f"-I{include}", str(folder / "design.cc"), str(HARNESS), "-o",
                        str(folder / "bench.so")], check=True)
        return _run(folder / "bench.so", components, found, len(netlists), cycles, HIGH | dict(high or {}))


def synthesise(hierarchy: Hierarchy, target: str, *, flat: bool = False) -> str:
    """Return the RTLIL of the netlist that a target's script makes, without the models of its cells."""
    commands = "\n".join(synthesis.commands(find(target), "top"))
    if flat:
        commands = commands.replace(" -noflatten", "")
    return yosys.run("\n".join([
        "read_rtlil design.il", "hierarchy -top top", "proc", commands, "delete =A:blackbox",
        "write_rtlil netlist.il", ""]),
        files={"design.il": "\n".join(verilog.rtlil(hierarchy, hierarchy.modules))},
        outputs=["netlist.il"])["netlist.il"]


def _prefixed(text: str, prefix: str) -> str:
    """Return RTLIL whose modules have a prefix, wherever they are named."""
    names = {name: f"\\{prefix}__{name[1:]}" for name in _MODULE.findall(text)}
    return re.sub(r"^( *(?:module|cell) )(\\\S+)", lambda found: found[1] + names.get(found[2], found[2]),
                  text, flags=re.MULTILINE)


def _unit(shape: Any) -> int:
    """Return the bits of each number in a value of this shape."""
    if isinstance(shape, data.ArrayLayout):
        return _unit(shape.elem_shape)
    if isinstance(shape, data.StructLayout) and len(shape.members) == 1:
        return _unit(*shape.members.values())
    return Shape.cast(shape).width


def _ports(components: Mapping[str, Any]) -> Iterator[Port]:
    for component, made in components.items():
        for path, member, value in made.signature.flatten(made):
            if width := len(Value.cast(value)):
                yield Port(component, "__".join(map(str, path)), member.flow, width, _unit(member.shape))


def _bench(components: Mapping[str, Any], found: Sequence[Port], gates: int) -> str:
    """Return RTLIL of a module with the RTL's ports and a bit `differs` for each netlist and component."""
    m, sync = Module(), ClockDomain("sync")  # type: Module, Any
    m.domains.sync = sync
    made: dict[str, Any] = {"clk": (sync.clk, None), "rst": (sync.rst, None)}
    outputs: list[dict[Port, Signal]] = []
    inputs = {port: Signal(port.width, name=port.full_name) for port in found if port.flow is In}
    for kind in ("gold", *(f"gate{index}" for index in range(gates))):
        outputs.append({port: Signal(port.width, name=f"{kind}_{port.full_name}")
                        for port in found if port.flow is Out})
        m.submodules[kind] = Instance(
            f"{kind}__top", i_clk=sync.clk, i_rst=sync.rst,
            **{f"i_{port.full_name}": net for port, net in inputs.items()},
            **{f"o_{port.full_name}": net for port, net in outputs[-1].items()})
    gold, *others = outputs
    differs = Signal(gates * len(components))
    for index, gate in enumerate(others):
        for position, component in enumerate(components):
            valid = {port.name: net for port, net in gold.items() if port.component == component}
            m.d.comb += differs[index * len(components) + position].eq(Cat(
                (gold[port] != gate[port]) & _defined(port.name, valid) for port in gold
                if port.component == component).any())
    made |= {port.full_name: (net, None) for port, net in inputs.items()}
    made |= {port.full_name: (net, None) for port, net in gold.items()}
    made["differs"] = differs, None
    text: str = rtlil.convert(m, name="bench", ports=made, emit_src=False)
    return text


def _defined(name: str, outputs: Mapping[str, Signal]) -> Value:
    """Return whether an output means something: all but the payload of a stream always do."""
    valid = re.sub(r"t(data|last)$", "tvalid", re.sub(r"payload(__.*)?$", "valid", name))
    return Value.cast(outputs[valid] if valid != name and valid in outputs else 1)


class _Input(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("width", ctypes.c_int64), ("unit", ctypes.c_int64),
                ("high", ctypes.c_int64)]


class _Output(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("words", ctypes.c_int64),
                ("low", ctypes.POINTER(ctypes.c_uint32)), ("high", ctypes.POINTER(ctypes.c_uint32))]


def _run(library: Path, components: Mapping[str, Any], found: Sequence[Port], gates: int, cycles: int,
         high: Mapping[str, int]) -> Comparison:
    driven = [port for port in found if port.flow is In]
    seen = [port for port in found if port.flow is Out]
    inputs = (_Input * (len(driven) + 1))(
        (b"rst", 1, 1, high["rst"]),
        *((port.full_name.encode(), port.width, port.unit, high.get(port.name, 128)) for port in driven))
    bits = [[(ctypes.c_uint32 * -(-port.width // 32))() for _ in range(2)] for port in seen]
    outputs = (_Output * len(seen))(
        *((port.full_name.encode(), len(low), low, up) for port, (low, up) in zip(seen, bits, strict=True)))
    first = (ctypes.c_int64 * (gates * len(components)))(*[-1] * (gates * len(components)))
    missing = ctypes.CDLL(str(library)).run(
        inputs, ctypes.c_int64(len(inputs)), outputs, ctypes.c_int64(len(seen)), first,
        ctypes.c_int64(len(first)), ctypes.c_int64(cycles), ctypes.c_uint64(1))
    assert not missing, "the bench lacks a port"
    still = {port.full_name: [bit for bit in range(port.width)
                              if not low[bit // 32] & up[bit // 32] & 1 << bit % 32]
             for port, (low, up) in zip(seen, bits, strict=True)}
    return Comparison(
        [{component: None if (at := first[index * len(components) + position]) < 0 else at
          for position, component in enumerate(components)} for index in range(gates)],
        {name: which for name, which in still.items() if which})
