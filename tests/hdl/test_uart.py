# amaranth: UnusedElaboratable=no
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import pytest
from amaranth import Elaboratable, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

import streams
from headrace.hdl.edge.uart import UartReceiver, UartTransmitter

CYCLE = 1e-6


async def send(ctx: Any, line: Any, data: bytes, bit: float, *, stop: int = 1) -> None:
    """Send bytes on a line, a bit in so many cycles; between edges of the clock as it comes."""
    for byte in data:
        for level in (0, *(byte >> index & 1 for index in range(8)), stop):
            ctx.set(line, level)
            await ctx.delay(bit * CYCLE)
    ctx.set(line, 1)


def receive(divisor: Fraction | float, source: Callable[[Any, Any], Any]) -> list[tuple[int, int]]:
    """Return the bytes, each with its framing error, that a receiver sees until the source has ended."""
    dut, seen = UartReceiver(divisor=divisor), []
    sim = Simulator(dut)
    sim.add_clock(CYCLE)

    async def bench(ctx: Any) -> None:
        ctx.set(dut.rx, 1)
        await source(ctx, dut.rx)
        await ctx.tick().repeat(30 * int(divisor))

    async def sink(ctx: Any) -> None:
        async for _, _, valid, payload in ctx.tick().sample(dut.o.valid, dut.o.payload):
            if valid:
                seen.append((payload.byte, payload.framing_error))

    sim.add_testbench(bench)
    sim.add_testbench(sink, background=True)
    sim.run()
    return seen


def good(data: Sequence[int]) -> list[tuple[int, int]]:
    return [(byte, 0) for byte in data]


class Loop(Elaboratable):
    def __init__(self, divisor: Fraction | float) -> None:
        self.transmitter, self.receiver = UartTransmitter(divisor=divisor), UartReceiver(divisor=divisor)
        self.i, self.o = self.transmitter.i, self.receiver.o

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules += [self.transmitter, self.receiver]
        m.d.comb += self.receiver.rx.eq(self.transmitter.tx)
        return m


@pytest.mark.parametrize("divisor, count", ((4, 256), (Fraction(25, 3), 32), (10.4, 32), (17, 16)))
def test_loopback(divisor: Fraction | float, count: int) -> None:
    sent = [byte * 37 % 256 for byte in range(count)]
    loop, seen, cycles = Loop(divisor), [], 0
    sim = Simulator(loop)
    sim.add_clock(CYCLE)

    async def source(ctx: Any) -> None:
        await streams.put(ctx, loop.i, sent, lambda: 0)

    async def sink(ctx: Any) -> None:
        nonlocal cycles
        while len(seen) < count:
            _, _, valid, payload = await ctx.tick().sample(loop.o.valid, loop.o.payload)
            cycles += 1
            if valid:
                seen.append((payload.byte, payload.framing_error))
            assert cycles < 11 * divisor * (count + 1)

    sim.add_testbench(source, background=True)
    sim.add_testbench(sink)
    sim.run()
    assert seen == good(sent)
    assert cycles <= round(10 * divisor) * count + 10  # back to back


@pytest.mark.parametrize("divisor", (4, Fraction(25, 3), 10.4, 26))
@pytest.mark.parametrize("factor", (0.98, 1, 1.02))
def test_other_rate_at_any_phase(divisor: Fraction | float, factor: float) -> None:
    sent = bytes((0x55, 0x00, 0xFF, 0x80, 0x01, 0xA5, 0x7E, 0x3C))

    async def source(ctx: Any, rx: Any) -> None:
        for byte, phase in zip(sent, (0.05, 0.3, 0.5, 0.7, 0.95, 0.2, 0.4, 0.8), strict=True):
            await ctx.tick()
            await ctx.delay(phase * CYCLE)
            await send(ctx, rx, bytes([byte]), float(divisor) * factor)
        await send(ctx, rx, sent * 3, float(divisor) * factor)  # back to back

    assert receive(divisor, source) == good(sent * 4)


def test_no_stop_bit() -> None:
    async def source(ctx: Any, rx: Any) -> None:
        await send(ctx, rx, b"\x12", 8)
        await send(ctx, rx, b"\x34", 8, stop=0)
        await ctx.delay(8 * CYCLE)
        await send(ctx, rx, b"\x56", 8)

    assert receive(8, source) == [(0x12, 0), (0x34, 1), (0x56, 0)]


def test_line_held_low_is_one_wrong_byte() -> None:
    async def source(ctx: Any, rx: Any) -> None:
        ctx.set(rx, 0)
        await ctx.delay(500 * CYCLE)
        ctx.set(rx, 1)
        await ctx.delay(3 * CYCLE)
        await send(ctx, rx, b"\x9a", 8)

    assert receive(8, source) == [(0, 1), (0x9A, 0)]


def test_short_pulse_is_no_byte() -> None:
    async def source(ctx: Any, rx: Any) -> None:
        ctx.set(rx, 0)
        await ctx.delay(3 * CYCLE)
        ctx.set(rx, 1)
        await ctx.delay(4 * CYCLE)
        await send(ctx, rx, b"\x9a", 8)

    assert receive(8, source) == good(b"\x9a")


@pytest.mark.parametrize("make", (UartReceiver, UartTransmitter))
def test_divisor_wrong(make: type[wiring.Component]) -> None:
    with pytest.raises(ValueError, match=r"^Divisor must be at least 4, not 3\.9$"):
        make(divisor=3.9)
