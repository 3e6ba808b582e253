# amaranth: UnusedElaboratable=no
"""LUTs and DSPs of two single lanes and of a pair: the table of docs/dsp.md."""
from typing import Any

from amaranth import Module, signed, unsigned
from amaranth.lib import wiring

from headrace.gen.netlist.resources import Resources
from headrace.gen.netlist.synthesis import synthesise
from headrace.gen.netlist.target import TARGETS, Target
from headrace.hdl.base.hierarchy import Hierarchy, place
from headrace.hdl.lanes.lane import MacLane
from headrace.hdl.lanes.pair import LanePair

PAIRS = [target for target in TARGETS.values() if target.pairs]
SHAPES = [(*unrolled, depth) for unrolled in ((1, 1), (1, 4), (4, 1), (9, 2)) for depth in (1, 6)]


class Layer(wiring.Component):
    """A layer that is nothing but one component."""

    def __init__(self, lane: Any) -> None:
        self.lane = lane
        super().__init__(lane.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wiring.connect(m, wiring.flipped(self), self.lane)
        place(m, platform, "layer", self.lane)
        return m


def cost(kind: Any, target: Target, *, p_in: int, p_out: int, depth: int, **more: Any) -> Resources:
    hierarchy = Hierarchy()
    hierarchy.build(Layer(kind(x=unsigned(8), weight=signed(8), sum=signed(24), operands=p_in, p_in=p_in,
                               p_out=p_out, depth=depth, **more)))
    return synthesise(hierarchy, target=target).total


if __name__ == "__main__":
    for p_in, p_out, depth in SHAPES:
        for target in PAIRS:
            lane, pair = (cost(kind, target, p_in=p_in, p_out=p_out, depth=depth)
                          for kind in (MacLane, LanePair))
            print(f"{p_in} x {p_out}, depth {depth}, {target}: two lanes {2 * lane.lut} LUT "
                  f"{2 * lane.dsp} DSP, pair {pair.lut} LUT {pair.dsp} DSP", flush=True)
