"""What nextpnr says, read."""
import json
from typing import Any

import pytest

from headrace.boards.place_route import Timing, timing, utilisation
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.planning.fit import Use

DOMAIN = "$glbnet$pll.clk"


def step(kind: str, delay: float, source: str, sink: str) -> dict[str, Any]:
    return {"type": kind, "delay": delay, "from": {"cell": source}, "to": {"cell": sink}}


def path(source: str, sink: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"from": source, "to": sink, "path": steps}


def report(**changes: Any) -> str:
    first, last = "net.conv0.step_TRELLIS_FF_Q_1", "net.conv0.lane1.held_TRELLIS_FF_Q"
    return json.dumps({
        "critical_paths": [
            path("<async>", "<async>", step("source", 0.5, "buffer", "other")),
            path(f"posedge {DOMAIN}", f"posedge {DOMAIN}", step("clk-to-q", 0.5, first, first),
                 step("routing", 9.25, first, last), step("setup", 0.25, last, last))],
        "fmax": {DOMAIN: {"achieved": 100.0, "constraint": 80.0}}} | changes)


def test_timing() -> None:
    assert timing(report()) == Timing(100.0, "net.conv0.step", "net.conv0.lane1.held", 10.0)


@pytest.mark.parametrize("text", (
    "", "[]", "{}", report(fmax={}), report(critical_paths=[]), report(fmax={DOMAIN: {}}), report(fmax=[1]),
    report(fmax={DOMAIN: {"achieved": 100.0}, "other": {"achieved": 10.0}})))
def test_no_timing(text: str) -> None:
    with pytest.raises(HeadraceError, match="^nextpnr's report has no timing of one clock domain$"):
        timing(text)


ECP5 = """Info: Logic utilisation before packing:
Info:     Total LUT4s:     33253/83640    39%
Info: Device utilisation:
Info: \t          TRELLIS_IO:       3/    365     0%
Info: \t              DP16KD:       1/    208     0%
Info: \t          MULT18X18D:     167/    156   107%
Info: \t          TRELLIS_FF:   27549/  83640    32%
Info: \t        TRELLIS_COMB:   36187/  83640    43%
ERROR: Unable to place cell
"""
ICE40 = """Info:     2530 LCs used as LUT4 only
Info:      335 LCs used as LUT4 and DFF
Info:      474 LCs used as DFF only
Info:       31 LCs used as CARRY only
Info: \t         ICESTORM_LC:    3379/   5280    64%
Info: \t        ICESTORM_RAM:       2/     30     6%
Info: \t        ICESTORM_DSP:       0/      8     0%
"""


def test_utilisation() -> None:
    assert utilisation(ECP5) == (
        Use("LUTs", 36187, 83640), Use("flip-flops", 27549, 83640), Use("DSPs", 167, 156),
        Use("block RAMs", 1, 208))
    assert utilisation(ICE40) == (
        Use("logic cells", 3379, 5280), Use("flip-flops", 809, 5280), Use("DSPs", 0, 8),
        Use("block RAMs", 2, 30))
    assert utilisation("ERROR: no such file\n") == ()
