"""Drive and check streams in Amaranth's simulator."""
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from amaranth import ClockDomain, Module, Value
from amaranth.sim import Simulator

from headrace.hdl.timing.channel import Channel, Process, Scheduler

Gap = Callable[[], int]

PATTERNS: dict[str, Callable[[random.Random], Gap]] = {
    "full-rate": lambda rng: lambda: 0,
    "random": lambda rng: lambda: rng.choice((0, 0, 1, 3)),
    "bursty": lambda rng: lambda: rng.choice((0,) * 15 + (40,)),
}


def gaps(name: str, seed: str) -> Gap:
    return PATTERNS[name](random.Random(seed))


async def put(ctx: Any, stream: Any, payloads: Sequence[int], gap: Gap) -> None:
    payload = Value.cast(stream.payload)
    for value in payloads:
        if cycles := gap():
            await ctx.tick().repeat(cycles)
        ctx.set(payload, value)
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)


async def get(ctx: Any, stream: Any, count: int, gap: Gap, out: list[int]) -> None:
    payload = Value.cast(stream.payload)
    while len(out) < count:
        if cycles := gap():
            await ctx.tick().repeat(cycles)
        ctx.set(stream.ready, 1)
        (value,) = await ctx.tick().sample(payload).until(stream.valid)
        ctx.set(stream.ready, 0)
        out.append(value)


async def check_producer(ctx: Any, stream: Any) -> None:
    """Fail if the producer drops `valid` or changes `payload` before a transfer."""
    pending = None
    payload = Value.cast(stream.payload)
    async for _, _, valid, ready, value in ctx.tick().sample(stream.valid, stream.ready, payload):
        assert pending is None or (valid and value == pending), \
            f"payload {pending} withdrawn before transfer (valid={valid}, payload={value})"
        pending = value if valid and not ready else None


def run(dut: Any, inputs: Mapping[str, Sequence[int]], count: int, *, i_gap: str = "full-rate",
        o_gap: str = "full-rate", seed: str = "", deadline: int = 200_000, o: str = "o",
        made: Any = None, times: dict[str, list[int]] | None = None) -> list[int]:
    """Feed packed payloads to input ports and return `count` packed payloads of the output port.

    ``made`` is what was elaborated of ``dut``, if for a platform. In ``times`` the cycles in which beats move
    are written, by port; see :func:`predicted`.
    """
    out: list[int] = []
    top = Module()
    top.domains.sync = ClockDomain()  # of what has no registers, too
    top.submodules.dut = made or dut
    sim = Simulator(top)
    sim.add_clock(1e-6)
    for name, payloads in inputs.items():
        async def producer(ctx: Any, name: str = name, payloads: Sequence[int] = payloads) -> None:
            await put(ctx, getattr(dut, name), payloads, gaps(i_gap, f"{seed}/{name}/{i_gap}"))
        sim.add_testbench(producer, background=True)

    async def consumer(ctx: Any) -> None:
        await get(ctx, getattr(dut, o), count, gaps(o_gap, f"{seed}/{o}/{o_gap}"), out)

    async def rules(ctx: Any) -> None:
        await check_producer(ctx, getattr(dut, o))

    async def watchdog(ctx: Any) -> None:
        await ctx.delay(1e-6 * deadline)
        raise AssertionError(f"{len(out)} of {count} payloads after {deadline} cycles")

    async def clock(ctx: Any) -> None:
        ports = [getattr(dut, name) for name in (*inputs, o)]
        moves = [port.valid & port.ready for port in ports]
        cycle = 0
        async for _, _, *moved in ctx.tick().sample(*moves):
            for name, move in zip((*inputs, o), moved, strict=True):
                if move:
                    times.setdefault(name, []).append(cycle)
            cycle += 1

    if times is not None:
        sim.add_testbench(clock, background=True)
    sim.add_testbench(consumer)
    sim.add_testbench(rules, background=True)
    sim.add_testbench(watchdog, background=True)
    sim.run()
    return out


def predicted(processes: Callable[[Channel, Channel, Scheduler], list[Process]], *, beats: int, count: int,
              i_gap: str, o_gap: str, seed: str) -> dict[str, list[int]]:
    """Return what a cycle model says of the same: when beats move on ports i and o."""
    scheduler = Scheduler()
    i, o = Channel(scheduler), Channel(scheduler)
    source, sink = gaps(i_gap, f"{seed}/i/{i_gap}"), gaps(o_gap, f"{seed}/o/{o_gap}")

    def puts() -> Process:
        for _ in range(beats):
            while i.offered is not None:
                yield i
            i.offer(i.taken + 1 + source())

    def gets() -> Process:
        for _ in range(count):
            first = o.taken + 1 + sink()
            while o.offered is None:
                yield o
            o.take(max(o.offered, first))

    scheduler.run([puts(), gets(), *processes(i, o, scheduler)])
    return {"i": i.times, "o": o.times}


def pack_rows(image: Any, format: Any) -> Iterator[int]:
    """Yield the beats of a C x H x W image in the order of a :class:`RowFormat`."""
    for row, channel, step in zip(*format.order(), strict=True):
        yield pack(image[channel, row, step * format.lanes:][:format.lanes])


def pack(values: Any, width: int = 8) -> int:
    return sum((int(value) & ((1 << width) - 1)) << width * index for index, value in enumerate(values))
