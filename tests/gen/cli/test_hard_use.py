"""What a command meets besides good files: each time one line on standard error, and an exit code."""
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest

from float_models import FloatModel
from headrace.gen.cli.main import main

YOWASP_CACHE = platformdirs.user_cache_dir("YoWASP", appauthor=False)
MAIN = "import sys; from headrace.gen.cli.main import main; sys.exit(main())"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}


def headrace(*arguments: object, shell: str = '"$@"', environment: dict[str, str] | None = None,
             **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command as a shell does that is told ``shell``, where "$@" is the command."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}", "bash", sys.executable, "-c", MAIN, *map(os.fsencode, map(
            str, arguments))], env=os.environ | (environment or {}), capture_output=True,
        encoding="utf-8", errors="surrogateescape", timeout=120, **options)


@pytest.mark.parametrize("command, shell, reason, unbuffered", [
    ("info", '"$@" > /dev/full', "No space left on device", ""),
    ("info", '"$@" > /dev/full', "No space left on device", "1"),
    ("--help", '"$@" > /dev/full', "No space left on device", "1"),
    ("info", '"$@" >&-', "it is closed", ""),
    ("info", '{ sleep 0.1; "$@"; } | exec <&-', "Broken pipe", "")])
def test_standard_output(digits: Path, command: str, shell: str, reason: str, unbuffered: str) -> None:
    done = headrace(command, *([digits] if command == "info" else []), shell=shell,
                    environment={"PYTHONUNBUFFERED": unbuffered})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"headrace: cannot write standard output: {reason}\n"


@pytest.mark.parametrize("shell", ('"$@" 2>&-', '"$@" 2> /dev/full'))
def test_standard_error(tmp_path: Path, shell: str) -> None:
    done = headrace("info", tmp_path / "none.onnx", shell=shell)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def zero(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


KINDS = [(folder, "a folder"), (pipe, "a pipe"), (zero, "a device")]


def line(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The only line of a command that fails."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (1, "", 1) and err.startswith("headrace: ")
    return err.removeprefix("headrace: ").strip()


@pytest.mark.parametrize("make, what", KINDS)
@pytest.mark.parametrize("command", ("info", "quantize"))
def test_model_that_is_no_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str,
                               make: Callable[[Path], Path], what: str) -> None:
    path = make(tmp_path / "net.onnx")
    more = ["--calibration", tmp_path, "-o", tmp_path / "out.onnx"] if command == "quantize" else []
    assert line(capsys, command, path, *more) == f"{path}: is {what} and not a file"


@pytest.mark.parametrize("make, what", KINDS)
@pytest.mark.parametrize("name", ("x.npz", "x.npy", "x.png", "x"))
def test_inputs_that_are_no_file(capsys: pytest.CaptureFixture[str], digits: Path, tmp_path: Path, name: str,
                                 make: Callable[[Path], Path], what: str) -> None:
    path = make(tmp_path / name)
    assert line(capsys, "check", digits, "--inputs", path) == f"{path}: is {what} and not a file"


@pytest.mark.parametrize("make, what", KINDS[1:])
def test_calibration_that_is_no_file(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                     make: Callable[[Path], Path], what: str) -> None:
    path = make(folder(tmp_path / "photos") / "x.png")
    model = FloatModel("torchvision").mobilenet().save(tmp_path / "net.onnx")
    assert line(capsys, "quantize", model, "--calibration", path.parent, "-o",
                tmp_path / "out.onnx") == f"{path}: is {what} and not a file"


@pytest.mark.parametrize("make, what", KINDS)
def test_output_that_is_no_file(capsys: pytest.CaptureFixture[str], digits: Path, tmp_path: Path,
                                make: Callable[[Path], Path], what: str) -> None:
    path = make(tmp_path / "out")
    for arguments in (["model", "mobilenet_v2", "--size", "32", "--width", "0.1", "-o", path],
                      ["plan", digits, "--picture", path]):
        assert line(capsys, *arguments) == f"cannot write {path}: is {what} and not a file"
    assert path.is_symlink() or not path.is_file()


def test_output_through_a_link(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "out.svg").symlink_to("there.svg")
    assert main(["plan", str(digits), "--picture", str(tmp_path / "out.svg")]) == 0
    assert (tmp_path / "out.svg").is_symlink() and b"<svg" in (tmp_path / "there.svg").read_bytes()


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


@pytest.mark.parametrize("arguments", [
    ["build", "MODEL", "-o", "OUT"], ["synth", "MODEL", "--target", "ice40"],
    pytest.param(["plan", "MODEL", "--picture", "OUT"], marks=pytest.mark.full),
    pytest.param(["model", "mobilenet_v2", "--size", "32", "--width", "0.1", "-o", "OUT"],
                 marks=pytest.mark.full)], ids=lambda each: each[0])
def test_files_that_end_too_early(digits: Path, tmp_path: Path, arguments: Sequence[str]) -> None:
    """As on a full disk; yosys does not notice."""
    names = {"MODEL": str(digits), "OUT": str(tmp_path / "new" / "out")}
    temporary = folder(tmp_path / "tmp")
    done = headrace(*(names.get(each, each) for each in arguments), preexec_fn=small_files,
                    environment={"XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(temporary),
                                 "YOWASP_CACHE_DIR": os.environ.get("YOWASP_CACHE_DIR", YOWASP_CACHE)})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("headrace: ") and ("cannot write" in done.stderr or "failed" in done.stderr)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "matplotlib" not in path.parts]
    assert not written and not list(temporary.iterdir())


@pytest.mark.parametrize("environment", (ASCII, pytest.param({}, marks=pytest.mark.full)))
def test_umlauts(digits: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    place = folder(tmp_path / "Übung \udcff")
    shutil.copy(digits, place / "größe.onnx")
    np.save(place / "eingänge.npy", np.zeros((1, 1, 8, 8), np.uint8))
    for arguments in (["build", place / "größe.onnx", "-o", place / "ausgang ü"],
                      ["check", place / "größe.onnx", "--inputs", place / "eingänge.npy"]):
        done = headrace(*arguments, environment=environment)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout
    assert (place / "ausgang ü" / "plan.json").exists()
    done = headrace("info", place / "nicht da.onnx", environment=environment)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "nicht da.onnx: cannot be read: No such file or directory" in done.stderr


def test_umlauts_of_a_quantised_network(tmp_path: Path) -> None:
    place = folder(tmp_path / "Übung")
    model = FloatModel("torchvision").mobilenet().save(tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(4, 3, 12, 12)).astype(np.float32))
    done = headrace("quantize", model, "--calibration", tmp_path / "x.npy", "-o", place / "größe.onnx",
                    environment=ASCII)
    assert (done.returncode, done.stderr) == (0, "") and (place / "größe.onnx").exists()
    assert len(list(place.iterdir())) == 1
