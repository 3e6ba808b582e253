# amaranth: UnusedElaboratable=no
"""The two simulators: same beats in the same cycles, and what they say when something is wrong."""
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.gen.ir.errors import HeadraceError
from headrace.hdl.base.hierarchy import Hierarchy, place, place_copies
from headrace.hdl.storage.ring import Ring
from headrace.hdl.storage.rom import Rom, pack
from headrace.sim import amaranth_run, compiled, cxxrtl
from headrace.sim.beats import Beats

WIDTH = 9  # of an element: words of 32 bits do not hold a whole number of them
DEPTH = 5
WEIGHTS = [3, -7, 100, -128, 55]


class Mix(wiring.Component):
    """``o = x * weight + a neighbour's sum``, cut to :data:`WIDTH` bits; with a register of its own."""

    x: Signal
    weight: Signal
    step: Signal
    left: Signal
    right: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"x": In(WIDTH), "weight": In(data.ArrayLayout(signed(8), 9)), "step": In(1),
                          "left": In(WIDTH), "right": In(WIDTH), "o": Out(WIDTH), "held": Out(WIDTH)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o.eq(self.x * sum(self.weight) + self.left - self.right)
        with m.If(self.step):
            m.d.sync += self.held.eq(self.x)
        return m


class Layer(wiring.Component):
    """A row of lanes between a ring and an output register.

    Without the register, valid and payload pass through combinationally, and lanes read each other: nothing
    sorts the modules for evaluation.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, lanes: int, *, registered: bool) -> None:
        self.lanes, self.registered = lanes, registered
        signature = stream.Signature(data.ArrayLayout(unsigned(WIDTH), lanes))
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step, index = Signal(), Signal(range(DEPTH))
        with m.If(step):
            m.d.sync += index.eq(Mux(index == DEPTH - 1, 0, index + 1))
        rom = Rom(width=72, words=[pack([weight, *range(8)], 8) for weight in WEIGHTS])
        m.submodules.rom = rom
        m.d.comb += rom.address.eq(Mux(step, Mux(index == DEPTH - 1, 0, index + 1), index))
        ring = Ring(word=unsigned(WIDTH), columns=self.lanes, depth=DEPTH)
        place(m, platform, "ring", ring)
        m.d.comb += [ring.shift.eq(step), Value.cast(ring.i).eq(Value.cast(self.i.payload))]
        row = Signal(self.o.payload.shape())
        lanes = place_copies(m, platform, "lane", Mix, self.lanes)
        for column, lane in enumerate(lanes):
            m.d.comb += [lane.x.eq(ring.o[column] ^ self.i.payload[column]), lane.step.eq(step),
                         Value.cast(lane.weight).eq(rom.data), row[column].eq(lane.o),
                         lane.left.eq(column)]
            if not self.registered:
                m.d.comb += [lane.left.eq(lanes[column - 1].held), lane.right.eq(lanes[1 - column].held)]
        if self.registered:
            m.d.comb += [step.eq(self.i.valid & rom.valid & (self.o.ready | ~self.o.valid)),
                         self.i.ready.eq(step)]
            with m.If(self.o.ready | ~self.o.valid):
                m.d.sync += [self.o.valid.eq(step), self.o.payload.eq(row)]
        else:
            m.d.comb += [self.o.valid.eq(self.i.valid & rom.valid), self.o.payload.eq(row),
                         step.eq(self.o.valid & self.o.ready), self.i.ready.eq(step)]
        return m


class Chain(wiring.Component):
    """Layers, one behind the other."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, lanes: int, registered: tuple[bool, ...]) -> None:
        self.layers = [Layer(lanes, registered=each) for each in registered]
        super().__init__({"i": In(self.layers[0].i.signature.flip()),
                          "o": Out(self.layers[-1].o.signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        source: Any = wiring.flipped(self.i)
        for index, layer in enumerate(self.layers):
            place(m, platform, f"layer{index}", layer)
            wiring.connect(m, source, layer.i)
            source = layer.o
        wiring.connect(m, source, wiring.flipped(self.o))
        return m

    def probes(self) -> dict[str, stream.Interface]:
        return {f"layer{index}": layer.o for index, layer in enumerate(self.layers)}


DESIGNS = {
    "registered": (8, (True, True, True)),
    "combinational": (8, (True, False, False, True)),
    "few": (cxxrtl.MANY - 1, (True, False)),
    "single": (1, (True,)),
}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def build(name: str) -> tuple[Chain, Hierarchy]:
    chain, hierarchy = Chain(*DESIGNS[name]), Hierarchy(fast_rings=True)
    hierarchy.build(chain, probes={f"{probe}__{part}": getattr(stream, part)
                                   for probe, stream in chain.probes().items()
                                   for part in ("valid", "ready", "payload")})
    return chain, hierarchy


def beats(lanes: int, count: int) -> np.ndarray:
    bits = np.random.default_rng(lanes).integers(0, 2, (count, lanes * WIDTH)).astype(np.uint8)
    return np.packbits(bits, axis=1, bitorder="little")


def patterns(name: str) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    sparse, dense = rng.random(31) < 0.3, rng.random(23) < 0.7
    return {"full-rate": {},
            "starved": {"valid": {"i": sparse}, "ready": {"o": dense}},
            "stalled": {"valid": {"i": dense}, "ready": {"o": sparse}}}[name]


def assert_same(a: dict[str, Beats], b: dict[str, Beats]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].cycle.tolist() == b[name].cycle.tolist(), name
        assert a[name].payload.tolist() == b[name].payload.tolist(), name


@pytest.mark.parametrize("rate", ("full-rate", "starved", "stalled"))
@pytest.mark.parametrize("design", DESIGNS)
def test_simulators_agree(cache: Path, design: str, rate: str) -> None:
    chain, hierarchy = build(design)
    x = beats(DESIGNS[design][0], 40)
    common: dict[str, Any] = dict(inputs={"i": x}, outputs={"o": 35}, **patterns(rate))
    slow = amaranth_run.run(chain, probes=chain.probes(), **common)
    simulation = compiled.compile(hierarchy, cache=cache)
    for _ in range(2):  # every run starts from the initial state
        assert_same(slow, simulation.run(probes=list(chain.probes()), **common))
    assert simulation.cycles == slow["o"].cycle[-1] + 1
    assert len(slow["o"].payload) == 35 and slow["i"].payload.tolist() == x[:len(slow["i"].cycle)].tolist()


@pytest.mark.parametrize("design", ("registered", "combinational"))
def test_layers_with_output_registers_take_one_evaluation_per_cycle(cache: Path, design: str) -> None:
    """What the grouping of cells is for: see the comment in harness.cc."""
    _, hierarchy = build(design)
    simulation = compiled.compile(hierarchy, cache=cache)
    simulation.run(inputs={"i": beats(8, 9)}, outputs={"o": 9})
    assert (simulation.passes == 0) == (design == "registered")


def test_streams_of_the_netlist() -> None:
    _, hierarchy = build("single")
    assert cxxrtl.streams(hierarchy) == {
        "i": cxxrtl.Stream(cxxrtl.INPUT, WIDTH), "o": cxxrtl.Stream(cxxrtl.OUTPUT, WIDTH),
        "layer0": cxxrtl.Stream(cxxrtl.PROBE, WIDTH)}


@pytest.mark.parametrize("engine", ("compiled", "amaranth"))
def test_hang_names_the_beats_of_every_stream(cache: Path, engine: str) -> None:
    chain, hierarchy = build("single")
    common: dict[str, Any] = dict(inputs={"i": beats(1, 3)}, outputs={"o": 4}, deadline=20)
    with pytest.raises(HeadraceError, match=r"^simulation hangs: no transfer on any stream in the 20 cycles "
                                            r"before cycle \d+; beats seen: i 3 of 3, o 3 of 4, layer0 3$"):
        if engine == "amaranth":
            amaranth_run.run(chain, probes=chain.probes(), **common)
        else:
            compiled.compile(hierarchy, cache=cache).run(probes=["layer0"], **common)


def test_progress_and_interruption(cache: Path) -> None:
    _, hierarchy = build("single")
    simulation = compiled.compile(hierarchy, cache=cache)
    seen: list[tuple[int, int, int]] = []
    simulation.run(inputs={"i": beats(1, 9)}, outputs={"o": 9},
                   progress=lambda *state: seen.append(state))
    assert seen[-1] == (9, 9, simulation.cycles)

    def interrupt(done: int, total: int, cycle: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # it would never end by itself
        simulation.run(inputs={}, outputs={"o": 1}, deadline=1 << 40, progress=interrupt)


def test_wrong_beats(cache: Path) -> None:
    _, hierarchy = build("single")
    simulation = compiled.compile(hierarchy, cache=cache)
    with pytest.raises(ValueError, match=r"^Beats of i must be \(beats, 2\) bytes, not \(3, 1\)$"):
        simulation.run(inputs={"i": np.zeros((3, 1), np.uint8)}, outputs={"o": 3})
    with pytest.raises(ValueError, match=r"^A pattern must be true at times; that of o is not$"):
        simulation.run(inputs={}, outputs={"o": 3}, ready={"o": np.zeros(3, np.bool_)})


def test_compiles_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, hierarchy = build("single")
    compiled.compile(hierarchy, cache=cache)
    monkeypatch.setattr(cxxrtl, "generate", lambda *_, **__: pytest.fail("it was there already"))
    compiled.compile(build("single")[1], cache=cache)
    assert not [path for path in cache.iterdir() if path.suffix != ".so"]


def test_failures_of_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, hierarchy = build("single")
    monkeypatch.setattr(compiled, "FLAGS", (*compiled.FLAGS, "-Dcxxrtl_create=1+"))
    with pytest.raises(HeadraceError, match="^the C[+][+] compiler failed: .*error") as error:
        compiled.compile(hierarchy, cache=tmp_path)
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    compiled.compiler.cache_clear()
    with pytest.raises(HeadraceError, match="^a C[+][+] compiler is missing: install .* ziglang$"):
        compiled.compiler()
    monkeypatch.undo()
    compiled.compiler.cache_clear()
