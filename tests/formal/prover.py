"""Proofs about netlists: which inputs an output follows from, and what can never be.

Yosys makes the netlist, ABC, which is part of it, proves.
"""
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

from headrace.gen.netlist import yosys
from headrace.gen.netlist.verilog import rtlil
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.hdl.base.platform import REGISTERS
from headrace.hdl.storage import ring

# The pass that calls ABC wants a netlist to map: it gets this one back, untouched.
STUB = """
module \\stub
  wire input 1 \\a
  wire output 2 \\y
  cell $_NOT_ \\gate
    connect \\A \\a
    connect \\Y \\y
  end
end
"""

# What is undefined may be anything.
GATES = """
read_rtlil design.il
hierarchy -check -top top
proc
flatten
opt_expr
opt_clean
memory_collect
memory_map
opt -nodffe -nosdff
techmap
opt -nodffe -nosdff
dffunmap
setundef -anyseq
simplemap
aigmap
opt_clean -purge
write_json gates.json
design -save gates
"""

ONE_OUTPUT = """
design -load gates
delete -output o:* o:{output} %d
opt_clean -purge
write_aiger -zinit -symbols {output}.aig
design -reset
read_rtlil stub.il
abc -script {output}.abc
"""

# Control is a few dozen registers, once those that say the same are merged. The states that it can reach are
# a BDD of moderate size, also where PDR finds no short reason. Those of payloads are too many.
REDUCE = """
backup
read_aiger {output}.aig
scorr
dc2
scorr -F 2
write_blif {output}.blif
"""

QUICK = REDUCE + """
pdr -T 2
write_status {output}.pdr
reach -T {seconds} -B 200000
write_status {output}.reach
restore
"""

THOROUGH = REDUCE + """
pdr -T {seconds}
write_status {output}.pdr
restore
"""

SEARCH = """
backup
read_aiger {output}.aig
bmc3 -T {seconds}
write_status {output}.search
write_cex -n -m {output}.run
restore
"""

PROVED, FAILS, OPEN = "proved", "fails", "open"
STATUS = {"snl_UNSAT": PROVED, "snl_SAT": FAILS, "snl_UNK": OPEN}


@dataclass(frozen=True)
class Verdict:
    """What was found of the outputs of a component.

    Attributes
    ----------
    follows : mapping from :class:`str` to set of :class:`str`
        The inputs from which there is a path to an output within a cycle, by the output's name.
    never : mapping from :class:`str` to :class:`str`
        Of outputs that shall never be 1: :data:`PROVED` if they are 0 in every cycle, whatever the inputs and
        however many cycles; :data:`FAILS` if not; :data:`OPEN` if that was not found out.
    """

    follows: Mapping[str, frozenset[str]]
    never: Mapping[str, str]


def prove(component: Any, outputs: Sequence[str], *, seconds: int, rings: str = REGISTERS) -> Verdict:
    """Elaborate a component as for a build, and see of each of :py:`outputs` whether it can ever be 1.

    Each of two methods is given so many seconds for each output.
    """
    text = design(component, rings)
    made = _run(text, outputs, QUICK.format, ("pdr", "reach"), seconds=seconds)
    never = {output: _status(made, output, ("pdr", "reach")) for output in outputs}
    if left := [output for output in outputs if never[output] == OPEN]:
        more = _run(text, left, THOROUGH.format, ("pdr",), seconds=seconds)
        never |= {output: _status(more, output, ("pdr",)) for output in left}
    return Verdict(_cones(json.loads(made["gates.json"])["modules"]["top"]), never)


def run(component: Any, output: str, *, seconds: int, rings: str = REGISTERS) -> list[dict[str, int]]:
    """Return a shortest run that makes an output 1 in its last cycle: inputs by cycle, those that matter."""
    made = _run(design(component, rings), [output], SEARCH.format, ("run",), seconds=seconds)
    found = re.findall(r"^(\S+)@(\d+)=([01])$", made[f"{output}.run"], re.MULTILINE)
    cycles: list[dict[str, int]] = [{} for _ in range(1 + max(int(cycle) for _, cycle, _ in found))]
    for name, cycle, value in found:
        cycles[int(cycle)][name] = int(value)
    return cycles


def _run(text: str, outputs: Sequence[str], script: Callable[..., str], answers: Sequence[str], *,
         seconds: int) -> dict[str, str]:
    scripts = {f"{output}.abc": script(output=output, seconds=seconds) for output in outputs}
    wanted = [f"{output}.{kind}" for output in outputs for kind in answers]
    if "run" not in answers:
        wanted += [f"{output}.blif" for output in outputs]
    return yosys.run(GATES + "".join(ONE_OUTPUT.format(output=output) for output in outputs),
                     files={"design.il": text, "stub.il": STUB, **scripts},
                     outputs=["gates.json", *wanted])


def _status(made: Mapping[str, str], output: str, methods: Sequence[str]) -> str:
    # Neither method says anything of a constant, which what comes before it may find already.
    if f".names {output}\n 0\n" in made[f"{output}.blif"]:
        return PROVED
    found = {STATUS[made[f"{output}.{method}"].split()[0]] for method in methods} - {OPEN}
    assert len(found) < 2, f"{output} is {' and '.join(found)}"
    return found.pop() if found else OPEN


def design(component: Any, rings: str) -> str:
    """Return the RTLIL of a component and all its parts."""
    hierarchy = Hierarchy(rings=rings)
    # Rings are memories where that is asked for, also where there is little to hold.
    with mock.patch.multiple(ring, WORTH_LUTRAM=2, WORTH_BLOCKRAM=(1, 2)):
        hierarchy.build(component)
    return "\n".join(rtlil(hierarchy, hierarchy.modules))


def _cones(module: Any) -> dict[str, frozenset[str]]:
    drivers = {}
    for cell in module["cells"].values():
        pins = cell["connections"]
        match cell["type"]:
            case "$_AND_":
                drivers[pins["Y"][0]] = [pins["A"][0], pins["B"][0]]
            case "$_NOT_":
                drivers[pins["Y"][0]] = [pins["A"][0]]
            case "$_DFF_P_":
                drivers[pins["Q"][0]] = []
            case "$anyseq":  # what is undefined
                drivers |= {bit: [] for bit in pins["Y"]}
            case other:
                raise AssertionError(f"no path is known through {other}")
    inputs = {bit: name for name, port in module["ports"].items() if port["direction"] == "input"
              for bit in port["bits"]}
    result = {}
    for name, port in module["ports"].items():
        if port["direction"] == "output":
            seen, pending = set(), [*port["bits"]]
            while pending:
                if (bit := pending.pop()) not in seen:
                    seen.add(bit)
                    pending += [] if bit in inputs or isinstance(bit, str) else drivers[bit]
            result[name] = frozenset(inputs[bit] for bit in seen if bit in inputs)
    return result
