"""The arithmetic that turns one sum into one activation, a digit at a time."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import zip_longest
from operator import mul
from typing import Any

from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.arithmetic.requantisation import AddRequantisation, Requantisation, signed_width
from headrace.hdl.lanes.steps import members, staged

WIDEST_IN_LOGIC = 12
"""Bits of a digit up to which a product is made of adders."""

TOLD = {"digits": 1, "offset": 1, "exceptions": 1, "guard": 2, "last": 2}
"""Stages behind the sequencer at which a pipelined lane is told what it needs; steps come with the last."""

Scaling = Requantisation | AddRequantisation


@dataclass(frozen=True, eq=False)
class Digits:
    """How the product of operands and multipliers is taken apart: digits of the multiplier, lowest first.

    Parameters
    ----------
    scaling : :class:`Requantisation` or :class:`AddRequantisation`
    operands : :class:`dict` of :class:`Shape`
    allowed : :class:`int`
        Cycles that a product may take.
    """

    scaling: Scaling
    operands: Mapping[str, Shape]
    allowed: int

    @cached_property
    def constants(self) -> list[tuple[int, tuple[int, ...]]]:
        """Offset and multipliers, one for each operand, by channel; they repeat."""
        if isinstance(self.scaling, AddRequantisation):
            return [(self.scaling.offset, self.scaling.multipliers)]
        return [(offset, (multiplier,)) for offset, multiplier
                in zip(self.scaling.offsets, self.scaling.multipliers, strict=True)]

    @cached_property
    def exceptions(self) -> list[list[tuple[tuple[int, ...], int]]]:
        """Operands whose result is corrected, and by how much, by channel; they repeat."""
        if isinstance(self.scaling, AddRequantisation) or len(self.constants) == 1:
            return [[]]
        found: list[list[tuple[tuple[int, ...], int]]] = [[] for _ in self.scaling.offsets]
        for channel, x, delta in self.scaling.corrections:
            found[channel].append(((x,), delta))
        return found

    @cached_property
    def fixed(self) -> list[tuple[tuple[int, ...], int]]:
        """Those of additions and averages, which are the same for all channels: each lane knows them."""
        if len(self.constants) > 1:
            return []
        skipped = 0 if isinstance(self.scaling, AddRequantisation) else 1  # the channel
        return [(tuple(operands[skipped:]), delta) for *operands, delta in self.scaling.corrections]

    @cached_property
    def width(self) -> int:
        """Bits of a multiplier's digit."""
        whole = max(1, self.scaling.multiplier_width)
        width = -(-whole // self.allowed)
        while width * (-(-whole // width) - 1) > self.scaling.shift:
            width += 1  # no bit above the binary point may drop out
        return width

    @property
    def steps(self) -> int:
        """Cycles that a product takes."""
        return -(-max(1, self.scaling.multiplier_width) // self.width)

    @property
    def dropped(self) -> int:
        """Bits of the product that have dropped out before the last step."""
        return self.width * (self.steps - 1)

    @property
    def partial_width(self) -> int:
        """Bits of the sum that is carried from step to step."""
        return signed_width(self._low - 2, self._high + 2)

    @cached_property
    def product_width(self) -> int:
        """Bits of the whole product with its offset."""
        values = []
        for limits in ([0] * len(self.operands), *zip(*self._limits, strict=True)):
            totals = [offset + sum(map(mul, limits, multipliers)) for offset, multipliers in self.constants]
            values += [min(totals), max(totals)]
        return signed_width(*values)

    @property
    def top_width(self) -> int:
        """Bits of the product that are left in the last step."""
        return self.product_width - self.dropped

    @property
    def _limits(self) -> list[tuple[int, int]]:
        return [(-(1 << shape.width - 1), (1 << shape.width - 1) - 1) if shape.signed
                else (0, (1 << shape.width) - 1) for shape in self.operands.values()]

    @property
    def _low(self) -> int:
        return sum(low for low, _ in self._limits)

    @property
    def _high(self) -> int:
        return sum(high for _, high in self._limits)

    @property
    def operand_layout(self) -> data.StructLayout:
        return data.StructLayout(dict(self.operands))

    @property
    def exception_layout(self) -> data.StructLayout:
        return data.StructLayout({"active": 1, "up": 1, "x": self.operand_layout})

    @property
    def signature(self) -> wiring.Signature:
        """What a lane is told in each step."""
        return wiring.Signature({
            "digits": Out(data.ArrayLayout(unsigned(self.width), len(self.operands))),
            "offset": Out(signed(max(self.width + 1, self.top_width))),
            "guard": Out(self.width),
            "exceptions": Out(data.ArrayLayout(self.exception_layout, max(map(len, self.exceptions)))),
            "step": Out(1),
            "last": Out(1),
        })


@lru_cache(maxsize=1 << 12)  # planners try many
def digits_of(scaling: Scaling, operands: tuple[tuple[str, Shape], ...], allowed: int) -> Digits:
    """Return how a product is taken apart."""
    return Digits(scaling, dict(operands), allowed)


class ScaleLane(wiring.Component):
    """Multiplies by a digit in each step, adds a digit of the offset, and at last rounds and saturates.

    Low digits of the product are final as soon as they are computed and drop out, so the partial sum, hardly
    wider than an operand, shifts down past the adders.

    Members
    -------
    x : :py:`In(StructLayout(operands))`
        Held during all steps.
    control : :py:`In(Digits.signature)`
        Broadcast to all lanes: the digits of the multipliers, the digit of the offset (in the last step all
        that is left of it), which of the bits dropped in this step lie at or above the tie bit, single
        sums whose result is one off, and whether a step is taken and is the last. Each comes as many stages
        behind the sequencer as :data:`TOLD` says.
    y : :py:`Out(shape)`
        Valid in the last step, in the same cycle, or in a pipelined lane one stage behind.
    moves : :py:`In(1)`
        The registers load; only in pipelined lanes.
    """

    x: Any
    control: Any
    y: Signal
    moves: Signal

    def __init__(self, *, digits: Digits, shape: Shape, pipelined: bool = False) -> None:
        self.digits, self.pipelined = digits, pipelined
        super().__init__({"x": In(digits.operand_layout), "control": In(digits.signature), "y": Out(shape),
                          **members(pipelined)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        digits, form = self.digits, self.digits.scaling
        rounded = self._rounded(m, *self._scaled(m))
        limited: Any = Mux(rounded < form.lo, form.lo, Mux(rounded > form.hi, form.hi, rounded))
        for exception in self.control.exceptions:
            met = exception.active & (exception.x.as_value() == self.x.as_value())
            up, down = self._alongside(m, Cat(met & exception.up, met & ~exception.up))
            limited = limited + up - down
        if digits.fixed:
            correction = Signal(signed(2))
            with m.Switch(self.x.as_value()):
                for sign in (1, -1):
                    with m.Case(*(self._operands(x) for x, delta in digits.fixed if delta == sign)):
                        m.d.comb += correction.eq(sign)
            limited = limited + self._alongside(m, correction)
        m.d.comb += self.y.eq(limited)
        return m

    def _scaled(self, m: Module) -> tuple[Value, Value]:
        """Return what is left of the sum in the last step; whether a bit from the tie bit on dropped out."""
        digits, control = self.digits, self.control
        factors = [self.x[name] for name in digits.operands]
        if isinstance(digits.scaling, AddRequantisation) and digits.scaling.mirror is not None:
            factors[1] = ~factors[1]
        terms = [control.offset, *(term for factor, digit in zip(factors, control.digits, strict=True)
                                   for term in _products(factor, digit))]
        if self.pipelined:
            terms = [staged(m, self, _sum(m, terms), name="product")]
        total = Signal(signed(max(digits.top_width, digits.partial_width + digits.width)
                              if digits.steps > 1 else digits.top_width))
        below = Signal()
        if digits.steps == 1:
            m.d.comb += total.eq(_sum(m, terms))
        else:
            partial = Signal(signed(digits.partial_width))
            m.d.comb += total.eq(_sum(m, [partial, *terms]))
            with m.If(control.step):
                m.d.sync += partial.eq(Mux(control.last, 0, total >> digits.width))
            if digits.scaling.tie is not None:
                dropped = (total[:digits.width] & control.guard).any()
                with m.If(control.step):
                    m.d.sync += below.eq(~control.last & (below | dropped))
        return staged(m, self, total, name="scaled"), staged(m, self, below, name="scaled_below")

    def _rounded(self, m: Module, total: Value, below: Value) -> Value:
        digits, form = self.digits, self.digits.scaling
        point = form.shift - digits.dropped
        quotient = Signal(signed(max(digits.top_width - point, 1)))
        m.d.comb += quotient.eq(total >> point)
        if form.tie is None:
            return quotient
        fraction = total[max(form.tie - digits.dropped, 0):point]
        rounded = Signal(signed(len(quotient) + 1))
        m.d.comb += rounded.eq(quotient - (~(below | fraction.any()) & (quotient[0] ^ form.parity)))
        return rounded

    def _operands(self, values: tuple[int, ...]) -> Value:
        layout = self.digits.operand_layout
        return Const.cast(layout.const(dict(zip(layout.members, values, strict=True))))

    def _alongside(self, m: Module, value: Value) -> Value:
        """Return what follows from the operands alone when it is needed, at the end."""
        for name in ("correction1", "correction2"):
            value = staged(m, self, value, name=name)
        return value


def _products(x: Value, digit: Value) -> list[Value]:
    """Return terms whose sum is the product; DSPs, which weights need, are only for wide digits."""
    if len(digit) > WIDEST_IN_LOGIC:
        return [x * digit]
    return [Mux(digit[bit], x << bit, 0) for bit in range(len(digit))]


def _sum(m: Module, terms: Sequence[Value]) -> Value:
    """Add in a tree. Its wires are kept: Yosys would make one compressor of them, half as large again."""
    while len(terms) > 1:
        level = []
        for a, b in zip_longest(terms[::2], terms[1::2]):
            level.append(a)
            if b is not None:
                level[-1] = Signal((a + b).shape(), name="sum", attrs={"keep": 1})
                m.d.comb += level[-1].eq(a + b)
        terms = level
    return terms[0]
