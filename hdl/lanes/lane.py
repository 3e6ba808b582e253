"""Lanes: the arithmetic of one image column."""
from collections.abc import Iterator, Sequence
from typing import Any

from amaranth import Array, Module, Mux, Shape, Signal, Value, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.hierarchy import place
from headrace.hdl.lanes.packed import pack, products
from headrace.hdl.lanes.steps import assign, members, staged
from headrace.hdl.lanes.sums import total
from headrace.hdl.storage.ring import Ring


class MacLane(wiring.Component):
    """The lane that multiplies: ``sum[o] = (first ? 0 : held[o]) + sum over p of x[...] * weight[o][p]``.

    In each step it takes ``p_in`` of its operands, multiplies each by ``p_out`` broadcast weights and adds
    to ``p_out`` of the ``p_out * depth`` sums it holds in a ring. With a depth of 1 it is
    output-stationary: the same sums grow step by step. With a depth of ``C_out / p_out`` it is
    input-stationary: the ring turns past, and an operand is used up in one turn. A step takes one cycle.

    Parameters
    ----------
    x, weight, sum : :class:`Shape`
        Shapes of an operand, a weight and a sum.
    operands : :class:`int`
        Operands within reach: the taps of the window, times the channels side by side.
    p_in, p_out : :class:`int`
        Operands used per step and outputs computed from them. Where the last step has fewer than ``p_in``
        operands, zeros stand in their place.
    depth : :class:`int`
        Turns of the ring of unfinished sums.
    paired : :class:`bool`
        Two outputs share a multiplier (:mod:`headrace.hdl.lanes.packed`), where there are two.
    pipelined : :class:`bool`
        Operands and products stand in registers: ``first`` and ``step`` come :data:`MAC_STAGES` cycles behind
        ``select`` and ``x``, which come two before ``weight``.

    Members
    -------
    x : :py:`In(ArrayLayout(x, operands))`
    select : :py:`In(range(ceil(operands / p_in)))`
        Which group of ``p_in`` operands this step uses.
    weight : :py:`In(ArrayLayout(ArrayLayout(weight, p_in), p_out))`
    first : :py:`In(1)`
        This step starts new sums.
    step : :py:`In(1)`
        Keep the new sums.
    sum : :py:`Out(ArrayLayout(sum, p_out))`
        The new sums, in the same cycle.
    moves : :py:`In(1)`
        The registers load; only in pipelined lanes.
    """

    x: Any
    select: Signal
    weight: Any
    first: Signal
    step: Signal
    sum: Any
    moves: Signal

    def __init__(self, *, x: Shape, weight: Shape, sum: Shape, operands: int, p_in: int, p_out: int,
                 depth: int = 1, paired: bool = False, pipelined: bool = False) -> None:
        if not 1 <= p_in <= operands:
            raise ValueError(f"p_in must be 1 to {operands}, not {p_in!r}")
        self.shapes = x, weight, sum
        self.groups = -(-operands // p_in)
        self.p_in, self.p_out, self.depth = p_in, p_out, depth
        self.paired, self.pipelined = paired, pipelined
        super().__init__({
            "x": In(data.ArrayLayout(x, operands)),
            "select": In(range(max(self.groups, 2))),
            "weight": In(data.ArrayLayout(data.ArrayLayout(weight, p_in), p_out)),
            "first": In(1),
            "step": In(1),
            "sum": Out(data.ArrayLayout(sum, p_out)),
            **members(pipelined),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = hold(m, platform, self.sum, depth=self.depth, step=self.step)
        x = [Signal(self.shapes[0], name=f"x{index}") for index in range(self.p_in)]
        for index, operand in enumerate(x):
            chosen = staged(m, self, choose(self.x, index, self.p_in, self.select, other=0),
                            name=f"chosen{index}")
            assign(m, self, operand, chosen)
        for output, product in enumerate(self._products(m, x)):
            product = staged(m, self, product, name=f"product{output}")
            m.d.comb += self.sum[output].eq(Mux(self.first, 0, held[output]) + product)
        return m

    def _products(self, m: Module, x: Sequence[Value]) -> Iterator[Value]:
        """Yield the sum of a step's products for each output."""
        shared = self.p_out // 2 if self.paired else 0
        for pair in range(shared):
            low, high = self.weight[2 * pair], self.weight[2 * pair + 1]
            weights = [(a, b, pack(m, a, b, name=f"packed{pair}_{index}"))
                       for index, (a, b) in enumerate(zip(low, high, strict=True))]
            yield from products(m, weights, x, name=f"pair{pair}")
        for output in range(2 * shared, self.p_out):
            terms = [operand * self.weight[output][index] for index, operand in enumerate(x)]
            yield total(m, terms, name=f"terms{output}")


class MaxLane(wiring.Component):
    """``max`` is the greatest operand so far, ``p_in`` operands per step. Members as in :class:`MacLane`.

    Where the last step has fewer operands, the last is compared again.
    """

    x: Any
    select: Signal
    first: Signal
    step: Signal
    max: Signal

    def __init__(self, *, x: Shape, operands: int, p_in: int) -> None:
        if not 1 <= p_in <= operands:
            raise ValueError(f"p_in must be 1 to {operands}, not {p_in!r}")
        self.shape = x
        self.groups = -(-operands // p_in)
        self.p_in = p_in
        super().__init__({"x": In(data.ArrayLayout(x, operands)),
                          "select": In(range(max(self.groups, 2))),
                          "first": In(1), "step": In(1), "max": Out(x)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal(self.shape, reset_less=True)
        lowest = -(1 << self.shape.width - 1) if self.shape.signed else 0
        best = Mux(self.first, lowest, held)
        for index in range(self.p_in):
            operand = Signal(self.shape, name=f"x{index}")
            m.d.comb += operand.eq(choose(self.x, index, self.p_in, self.select, other=self.x[-1]))
            greater = Signal(self.shape, name=f"greater{index}")  # keeps the expression from doubling
            m.d.comb += greater.eq(Mux(operand > best, operand, best))
            best = greater
        m.d.comb += self.max.eq(best)
        with m.If(self.step):
            m.d.sync += held.eq(self.max)
        return m


def hold(m: Module, platform: object, sums: Any, *, depth: int, step: Value) -> Any:
    """Keep a lane's sums at every step, and return those of :py:`depth` steps ago."""
    layout = sums.shape()
    if depth == 1:
        held = Signal(layout, name="held", reset_less=True)  # in the lane itself: a DSP may absorb it
        with m.If(step):
            m.d.sync += held.eq(sums)
        return held
    ring = Ring(word=layout, columns=1, depth=depth)
    place(m, platform, "held", ring)
    m.d.comb += [ring.shift.eq(step), ring.i[0].eq(sums)]
    return ring.o[0]


def choose(x: Any, index: int, p_in: int, select: Value, *, other: ValueLike) -> Value:
    """Return operand number ``select * p_in + index``, or the :py:`other` if there are not so many."""
    choices = [x[number] if number < len(x) else other for number in range(index, len(x) + index, p_in)]
    return Value.cast(choices[0]) if len(choices) == 1 else Array(choices)[select]
