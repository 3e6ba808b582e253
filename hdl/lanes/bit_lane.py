"""The lane that multiplies by one bit of a weight per step."""
from amaranth import Cat, Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class BitLane(wiring.Component):
    """The lane of a sum that is made bit by bit of the weights, from the highest to the lowest.

    ``sum = (first ? 0 : doubled ? 2 * held : held) + (negative ? -x : x) * bit``: a bit of all weights of an
    output, then the next of all. That takes an adder where a multiplier has one for each bit, and as many
    times the cycles.

    Parameters
    ----------
    x, sum : :class:`Shape`
        Shapes of an operand and a sum.

    Members
    -------
    x : :py:`In(x)`
    bit : :py:`In(1)`
        Of the weight.
    first : :py:`In(1)`
        This step starts a new sum.
    doubled : :py:`In(1)`
        This step starts with the next bit.
    negative : :py:`In(1)`
        The bit is the sign.
    step : :py:`In(1)`
        Keep the new sum.
    sum : :py:`Out(sum)`
        The new sum, in the same cycle.
    """

    x: Signal
    bit: Signal
    first: Signal
    doubled: Signal
    negative: Signal
    step: Signal
    sum: Signal

    def __init__(self, *, x: Shape, sum: Shape) -> None:
        super().__init__({"x": In(x), "bit": In(1), "first": In(1), "doubled": In(1), "negative": In(1),
                          "step": In(1), "sum": Out(sum)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal.like(self.sum, reset_less=True)
        base, added, term = (Signal.like(self.sum, name=name) for name in ("base", "added", "term"))
        m.d.comb += [
            term.eq(Mux(self.bit, self.x, 0)),
            base.eq(Mux(self.first, 0, Mux(self.doubled, held << 1, held))),
            added.eq(Mux(self.negative, ~term, term)),
            self.sum.eq((Cat(1, base) + Cat(self.negative, added))[1:]),  # -x is ~x and a carry
        ]
        with m.If(self.step):
            m.d.sync += held.eq(self.sum)
        return m
