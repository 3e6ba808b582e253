# amaranth: UnusedElaboratable=no
"""After synthesis, the hardware does what its RTL says: lanes, requantisers, tables, networks."""
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from amaranth import Shape, signed, unsigned

from headrace.gen.estimate.price import Prices
from headrace.gen.ir.means import Means
from headrace.gen.kinds import elaborate
from headrace.gen.netlist.target import find
from headrace.gen.planning.planner import plan
from headrace.hdl.arithmetic.requantisation import AddRequantisation, Requantisation
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.lanes.bit_lane import BitLane
from headrace.hdl.lanes.lane import MacLane, MaxLane
from headrace.hdl.lanes.pair import LanePair
from headrace.hdl.layers.lookup import Lookup
from headrace.hdl.requantise.requantise import Requantise
from headrace.hdl.requantise.scale import Scale
from headrace.hdl.requantise.scale_lane import Digits, ScaleLane
from netlist_equivalence import MODELS, compare
from small_graphs import Network

CYCLES = 3_000

PLAIN = Requantisation(shift=12, tie=None, parity=0, multipliers=(201, 77), offsets=(-5, 1 << 12), lo=-128,
                       hi=127)
TIES = replace(PLAIN, shift=10, tie=4, parity=1, hi=120,
               corrections=((0, 3, 1), (0, -1, -1), (1, 0, 1), (1, 5, -1)))
ADD = AddRequantisation(shift=9, tie=3, parity=0, multipliers=(301, 417), offset=777, lo=-128, hi=127,
                        corrections=((0, 0, 1), (-1, -1, -1), (127, -128, 1)))


def rows(*, channels: int = 2, shape: Shape = signed(8), pipelined: bool = False) -> RowFormat:  # noqa: B008
    return RowFormat(channels=channels, height=2, lanes=1, shape=shape, pipelined=pipelined)


def lanes(*, x: Shape, pipelined: bool, paired: bool, weight: int = 8, p_in: int = 2, p_out: int = 2,
          depth: int = 2) -> dict[str, Any]:
    """Return a lane of each kind; the product of a pair where DSPs are wide enough."""
    common: dict[str, Any] = dict(x=x, weight=signed(weight), sum=signed(20), operands=p_in + 1, p_in=p_in,
                                  p_out=p_out, depth=depth, pipelined=pipelined)
    kinds: dict[str, Any] = {"mac": MacLane(**common)}
    if paired:
        kinds |= {"pair": LanePair(**common), "mac_paired": MacLane(**common, paired=True)}
    if not pipelined:
        kinds |= {"max": MaxLane(x=x, operands=3, p_in=2), "bit": BitLane(x=x, sum=signed(18))}
    return kinds


def scaling(*, allowed: int, pipelined: bool = False, sum: Shape = signed(6)) -> dict[str, Any]:  # noqa: B008
    """Return requantisers whose sums are narrow, so that ties and corrected sums are met; and a table."""
    both, o = {"a": signed(8), "b": signed(8)}, rows(pipelined=pipelined)
    return {
        "scale": ScaleLane(digits=Digits(TIES, {"sum": sum}, allowed), shape=signed(8), pipelined=pipelined),
        "requantise": Requantise(sum=sum, count=2, o=o, scaling=TIES, steps=allowed),
        "plain": Requantise(sum=signed(18), count=1, o=o, scaling=PLAIN, steps=allowed),
        "add": Scale(operands=both, o=o, scaling=ADD, steps=allowed),
        "lookup": Lookup(i=o, o=o, tables=[random.Random(7).choices(range(-128, 128), k=256)]),
    }


def network() -> Any:
    """A pointwise convolution, a depthwise one, and an Add with what came before it, between AXI4-Streams."""
    net = Network((2, 3, 3))
    x = net.conv("x", 2)
    net.add(x, net.conv(x, 2, 3, depthwise=True))
    return net.graph()


def check(components: Mapping[str, Any], target: str, *, cycles: int = CYCLES, **more: Any) -> None:
    """No difference ever, and no bit of an output that never moved."""
    made = compare(components, target, cycles=cycles, **more)
    assert made.differs == [dict.fromkeys(components)]
    assert not made.still


@pytest.mark.parametrize("target", ("ecp5", "ice40", "xc7"))
def test_each_kind(target: str) -> None:
    paired = find(target).pairs
    plain = lanes(x=unsigned(8), pipelined=False, paired=paired, weight=6, p_in=1, p_out=2)
    staged = lanes(x=signed(8), pipelined=True, paired=paired, weight=6, p_out=1, depth=1)
    scale = scaling(allowed=3)
    check(plain | {f"{name}_staged": lane for name, lane in staged.items()}
          | {name: scale[name] for name in ("requantise", "lookup")}, target)


@pytest.mark.full
@pytest.mark.parametrize("pipelined", (False, True))
@pytest.mark.parametrize("x", (unsigned(8), signed(8)))
@pytest.mark.parametrize("target", MODELS)
def test_each_kind_in_every_form(target: str, x: Shape, pipelined: bool) -> None:
    """Sums kept in rings and beside the multipliers, few products and many, weights wide and narrow."""
    forms = ((9, 1, 1, 1), (8, 3, 2, 1), (8, 1, 3, 2), (3, 4, 2, 3))
    for weight, p_in, p_out, depth in forms:
        check(lanes(x=x, pipelined=pipelined, paired=find(target).pairs, weight=weight, p_in=p_in,
                    p_out=p_out, depth=depth), target)
    # Multipliers of one digit and of two.
    check(scaling(pipelined=pipelined, allowed=1 + x.signed), target)


@pytest.mark.parametrize("target", (
    "ecp5", *(pytest.param(target, marks=pytest.mark.full) for target in MODELS if target != "ecp5")))
def test_whole_network(target: str) -> None:
    whole(target)


@pytest.mark.full
@pytest.mark.parametrize("target", MODELS)
def test_whole_network_in_stages(target: str) -> None:
    whole(target, pipelined=True)


@pytest.mark.full
def test_whole_network_flat() -> None:
    """As bitstreams for iCE40 are made."""
    whole("ice40", flat=True)


def whole(target: str, *, pipelined: bool = False, flat: bool = False) -> None:
    graph = network()
    layout = plan(graph, cycles=60, prices=Prices(find(target)), means=Means(pipelined=pipelined))
    check({"net": elaborate.axi_top(graph, layout)}, target, flat=flat,
          high={"s_axis_tvalid": 230, "m_axis_tready": 230, "s_axis_tlast": 28, "rst": 0})


def mutant(cell: str, pattern: str, change: str) -> Any:
    """Return what changes the first match in a cell of a type, of those whose cells have one."""
    def mutate(netlist: str) -> str:
        for found in re.finditer(rf"^  cell \\{cell} .*?^  end$", netlist, re.MULTILINE | re.DOTALL):
            changed, count = re.subn(pattern, change, found[0], count=1, flags=re.MULTILINE)
            if count and changed != found[0]:
                return netlist[:found.start()] + changed + netlist[found.end():]
        raise AssertionError(f"no {cell} has {pattern}")
    return mutate


ALL_LOW = r"(parameter \\\w*INIT \d+'[01]*)"  # what a LUT gives if all its inputs are low comes last

MUTANTS: dict[str, dict[str, Any]] = {
    "ecp5": {
        "a LUT's bit": mutant("LUT4", ALL_LOW + "0$", r"\g<1>1"),
        "a carry": mutant("CCU2C", r"connect \\CIN .*$", r"connect \\CIN 1'1"),
        "a DSP's factor": mutant("MULT18X18D", r"connect \\A0 .*$", r"connect \\A0 1'0"),
        "an enable": mutant("TRELLIS_FF", r"connect \\CE .*$", r"connect \\CE 1'0"),
    },
    "ice40": {
        "a LUT's bit": mutant("SB_LUT4", ALL_LOW + "0$", r"\g<1>1"),
        "a carry": mutant("SB_CARRY", r"connect \\CI (?!1'1).*$", r"connect \\CI 1'1"),
        "an enable": mutant("SB_DFFE", r"connect \\E .*$", r"connect \\E 1'0"),
    },
    "xc7": {
        "a LUT's bit": mutant(r"LUT\d", ALL_LOW + "0$", r"\g<1>1"),
        "a carry": mutant("CARRY4", r"connect \\CI .*$", r"connect \\CI 1'1"),
        "a DSP's mode": mutant("DSP48E1", r"connect \\OPMODE .*$", r"connect \\OPMODE 7'0000000"),
        "a DSP's register": mutant("DSP48E1", r"parameter \\AREG .*$", r"parameter \\AREG 0"),
        "an enable": mutant("FDRE", r"connect \\CE .*$", r"connect \\CE 1'0"),
    },
}


@pytest.mark.parametrize("target", MUTANTS)
def test_mutants_are_caught(target: str) -> None:
    lane = MacLane(x=signed(8), weight=signed(4), sum=signed(14), operands=2, p_in=2, p_out=1, pipelined=True)
    same, *mutants = compare({"mac": lane}, target, cycles=CYCLES,
                             mutations=list(MUTANTS[target].values())).differs
    assert same == {"mac": None}
    assert not [name for name, made in zip(MUTANTS[target], mutants, strict=True) if made["mac"] is None]
