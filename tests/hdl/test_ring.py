# amaranth: UnusedElaboratable=no
import random
from typing import Any

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from headrace.hdl.base.platform import Platform
from headrace.hdl.storage.ring import Ring
from headrace.hdl.storage.rom import Rom, pack


def outputs(ring: Ring, platform: object, cycles: int) -> list[int]:
    """Return what the ring shows from the first cycle on in which every word has been loaded."""
    rng, seen = random.Random(0), []
    sim = Simulator(Fragment.get(ring, platform))
    sim.add_clock(1e-6)

    async def bench(ctx: Any) -> None:
        shifts = 0
        for _ in range(cycles):
            ctx.set(ring.shift, shift := rng.randrange(2))
            ctx.set(ring.i.as_value(), rng.getrandbits(6 * ring.columns))
            if shifts >= ring.depth:
                seen.append(ctx.get(ring.o.as_value()))
            await ctx.tick()
            shifts += shift

    sim.add_testbench(bench)
    sim.run()
    return seen


@pytest.mark.parametrize("platform", (
    Platform(fast_rings=True), Platform(rings="lutram"), Platform(rings="blockram")))
@pytest.mark.parametrize("columns", (1, 3))
@pytest.mark.parametrize("depth", (1, 2, 5, 8, 50))
def test_memories_are_the_same(depth: int, columns: int, platform: Any) -> None:
    seen = outputs(Ring(word=6, columns=columns, depth=depth), platform, 200)
    assert seen == outputs(Ring(word=6, columns=columns, depth=depth), None, 200)


@pytest.mark.parametrize("depth", (1, 2, 7))
def test_delays(depth: int) -> None:
    ring = Ring(word=8, columns=2, depth=depth)
    seen = []
    sim = Simulator(ring)
    sim.add_clock(1e-6)

    async def bench(ctx: Any) -> None:
        ctx.set(ring.shift, 1)
        for value in range(30):
            ctx.set(ring.i.as_value(), value | value << 8)
            seen.append(ctx.get(ring.o[1]))
            await ctx.tick()

    sim.add_testbench(bench)
    sim.run()
    assert seen[depth:] == list(range(30 - depth))


def test_depth_wrong() -> None:
    with pytest.raises(ValueError, match=r"^Depth must be a positive integer, not 0$"):
        Ring(word=8, columns=1, depth=0)


def test_rom_of_one_word_is_a_constant() -> None:
    rom = Rom(width=5, words=[19])

    async def bench(ctx: Any) -> None:
        assert ctx.get(rom.valid) == 1 and ctx.get(rom.data) == 19

    sim = Simulator(rom)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("words", ([1, 2, 3], list(range(16))))
def test_rom(words: list[int]) -> None:
    rom = Rom(width=5, words=words)
    sim = Simulator(rom)
    sim.add_clock(1e-6)

    async def bench(ctx: Any) -> None:
        assert ctx.get(rom.valid) == 0
        for address, word in enumerate(words):
            ctx.set(rom.address, address)
            await ctx.tick()
            assert ctx.get(rom.valid) == 1 and ctx.get(rom.data) == word

    sim.add_testbench(bench)
    sim.run()


def test_pack() -> None:
    assert pack([1, -1, 2], 4) == 0x2F1
