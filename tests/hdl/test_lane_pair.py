"""Pairs of lanes against plain arithmetic: the formula for every product, the gateware for extremes."""
import random
from typing import Any

import numpy as np
import pytest
from amaranth import Shape, signed, unsigned
from amaranth.sim import Simulator

from headrace.hdl.lanes.lane import MacLane
from headrace.hdl.lanes.packed import LOW
from headrace.hdl.lanes.pair import LanePair


@pytest.mark.parametrize("x", (unsigned(8), signed(8)))
def test_formula_for_every_product(x: Shape) -> None:
    """All operands of both columns and all weights; what is low and high matters by its lowest bit alone."""
    values = np.array(range(-128, 128) if x.signed else range(256))
    high, low = values[:, None], values[None]
    packed = (high << LOW) + low
    assert packed.min() >= -1 << 24 and packed.max() < 1 << 24
    for weight in range(-256, 256):
        total = packed * weight
        assert total.min() >= -1 << 33 and total.max() < 1 << 33
        borrowed = (total >> LOW ^ high & weight) & 1
        assert ((total & 0xFFFF) - (borrowed << LOW) == low * weight).all()
        assert ((total >> LOW) + borrowed == high * weight).all()


@pytest.mark.parametrize("p_in, p_out, depth", ((1, 1, 1), (1, 4, 3), (2, 1, 1), (4, 1, 1), (9, 2, 2)))
@pytest.mark.parametrize("weight", (signed(2), signed(8), signed(9)))
@pytest.mark.parametrize("x", (unsigned(8), signed(8)))
def test_sums(x: Shape, weight: Shape, p_in: int, p_out: int, depth: int) -> None:
    check(LanePair(x=x, weight=weight, sum=signed(26), operands=2 * p_in, p_in=p_in, p_out=p_out,
                   depth=depth), 2)


@pytest.mark.parametrize("p_in, p_out, depth", ((1, 2, 1), (1, 5, 3), (4, 3, 1), (9, 2, 2)))
@pytest.mark.parametrize("weight", (signed(2), signed(8), signed(9)))
@pytest.mark.parametrize("x", (unsigned(8), signed(8)))
def test_sums_of_an_odd_lane(x: Shape, weight: Shape, p_in: int, p_out: int, depth: int) -> None:
    check(MacLane(x=x, weight=weight, sum=signed(26), operands=2 * p_in, p_in=p_in, p_out=p_out,
                  depth=depth, paired=True), 1)


def check(lane: Any, columns: int) -> None:
    """Compare every sum of every step, of operands and weights that are often extreme; rings turn."""
    x, weight, _ = lane.shapes
    p_in, p_out, depth = lane.p_in, lane.p_out, lane.depth
    rng = random.Random(f"{columns}/{x}/{weight}/{p_in}/{p_out}/{depth}")

    def number(shape: Shape) -> int:
        low = max(-(1 << shape.width - 1), -255) if shape.signed else 0
        high = (1 << shape.width - shape.signed) - 1
        return rng.choice((low, high, 0, 1, rng.randint(low, high)))

    async def bench(ctx: Any) -> None:
        held = [[[0] * p_out for _ in range(columns)] for _ in range(depth)]
        for turn in range(60):
            for slot in range(depth):
                first, step, select = turn % 6 == 0, rng.random() < 0.8, rng.randrange(2)
                while not step:  # nothing is kept of what it sees meanwhile
                    ctx.set(lane.step, 0)
                    await ctx.tick()
                    step = rng.random() < 0.8
                operands = [[number(x) for _ in range(2 * p_in)] for _ in range(columns)]
                weights = [[number(weight) for _ in range(p_in)] for _ in range(p_out)]
                for port, value in ((lane.x, operands if columns > 1 else operands[0]),
                                    (lane.weight, weights), (lane.first, first), (lane.select, select),
                                    (lane.step, 1)):
                    ctx.set(port, value)
                for column in range(columns):
                    sums = lane.sum[column] if columns > 1 else lane.sum
                    for output in range(p_out):
                        used = operands[column][select * p_in:][:p_in]
                        held[slot][column][output] = sum(
                            a * b for a, b in zip(used, weights[output], strict=True)
                        ) + (0 if first else held[slot][column][output])
                        assert ctx.get(sums[output]) == held[slot][column][output]
                await ctx.tick()

    simulator = Simulator(lane)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("x, weight, message", (
    (unsigned(9), signed(8), r"^Operands of a pair of lanes must have 8 bits at most, not 9$"),
    (unsigned(8), signed(10), r"^Weights of a pair .* signed, of 9 bits at most, not signed\(10\)$"),
    (unsigned(8), unsigned(1), r"^Weights of a pair .* signed, of 9 bits at most, not unsigned\(1\)$"),
))
def test_too_wide(x: Shape, weight: Shape, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanePair(x=x, weight=weight, sum=signed(20), operands=1, p_in=1, p_out=1)
