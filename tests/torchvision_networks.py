"""`make torchvision`: what becomes of the networks that tests/export_torchvision.py has written to a folder.

Each is quantised, checked and built; one of them simulated, for a frame. Prints a table, with the line that
stops a network where one does.
"""
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

SIMULATED = "mobilenet_v3_small"


def headrace(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    call = [Path(sys.executable).parent / "headrace", command, *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


def attempts(folder: Path, name: str) -> list[tuple[str, str, bool]]:
    """Return the commands carried out, what each said last, and whether it failed: that is the last one."""
    images, quantised = folder / "images.npz", folder / f"{name}_quantised.onnx"
    commands: list[tuple[str, list[object]]] = [
        ("quantize", [folder / f"{name}.onnx", "--calibration", images, "-o", quantised]),
        ("check", [quantised, "--inputs", images, "--frames", 2]),
        ("build", [quantised, "-o", folder / name])]
    if name == SIMULATED:
        commands.append(("sim", [quantised, "--inputs", images, "--frames", 1]))
    found = []
    for command, arguments in commands:
        made = headrace(command, *arguments)
        said = (made.stderr if made.returncode else made.stdout).strip().splitlines() or [""]
        found.append((command, said[-1].replace(f"{folder}/", ""), made.returncode != 0))
        if made.returncode:
            break
    return found


def main(folder: Path) -> int:
    names = sorted(path.stem for path in folder.glob("*.onnx") if not path.stem.endswith("_quantised"))
    failures = 0
    print("| network | command | result |\n|---|---|---|")
    for name in track(names, console=Console(stderr=True)):
        for command, said, failed in attempts(folder, name):
            print(f"| {name} | `{command}` | {said} |", flush=True)
            failures += failed
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
