"""`headrace plan --picture`: every row of every layer, the same bytes every time."""
import re
from pathlib import Path

import pytest
from amaranth import unsigned

from headrace.gen.cli.main import main
from headrace.gen.importer.load import load
from headrace.gen.planning.picture import FRAMES, bars
from headrace.gen.planning.planner import plan
from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.base.rows import RowFormat


def test_rows_that_leave_together() -> None:
    """Three rows of two channels: the first alone, the others as a group, channel by channel."""
    format = RowFormat(channels=2, height=3, lanes=1, shape=unsigned(8),
                       together=Window((2, 1), (2, 1), (1, 0, 0, 0)))
    assert list(bars([0, 2, 5, 6, 7, 9, 10], format)) == [(0, 0, 0, 3), (0, 1, 5, 8), (0, 2, 6, 10)]


def test_picture(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, texts = load(digits), []
    for name in ("a.svg", "b.svg"):
        assert main(["plan", str(digits), "--cycles", "1000", "--picture", str(tmp_path / name)]) == 0
        texts.append((tmp_path / name).read_text())
    cycles = f"{plan(graph, cycles=1000).cycles_per_frame:,.0f}"
    assert f"cycles per frame: {cycles};" in capsys.readouterr().out
    assert texts[0] == texts[1] and f"{cycles} cycles each" in texts[0]
    assert all(f">{node.name}<" in texts[0] for node in graph.nodes)
    rows = FRAMES * sum(graph.tensors[node.output].height for node in graph.nodes)
    assert len(re.findall(r"\nL [\d.]+ [\d.]+ *\nz", texts[0])) == rows + 2  # and two backgrounds


def test_folder_that_is_a_file(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(digits), "--picture", str(digits / "x.svg")]) == 1
    assert capsys.readouterr().err.startswith(f"headrace: cannot write {digits / 'x.svg'}: ")
