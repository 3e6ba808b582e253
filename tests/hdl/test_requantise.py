# amaranth: UnusedElaboratable=no
"""Requantisers by themselves, whose lanes may be fewer than those of the sums: values, cycles, registers."""
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth import Array, Module, Signal, signed
from rtlil_cells import registers

import streams
from headrace.hdl.arithmetic.geometry import Window, strides, whole
from headrace.hdl.arithmetic.requantisation import Requantisation
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.requantise.readout import HeldSums, Readout
from headrace.hdl.requantise.requantise import Requantise

PATTERNS = [(i_gap, o_gap) for i_gap in streams.PATTERNS for o_gap in streams.PATTERNS]
SUM = signed(14)
FRAMES = 2


def scaling(rng: random.Random, channels: int) -> Requantisation:
    """With a correction for each other channel."""
    made = Requantisation(
        shift=12, tie=rng.choice((None, 3, 8)), parity=rng.randrange(2),
        multipliers=tuple(rng.randrange(1, 1 << 13) for _ in range(channels)),
        offsets=tuple(rng.randrange(-1 << 15, 1 << 15) for _ in range(channels)), lo=-100, hi=120)
    return replace(made, corrections=tuple((each, 5 * each - 7, 1) for each in range(0, channels, 2)))


def drawn(number: int, *, pipelined: bool) -> Requantise:
    """Return a requantiser with everything that it may have to do with."""
    rng = random.Random(f"requantise {number} {pipelined}")
    readout, steps = rng.choice((1, 2, 3, 4, 7)), rng.choice((1, 1, 1, 2, 3, 13))
    channels, height, fold, count, together = rng.randint(1, 5), 4, 1, 1, Window()
    match number % 3:
        case 0:
            count = rng.randint(1, channels)
        case 1:
            fold = rng.choice((2, 3))
        case 2:
            fold = rng.choice((1, 2))
            window = Window((3, 3), (2, 2), (0, 0, 1, 1))
            together = rng.choice((strides(window, height), whole(window)))
    o = RowFormat(channels=channels, height=height, lanes=rng.randint(1, 2), shape=signed(8),
                  fold=fold * readout, together=together, pipelined=pipelined)
    return Requantise(sum=SUM, count=count, o=o, scaling=scaling(rng, channels), steps=steps, readout=readout)


def frame(dut: Requantise, seed: str) -> tuple[list[int], list[int]]:
    """Return words of random sums of a frame, and the beats that are to come of them."""
    o, count, lanes = dut.scale.format, dut.sums.count, len(dut.i.payload)
    scaled = dut.scale.digits.scaling
    assert isinstance(scaled, Requantisation)
    rng = np.random.default_rng(list(seed.encode()))
    sums = rng.integers(-1 << 13, 1 << 13, (o.channels, o.height, o.width))
    for channel, value, _ in scaled.corrections:
        sums[channel, :, ::2] = value
    wide = replace(o, lanes=lanes, fold=o.width // lanes)
    words = []
    for row, channel, step in zip(*wide.order(), strict=True):
        if channel % count == 0:
            seen = sums[channel:channel + count, row, step * lanes:][:, :lanes]
            filled = np.zeros((count, lanes), np.int64)  # where there is nothing any sum will do
            filled[:len(seen)] = seen
            words.append(streams.pack(filled.T.ravel(), SUM.width))
    return words, list(streams.pack_rows(scaled.model(sums), o))


def check(dut: Requantise, *, i_gap: str, o_gap: str, seed: str) -> None:
    """Values, rules of streams, and the cycle of each word and beat."""
    frames = [frame(dut, f"{seed}/{number}") for number in range(FRAMES)]
    words, expected = ([value for each in part for value in each] for part in zip(*frames, strict=True))
    run: dict[str, Any] = dict(i_gap=i_gap, o_gap=o_gap, seed=seed)
    times: dict[str, list[int]] = {}
    assert streams.run(dut, {"i": words}, len(expected), times=times, **run) == expected
    assert times == streams.predicted(dut.processes, beats=len(words), count=len(expected), **run)


@pytest.mark.parametrize("pipelined", (False, True))
@pytest.mark.parametrize("number", range(18))
def test_values_and_cycles(number: int, pipelined: bool) -> None:
    i_gap, o_gap = PATTERNS[number % 9]
    check(drawn(number, pipelined=pipelined), i_gap=i_gap, o_gap=o_gap, seed=f"{number}")


@pytest.mark.parametrize("pipelined", (False, True))
@pytest.mark.parametrize("steps", (1, 3))
@pytest.mark.parametrize("count, readout, fold", ((2, 3, 1), (1, 4, 2), (1, 1, 3), (3, 1, 1)))
def test_loses_no_cycle(count: int, readout: int, fold: int, steps: int, pipelined: bool) -> None:
    """Where words come as fast as they are read out, their beats follow each other."""
    dut = requantiser(count=count, readout=readout, fold=fold, steps=steps, channels=3, pipelined=pipelined)
    words, expected = frame(dut, "full rate")
    times: dict[str, list[int]] = {}
    streams.run(dut, {"i": words}, len(expected), times=times)
    assert set(np.diff(times["o"])) == {dut.scale.digits.steps}


def requantiser(*, count: int, readout: int, fold: int = 1, steps: int = 1, channels: int,
                pipelined: bool = False) -> Requantise:
    o = RowFormat(channels=channels, height=3, lanes=2, shape=signed(8), fold=fold * readout,
                  pipelined=pipelined)
    return Requantise(sum=SUM, count=count, o=o, scaling=scaling(random.Random(0), channels), steps=steps,
                      readout=readout)


class PartByPart(HeldSums):
    """All outputs of a part before the next part."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal.like(self.i, reset_less=True)
        with m.If(self.load):
            m.d.sync += held.eq(self.i)
        m.d.comb += self.o.eq(Array([held[0], held[2], held[1], held[3]])[self.index])
        return m


class TakesTooEarly(HeldSums):
    """Always holds what is offered."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal.like(self.i, reset_less=True)
        m.d.sync += held.eq(self.i)
        m.d.comb += self.o.eq(Array(held)[self.index])
        return m


class NeverShort(Readout):
    """Takes the last word of a row for a whole one."""

    @property
    def ragged(self) -> bool:
        return False


class WaitsForAWord(Readout):
    """Takes a word a cycle later."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        # The last statement counts.
        m.d.comb += self.i.ready.eq(~self.o.valid)
        return m


@pytest.mark.parametrize("name, mutant", (
    ("readout.HeldSums", PartByPart), ("readout.HeldSums", TakesTooEarly),
    ("requantise.Readout", NeverShort), ("requantise.Readout", WaitsForAWord)))
def test_mutant_is_caught(monkeypatch: pytest.MonkeyPatch, name: str, mutant: Callable[..., Any]) -> None:
    def run() -> None:
        check(requantiser(count=2, readout=2, channels=3), i_gap="full-rate", o_gap="random", seed="mutant")

    run()
    monkeypatch.setattr(f"headrace.hdl.requantise.{name}", mutant)
    with pytest.raises(AssertionError):
        run()


@pytest.mark.parametrize("pipelined", (False, True))
@pytest.mark.parametrize("count, readout, fold, channels", ((2, 3, 1, 3), (2, 3, 1, 4), (1, 4, 2, 3)))
def test_readout_is_what_it_says(count: int, readout: int, fold: int, channels: int, pipelined: bool) -> None:
    """Registers, exactly."""
    dut = requantiser(count=count, readout=readout, fold=fold, channels=channels, pipelined=pipelined)
    hierarchy = Hierarchy()
    hierarchy.build(dut, name="layer")
    parts = {part.module: part for part in dut.parts("layer") if part.kind.startswith("readout")}
    assert parts.keys() == {"layer__readout", "layer__readout__column"}
    for module, part in parts.items():
        assert registers(hierarchy.modules[module]) == part.state, module
    assert hierarchy.children["layer__readout"].count("layer__readout__column") \
        == parts["layer__readout__column"].copies


@pytest.mark.parametrize("options, message", (
    (dict(fold=6, readout=4), r"^Readout must be a divisor of the output's fold of 6, not 4$"),
    (dict(fold=6, readout=0), r"^Readout must be a divisor of the output's fold of 6, not 0$"),
    (dict(fold=6, readout=3, count=2), r"^Sums must come one by one .*, not 2 together$"),
    (dict(together=Window((2, 1), (2, 1)), count=2), r"^Sums must come one by one .*, not 2 together$"),
))
def test_wrong(options: dict[str, Any], message: str) -> None:
    shape = {name: options.pop(name) for name in ("fold", "together") if name in options}
    o = RowFormat(channels=3, height=4, lanes=2, shape=signed(8), **shape)
    with pytest.raises(ValueError, match=message):
        Requantise(**(dict(sum=SUM, count=1, o=o, scaling=scaling(random.Random(0), 3), steps=1) | options))


def test_readout_of_one_wrong() -> None:
    with pytest.raises(ValueError, match=r"^Readout must be at least 2, not 1$"):
        Readout(shape=SUM, count=1, readout=1, o=requantiser(count=1, readout=1, channels=1).scale.format)
