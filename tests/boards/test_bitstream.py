"""`headrace bitstream` as a user meets it: with tools that only pretend, and once with real ones."""
import importlib.util
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.boards import bitstream
from headrace.boards.boards import find
from headrace.gen.cli.main import main
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.netlist import tools
from headrace.gen.planning.planner import plan
from small_graphs import Network

LOG = """Info: \t              DP16KD:       1/    208     0%
Info: \t          MULT18X18D:     {}/    156    93%
Info: \t          TRELLIS_FF:   27549/  83640    32%
Info: \t        TRELLIS_COMB:   36187/  83640    43%
"""
PATH = [{"delay": 12.5, "from": {"cell": "a_TRELLIS_FF_Q"}, "to": {"cell": "b_TRELLIS_FF_Q_3"}}]


class Tools:
    """Stand in for yosys, nextpnr and ecppack; one may fail."""

    def __init__(self, *, failing: str = "", dsps: int = 145, mhz: float = 80.0) -> None:
        self.failing, self.log, self.mhz = failing, LOG.format(dsps), mhz
        self.calls: dict[str, Sequence[str]] = {}

    def __call__(self, tool: str, arguments: Sequence[str], folder: Path, *, log: str = "") -> None:
        self.calls[tool] = arguments
        if tool == "yosys":
            self.script, self.network = ((folder / name).read_text() for name in ("board.ys", "network.il"))
            (folder / log).write_text("")
        if tool == "nextpnr-ecp5":
            (folder / log).write_text(self.log)
            (folder / "report.json").write_text(json.dumps({
                "fmax": {"clk": {"achieved": self.mhz}},
                "critical_paths": [{"from": "posedge clk", "to": "posedge clk", "path": PATH}]}))
        if tool == self.failing:
            raise HeadraceError(f"{tool} failed: it was told to")
        if tool == "ecppack":
            (folder / "board.bit").write_bytes(b"bits")


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, pretended: Tools,
        *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr(tools, "run", pretended)
    code = main([str(argument) for argument in ("bitstream", *arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_figures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, digits: Path,
                 tmp_path: Path) -> None:
    folder, pretended = tmp_path / "out", Tools()
    options = [digits, "--board", "ulx3s-85f", "-o", folder, "--cycles", 1000]
    code, out, err = run(capsys, monkeypatch, pretended, *options, "--json", "--seed", 5,
                         "--nextpnr-args=--router router2")
    found = json.loads(out)
    assert (code, err) == (0, "") and found == json.loads((folder / "figures.json").read_text())
    cycles = json.loads((folder / "plan.json").read_text())["cycles_per_frame"]
    assert found["cycles_per_frame"] == cycles and found["frames_per_second"] == 80e6 / cycles
    assert (found["clock_mhz"], found["achieved_mhz"]) == (25, 80)
    assert found["critical_path"] == {"source": "a", "sink": "b", "ns": 12.5}
    assert found["use"][2] == {"name": "DSPs", "needed": 145, "available": 156}
    assert found["file"] == str(folder / "digits.bit")
    assert {file.name for file in folder.iterdir()} == {
        "digits.bit", "figures.json", "manifest.json", "plan.json", "yosys.log", "nextpnr.log",
        "nextpnr.json"}
    asked = " ".join(pretended.calls["nextpnr-ecp5"])
    assert "--seed 5 --router router2" in asked and "--85k --package CABGA381" in asked
    assert "read_rtlil network.il" in pretended.script and "\nmodule \\top\n" in pretended.network
    code, out, err = run(capsys, monkeypatch, Tools(), *options)  # in place of the first
    assert (code, err) == (0, "")
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "of LFE5U-85 used available part", "LUTs 36,187 83,640 43%", "flip-flops 27,549 83,640 33%",
        "DSPs 145 156 93%", "block RAMs 1 208 0%", "clock: 80.0 MHz achieved; the board's is 25 MHz",
        "longest path: 12.5 ns, from a to b",
        f"cycles per frame: {cycles:,.0f}; {80e6 / cycles:,.0f} frames per second at 80.0 MHz",
        f"{folder / 'digits.bit'}: ulx3s_85f, 1000000 baud"]


def test_fit_is_for_the_device_of_the_board(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, digits: Path,
        tmp_path: Path) -> None:
    options = [digits, "--board", "icebreaker", "-o", tmp_path / "out", "--fit"]
    code, out, err = run(capsys, monkeypatch, Tools(), *options)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("headrace: digits needs at least ") and " on iCE40UP5K by estimate" in err


@pytest.mark.parametrize("pretended, options, message", (
    (Tools(failing="yosys"), [], "yosys failed: it was told to"),
    (Tools(failing="nextpnr-ecp5"), [], "nextpnr-ecp5 failed: it was told to"),
    (Tools(failing="nextpnr-ecp5", dsps=167), [],
     "small needs 167 DSPs of 156 (1.1 times) on LFE5U-85: allow it more --cycles, or use --fit"),
    (Tools(failing="ecppack"), [], "ecppack failed: it was told to"),
    (Tools(mhz=24.9), [],
     "small reaches 24.9 MHz on ULX3S 85F and not the clock of 25 MHz: try another --clock or --seed"),
    (Tools(), ["--baud", 6_250_001], "--baud must be 200 to 6250000 at 25 MHz, not 6250001"),
    (Tools(), ["--baud", 199], "--baud must be 200 to 6250000 at 25 MHz, not 199"),
    (Tools(), ["--board", "icebreaker", "--clock", 20],
     "--clock is not supported on iCEBreaker: its clock is 12 MHz")))
def test_failure_leaves_nothing(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, small: Path, tmp_path: Path,
        pretended: Tools, options: list[object], message: str) -> None:
    arguments = [small, "--board", "ulx3s_85f", "-o", tmp_path / "out", *options]
    assert run(capsys, monkeypatch, pretended, *arguments) == (1, "", f"headrace: {message}\n")
    assert not list(tmp_path.iterdir())


def test_network_is_slower_than_the_line(tmp_path: Path) -> None:
    net = Network((1, 2, 2))
    net.conv("x", 1)
    slow = replace(plan(net.graph()), cycles_per_frame=1001)
    message = ("^at 1000000 baud an image may come every 1,000 cycles, and net takes one every 1,001: "
               "allow it fewer --cycles, or ask for a --baud of at most 999000$")
    with pytest.raises(HeadraceError, match=message):
        bitstream.bitstream(net.graph(), slow, find("ulx3s_85f"), tmp_path / "out")


@pytest.mark.parametrize("tool", ("nextpnr-ecp5", "ecppack", "nextpnr-ice40", "icepack", "ecppll"))
def test_tool_is_missing(monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert tools.command(tool)[2].startswith("import sys, yowasp_nextpnr_")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HeadraceError, match=rf"^{tool} is missing: install it, or `headrace\[boards\]`$"):
        tools.command(tool)


def test_native_tool_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = "#!/bin/sh\necho WARNING: odd >&2\necho ERROR: no such $1 >&2\nexit 3\n"
    (tmp_path / "icepack").write_text(script)
    (tmp_path / "icepack").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(HeadraceError, match="^icepack failed: no such thing$"):
        tools.run("icepack", ["thing"], tmp_path)


def test_place_and_route(tmp_path: Path) -> None:
    """The smallest network there is, on the smallest ECP5, at a PLL's clock."""
    net = Network((1, 2, 2))
    net.conv("x", 1)
    graph = net.graph()
    board, settings = find("colorlight_i5"), bitstream.Settings(clock=36)
    made = bitstream.bitstream(graph, plan(graph), board, tmp_path / "out", settings=settings)
    assert made.clock == pytest.approx(36, rel=0.1) and made.timing.achieved >= made.clock
    assert made.timing.delay == pytest.approx(1e3 / made.timing.achieved, rel=0.01)
    assert "serial." in made.timing.source and "serial." in made.timing.sink
    used = {use.name: use for use in made.uses}
    assert set(used) == {"LUTs", "flip-flops", "DSPs", "block RAMs"} and all(use.fits for use in made.uses)
    assert 400 < used["LUTs"].needed < 3000 and 200 < used["flip-flops"].needed < 2000
    assert made.file.stat().st_size > 50_000
