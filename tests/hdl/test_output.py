# amaranth: UnusedElaboratable=no
"""Output registers: beats, rules of streams, cycles, registers; plain and pipelined."""
from typing import Any

import numpy as np
import pytest
from amaranth import Module, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from rtlil_cells import registers

import streams
from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.arithmetic.requantisation import AddRequantisation, Requantisation
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.hdl.base.output import OutputRegister, output_bits
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.add import Add
from headrace.hdl.layers.lookup import Lookup
from headrace.hdl.layers.mul import Mul
from headrace.hdl.layers.window import MaxPool
from headrace.hdl.timing.pipeline import register

BEATS = [int(beat) for beat in np.random.default_rng(0).integers(0, 1 << 16, 60)]


def rows(*, pipelined: bool, height: int = 4) -> RowFormat:
    return RowFormat(channels=5, height=height, lanes=2, shape=unsigned(8), pipelined=pipelined)


class Registered(wiring.Component):
    """Nothing but an output register."""

    i: Any
    o: Any

    def __init__(self, *, pipelined: bool, kind: type[OutputRegister] = OutputRegister) -> None:
        self.format, self.kind = rows(pipelined=pipelined), kind
        super().__init__({"i": In(self.format.signature), "o": Out(self.format.signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        output = self.kind(m, self.o, format=self.format)
        m.d.comb += self.i.ready.eq(output.room)
        output.load(self.i.valid, [Value.cast(value) for value in self.i.payload])
        return m


def check(dut: Registered, *, i_gap: str, o_gap: str) -> None:
    times: dict[str, list[int]] = {}
    run: dict[str, Any] = dict(i_gap=i_gap, o_gap=o_gap, seed="output")
    assert streams.run(dut, {"i": BEATS}, len(BEATS), times=times, deadline=2_000, **run) == BEATS
    assert times == streams.predicted(
        lambda i, o, _: [register(i, o, pipelined=dut.format.pipelined)], beats=len(BEATS), count=len(BEATS),
        **run)


@pytest.mark.parametrize("pipelined", (False, True))
@pytest.mark.parametrize("o_gap", streams.PATTERNS)
@pytest.mark.parametrize("i_gap", streams.PATTERNS)
def test_beats_and_cycles(i_gap: str, o_gap: str, pipelined: bool) -> None:
    check(Registered(pipelined=pipelined), i_gap=i_gap, o_gap=o_gap)


class OnePlace(OutputRegister):
    """Takes a beat only when it is empty."""

    def __init__(self, m: Module, o: Any, *, format: RowFormat) -> None:
        super().__init__(m, o, format=format)
        self.room = ~o.valid


class AlwaysRoom(OutputRegister):
    """Takes a beat that there is no place for."""

    def __init__(self, m: Module, o: Any, *, format: RowFormat) -> None:
        super().__init__(m, o, format=format)
        self.room = ~self._full | ~o.ready


class ForgetsTheSecond(OutputRegister):
    """Never gives what is in the second place."""

    def load(self, finished: Value, values: Any) -> None:
        super().load(finished, values)
        self._m.d.sync += self._full.eq(0)


@pytest.mark.parametrize("mutant", (OnePlace, AlwaysRoom, ForgetsTheSecond))
def test_mutant_is_caught(mutant: type[OutputRegister]) -> None:
    with pytest.raises(AssertionError):
        check(Registered(pipelined=True, kind=mutant), i_gap="full-rate", o_gap="random")


@pytest.mark.parametrize("pipelined", (False, True))
def test_registers(pipelined: bool) -> None:
    hierarchy = Hierarchy()
    hierarchy.build(Registered(pipelined=pipelined), name="register")
    assert registers(hierarchy.modules["register"]) == output_bits(rows(pipelined=pipelined))


ADD = AddRequantisation(shift=8, tie=3, parity=0, multipliers=(200, 131), offset=777, lo=3, hi=200)

MUL = Requantisation(shift=9, tie=4, parity=0, multipliers=(3,), offsets=(70_000,), lo=3, hi=200)


@pytest.mark.parametrize("pipelined", (False, True))
@pytest.mark.parametrize("name", ("lookup", "max", "add", "mul"))
def test_full_rate(name: str, pipelined: bool) -> None:
    """A beat leaves every layer in each cycle."""
    x = rows(pipelined=pipelined)
    layers: dict[str, Any] = {
        "lookup": Lookup(i=x, o=x, tables=[list(range(256))]),
        "max": MaxPool(i=x, o=x, window=Window((1, 2), (1, 1), (0, 0, 0, 1)), p_in=2),
        "add": Add(a=x, b=x, o=x, scaling=ADD, steps=1, rows=(0, 0)),
        "mul": Mul(a=x, b=x, o=x, zero_points=(3, 200), sum=signed(17), scaling=MUL, steps=1, rows=(0, 0))}
    layer = layers[name]
    images = [np.random.default_rng(1).integers(0, 256, (5, 4, 2)) for _ in layer.formats[:-1]]
    inputs = {port: list(streams.pack_rows(image, x)) for port, image in zip(
        ("a", "b") if name in ("add", "mul") else ("i",), images, strict=True)}
    times: dict[str, list[int]] = {}
    expected = list(streams.pack_rows(layer.model(*images), x))
    assert streams.run(layer, inputs, len(expected), times=times) == expected
    assert set(np.diff(times["o"])) == {1}
