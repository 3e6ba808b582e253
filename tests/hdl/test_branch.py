# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import Module, signed, unsigned
from amaranth.hdl import Fragment
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

import streams
from headrace.hdl.arithmetic.requantisation import AddRequantisation
from headrace.hdl.base.platform import Platform
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.add import Add
from headrace.hdl.layers.fork import Fork
from headrace.hdl.layers.shortcut import Shortcut

ROWS = RowFormat(channels=3, height=4, lanes=2, shape=unsigned(8))
LONG_ROWS = RowFormat(channels=20, height=4, lanes=2, shape=unsigned(8))  # one of them is worth a block RAM


@pytest.mark.parametrize("rings", ("registers", "blockram"))
@pytest.mark.parametrize("rows", (1, 2, 4))
@pytest.mark.parametrize("o_gap", streams.PATTERNS)
@pytest.mark.parametrize("i_gap", streams.PATTERNS)
def test_shortcut_passes_rows_on(i_gap: str, o_gap: str, rows: int, rings: str) -> None:
    beats = list(range(1, 241))
    shortcut = Shortcut(i=LONG_ROWS, rows=rows)
    made = Fragment.get(shortcut, Platform(rings=rings))
    assert ("rows" in {name for _, name, _ in made.subfragments}) == (rings == "blockram")
    assert streams.run(shortcut, {"i": beats}, 240, i_gap=i_gap, o_gap=o_gap, made=made) == beats


@pytest.mark.parametrize("rows", (1, 3))
def test_shortcut_holds_exactly_its_rows(rows: int) -> None:
    with pytest.raises(AssertionError, match=r"^0 of 1 payloads after 50 cycles$"):
        streams.run(Shortcut(i=ROWS, rows=rows), {"i": [1] * (ROWS.channels - 1)}, 1, deadline=50)
    assert streams.run(Shortcut(i=ROWS, rows=rows), {"i": [1] * ROWS.channels}, 1, deadline=50) == [1]


def test_rows_wrong() -> None:
    with pytest.raises(ValueError, match=r"^Rows must be a positive integer, not 0$"):
        Shortcut(i=ROWS, rows=0)


@pytest.mark.parametrize("tie", (None, 3))
@pytest.mark.parametrize("steps", (1, 3))
@pytest.mark.parametrize("o_gap", streams.PATTERNS)
@pytest.mark.parametrize("i_gap", streams.PATTERNS)
def test_add_matches_model(i_gap: str, o_gap: str, steps: int, tie: int | None) -> None:
    b = RowFormat(channels=3, height=4, lanes=2, shape=signed(8))
    scaling = AddRequantisation(shift=8, tie=tie, parity=0, multipliers=(200, 131), offset=777,
                                lo=3, hi=200)
    add = Add(a=ROWS, b=b, o=ROWS, scaling=scaling, steps=steps, rows=(0, 2))
    rng = np.random.default_rng(steps)
    x, y = rng.integers(0, 256, (3, 4, 2)), rng.integers(-128, 128, (3, 4, 2))
    expected = list(streams.pack_rows(add.model(x, y), ROWS))
    inputs = {"a": list(streams.pack_rows(x, ROWS)), "b": list(streams.pack_rows(y, b))}
    assert streams.run(add, inputs, len(expected), i_gap=i_gap, o_gap=o_gap) == expected


class ForkAndAdd(wiring.Component):
    """A fork whose branches meet at once."""

    def __init__(self) -> None:
        super().__init__({"i": In(ROWS.signature), "o": Out(ROWS.signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        scaling = AddRequantisation(shift=1, tie=None, parity=0, multipliers=(1, 1), offset=0, lo=0, hi=255)
        m.submodules.fork = fork = Fork(shape=ROWS.layout, count=2)
        m.submodules.add = add = Add(a=ROWS, b=ROWS, o=ROWS, scaling=scaling, steps=1, rows=(0, 0))
        wiring.connect(m, wiring.flipped(self.i), fork.i)
        wiring.connect(m, fork.output(0), add.a)
        wiring.connect(m, fork.output(1), add.b)
        wiring.connect(m, add.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("o_gap", streams.PATTERNS)
@pytest.mark.parametrize("i_gap", streams.PATTERNS)
def test_fork_gives_every_output_every_beat(i_gap: str, o_gap: str) -> None:
    beats = list(range(1, 60, 2)) * 2  # (x + x) >> 1 is x
    assert streams.run(ForkAndAdd(), {"i": beats}, len(beats), i_gap=i_gap, o_gap=o_gap) == beats
