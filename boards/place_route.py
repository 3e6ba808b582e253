"""What nextpnr says of a design: its clock, its longest path, and how much of the device it takes."""
import json
import re
from dataclasses import dataclass

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.planning.fit import Use

# What nextpnr calls primitives. A logic cell of the iCE40 is a LUT and a flip-flop, used together or not.
_ECP5 = {"LUTs": "TRELLIS_COMB", "flip-flops": "TRELLIS_FF", "DSPs": "MULT18X18D", "block RAMs": "DP16KD"}
_ICE40 = {"logic cells": "ICESTORM_LC", "DSPs": "ICESTORM_DSP", "block RAMs": "ICESTORM_RAM"}
_FLIP_FLOP = re.compile(r"_(TRELLIS_FF|SB_DFF[A-Z]*)_Q.*")  # what Yosys adds to a register's name
_WITH_FF = re.compile(r"(\d+) LCs used as (?:LUT4 and DFF|DFF only)")


@dataclass(frozen=True)
class Timing:
    """The clock domain of a design: the frequency that it may have in MHz, and its longest path in ns.

    ``source`` and ``sink`` are the registers, or other primitives, at the ends of that path.
    """

    achieved: float
    source: str
    sink: str
    delay: float


def timing(report: str) -> Timing:
    """Return the timing of the only clock domain, from the JSON that ``nextpnr --report`` writes.

    Raises
    ------
    :exc:`HeadraceError`
        If the report has another form, or more clock domains or none.
    """
    try:
        content = json.loads(report)
        (domain, clock), = content["fmax"].items()
        edge = f"posedge {domain}"
        path, = (each["path"] for each in content["critical_paths"] if each["from"] == each["to"] == edge)
        return Timing(float(clock["achieved"]), _register(path[0]["from"]["cell"]),
                      _register(path[-1]["to"]["cell"]), sum(float(step["delay"]) for step in path))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise HeadraceError("nextpnr's report has no timing of one clock domain") from error


def _register(cell: str) -> str:
    return _FLIP_FLOP.sub("", cell)


def utilisation(log: str) -> tuple[Use, ...]:
    """Return what a design takes of the device, from nextpnr's log: that of a run that failed, too.

    Nothing is returned if nextpnr did not come so far.
    """
    found = {cell: (int(used), int(available)) for cell, used, available in
             re.findall(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%$", log, re.MULTILINE)}
    names = _ICE40 if "ICESTORM_LC" in found else _ECP5
    uses = [Use(name, *found[cell]) for name, cell in names.items() if cell in found]
    if names is _ICE40:
        _, cells = found["ICESTORM_LC"]
        uses.insert(1, Use("flip-flops", sum(map(int, _WITH_FF.findall(log))), cells))
    return tuple(uses)
