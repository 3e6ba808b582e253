"""The estimate against the netlist: its modules, and what yosys makes of them."""
from collections import Counter
from pathlib import Path

import pytest

from headrace.gen.estimate import calibrate
from headrace.gen.estimate.devices import DEVICES, find
from headrace.gen.estimate.estimate import all_parts, estimate
from headrace.gen.estimate.mapping import memory, product, shift_register
from headrace.gen.estimate.price import Prices
from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.gen.netlist import build
from headrace.gen.netlist.resources import Resources
from headrace.gen.netlist.synthesis import synthesise, synthesise_modules
from headrace.gen.netlist.target import ECP5, ICE40, NEXUS, TARGETS, XC7, Target
from headrace.gen.planning.fit import fit, fits, usage
from headrace.gen.planning.planner import plan
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.hdl.storage.ring import SHORT, Ring
from small_models import branches, every_operator, products, rearranged

ESTIMATED = [target for target in TARGETS.values() if target.primitives is not None]
DIGITS = Path(__file__).parents[3] / "models/digits.onnx"


@pytest.fixture(scope="module", params=((every_operator, False), (branches, False), (products, False),
                                        (rearranged, False), (every_operator, True), (products, True)),
                ids=("every_operator", "branches", "products", "rearranged", "pipelined",
                     "products pipelined"))
def planned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Plan]:
    make, pipelined = request.param
    graph = load(make(tmp_path_factory.mktemp("model") / "model.onnx"))
    return graph, plan(graph, cycles=6_000, means=Means(pipelined=pipelined))


@pytest.fixture(scope="module")
def digits() -> Graph:
    return load(DIGITS)


def _instances(hierarchy: Hierarchy, module: str, times: int = 1) -> Counter[str]:
    found = Counter({module: times})
    for child, count in Counter(hierarchy.children[module]).items():
        found += _instances(hierarchy, child, times * count)
    return found


def test_parts_are_the_modules_of_the_netlist(planned: tuple[Graph, Plan]) -> None:
    hierarchy = build.netlist(*planned)
    made = _instances(hierarchy, "top")
    expected: Counter[str] = Counter()
    for layer, parts in all_parts(elaborate.network(*planned)):
        for part in parts:
            expected[calibrate.module(layer, part)] += part.copies
    wires = {"top", "network", "global_average_pool_global__held"}  # of one row, no sum is read again
    for module, count in made.items():
        assert expected.pop(module, 0) == count or (
            module in wires or "\n  cell $" not in hierarchy.modules[module]), module
    assert not expected


@pytest.mark.parametrize("target", (ECP5, *(pytest.param(each, marks=pytest.mark.full)
                                            for each in ESTIMATED if each != ECP5)), ids=str)
def test_small_layers(planned: tuple[Graph, Plan], target: Target) -> None:
    made = synthesise(build.netlist(*planned), target=target)
    guess = estimate(*planned, target=target)
    assert guess.layers.keys() == made.layers.keys()
    for name, layer in made.layers.items():
        found = guess.layers[name]
        assert (found.dsp, found.bram, found.rom_bits) == (layer.dsp, layer.bram, layer.rom_bits), name
        moved = 20 if planned[1].pipelined else 8  # those of a product that DSPs or neighbours take
        assert found.ff == pytest.approx(layer.ff, rel=0.05, abs=moved), name
        assert found.lut == pytest.approx(layer.lut, rel=0.4, abs=45), name
    assert guess.total.lut == pytest.approx(made.total.lut, rel=0.1)
    kinds = sum(guess.kinds.values(), Resources())
    assert kinds.lut == pytest.approx(guess.total.lut, abs=len(guess.layers))  # rounded by layer
    assert kinds.with_lut(0) == guess.total.with_lut(0)


def test_rows_in_block_ram(tmp_path: Path) -> None:
    """A network that nothing was calibrated with, of lanes that multiply bit by bit."""
    graph = load(every_operator(tmp_path / "model.onnx"))
    layout = plan(graph, cycles=100_000, prices=Prices(ICE40), means=Means(rings="blockram", serial=True))
    assert any(layer.serial for layer in layout.layers.values())
    made = synthesise(build.netlist(graph, layout), target=ICE40)
    guess = estimate(graph, layout, target=ICE40)
    for name, layer in made.layers.items():
        found = guess.layers[name]
        assert (found.writable_memories, found.rom_bits) == (layer.writable_memories, layer.rom_bits), name
        assert found.bram == pytest.approx(layer.bram, abs=1), name
        assert found.ff == pytest.approx(layer.ff, rel=0.05, abs=8), name
        assert found.lut == pytest.approx(layer.lut, rel=0.4, abs=45), name
    assert guess.total.lut == pytest.approx(made.total.lut, rel=0.1)


@pytest.mark.full
@pytest.mark.parametrize("target", ESTIMATED, ids=str)
def test_digits(digits: Graph, target: Target) -> None:
    layout = plan(digits)
    made = synthesise(build.netlist(digits, layout), target=target).total
    found = estimate(digits, layout, target=target).total
    assert (found.dsp, found.bram, found.rom_bits) == (made.dsp, made.bram, made.rom_bits)
    assert found.lut == pytest.approx(made.lut, rel=0.1)
    assert found.ff == pytest.approx(made.ff, rel=0.02)


def test_products_are_cut_into_pieces() -> None:
    ecp5, xc7 = ECP5.estimated().multipliers, XC7.estimated().multipliers
    assert product(None, 8, 9).soft == 72
    assert product(ecp5, 9, 9).dsp == 1
    assert product(ecp5, 4, 4) == product(None, 4, 4)  # no DSP for a product of 8 bits
    assert (product(ecp5, 19, 7).dsp, product(ecp5, 19, 7).soft) == (1, 7)
    assert product(xc7, 25, 18).dsp == 1
    assert product(xc7, 26, 18).dsp == 2


def test_memories_and_shift_registers() -> None:
    ecp5, ice40, xc7 = ECP5.estimated(), ICE40.estimated(), XC7.estimated()
    assert memory(ecp5, 96, 24) == (1, 18)
    assert memory(xc7, 96, 24) == (0, 0)
    assert memory(ice40, 96, 24) == (2, 8)
    assert memory(ice40, 64, 16) == (0, 0)
    assert shift_register(ecp5, 8, 40) == (0, 320)
    assert shift_register(xc7, 8, 40) == (16, 0)
    assert shift_register(xc7, 8, 2) == (0, 16)
    with pytest.raises(HeadraceError, match="^there is no estimate for target 'nexus': supported are ecp5, "):
        NEXUS.estimated()


@pytest.mark.parametrize("depth", (SHORT, SHORT + 1, 40))
def test_short_rings_are_flip_flops(depth: int) -> None:
    hierarchy = Hierarchy()
    hierarchy.build(Ring(word=5, columns=3, depth=depth))
    made = synthesise_modules(hierarchy, target=XC7)[f"ring__5x{depth}"]
    assert (made.lut, made.ff) == shift_register(XC7.estimated(), 5, depth)


def test_devices() -> None:
    assert find("up5k") is find("UP5K") is find("iCE40-UP5K")
    assert find("ecp5-85") is find("LFE5U_85") and find("xc7a100t").dsp == 240
    names = [name for device in DEVICES for name in (device.name, *device.aliases)]
    assert len({name.lower() for name in names}) == len(names)
    assert all(find(name).source and find(name).lut > 5_000 for name in names)
    with pytest.raises(HeadraceError, match="^unknown device 'lfe5u-12': supported are LFE5U-25, "):
        find("lfe5u-12")


def test_fit_is_the_fastest_that_the_device_holds(digits: Graph) -> None:
    device = find("ecp5-85")
    best = fit(digits, device)
    assert fits(estimate(digits, best, target=ECP5).total, device)
    faster = plan(digits, cycles=int(best.cycles_per_frame * 0.9))
    assert not fits(estimate(digits, faster, target=ECP5).total, device)


def test_fit_in_block_ram(digits: Graph) -> None:
    """Lanes that multiply bit by bit, in some layers; faster ones do not fit."""
    device = find("hx8k")
    best = fit(digits, device, means=Means(rings="blockram"))
    serial = [layer.serial for layer in best.layers.values() if layer.multipliers]
    assert any(serial) and fits(estimate(digits, best, target=ICE40).total, device)
    with pytest.raises(HeadraceError, match=r"needs at least [\d,]+ logic cells of 5,280 .* on iCE40UP5K"):
        fit(digits, find("up5k"), means=Means(rings="blockram"))


def test_what_does_not_fit_is_said(digits: Graph) -> None:
    with pytest.raises(HeadraceError, match=(
            r"^digits needs at least [\d,]+ logic cells of 5,280 \(\d\.\d times\), [\d,]+ LUTs of 5,280 "
            r"\(\d\.\d times\), [\d,]+ flip-flops of 5,280 "
            r"\(\d\.\d times\) on iCE40UP5K by estimate, in its smallest plan, of [\d,]+ cycles per frame; "
            r"rings of memory take less \(--rings blockram\); "
            r"no listed device of target ice40 holds it$")):
        fit(digits, find("up5k"))
    with pytest.raises(HeadraceError, match=r"on LFE5U-25 by estimate, .*; it fits (LFE5U-45, )?LFE5U-85$"):
        fit(digits, find("ecp5-25"), means=Means(fold=1))


def test_usage_counts_block_rams_by_capacity() -> None:
    uses = usage(Resources(lut=10, bram=3, bram_kbit=54), find("xc7a35t"))
    assert [(use.name, use.needed, use.available) for use in uses] == [
        ("LUTs", 10, 20_800), ("flip-flops", 0, 41_600), ("DSPs", 0, 90), ("block RAMs", 2, 50)]
