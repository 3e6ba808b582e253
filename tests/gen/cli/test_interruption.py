"""Signals end a command and all that it runs, without a trace."""
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import platformdirs
import pytest

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 300  # seconds: a machine may be busy
YOWASP_CACHE = platformdirs.user_cache_dir("YoWASP", appauthor=False)

# A tool that never ends, with a process of its own, as Yosys runs ABC and a compiler its assembler. It leaves
# its process group's name behind, and files.
TOOL = """#!/bin/sh
case "$*" in
    -V) echo "Yosys 0.99 (a tool that hangs)"; exit;;
    --datdir) echo /nowhere; exit;;
    --version) echo "c++ of a kind that hangs"; exit;;
esac
touch "${TMPDIR:-/tmp}/rubbish" rubbish
sleep 1000 &
echo $$ $! > "$RUNNING/$$.new"
mv "$RUNNING/$$.new" "$RUNNING/$$"
wait
"""


class Command:
    """headrace, with tools that hang, in a world of its own."""

    def __init__(self, tmp_path: Path, arguments: Sequence[object],
                 tools: Sequence[str] = ("yosys",)) -> None:
        self.running, self.temporary, self.path = (tmp_path / name for name in ("running", "tmp", "bin"))
        for folder in (self.running, self.temporary, self.path):
            folder.mkdir()
        for tool in tools:
            (self.path / tool).write_text(TOOL)
            (self.path / tool).chmod(0o755)
        environment = {"PATH": f"{self.path}:{os.environ['PATH']}", "TMPDIR": str(self.temporary),
                       "RUNNING": str(self.running), "XDG_CACHE_HOME": str(tmp_path / "cache"),
                       "YOWASP_CACHE_DIR": os.environ.get("YOWASP_CACHE_DIR", YOWASP_CACHE)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import sys; from headrace.gen.cli.main import main; sys.exit(main())",
             *map(str, arguments)], env=os.environ | environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True)

    def tools(self, count: int) -> list[int]:
        """Wait until so many tools run; return their processes."""
        end = time.monotonic() + PATIENCE
        while len(found := [path for path in self.running.iterdir() if path.suffix != ".new"]) < count:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "the tools do not start"
            time.sleep(0.05)
        return [int(number) for path in found for number in path.read_text().split()]

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def files(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file()]


COMMANDS = {
    "build": (["build", "MODEL", "-o", "OUT/deep"], 1),
    "threads": (["synth", "MODEL", "--target", "ice40", "--jobs", "2"], 2),
    "loky": (["synth", "MODEL", "--target", "ice40", "--jobs", "2", "--backend", "loky"], 2),
    "bitstream": (["bitstream", "MODEL", "--board", "ulx3s_85f", "-o", "OUT"], 1)}
QUICK = {("build", signal.SIGTERM), ("threads", signal.SIGHUP), ("loky", signal.SIGTERM),
         ("bitstream", signal.SIGINT)}


@pytest.mark.parametrize("name, number", [
    pytest.param(name, number, marks=() if (name, number) in QUICK else pytest.mark.full)
    for name in COMMANDS for number in SIGNALS])
def test_nothing_lives_on(small: Path, tmp_path: Path, name: str, number: signal.Signals) -> None:
    arguments, tools = COMMANDS[name]
    names = {"MODEL": str(small), "OUT": str(tmp_path / "out"), "OUT/deep": str(tmp_path / "out" / "deep")}
    command = Command(tmp_path, [names.get(each, each) for each in arguments])
    processes = command.tools(tools)
    assert all(map(alive, processes)) and len(processes) == 2 * tools and files(command.temporary)
    assert command.end(number) == (128 + number, "", f"headrace: ended by {number.name}\n")
    assert not any(map(alive, processes))
    assert not list(command.temporary.iterdir()) and not (tmp_path / "out").exists()


@pytest.mark.full
def test_no_compiler_lives_on(small: Path, tmp_path: Path) -> None:
    images = tmp_path / "x.npy"
    np.save(images, np.zeros((1, 3, 8, 6), np.uint8))
    command = Command(tmp_path, ["sim", small, "--inputs", images], ["c++"])
    processes = command.tools(len(os.sched_getaffinity(0)))
    assert command.end(signal.SIGTERM) == (143, "", "headrace: ended by SIGTERM\n")
    assert not any(map(alive, processes))
    assert not list(command.temporary.iterdir()) and not files(tmp_path / "cache")


def test_ignored_signal_stays_ignored(small: Path, tmp_path: Path) -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command = Command(tmp_path, ["build", small, "-o", tmp_path / "out"])
    finally:
        signal.signal(signal.SIGHUP, before)
    command.tools(1)
    command.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert command.process.poll() is None
    assert command.end(signal.SIGTERM)[0] == 143


@pytest.mark.full
def test_signals_that_follow_change_nothing(small: Path, tmp_path: Path) -> None:
    """A terminal that closes sends several."""
    command = Command(tmp_path, ["synth", small, "--target", "ice40", "--jobs", "2"])
    processes = command.tools(2)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        command.process.send_signal(number)
    command.process.communicate(timeout=PATIENCE)
    assert command.process.returncode > 128
    assert not any(map(alive, processes)) and not list(command.temporary.iterdir())
