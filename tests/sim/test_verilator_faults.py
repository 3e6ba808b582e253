# amaranth: UnusedElaboratable=no
"""What the bench of the second simulator would say if the Verilog were wrong."""
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import axi_subject
import verilator_bench
from axi_subject import Subject, calm, hostile, subject
from axi_trace import Violation
from headrace.gen.importer.load import load
from headrace.gen.planning.planner import plan
from verilator_bench import Design, Hang

pytestmark = pytest.mark.skipif(bool(verilator_bench.missing()), reason=verilator_bench.missing())

FAULTY = Path(axi_subject.__file__).with_name("axi_faults.v")

FAULTS = {
    1: "TVALID dropped before TREADY",
    2: "TDATA changed before TREADY",
    3: "TLAST changed before TREADY",
    4: r"beat 5 is TDATA, TLAST = \(\d+, (\d)\), not \(\d+, \1\)",
    5: r"beat \d+ is TDATA, TLAST = \((\d+), 0\), not \(\1, 1\)",
    6: r"beat 1 is TDATA, TLAST = \((\d+), 1\), not \(\1, 0\)",
    7: r"frame_error in cycles \[\], not \[\d+",
    8: r"frame_error in cycles \[\d+\], not \[\]",
    9: r"beat \d+ is TDATA, TLAST = ",
    10: r"beat \d+ is TDATA, TLAST = ",
    11: "the stream follows TREADY within the cycle",
    12: "values in cycles",
    13: "TVALID after reset",
    14: "nothing moves before cycle",
}
"""What axi_faults.v does to a design, and what the bench says to it."""


def verdict(subject: Subject, design: Design, arguments: Sequence[str] = ()) -> str:
    """Return what the bench finds."""
    try:
        hostile(subject, design, 1, calm(subject, design, 1, arguments=arguments), arguments=arguments)
    except (Violation, Hang) as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def ground(branched: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A network to break."""
    graph = load(branched)
    return subject(graph, plan(graph), tmp_path_factory.mktemp("ground") / "out")


def mutate(subject: Subject, folder: Path, name: str, pattern: str, by: str) -> list[Path]:
    """Write the Verilog with the first place in the files of that name altered."""
    folder.mkdir()
    count = 0
    for source in subject.sources:
        text = source.read_text()
        if re.search(name, source.name) and not count:
            text, count = re.subn(pattern, by, text, count=1, flags=re.MULTILINE)
        (folder / source.name).write_text(text)
    assert count, f"no {pattern} in {name}"
    return [folder / source.name for source in subject.sources]


def test_faults_of_streams_are_found(ground: Subject, tmp_path: Path) -> None:
    sources = mutate(ground, tmp_path / "inner", r"^top\.v$", r"^module top\(", "module inner(")
    design = ground.design(tmp_path / "design", [FAULTY, *sources],
                           options=[f"-GBITS={8 * ground.judge.together}"])
    assert verdict(ground, design) == ""
    for fault, message in FAULTS.items():
        found = verdict(ground, design, [f"+fault={fault}"])
        assert re.search(message, found), f"fault {fault}: {found or 'not found'}"


@pytest.mark.parametrize("name, pattern, by", (
    ("__rom", r"words\[0\] = (\d+)'h.*;", r"words[0] = ~\1'h0;"),
    ("axi__frame_guard", r"(assign o_data = .* \? \d+'h).*( : i_data;)", r"\g<1>5a\2"),
    ("axi__rows_to_values", r"(assign \S+ = )rst \? [^:]+ : ", r"\1"),
), ids=("weights", "fill", "reset"))
def test_faults_of_the_verilog_are_found(ground: Subject, tmp_path: Path, name: str, pattern: str,
                                         by: str) -> None:
    sources = verilator_bench.without_initial_values(
        mutate(ground, tmp_path / "mutant", name, pattern, by), tmp_path / "sources")
    assert verdict(ground, ground.design(tmp_path / "design", sources))
