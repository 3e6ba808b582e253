# amaranth: UnusedElaboratable=no
import random
from typing import Any

import numpy as np
import pytest
from amaranth import signed, unsigned
from amaranth.sim import Simulator

import streams
from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.edge.adapter import PixelsToRows, RowsToValues
from headrace.hdl.edge.axi import AxiTop
from headrace.hdl.layers.window import MaxPool
from headrace.hdl.network import Network

POOL = Window((2, 2), (2, 2))


def pooling(channels: int) -> tuple[AxiTop, MaxPool]:
    i = RowFormat(channels=channels, height=4, lanes=6, shape=unsigned(8))
    o = RowFormat(channels=channels, height=2, lanes=3, shape=unsigned(8))
    pool = MaxPool(i=i, o=o, window=POOL, p_in=2)
    return AxiTop(network=Network(i=i, o=o, layers={"pool": (pool, {"i": None})}), fill=9), pool


def run(top: AxiTop, frames: list[list[int]], count: int, gap: str) -> tuple[list[list[int]], int]:
    """Send frames; return `count` frames as they come out and how often the error output was high."""
    out: list[list[int]] = [[]]
    errors = 0
    sim = Simulator(top)
    sim.add_clock(1e-6)

    async def source(ctx: Any) -> None:
        idle = streams.gaps(gap, "source")
        for frame in frames:
            for index, beat in enumerate(frame):
                await ctx.tick().repeat(cycles) if (cycles := idle()) else None
                ctx.set(top.s_axis_tdata, beat)
                ctx.set(top.s_axis_tlast, index == len(frame) - 1)
                ctx.set(top.s_axis_tvalid, 1)
                await ctx.tick().until(top.s_axis_tready)
                ctx.set(top.s_axis_tvalid, 0)

    async def sink(ctx: Any) -> None:
        rng = random.Random(gap)
        while len(out) <= count:
            ctx.set(top.m_axis_tready, gap == "full-rate" or rng.randrange(2))
            _, _, valid, ready, data, last = await ctx.tick().sample(
                top.m_axis_tvalid, top.m_axis_tready, top.m_axis_tdata, top.m_axis_tlast)
            if valid and ready:
                out[-1].append(data)
                if last:
                    out.append([])

    async def count_errors(ctx: Any) -> None:
        nonlocal errors
        async for _, _, error in ctx.tick().sample(top.frame_error):
            errors += error

    async def watchdog(ctx: Any) -> None:
        await ctx.delay(20_000e-6)
        raise AssertionError(f"{len(out) - 1} of {count} frames")

    sim.add_testbench(source, background=True)
    sim.add_testbench(sink)
    sim.add_testbench(count_errors, background=True)
    sim.add_testbench(watchdog, background=True)
    sim.run()
    return out[:-1], errors


def serial(image: np.ndarray, together: int) -> list[int]:
    """Return the AXI4-Stream beats of a C x H x W image."""
    channels, height, width = image.shape
    if together == 1 and channels > 1:
        return [int(value) for value in image.transpose(1, 0, 2).ravel()]
    return [streams.pack(image[:, row, column]) for row in range(height) for column in range(width)]


@pytest.mark.parametrize("gap", streams.PATTERNS)
@pytest.mark.parametrize("channels", (1, 3, 5))
def test_frames_pass(channels: int, gap: str) -> None:
    top, pool = pooling(channels)
    images = np.random.default_rng(channels).integers(0, 256, (3, channels, 4, 6))
    out, errors = run(top, [serial(image, top.pixel) for image in images], 3, gap)
    assert out == [pool.model(image).transpose(1, 0, 2).ravel().tolist() for image in images]
    assert errors == 0


@pytest.mark.parametrize("gap", streams.PATTERNS)
@pytest.mark.parametrize("length", (1, 7, 23, 25, 40))
def test_frame_of_wrong_length_is_reported_and_harms_no_other(length: int, gap: str) -> None:
    top, pool = pooling(3)
    images = np.random.default_rng(length).integers(0, 256, (3, 3, 4, 6))
    good = [serial(image, 3) for image in images]
    wrong = (good[1] * 2)[:length]
    out, errors = run(top, [good[0], wrong, good[2]], 3, gap)
    completed = (good[1] + [0] * 24)[:24] if length > 24 else good[1][:length] + [0x090909] * (24 - length)
    image = np.array([[beat >> 8 * channel & 255 for beat in completed] for channel in range(3)])
    images[1] = image.reshape(3, 4, 6)
    assert out == [pool.model(image).transpose(1, 0, 2).ravel().tolist() for image in images]
    assert errors == 1


@pytest.mark.parametrize("o_gap", streams.PATTERNS)
@pytest.mark.parametrize("i_gap", streams.PATTERNS)
@pytest.mark.parametrize("width", (1, 2, 5))
def test_pixels_become_rows(width: int, i_gap: str, o_gap: str) -> None:
    rows = RowFormat(channels=3, height=4, lanes=width, shape=signed(8))
    image = np.random.default_rng(width).integers(-128, 128, (3, 4, width))
    expected = list(streams.pack_rows(image, rows))
    seen = streams.run(PixelsToRows(o=rows, together=3), {"i": serial(image, 3)}, len(expected),
                       i_gap=i_gap, o_gap=o_gap)
    assert seen == expected


@pytest.mark.parametrize("width", (1, 5))
def test_rows_become_values(width: int) -> None:
    rows = RowFormat(channels=3, height=4, lanes=width, shape=unsigned(8))
    image = np.random.default_rng(width).integers(0, 256, (3, 4, width))
    values = serial(image, 1)
    seen = streams.run(RowsToValues(i=rows), {"i": list(streams.pack_rows(image, rows)) * 2}, 2 * len(values),
                       o_gap="random")
    assert seen == ([*values[:-1], values[-1] | 256]) * 2


def test_together_wrong() -> None:
    rows = RowFormat(channels=3, height=4, lanes=2, shape=unsigned(8))
    with pytest.raises(ValueError, match=r"^Channels per pixel must be 1 or 3, not 2$"):
        PixelsToRows(o=rows, together=2)
