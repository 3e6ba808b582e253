# amaranth: UnusedElaboratable=no
"""Frames in, frames out: each request gets one reply, whatever came before it."""
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from amaranth import Elaboratable, Module, unsigned
from amaranth.sim import Simulator

from headrace.boards.client import Reply, framed, reply, request
from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.edge.axi import AxiTop
from headrace.hdl.edge.frames import Status
from headrace.hdl.edge.link import Link
from headrace.hdl.layers.window import MaxPool
from headrace.hdl.network import Network

GAP, TIMEOUT = 6, 30  # cycles between bytes, and until a frame is cut off
HEIGHT, WIDTH = 4, 6
NO_STOP_BIT, PAUSE = 256, 512  # added to a byte; in place of one


class Pooling(Elaboratable):
    """A link with a network that computes 2 x 2 maxima."""

    def __init__(self, channels: int = 1) -> None:
        i = RowFormat(channels=channels, height=HEIGHT, lanes=WIDTH, shape=unsigned(8))
        o = RowFormat(channels=channels, height=HEIGHT // 2, lanes=WIDTH // 2, shape=unsigned(8))
        pool = MaxPool(i=i, o=o, window=Window((2, 2), (2, 2)), p_in=2)
        self.axi = AxiTop(network=Network(i=i, o=o, layers={"pool": (pool, {"i": None})}), fill=0)
        self.link = Link(pixels=self.axi.guard.beats, pixel_bytes=self.axi.pixel, timeout=TIMEOUT)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.axi, m.submodules.link = axi, link = self.axi, self.link
        m.d.comb += [
            axi.s_axis_tdata.eq(link.image.payload.pixel), axi.s_axis_tlast.eq(link.image.payload.last),
            axi.s_axis_tvalid.eq(link.image.valid), link.image.ready.eq(axi.s_axis_tready),
            link.result.payload.value.eq(axi.m_axis_tdata), link.result.payload.last.eq(axi.m_axis_tlast),
            link.result.valid.eq(axi.m_axis_tvalid), axi.m_axis_tready.eq(link.result.ready),
        ]
        return m


@dataclass
class Image:
    """An image as bytes, and what the network makes of it."""

    seed: int
    channels: int = 1
    content: bytes = field(init=False)
    results: bytes = field(init=False)

    def __post_init__(self) -> None:
        x = np.random.default_rng(self.seed).integers(0, 256, (self.channels, HEIGHT, WIDTH), np.uint8)
        x[0, 0] = np.frombuffer(b"\x7e\x7d\x5e\x5d\x7d\x7e", np.uint8)  # what has to be escaped, too
        y = x.reshape(self.channels, HEIGHT // 2, 2, WIDTH // 2, 2).max((2, 4))
        self.content = x.transpose((1, 2, 0) if self.channels <= 4 else (1, 0, 2)).tobytes()
        self.results = y.transpose(1, 0, 2).tobytes()

    def sent(self, tag: int) -> bytes:
        return request(tag, self.content)

    def good(self, tag: int) -> Reply:
        return Reply(self.results, tag, Status.OK)


def run(dut: Any, batches: Iterable[Sequence[int]], *, ready: float = 1, quiet: int = 600) -> list[bytes]:
    """Send batches of bytes to a link; return what it sends to each until it has nothing more to say."""
    out, rng, said = bytearray(), random.Random(str(ready)), []
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    link: Link = dut.link

    async def source(ctx: Any) -> None:
        for symbols in batches:
            for symbol in symbols:
                await ctx.tick().repeat(2 * TIMEOUT if symbol == PAUSE else GAP - 1)
                ctx.set(link.i.payload, {"byte": symbol & 255, "framing_error": bool(symbol & NO_STOP_BIT)})
                ctx.set(link.i.valid, symbol != PAUSE)
                await ctx.tick()
                ctx.set(link.i.valid, 0)
            await ctx.tick().repeat(quiet)
            said.append(bytes(out))
            out.clear()

    async def sink(ctx: Any) -> None:
        while True:
            ctx.set(link.o.ready, rng.random() < ready)
            _, _, valid, taken, byte = await ctx.tick().sample(link.o.valid, link.o.ready, link.o.payload)
            if valid and taken:
                out.append(byte)

    sim.add_testbench(source)
    sim.add_testbench(sink, background=True)
    sim.run()
    return said


def replies(sent: bytes) -> list[Reply | None]:
    assert sent[:1] == sent[-1:] == b"\x7e"
    return [reply(frame) for frame in sent.split(b"\x7e") if frame]


@pytest.mark.parametrize("channels", (1, 3, 5))
@pytest.mark.parametrize("ready", (1, 0.15))
def test_good_frames(channels: int, ready: float) -> None:
    images = [Image(seed, channels) for seed in range(3)]
    sent = b"".join(image.sent(tag) for tag, image in zip((0, 0x7E, 255), images, strict=True))
    (said,) = run(Pooling(channels), [sent], ready=ready)
    assert replies(said) == [
        image.good(tag) for tag, image in zip((0, 0x7E, 255), images, strict=True)]


def test_byte_by_byte() -> None:
    """As docs/link.md has it."""
    sent = bytes.fromhex("7e 01 18000000" + "00" * 23 + "7d5e" + "01791ec9" + "7e")
    assert sent == request(1, bytes(23) + b"\x7e")
    said = bytes.fromhex("7e" + "00" * 5 + "7d5e" + "01 00" + "72ab5622" + "7e")
    assert run(Pooling(), [sent]) == [said]


IMAGE = Image(1)
SENT = IMAGE.sent(9)
BODY = SENT[1:-1]
ESCAPES = BODY.index(0x7D)

ERRORS: dict[str, tuple[Sequence[int], list[tuple[bool, int, Status]]]] = {
    # what is sent; of each reply: whether results come, its tag, its status
    "pixel": (SENT[:20] + bytes([SENT[20] ^ 1]) + SENT[21:], [(True, 9, Status.CHECKSUM)]),
    "tag": (b"\x7e\x08" + SENT[2:], [(True, 8, Status.CHECKSUM)]),
    "checksum": (b"\x7e" + BODY[:-1] + bytes([BODY[-1] ^ 4]) + b"\x7e", [(True, 9, Status.CHECKSUM)]),
    "length": (SENT[:2] + b"\x19" + SENT[3:], [(False, 9, Status.LENGTH)]),
    "another length": (request(9, IMAGE.content[:-1]), [(False, 9, Status.LENGTH)]),
    "a length of 2**24 more": (SENT[:5] + b"\x01" + SENT[6:], [(False, 9, Status.LENGTH)]),
    "byte becomes a flag": (SENT[:15] + b"\x7e" + SENT[16:],
                            [(True, 9, Status.CUT_OFF), (False, SENT[16], Status.LENGTH)]),
    "byte lost": (SENT[:20] + SENT[21:], [(True, 9, Status.CUT_OFF)]),
    "byte twice": (SENT[:20] + SENT[19:], [(True, 9, Status.TOO_LONG)]),
    "cut off before the first pixel": ((*SENT[:6], PAUSE), [(False, 9, Status.CUT_OFF)]),
    "cut off in the length": ((*SENT[:4], PAUSE), [(False, 9, Status.CUT_OFF)]),
    "cut off in the image": ((*SENT[:20], PAUSE), [(True, 9, Status.CUT_OFF)]),
    "cut off in the checksum": ((*SENT[:-2], PAUSE), [(True, 9, Status.CUT_OFF)]),
    "cut off before the last flag": ((*SENT[:-1], PAUSE), [(True, 9, Status.CUT_OFF)]),
    "cut off in an escape": ((*SENT[:ESCAPES + 2], PAUSE), [(False, 9, Status.CUT_OFF)]),
    "cut off by the next": (SENT[:20], [(True, 9, Status.CUT_OFF)]),
    "cut off by the next, in an escape": (SENT[:ESCAPES + 2], [(False, 9, Status.CUT_OFF)]),
    "resumed after a pause": ((*SENT[:20], PAUSE, *SENT[20:]),
                              [(True, 9, Status.CUT_OFF), (False, SENT[20], Status.LENGTH)]),
    "too long": (b"\x7e" + BODY + b"\x55" + b"\x7e", [(True, 9, Status.TOO_LONG)]),
    "much too long": (b"\x7e" + BODY + bytes(100) + b"\x7e", [(True, 9, Status.TOO_LONG)]),
    "image too long": (framed(b"\x09\x18\0\0\0" + IMAGE.content * 2), [(True, 9, Status.TOO_LONG)]),
    "no stop bit": ((*SENT[:20], SENT[20] | NO_STOP_BIT, *SENT[21:]), [(True, 9, Status.FRAMING)]),
    "break": ((*SENT[:20], NO_STOP_BIT, PAUSE), [(True, 9, Status.FRAMING)]),
    "garbage": (b"\x55\xaa\x00", [(False, 0x55, Status.CUT_OFF)]),
    "garbage after a flag": (b"\x7e\xff\xff\xff\xff\xff\xff", [(False, 0xFF, Status.LENGTH)]),
    "garbage, then silence": ((1, PAUSE), [(False, 1, Status.CUT_OFF)]),
    "flags": (b"\x7e" * 5, []),
    "silence": ((PAUSE, 0x7E, PAUSE), []),
}


BEFORE, AFTER, LAST = Image(2), Image(3), Image(4)


@pytest.fixture(scope="module")
def answers() -> dict[str, bytes]:
    """What one link says to all errors one after the other, each between good requests without a pause."""
    batches = [(*BEFORE.sent(1), *wrong, *AFTER.sent(2), *LAST.sent(3)) for wrong, _ in ERRORS.values()]
    return dict(zip(ERRORS, run(Pooling(), batches, quiet=200), strict=True))


@pytest.mark.parametrize("error", ERRORS)
def test_error_is_answered_and_harms_no_other(answers: dict[str, bytes], error: str) -> None:
    seen, (_, expected) = replies(answers[error]), ERRORS[error]
    assert seen[0] == BEFORE.good(1) and seen[-2:] == [AFTER.good(2), LAST.good(3)]
    found = [(len(each.results), each.tag, each.status) for each in seen[1:-2] if each]
    assert found == [(len(IMAGE.results) if results else 0, tag, status) for results, tag, status in expected]
    assert len(seen) == 3 + len(expected)


def damaged(rng: random.Random) -> list[int]:
    """A request in which a few bytes are lost, added, changed, without a stop bit, or followed by silence."""
    symbols: list[int] = list(SENT)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(1, len(symbols))
        symbols[at:at + rng.choice((0, 1, 1, 9))] = rng.choice((
            [], [rng.randrange(256)], [0x7E], [0x7D], [NO_STOP_BIT], [PAUSE], rng.choices(range(256), k=40)))
    return symbols


@pytest.mark.parametrize("seed, count", ((1, 15), pytest.param(2, 500, marks=pytest.mark.full)))
def test_damaged_anyhow(seed: int, count: int) -> None:
    """After every one of them the next two requests, without a pause, get their results and no error."""
    rng = random.Random(seed)
    batches = [(*damaged(rng), *AFTER.sent(2), *LAST.sent(3)) for _ in range(count)]
    for said in run(Pooling(), batches, quiet=200):
        *wrong, after, last = replies(said)
        assert (after, last) == (AFTER.good(2), LAST.good(3))
        assert wrong and all(each and (each.status != Status.OK or each == IMAGE.good(9)) for each in wrong)


def test_results_of_a_cut_off_request_are_those_of_its_start() -> None:
    """Of zero points behind it, but for the pixel that ends it."""
    (said,) = run(Pooling(), [(*request(5, b"\xff" * 24)[:19], PAUSE)])
    (seen,) = replies(said)
    assert seen and (seen.results, seen.status) == (b"\xff" * 3 + b"\xff\0\0", Status.CUT_OFF)


class Bare(Elaboratable):
    """A link whose network is the test."""

    def __init__(self) -> None:
        self.link = Link(pixels=4, pixel_bytes=1, timeout=TIMEOUT)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.link = self.link
        return m


def test_network_too_slow() -> None:
    """Pixels that are not taken in time; then a network that goes on, and requests it is in time for."""
    dut, pixels, out = Bare(), [], bytearray()
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    link = dut.link
    willing = False

    async def source(ctx: Any) -> None:
        nonlocal willing
        for tag in (1, 2, 3, 4):
            willing = tag > 2
            for byte in request(tag, b"\x0a\x0b\x0c\x0d"):
                await ctx.tick().repeat(GAP)
                ctx.set(link.i.payload.byte, byte)
                ctx.set(link.i.valid, 1)
                await ctx.tick()
                ctx.set(link.i.valid, 0)
        await ctx.tick().repeat(400)

    async def network(ctx: Any) -> None:
        while True:
            ctx.set(link.image.ready, willing)
            _, _, valid, ready, payload = await ctx.tick().sample(
                link.image.valid, link.image.ready, link.image.payload)
            if valid and ready:
                pixels.append((payload.pixel, payload.last))
                if payload.last:  # one result for each frame
                    ctx.set(link.image.ready, 0)
                    ctx.set(link.result.payload, {"value": len(pixels), "last": 1})
                    ctx.set(link.result.valid, 1)
                    await ctx.tick().until(link.result.ready)
                    ctx.set(link.result.valid, 0)

    async def sink(ctx: Any) -> None:
        ctx.set(link.o.ready, 1)
        async for _, _, valid, byte in ctx.tick().sample(link.o.valid, link.o.payload):
            if valid:
                out.append(byte)

    sim.add_testbench(source)
    sim.add_testbench(network, background=True)
    sim.add_testbench(sink, background=True)
    sim.run()
    image = [(0x0A, 0), (0x0B, 0), (0x0C, 0), (0x0D, 1)]
    assert pixels[0] == (0x0A, 0) and pixels[1][1] == 1 and pixels[2:] == image * 2
    assert replies(bytes(out)) == [
        Reply(b"\x02", 1, Status.OVERRUN), Reply(b"", 2, Status.OVERRUN),
        Reply(b"\x06", 3, Status.OK), Reply(b"\x0a", 4, Status.OK)]


def test_host_that_does_not_wait() -> None:
    """Of five requests that end before any reply, two are answered, in order; nothing of the rest is left."""
    dut, out = Pooling(), bytearray()
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    link = dut.link

    async def bench(ctx: Any) -> None:
        async def send(data: bytes) -> None:
            for byte in data:
                ctx.set(link.i.payload.byte, byte)
                ctx.set(link.i.valid, 1)
                await ctx.tick()
                ctx.set(link.i.valid, 0)
                await ctx.tick().repeat(GAP)

        async def receive(cycles: int) -> None:
            ctx.set(link.o.ready, 1)
            for _ in range(cycles):
                _, _, valid, byte = await ctx.tick().sample(link.o.valid, link.o.payload)
                if valid:
                    out.append(byte)
            ctx.set(link.o.ready, 0)

        for tag in range(1, 6):
            await send(Image(tag).sent(tag))
        await receive(200)
        await send(Image(6).sent(6))
        await receive(200)

    sim.add_testbench(bench)
    sim.run()
    first, second, last = replies(bytes(out))
    assert first == Image(1).good(1) and last == Image(6).good(6)
    assert second and (second.tag, second.status) == (2, Status.OVERRUN)  # the line held the network up
