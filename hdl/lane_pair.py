"""Two lanes that share their multipliers, and how a layer places its lanes."""
from dataclasses import dataclass
from typing import Any

from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.hierarchy import place, place_copies
from headrace.hdl.lane import MacLane, choose
from headrace.hdl.ring import Ring

LOW = 16
"""Bits from the low column's operand to the high one's: what 25 bits with sign leave beside an operand."""

PRODUCT = signed(25 + 9)


class LanePair(wiring.Component):
    """Two neighbours' :class:`MacLane` with one multiplier for two products, cycle by cycle the same.

    An operand of each column make one of 25 bits, which is multiplied by the weight that they share. Products
    of a step are added up before they are taken apart, in the adders that multipliers have::

        packed = high * 2**16 + low
        total = sum over p of packed[p] * weight[p] = sum(high * weight) * 2**16 + sum(low * weight)

    What the low sum has borrowed from the high one is all there is to find out. As no ``low * weight`` has
    more than 16 bits and a sign, a product changes it by -1, 0 or 1: bit 16 of the total tells whether, as
    the lowest bit of ``high * weight`` is known, and the sign of ``low * weight`` tells which. Then::

        sum(low * weight) = total % 2**16 - borrowed * 2**16
        sum(high * weight) = (total >> 16) + borrowed

    Parameters
    ----------
    x : :class:`Shape`
        Shape of an operand, of 8 bits at most.
    weight : :class:`Shape`
        Signed shape of a weight, of 9 bits at most.
    sum, operands, p_in, p_out, depth
        As in :class:`MacLane`, for each column.

    Members
    -------
    x : :py:`In(ArrayLayout(ArrayLayout(x, operands), 2))`
        By column, the low one first.
    sum : :py:`Out(ArrayLayout(ArrayLayout(sum, p_out), 2))`
        By column.
    select, weight, first, step
        As in :class:`MacLane`, for both columns.
    """

    x: Any
    select: Signal
    weight: Any
    first: Signal
    step: Signal
    sum: Any

    def __init__(self, *, x: Shape, weight: Shape, sum: Shape, operands: int, p_in: int, p_out: int,
                 depth: int = 1) -> None:
        if x.width > 8:
            raise ValueError(f"Operands of a pair of lanes must have 8 bits at most, not {x.width!r}")
        if not weight.signed or weight.width > 9:
            raise ValueError(f"Weights of a pair of lanes must be signed, of 9 bits at most, not {weight!r}")
        self.shapes = x, weight, sum
        self.p_in, self.p_out, self.depth = p_in, p_out, depth
        groups = -(-operands // p_in)
        super().__init__({
            "x": In(data.ArrayLayout(data.ArrayLayout(x, operands), 2)),
            "select": In(range(max(groups, 2))),
            "weight": In(data.ArrayLayout(data.ArrayLayout(weight, p_in), p_out)),
            "first": In(1),
            "step": In(1),
            "sum": Out(data.ArrayLayout(data.ArrayLayout(sum, p_out), 2)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sums = self.sum.shape()
        if self.depth == 1:
            held: Any = Signal(sums, reset_less=True)
            with m.If(self.step):
                m.d.sync += held.eq(self.sum)
        else:
            ring = Ring(word=sums, columns=1, depth=self.depth)
            place(m, platform, "held", ring)
            m.d.comb += [ring.shift.eq(self.step), Value.cast(ring.i[0]).eq(Value.cast(self.sum))]
            held = data.View(sums, Value.cast(ring.o[0]))
        x = [self._operands(m, index) for index in range(self.p_in)]
        for output in range(self.p_out):
            products = self._products(m, x, output)
            for column, product in enumerate(products):
                m.d.comb += self.sum[column][output].eq(
                    Mux(self.first, 0, held[column][output]) + product)
        return m

    def _operands(self, m: Module, index: int) -> tuple[Signal, Signal, Signal]:
        """Return what each column multiplies, the low one first, and both in one."""
        chosen = []
        for column, name in enumerate(("low", "high")):
            x = Signal(self.shapes[0], name=f"{name}{index}")
            m.d.comb += x.eq(choose(self.x[column], index, self.p_in, self.select))
            chosen.append(x)
        low, high = chosen
        packed = Signal(signed(25), name=f"packed{index}")
        both = (high << LOW) + low if low.shape().signed else Cat(low, Const(0, LOW - len(low)), high)
        m.d.comb += packed.eq(both)
        return low, high, packed

    def _products(self, m: Module, x: list[tuple[Signal, Signal, Signal]],
                  output: int) -> tuple[Value, Value]:
        """Return the sum of a step's products in each column."""
        total: Value = Const(0, LOW + 1)
        changes: list[Value] = []
        for index, (low, high, packed) in enumerate(x):
            weight = self.weight[output][index]
            before, total = total, Signal(signed(PRODUCT.width + index.bit_length()),
                                          name=f"total{output}_{index}")
            m.d.comb += total.eq(before + packed * weight if index else packed * weight)
            changed = Signal(name=f"changed{output}_{index}")
            m.d.comb += changed.eq(before[LOW] ^ total[LOW] ^ (high[0] & weight[0]))
            negative = weight[-1] ^ (low[-1] if low.shape().signed else 0)
            # The first product can but borrow, as nothing is there yet.
            changes.append(Cat(changed, changed & ~negative).as_signed() if index else changed)
        if len(x) == 1:
            return Cat(total[:LOW], changes[0]).as_signed(), total[LOW:].as_signed() + changes[0]
        borrowed = Signal(signed(len(x).bit_length() + 1), name=f"borrowed{output}")
        m.d.comb += borrowed.eq(sum(changes))
        high_sum = Signal(signed(len(total) - LOW), name=f"high{output}")
        m.d.comb += high_sum.eq(total[LOW:].as_signed() + borrowed)
        return Cat(total[:LOW], -borrowed).as_signed(), high_sum


@dataclass(frozen=True)
class Column:
    """What a layer connects of one column: members as in :class:`MacLane`, those of a pair shared by two."""

    x: Any
    select: Signal
    weight: Any
    first: Signal
    step: Signal
    sum: Any


def place_lanes(m: Module, platform: object, count: int, *, paired: bool, **shapes: Any) -> list[Column]:
    """Add the lanes of :py:`count` columns to a layer, in pairs or one by one, and return what to connect.

    An odd column is left with a lane of its own. The keywords are parameters of :class:`MacLane`.
    """
    count_pairs = count // 2 if paired else 0
    pairs = place_copies(m, platform, "pair", lambda: LanePair(**shapes), count_pairs)
    lanes = place_copies(m, platform, "lane", lambda: MacLane(**shapes), count - 2 * count_pairs)
    return [*(Column(pair.x[column], pair.select, pair.weight, pair.first, pair.step, pair.sum[column])
              for pair in pairs for column in range(2)),
            *(Column(lane.x, lane.select, lane.weight, lane.first, lane.step, lane.sum) for lane in lanes)]
