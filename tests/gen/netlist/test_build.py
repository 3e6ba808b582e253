"""What `headrace build` writes."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.means import Means
from headrace.gen.netlist import build, verilog, yosys
from headrace.gen.numerics.proof import prove
from headrace.gen.planning.planner import plan, unrolled
from headrace.hdl.base.platform import BLOCKRAM, LUTRAM, REGISTERS

_BUILD = """
import sys
from pathlib import Path
from headrace.gen.netlist.build import build
from headrace.gen.importer.load import load
from headrace.gen.planning.planner import plan
graph = load(sys.argv[1])
build(graph, plan(graph), Path(sys.argv[2]))
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_bytes_every_time(digits: Path, tmp_path: Path) -> None:
    for seed, name in (("1", "one"), ("2", "two")):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", _BUILD, str(digits), str(tmp_path / name)], env=environment,
                       check=True, cwd=tmp_path)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one == two
    names = [f"rtl/{line}" for line in one["rtl/files.f"].decode().split()]
    assert sorted([*names, "rtl/files.f", "plan.json", "proof.json", "manifest.json"]) == sorted(one)
    assert {f"rtl/{node.name}.v" for node in load(digits).nodes} <= set(one)
    assert b"initial begin" in one["rtl/block1_project__rom.v"]
    assert b"module block1_project__rom" not in one["rtl/block1_project.v"]
    text = b"".join(one.values()).decode()
    assert str(tmp_path) not in text and "Yosys" not in text and "verilog_backend" not in text


def test_each_lane_is_written_once(digits: Path) -> None:
    graph = load(digits)
    hierarchy = build.netlist(graph, plan(graph))
    assert hierarchy.children["block1_project"].count("block1_project__lane") == 8
    assert sum(text.count("\nmodule \\block1_project__lane\n") for text in hierarchy.modules.values()) == 1


def test_verilog_has_no_memory_that_is_written(digits: Path, tmp_path: Path) -> None:
    graph = load(digits)
    files, _ = build.build(graph, plan(graph), tmp_path / "out")
    script = [*(f"read_verilog {path.name}" for path in files), "hierarchy -check -top top", "proc",
              "memory_collect", "select -assert-none t:$memwr* t:$mem_v2 r:WR_PORTS>0 %i",
              "select -assert-min 10 t:$mem_v2", ""]
    yosys.run("\n".join(script), files={path.name: path.read_text() for path in files})


def test_rings_are_made_of_what_the_plan_says(small: Path, tmp_path: Path) -> None:
    graph = load(small)
    for rings in (REGISTERS, LUTRAM, BLOCKRAM):
        layout = plan(graph, means=Means(rings=rings))
        assert layout.rings == unrolled(graph, rings=rings).rings == rings
    layout = plan(graph, means=Means(rings=LUTRAM))
    files, _ = build.build(graph, layout, tmp_path / "out")
    assert any('ram_style = "distributed"' in file.read_text() for file in files)
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["rings"] == LUTRAM


def test_earlier_build_is_replaced(small: Path, tmp_path: Path) -> None:
    graph = load(small)
    folder = tmp_path / "out"
    build.build(graph, plan(graph), folder)
    build.build(graph, plan(graph, cycles=5000), folder)
    assert json.loads((folder / "plan.json").read_text())["cycles_per_frame_budget"] == 5000
    assert json.loads((folder / "proof.json").read_text()) == prove(graph).to_json()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_failure_leaves_nothing(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise HeadraceError("no room")
    monkeypatch.setattr(verilog, "write", fail)
    graph = load(small)
    with pytest.raises(HeadraceError, match="^no room$"):
        build.build(graph, plan(graph), tmp_path / "out")
    assert not list(tmp_path.iterdir())
