"""Two lanes that share their multipliers, and how a layer places its lanes."""
from dataclasses import dataclass
from typing import Any

from amaranth import Module, Mux, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.hierarchy import place_copies
from headrace.hdl.lanes.lane import MacLane, choose, hold
from headrace.hdl.lanes.packed import pack, products
from headrace.hdl.lanes.steps import assign, members, staged


class LanePair(wiring.Component):
    """Two neighbours' :class:`MacLane` with one multiplier for two products, cycle by cycle the same.

    Operands of both columns are packed (:mod:`headrace.hdl.lanes.packed`) and multiplied by the weight they
    share.

    Parameters
    ----------
    x : :class:`Shape`
        Shape of an operand, of 8 bits at most.
    weight : :class:`Shape`
        Signed shape of a weight, of 9 bits at most.
    sum, operands, p_in, p_out, depth, pipelined
        As in :class:`MacLane`, for each column.

    Members
    -------
    x : :py:`In(ArrayLayout(ArrayLayout(x, operands), 2))`
        By column, the low one first.
    sum : :py:`Out(ArrayLayout(ArrayLayout(sum, p_out), 2))`
        By column.
    select, weight, first, step, moves
        As in :class:`MacLane`, for both columns.
    """

    x: Any
    select: Signal
    weight: Any
    first: Signal
    step: Signal
    sum: Any
    moves: Signal

    def __init__(self, *, x: Shape, weight: Shape, sum: Shape, operands: int, p_in: int, p_out: int,
                 depth: int = 1, pipelined: bool = False) -> None:
        if x.width > 8:
            raise ValueError(f"Operands of a pair of lanes must have 8 bits at most, not {x.width!r}")
        if not weight.signed or weight.width > 9:
            raise ValueError(f"Weights of a pair of lanes must be signed, of 9 bits at most, not {weight!r}")
        self.shapes = x, weight, sum
        self.p_in, self.p_out, self.depth, self.pipelined = p_in, p_out, depth, pipelined
        groups = -(-operands // p_in)
        super().__init__({
            "x": In(data.ArrayLayout(data.ArrayLayout(x, operands), 2)),
            "select": In(range(max(groups, 2))),
            "weight": In(data.ArrayLayout(data.ArrayLayout(weight, p_in), p_out)),
            "first": In(1),
            "step": In(1),
            "sum": Out(data.ArrayLayout(data.ArrayLayout(sum, p_out), 2)),
            **members(pipelined),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = hold(m, platform, self.sum, depth=self.depth, step=self.step)
        x = [self._operands(m, index) for index in range(self.p_in)]
        for output in range(self.p_out):
            weights = [self.weight[output][index] for index in range(self.p_in)]
            for column, product in enumerate(products(m, x, weights, name=f"output{output}")):
                product = staged(m, self, product, name=f"product{column}_{output}")
                m.d.comb += self.sum[column][output].eq(
                    Mux(self.first, 0, held[column][output]) + product)
        return m

    def _operands(self, m: Module, index: int) -> tuple[Signal, Signal, Signal]:
        """Return what each column multiplies, the low one first, and both in one."""
        chosen = []
        for column, name in enumerate(("low", "high")):
            x = Signal(self.shapes[0], name=f"{name}{index}")
            operand = choose(self.x[column], index, self.p_in, self.select, other=0)
            assign(m, self, x, staged(m, self, operand, name=f"chosen_{name}{index}"))
            chosen.append(x)
        low, high = chosen
        return low, high, pack(m, low, high, name=f"packed{index}")


@dataclass(frozen=True)
class Column:
    """What a layer connects of one column: members as in :class:`MacLane`, those of a pair shared by two."""

    x: Any
    select: Signal
    weight: Any
    first: Signal
    step: Signal
    sum: Any
    moves: Signal | None  # of pipelined lanes


def place_lanes(m: Module, platform: object, count: int, *, paired: bool, **shapes: Any) -> list[Column]:
    """Add the lanes of :py:`count` columns to a layer, in pairs or one by one, and return what to connect.

    An odd column is left with a lane of its own, whose outputs are paired. The keywords are parameters of
    :class:`MacLane`.
    """
    pairs = place_copies(m, platform, "pair", lambda: LanePair(**shapes), count // 2 if paired else 0)
    lanes = place_copies(m, platform, "lane", lambda: MacLane(**shapes, paired=paired),
                         count - 2 * len(pairs))
    def column(lane: Any, x: Any, total: Any) -> Column:
        return Column(x, lane.select, lane.weight, lane.first, lane.step, total, getattr(lane, "moves", None))
    return [*(column(pair, pair.x[index], pair.sum[index]) for pair in pairs for index in range(2)),
            *(column(lane, lane.x, lane.sum) for lane in lanes)]
