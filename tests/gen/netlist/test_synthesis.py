# amaranth: UnusedElaboratable=no
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from distributed import LocalCluster

from headrace.gen.estimate.estimate import estimate
from headrace.gen.estimate.price import Prices
from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.means import Means
from headrace.gen.netlist import build, synthesis, verilog, yosys
from headrace.gen.netlist.jobs import Workers
from headrace.gen.netlist.resources import Report, Resources
from headrace.gen.netlist.synthesis import synthesise
from headrace.gen.netlist.target import ECP5, ICE40, TARGETS, XC7, Target, find
from headrace.gen.planning.planner import plan
from headrace.hdl.base.hierarchy import Hierarchy, place
from headrace.hdl.base.platform import LUTRAM
from headrace.hdl.lanes.lane import MacLane
from headrace.hdl.lanes.pair import LanePair
from lane_costs import PAIRS, cost
from small_graphs import Network

DEFAULTS = synthesis.BLANK_WORDS, synthesis.BLANK_WIDTH


@pytest.mark.parametrize("target", TARGETS.values(), ids=str)
def test_every_layer_is_mapped_completely(small: Path, target: Target) -> None:
    graph = load(small)
    seen: list[tuple[int, int]] = []
    report = synthesise(build.netlist(graph, plan(graph, cycles=6000)), target=target,
                        progress=lambda done, total: seen.append((done, total)))
    layers = report.layers
    assert {node.name for node in graph.nodes} <= set(layers)
    assert seen[-1] == (len(layers), len(layers))
    assert report.total.writable_memories == 0
    assert not report.total.other
    assert all(layers[node.name].lut > 0 and layers[node.name].ff > 0 for node in graph.nodes)
    if target.dsps:
        assert layers[graph.nodes[0].name].dsp > 0
    assert report.to_json()["total"]["lut"] == sum(layer["lut"] for layer in report.to_json()["layers"])


@pytest.mark.parametrize("target, close", ((ECP5, 0.1), (XC7, 0.3)), ids=str)
def test_rings_of_lut_memory(small: Path, target: Target, close: float) -> None:
    """Closely, but for the 7 series, which have memories of many sizes."""
    graph = load(small)
    layout = plan(graph, cycles=6000)
    registers = synthesise(build.netlist(graph, layout), target=target).total
    in_memories = replace(layout, rings=LUTRAM)
    memories = synthesise(build.netlist(graph, in_memories), target=target).total
    assert registers.lutram == 0 and not memories.other
    assert 0 < memories.lutram < memories.lut
    assert memories.writable_memories > 0
    assert target != ECP5 or memories.ff < registers.ff  # the 7 series' registers are LUTs, too
    estimated = estimate(graph, in_memories, target=target).total
    assert estimated.lutram == pytest.approx(memories.lutram, rel=close)


def test_no_lut_memory(small: Path) -> None:
    graph = load(small)
    message = "^target ice40 has no memory made of LUTs: rings must be registers or blockram$"
    with pytest.raises(HeadraceError, match=message):
        synthesise(build.netlist(graph, plan(graph, cycles=6000, means=Means(rings=LUTRAM))), target=ICE40)


@pytest.mark.parametrize("target", PAIRS, ids=str)
@pytest.mark.parametrize("p_in, p_out, depth", ((1, 1, 1), (1, 4, 2), (4, 1, 1), (9, 2, 3)))
def test_pair_takes_a_dsp_for_two_products(target: Target, p_in: int, p_out: int, depth: int) -> None:
    assert cost(LanePair, target, p_in=p_in, p_out=p_out, depth=depth).dsp == p_in * p_out
    odd = cost(MacLane, target, p_in=p_in, p_out=p_out, depth=depth, paired=True)
    assert odd.dsp == p_in * -(-p_out // 2)


def test_digits_takes_half_the_dsps_for_its_layers(digits: Path) -> None:
    graph = load(digits)
    layout = plan(graph, prices=Prices(XC7))
    assert (layout.multipliers, layout.dsps) == (148, 76)
    requantisers = 28  # those whose sums come too fast for narrow digits
    assert synthesise(build.netlist(graph, layout), target=XC7).total.dsp == 76 + requantisers


class Scratch(wiring.Component):
    """What must never be: a memory with a write port."""

    def __init__(self) -> None:
        super().__init__({"address": In(9), "data": In(16), "write": In(1), "o": Out(16)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory: Any = Memory(shape=16, depth=512, init=[])
        m.submodules.memory = memory
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.addr.eq(self.address), read.addr.eq(self.address), write.data.eq(self.data),
                     write.en.eq(self.write), self.o.eq(read.data)]
        return m


class Holder(Scratch):
    def elaborate(self, platform: object) -> Module:
        m = Module()
        scratch = Scratch()
        place(m, platform, "scratch", scratch)
        m.d.comb += [scratch.address.eq(self.address), scratch.data.eq(self.data),
                     scratch.write.eq(self.write), self.o.eq(scratch.o)]
        return m


@pytest.mark.parametrize("target", (ECP5, XC7), ids=str)
def test_memory_with_a_write_port_is_counted(target: Target) -> None:
    hierarchy = Hierarchy()
    hierarchy.build(Holder())
    assert synthesise(hierarchy, target=target).total.writable_memories == 1


def report(path: Path, cache: Path, workers: Workers | None = None, target: Target = ICE40) -> Report:
    graph = load(path)
    return synthesise(build.netlist(graph, plan(graph, cycles=6000)), target=target, workers=workers,
                      cache=cache)


def test_cluster_reports_the_same(small: Path, tmp_path: Path) -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        spread = report(small, tmp_path / "a", Workers("dask", scheduler=cluster.scheduler_address))
    assert spread == report(small, tmp_path / "b") == report(small, tmp_path / "c", Workers("loky", 2))


def test_second_run_takes_no_yosys(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = report(small, tmp_path)

    def fail(*arguments: object, **more: object) -> None:
        raise AssertionError("Yosys runs")

    monkeypatch.setattr(yosys, "run", fail)
    assert report(small, tmp_path) == first
    with pytest.raises(AssertionError, match=r"^Yosys runs$"):
        report(small, tmp_path, target=ECP5)
    for file in tmp_path.iterdir():
        file.write_text("{")
    with pytest.raises(AssertionError, match=r"^Yosys runs$"):
        report(small, tmp_path)


@pytest.mark.parametrize("target", TARGETS.values(), ids=str)
def test_content_of_block_rams_does_not_count(tmp_path: Path, target: Target,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Large ROMs are blanked; where one that became logic was, all are synthesised with what they hold."""
    net, runs = Network((24, 4, 2)), []
    net.conv("x", 48, 3)
    graph, run = net.graph(), yosys.run

    def count(*arguments: Any, **more: Any) -> dict[str, str]:
        runs.append(arguments)
        return run(*arguments, **more)

    def report(blank: tuple[int, int]) -> tuple[Report, int]:
        runs.clear()
        for name, value in zip(("BLANK_WORDS", "BLANK_WIDTH"), blank, strict=True):
            monkeypatch.setattr(synthesis, name, value)
        made = synthesise(build.netlist(graph, plan(graph, cycles=10_000)), target=target,
                          workers=Workers(jobs=1), cache=tmp_path / str(blank))
        return made, len(runs)

    monkeypatch.setattr(yosys, "run", count)
    monkeypatch.setattr(synthesis, "_batches", lambda hierarchy, names, jobs: [["conv0"]])
    monkeypatch.setattr(verilog, "layers", lambda hierarchy: ["conv0"])
    kept, once = report((1 << 30, 1))
    usual, at_once = report(DEFAULTS)
    every, twice = report((1, 1))
    assert kept == every and kept.total.bram > 0
    assert usual.total.with_lut(0) == kept.total.with_lut(0)
    assert usual.total.lut == pytest.approx(kept.total.lut, rel=0.002)  # ABC's heuristics see other cells
    assert (once, at_once, twice) == (1, 1, 2)


@pytest.mark.parametrize(("workers", "message"), [
    (Workers("ray"), "unknown back end 'ray': supported are threading, loky, dask"),
    (Workers("dask"), "the back end dask, and no other, needs the address of its scheduler"),
    (Workers("loky", scheduler="tcp://localhost:1"),
     "the back end dask, and no other, needs the address of its scheduler"),
    (Workers("dask", scheduler="nonsense://localhost"), "dask scheduler nonsense://localhost: ")])
def test_wrong_workers(small: Path, tmp_path: Path, workers: Workers, message: str) -> None:
    with pytest.raises(HeadraceError, match="^" + re.escape(message)):
        report(small, tmp_path, workers)


def test_reports_add_up() -> None:
    report = Report("ecp5", {"a": Resources(lut=1, dsp=2, other={"X": 1}),
                             "b": Resources(lut=3, other={"X": 2})})
    assert report.total == Resources(lut=4, dsp=2, other={"X": 3})


def test_target_unknown() -> None:
    with pytest.raises(HeadraceError, match=r"^unknown target 'asic': supported are ecp5, gowin, ice40, "
                                            r"nexus, xc7, xcup$"):
        find("asic")
