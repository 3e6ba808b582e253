"""Means that rounding decides: everything else of an average is ONNX Runtime's, bit for bit."""
import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.cli.main import main
from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph, Pool, Quantisation, Tensor, Window
from headrace.gen.numerics import constants
from headrace.gen.planning.planner import plan
from headrace.sim import inputs, oracle, reference, ties, verify
from headrace.sim.score import score
from onnx_forms import finish, images
from onnx_models import Q, QdqModel

DATA = Path(__file__).parents[1] / "data"


def average(folder: Path, x: Q, y: Q, *, shape: tuple[int, int, int] = (6, 9, 8),
            **attributes: object) -> tuple[Graph, Path]:
    model = QdqModel()
    model.operator("AveragePool", [model.input(shape, x)], y, name="y", **attributes)
    return finish(model, folder / "net.onnx", "y_dq"), folder / "net.onnx"


def old_rule(total: np.ndarray, count: int, y: Quantisation, lo: int, hi: int) -> np.ndarray:
    """A mutant, for equal scales: the integer sum times a reciprocal that float32 has rounded."""
    scale = np.float32(y.scale)
    mean = np.rint(total / scale) * (scale / (scale * np.float32(count))) + np.float32(y.zero_point)
    return np.clip(np.rint(mean), lo, hi).astype(np.int16)


WINDOWS = {
    "two": dict(kernel_shape=[1, 2]), "column": dict(kernel_shape=[2, 1], strides=[2, 1]),
    "six": dict(kernel_shape=[3, 2]),
    "padded": dict(kernel_shape=[3, 2], pads=[2, 1, 2, 1], count_include_pad=1),
    "sixteen": dict(kernel_shape=[4, 4], strides=[3, 2]), "nine": dict(kernel_shape=[3, 3], strides=[4, 4])}


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("scales", [(0.0235294122248888, 1.0), (0.05, 1.5), (0.3, 0.5), (0.07, 0.83)])
def test_any_scale(tmp_path: Path, window: str, scales: tuple[float, float], dtype: type) -> None:
    low = np.iinfo(dtype).min
    for zero_point in (low, low + 100):
        q = Q(scales[0], zero_point, dtype)
        y = Q(float(np.float32(scales[0]) * np.float32(scales[1])), zero_point, dtype)
        graph, path = average(tmp_path, q, y, **WINDOWS[window])
        found = oracle.judge(graph, path, images(graph, 6))
        assert found.mismatches == {"x_q": 0, "y_q": 0}
        assert found.ties["y_q"] < 0.15 * 6 * np.prod(graph.tensors["y_q"].shape)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("scale", [0.25, 3 / 64, 2.0**-9])
@pytest.mark.parametrize("ratio", [1.0, 2.0, 0.5])
def test_no_ties_where_float32_is_exact(tmp_path: Path, window: str, scale: float, ratio: float,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    graph, path = average(tmp_path, Q(scale, 7), Q(scale * ratio, 30), **WINDOWS[window])
    x = images(graph, 6)
    found = oracle.judge(graph, path, x)
    assert found.mismatches == found.ties == {"x_q": 0, "y_q": 0}
    if window == "sixteen":  # others have no halves with some of the ratios
        whole = reference.average
        monkeypatch.setattr(reference, "average", lambda x, *rest: whole(x - np.float32(scale / 64), *rest))
        assert oracle.compare(graph, path, x)["y_q"] > 0


def test_the_file_that_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties of which two or fewer addends are not 0, and others: none is left."""
    path = DATA / "average_tie.onnx"
    graph = load(path)
    x = inputs.load([path.with_suffix(".npz")], graph)
    found = oracle.judge(graph, path, x)
    assert set(found.mismatches.values()) == set(found.ties.values()) == {0}
    monkeypatch.setattr(reference, "average", old_rule)
    assert oracle.compare(graph, path, x)["p7_QuantizeLinear_Output"] == 2


def test_single_values_are_exact(tmp_path: Path) -> None:
    """A window in which at most one value is not zero has one sum in any order, and no tie."""
    graph, path = average(tmp_path, Q(0.0123, 0), Q(0.0123, 0), kernel_shape=[2, 2], strides=[2, 2],
                          shape=(1, 2, 512))
    x = np.zeros((1, 1, 2, 512), np.int64)
    x[..., 1, ::2] = np.arange(256)
    found = oracle.judge(graph, path, x)
    assert found.mismatches["y_q"] == found.ties["y_q"] == 0


@pytest.mark.parametrize("count", range(1, 7))
def test_sums_are_within_their_bounds(count: int) -> None:
    """Every order of additions; one or two addends have but one sum."""
    rng = np.random.default_rng(count)
    for _ in range(30):
        scale = np.float32(10 ** rng.uniform(-3, 0))
        window = rng.integers(-255, 256, (count, 1)).astype(np.int32)
        low, high = ties.reachable(window, scale)
        assert low[0] <= scale * np.float32(window.sum()) <= high[0]
        for order in permutations(window[:, 0].tolist()):
            total = np.float32(0)
            for value in order:
                total += scale * np.float32(value)
            assert low[0] <= total <= high[0]
        if count == 1:
            assert low == high
        exact, _ = ties.reachable(window, np.float32(0.375))
        assert exact == ties.reachable(window, np.float32(0.375))[1] == np.float32(window.sum() * 0.375)


def tie(ours: int, theirs: int, values: tuple[int, ...], scale: float) -> bool:
    """Are these two means of a row of values, of a scale that stays, a tie?"""
    x = np.array(values, np.int16).reshape(1, 1, 1, -1)
    q = Quantisation(float(np.float32(scale)), 0, signed=False)
    tensors = {"x": Tensor("x", 1, 1, len(values), q), "y": Tensor("y", 1, 1, 1, q)}
    node = Pool("p", ("x",), "y", "average", Window((1, len(values))), 0, 255)
    results = (np.full((1, 1, 1, 1), value, np.int16) for value in (ours, theirs))
    return bool(ties.find(node, [x], tensors, *results).item())


def test_only_what_rounding_can_reach_is_a_tie() -> None:
    """Half a step is a tie for a scale that float32 rounds with, and for no other; no other mean ever is."""
    half = (101, 102, 100, 103)  # 101.5
    assert tie(101, 102, half, 0.0119806) and tie(102, 101, half, 0.0119806)
    assert not tie(101, 102, half, 0.25)
    assert not tie(100, 102, half, 0.0119806) and not tie(102, 103, half, 0.0119806)
    assert not tie(101, 102, (101, 102, 101, 103), 0.0119806)
    assert not tie(101, 102, (0, 203), 0.0119806)  # which has but one sum


def tied_network(folder: Path) -> tuple[Graph, Path, np.ndarray]:
    """An average with ties in front of a convolution."""
    model, q = QdqModel(), Q(0.0119806, 0)
    x = model.operator("AveragePool", [model.input((3, 8, 8), q)], q, name="m", kernel_shape=[2, 2])
    model.conv(x, np.full((2, 3, 1, 1), 9, np.int8), Q(0.0119806 * 0.27, 9), name="y")
    graph, path = finish(model, folder / "net.onnx", "y_dq"), folder / "net.onnx"
    return graph, path, images(graph, 4)


def test_what_follows_from_a_tie_is_no_mismatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, path, x = tied_network(tmp_path)
    found, theirs = oracle.judge(graph, path, x), oracle.tensors(path, graph, x)
    assert not any(found.mismatches.values())
    assert found.ties["m_q"] > 0 == found.ties["y_q"]
    np.testing.assert_array_equal(found.output, theirs["y_q"])
    assert (reference.run(graph, x)["y_q"] != theirs["y_q"]).any()
    whole = reference.accumulate
    monkeypatch.setattr(reference, "accumulate", lambda *given: whole(*given) + 50)
    assert oracle.compare(graph, path, x)["y_q"] > 0


def test_hardware_corrects_single_sums(tmp_path: Path) -> None:
    """Each sum of two values, half of which are halves: the hardware puts them where the reference does."""
    graph, _ = average(tmp_path, Q(0.0119806, 0), Q(0.0119806, 0), kernel_shape=[1, 2], strides=[1, 2],
                       shape=(1, 64, 16))
    (node,) = graph.nodes
    corrections = constants.find(graph).sums[node.name].corrections
    assert len(corrections) > 9
    sums = np.resize(np.arange(511), (1, 1, 64, 8))
    x = np.stack([sums // 2, sums - sums // 2], -1).reshape(1, 1, 64, 16)
    result = verify.run(graph, plan(graph), x, engine="amaranth")
    assert result.first is None


def test_commands_name_ties(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, path, x = tied_network(tmp_path)
    y, count = oracle.tensors(path, graph, x)["y_q"], oracle.judge(graph, path, x).ties["m_q"]
    file = tmp_path / "x.npz"
    np.savez(file, x=x, y=y)
    assert main(["check", str(path), "--inputs", str(file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["mismatches"] == 0 and report["ties"] == {"m_q": count}
    assert main(["check", str(path), "--inputs", str(file)]) == 0
    assert f"{count} ties, one off: " in capsys.readouterr().out
    command = ["sim", str(path), "--inputs", str(file), "--engine", "amaranth"]
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["mismatches"] == 0 and report["ties"] == report["differing"] > 0
    y[0, 0, 0, 0] += 1
    np.savez(file, x=x, y=y)
    assert main(command) == 1
    out = capsys.readouterr().out
    assert f"outputs: {report['differing'] + 1} values differ from the file's" in out
    assert f", {report['differing']} of them behind ties of an average" in out


def test_ties_excuse_no_wrong_hardware(tmp_path: Path) -> None:
    graph, path, x = tied_network(tmp_path)
    y, ours = oracle.tensors(path, graph, x)["y_q"], reference.run(graph, x)["y_q"]
    file = tmp_path / "x.npz"
    np.savez(file, x=x, y=y)
    wrong = np.where(ours == y, ours + 1, ours)
    assert score(graph, [file], x, ours, model=path).wrong == 0
    assert score(graph, [file], x, wrong, model=path).wrong == np.count_nonzero(ours == y) > 0
