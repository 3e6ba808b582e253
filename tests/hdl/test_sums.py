"""Sums of more terms than an expression may have."""
import numpy as np
import pytest
from amaranth import Module, Shape, Signal
from amaranth.sim import Simulator

from headrace.hdl.lanes.sums import DEEPEST, total


@pytest.mark.parametrize("signs", [(False,), (True,), (False, True)])
@pytest.mark.parametrize("count", [1, DEEPEST, DEEPEST + 1, 1000])
def test_total(count: int, signs: tuple[bool, ...]) -> None:
    rng, m = np.random.default_rng(count), Module()
    terms = [Signal(Shape(6, signs[index % len(signs)]), name=f"x{index}") for index in range(count)]
    values = [int(rng.integers(-32, 32) if term.shape().signed else rng.integers(64)) for term in terms]
    result = Signal(Shape(24, any(signs)))
    m.d.comb += result.eq(total(m, terms, name="total"))

    async def bench(ctx):  # type: ignore[no-untyped-def]
        for term, value in zip(terms, values, strict=True):
            ctx.set(term, value)
        assert ctx.get(result) == sum(values)

    sim = Simulator(m)
    sim.add_testbench(bench)
    sim.run()
