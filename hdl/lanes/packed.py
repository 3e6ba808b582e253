"""One multiplier for two products that share a factor."""
from collections.abc import Sequence

from amaranth import Cat, Const, Module, Signal, Value, signed

from headrace.hdl.lanes.sums import total as total_of

LOW = 16
"""Bits from the low factor to the high one: what 25 bits with sign leave beside 9."""

PACKED = signed(25)
PRODUCT = signed(25 + 9)


def pack(m: Module, low: Value, high: Value, *, name: str) -> Signal:
    """Return ``high * 2**16 + low``, of a high and a low factor of 8 bits, or of 9 with sign but not -256."""
    packed = Signal(PACKED, name=name)
    both = (high << LOW) + low if low.shape().signed else Cat(low, Const(0, LOW - len(low)), high)
    m.d.comb += packed.eq(both)
    return packed


def products(m: Module, pairs: Sequence[tuple[Value, Value, Value]], factors: Sequence[Value], *,
             name: str) -> tuple[Value, Value]:
    """Return ``sum(low * factor)`` and ``sum(high * factor)`` of pairs (low, high, packed) and their factors.

    Of packed factors and what they are multiplied by one has 8 bits at most, the other 9. Products are added
    up before they are taken apart, in the adders that multipliers have::

        total = sum(packed * factor) = sum(high * factor) * 2**16 + sum(low * factor)

    What the low sum has borrowed from the high one is all there is to find out. As no ``low * factor`` has
    more than 16 bits and a sign, a product changes it by -1, 0 or 1: bit 16 of the total tells whether, as
    the lowest bit of ``high * factor`` is known, and the sign of ``low * factor`` tells which. Then::

        sum(low * factor) = total % 2**16 - borrowed * 2**16
        sum(high * factor) = (total >> 16) + borrowed
    """
    total: Value = Const(0, LOW + 1)
    changes: list[Value] = []
    for index, ((low, high, packed), factor) in enumerate(zip(pairs, factors, strict=True)):
        before, total = total, Signal(signed(PRODUCT.width + index.bit_length()), name=f"{name}_total{index}")
        m.d.comb += total.eq(before + packed * factor if index else packed * factor)
        changed = Signal(name=f"{name}_changed{index}")
        m.d.comb += changed.eq(before[LOW] ^ total[LOW] ^ (high[0] & factor[0]))
        negative = _sign(factor) ^ _sign(low)
        # The first product can but borrow, as nothing is there yet.
        changes.append(Cat(changed, changed & ~negative).as_signed() if index else changed)
    if len(changes) == 1:
        return Cat(total[:LOW], changes[0]).as_signed(), total[LOW:].as_signed() + changes[0]
    borrowed = Signal(signed(len(changes).bit_length() + 1), name=f"{name}_borrowed")
    m.d.comb += borrowed.eq(total_of(m, changes, name=f"{name}_changes"))
    high_sum = Signal(signed(len(total) - LOW), name=f"{name}_high")
    m.d.comb += high_sum.eq(total[LOW:].as_signed() + borrowed)
    return Cat(total[:LOW], -borrowed).as_signed(), high_sum


def _sign(value: Value) -> Value:
    return value[-1] if value.shape().signed else Const(0)
