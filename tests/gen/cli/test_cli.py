"""The command line, as a user meets it."""
import io
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image
from rich.console import Console

from headrace.gen.cli import progress
from headrace.gen.cli.command import Command
from headrace.gen.cli.main import COMMANDS, main, parser
from headrace.gen.importer.load import load
from headrace.gen.numerics.proof import prove
from onnx_models import Q, QdqModel


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_info(capsys: pytest.CaptureFixture[str], digits: Path) -> None:
    code, out, err = run(capsys, "info", digits, "--json")
    network = json.loads(out)
    assert (code, err) == (0, "")
    assert network["weights"] == 1992 and network["multiplications"] == 57_072
    assert network["input"] == [1, 8, 8] and network["output"] == [10, 1, 1]
    assert network["layers"][0]["kernel"] == [3, 3]
    code, out, err = run(capsys, "info", digits)
    assert code == 0
    assert "15 layers, 12 of them with weights: 1,992 weights, 57,072 multiplications per frame" in out


def test_open_sizes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`--shape`, or else the inputs, fix them."""
    model = QdqModel()
    y = model.operator("MaxPool", [model.input((3, "h", "w"), Q(0.5, 10))], Q(0.5, 10), name="y",
                       kernel_shape=[2, 2])
    model.outputs.append(helper.ValueInfoProto(name=y))
    path = model.save(tmp_path / "net.onnx")
    code, out, err = run(capsys, "info", path, "--json", "--shape", 3, 5, 6)
    assert (code, err, json.loads(out)["output"]) == (0, "", [3, 4, 5])
    np.save(tmp_path / "x.npy", np.ones((2, 3, 5, 6), np.uint8))
    code, out, err = run(capsys, "check", path, "--inputs", tmp_path / "x.npy")
    assert (code, err) == (0, "") and "0 mismatches" in out
    code, out, err = run(capsys, "info", path)
    assert (code, out) == (1, "") and err == (
        f"headrace: {path}: input 'x' has shape (1, 3, h, w); --shape C H W, or input data in an .npz or "
        ".npy, says what is open\n")


def test_pipeline(capsys: pytest.CaptureFixture[str], digits: Path) -> None:
    """Stages take cycles and flip-flops; only bitstreams have them unless told otherwise."""
    def planned(*options: str) -> Any:
        code, out, err = run(capsys, "plan", digits, "--cycles", 1000, "--target", "ecp5", "--json", *options)
        assert (code, err) == (0, "")
        return json.loads(out)
    plain, pipelined = planned(), planned("--pipeline")
    assert pipelined["pipelined"] and not plain["pipelined"] and planned("--no-pipeline") == plain
    assert pipelined["first_frame_latency"] > plain["first_frame_latency"]
    assert pipelined["estimate"]["total"]["ff"] > plain["estimate"]["total"]["ff"]
    board = ["bitstream", str(digits), "--board", "ulx3s_85f", "-o", "out"]
    assert parser().parse_args(board).pipeline


def test_build(capsys: pytest.CaptureFixture[str], small: Path, tmp_path: Path) -> None:
    code, out, err = run(capsys, "build", small, "-o", tmp_path / "out", "--cycles", 5000)
    assert (code, err) == (0, "")
    assert (tmp_path / "out" / "rtl" / "top.v").exists()
    assert "51 channels in 9 requantised layers" in out
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["cycles_per_frame_budget"] == 5000


@pytest.mark.parametrize("target, multipliers, paired", (
    ("xc7", 148, True), ("xcup", 148, True), ("ecp5", 144, False), (None, 144, False)))
def test_target_says_whether_lanes_are_paired(
        capsys: pytest.CaptureFixture[str], digits: Path, tmp_path: Path, target: str | None,
        multipliers: int, paired: bool) -> None:
    options = ["--target", target] if target else []
    code, _, err = run(capsys, "build", digits, "-o", tmp_path / "out", *options)
    assert (code, err) == (0, "")
    layout = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert layout["multipliers"] == multipliers and layout["dsps"] == (76 if paired else multipliers)
    assert {layer["paired"] for layer in layout["layers"]} == ({False, True} if paired else {False})
    code, out, err = run(capsys, "plan", digits, *options)
    assert (code, err) == (0, "") and f"{multipliers} multipliers in {layout['dsps']} DSPs" in out


def test_proof(capsys: pytest.CaptureFixture[str], digits: Path) -> None:
    code, out, err = run(capsys, "proof", digits, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == prove(load(digits)).to_json()
    code, out, err = run(capsys, "proof", digits)
    assert (code, err) == (0, "") and "214 channels in 15 requantised layers" in out
    assert any(line.split()[:3] == ["gemm_classifier", "convolution", "10"] for line in out.splitlines())


@pytest.mark.parametrize("engine", ("cxxrtl", "amaranth"))
def test_sim(capsys: pytest.CaptureFixture[str], small: Path, tmp_path: Path, engine: str) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (3, 3, 8, 6)))
    code, out, err = run(capsys, "sim", small, "--inputs", tmp_path / "x.npy", "--frames", 2, "--json",
                         "--engine", engine)
    result = json.loads(out)
    assert code == 0
    assert result["frames"] == 2 and result["mismatches"] == 0
    assert 0 < result["cycles_per_frame"] < result["first_frame_latency"] < 5000
    assert result["multipliers"] > 0
    assert "accuracy" not in result


def test_sim_knows_labels(capsys: pytest.CaptureFixture[str], digits: Path, digits_images: Path) -> None:
    code, out, _ = run(capsys, "sim", digits, "--inputs", digits_images, "--frames", 10)
    assert code == 0
    assert "accuracy: 10 of 10, 100.0%" in out and "10 frames, 0 mismatches" in out


def test_sim_takes_images(capsys: pytest.CaptureFixture[str], small: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3)).astype(np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    code, out, _ = run(capsys, "sim", small, "--inputs", tmp_path / "a.png", tmp_path / "b.png", "--json")
    assert code == 0 and json.loads(out)["frames"] == 2


def test_sim_tells_wrong_answers(capsys: pytest.CaptureFixture[str], small: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 6))
    np.savez(tmp_path / "x.npz", x=x, y=np.full((2, 5), 300))
    code, out, _ = run(capsys, "sim", small, "--inputs", tmp_path / "x.npz", "--json")
    assert code == 1 and json.loads(out)["differing"] == 10


def test_check(capsys: pytest.CaptureFixture[str], digits: Path, digits_images: Path) -> None:
    code, out, err = run(capsys, "check", digits, "--inputs", digits_images, "--json")
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert result["frames"] == 400 and result["mismatches"] == 0 and len(result["tensors"]) == 16


def test_synth(capsys: pytest.CaptureFixture[str], small: Path) -> None:
    code, out, err = run(capsys, "synth", small, "--target", "ice40", "--json", "--cycles", 6000)
    report = json.loads(out)
    assert (code, err) == (0, "") and report["total"]["writable_memories"] == 0
    assert {"name", "lut", "ff", "dsp", "bram"} <= set(report["layers"][0])


def float_model(path: Path) -> Path:
    x = helper.make_tensor_value_info("x", 1, (1, 3, 8, 8))
    y = helper.make_tensor_value_info("y", 1, (1, 3, 8, 8))
    onnx.save(helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])),
              path)
    return path


def test_fit(capsys: pytest.CaptureFixture[str], digits: Path, small: Path) -> None:
    code, out, err = run(capsys, "plan", digits, "--fit", "ecp5-85", "--clock", 100, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["frames_per_second"] == pytest.approx(1e8 / found["cycles_per_frame"])
    assert found["device"]["name"] == "LFE5U-85"
    assert all(use["needed"] <= use["available"] for use in found["device"]["use"])
    assert found["estimate"]["total"]["lut"] == sum(each["lut"] for each in found["estimate"]["layers"])
    code, out, err = run(capsys, "plan", small, "--target", "xc7", "--cycles", 6000)
    assert (code, err) == (0, "") and "estimate for xc7" in out
    assert run(capsys, "plan", digits, "--fit", "up5k")[0] == 1
    assert "unknown device 'lfe5u-12'" in run(capsys, "plan", digits, "--fit", "lfe5u-12")[2]
    assert run(capsys, "synth", digits) == (1, "", "headrace: synth needs --target or --fit\n")
    code, out, err = run(capsys, "build", digits, "-o", "unused", "--fit", "up5k", "--target", "ecp5")
    assert err == "headrace: --fit iCE40UP5K is of target ice40, not of --target ecp5\n"


@pytest.mark.parametrize("command", ("info", "build", "sim", "synth", "check"))
@pytest.mark.parametrize("kind", ("truncated", "float", "missing"))
def test_bad_model_is_one_line_and_nothing_written(
        capsys: pytest.CaptureFixture[str], digits: Path, digits_images: Path, tmp_path: Path, command: str,
        kind: str) -> None:
    model = tmp_path / "net.onnx"
    if kind == "truncated":
        model.write_bytes(digits.read_bytes()[:9000])
    elif kind == "float":
        float_model(model)
    options = {"info": [], "build": ["-o", tmp_path / "out"], "sim": ["--inputs", digits_images],
               "check": ["--inputs", digits_images], "synth": ["--target", "ecp5"]}[command]
    before = sorted(tmp_path.iterdir())
    code, out, err = run(capsys, command, model, *options)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"headrace: {model}: ")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("options", (["--frames", "0"], ["--engine", "verilator"], []))
def test_wrong_usage(capsys: pytest.CaptureFixture[str], digits: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sim", str(digits), *options])
    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


def test_impossible_budget(capsys: pytest.CaptureFixture[str], digits: Path, tmp_path: Path) -> None:
    code, out, err = run(capsys, "build", digits, "-o", tmp_path / "out", "--cycles", 10)
    assert (code, out) == (1, "") and "unrolled, more than the 10 allowed: allow at least" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", (["--fold", "2"], ["--keep", "narrow"]))
def test_unrolled_whole(capsys: pytest.CaptureFixture[str], digits: Path, given: list[str]) -> None:
    code, out, err = run(capsys, "plan", digits, "--unroll", "full", *given)
    assert (code, out) == (1, "") and err == (
        "headrace: --unroll full gives each column a lane and each layer its own rows; it does not go with "
        f"{' '.join(given) if given[0] == '--keep' else given[0]}\n")


WRITING = {
    "build": ["MODEL"], "bitstream": ["MODEL", "--board", "icebreaker"], "model": ["mobilenet_v2"],
    "quantize": ["MODEL", "--calibration", "MODEL"]}
NAMELESS = [[name, *more, *option] for name, more in WRITING.items()
            for option in (["-o", ""], ["-o="], ["--output", ""], ["--output="])] + [
    ["plan", "MODEL", "--picture", ""], ["model", "mobilenet_v2", "-o", "x", "--images", ""]]


@pytest.mark.parametrize("arguments", NAMELESS, ids=" ".join)
def test_output_without_a_name(
        capsys: pytest.CaptureFixture[str], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        arguments: list[str]) -> None:
    """An empty path is the current folder, which nobody named."""
    monkeypatch.chdir(tmp_path)
    given = [str(digits) if argument == "MODEL" else argument for argument in arguments]
    option = next((each for each in ("--picture", "--images") if each in given), "-o")
    assert run(capsys, *given) == (
        1, "", f"headrace: {option} must be the name of what is to be written, not ''\n")
    assert not list(tmp_path.iterdir())


def test_every_command_that_writes_is_tried_without_a_name() -> None:
    def writes(command: Command) -> bool:
        command.arguments(made := ArgumentParser())
        return "--output" in made.format_help()

    assert {command.name for command in COMMANDS if writes(command)} == set(WRITING)


def test_bar_of_a_simulation_shows_cycles_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, clock = io.StringIO(), iter((10.0, 12.0))
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=shown, force_terminal=True, width=120))
    with progress.of_a_simulation("simulating 2 frames") as update:
        monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
        update(0, 100, 500)
        update(50, 100, 4500)
        monkeypatch.undo()
    assert "preparing" in shown.getvalue()
    assert "cycle 4,500, 2,000 per second" in shown.getvalue()
