"""Functions with constants by channel: the reference against ONNX Runtime, the hardware against it."""
from pathlib import Path

import numpy as np
import pytest

from headrace.gen.cycles import model as cycle_model
from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Lookup
from headrace.gen.ir.info import info
from headrace.gen.kinds import elaborate
from headrace.gen.netlist import build
from headrace.gen.planning.planner import plan
from headrace.sim import oracle, verify
from onnx_models import Q, QdqModel

CHANNELS = 5
SLOPES = np.float32([0.5, -0.25, 0, 1, 0.1])
OPERATORS = {"Add": SLOPES, "Sub": SLOPES, "Mul": SLOPES, "Div": np.float32([2, 0.3, -1, 5, 0.7]),
             "Max": SLOPES, "PRelu": SLOPES}


def judged(model: QdqModel, path: Path, x: np.ndarray) -> Lookup:
    model.output(f"{model.nodes[-1].output[0]}", ())
    graph = load(model.save(path))
    (node,) = graph.nodes
    assert isinstance(node, Lookup) and node.by_channel
    assert oracle.judge(graph, path, x).mismatches == dict.fromkeys(graph.tensors, 0)
    return node


def every_value(dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    low = int(np.iinfo(dtype).min)
    return np.random.default_rng(0).permutation(np.resize(np.arange(low, low + 256), (256, *shape)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("operator", OPERATORS)
def test_reference_is_onnx_runtime(tmp_path: Path, operator: str, dtype: type) -> None:
    low = int(np.iinfo(dtype).min)
    whole = CHANNELS, 3, 2
    for shape, constant in ((whole, (CHANNELS, 1, 1)), ((CHANNELS,), (CHANNELS,)), (whole, (1, *whole))):
        model = QdqModel()
        x = model.input(shape, Q(0.03, low + 99, dtype))
        numbers = OPERATORS[operator].repeat(int(np.prod(constant)) // CHANNELS).reshape(constant)
        model.operator(operator, [x, model.constant("c", numbers)], Q(0.04, low + 80, dtype), name="y")
        image = shape if len(shape) > 1 else (*shape, 1, 1)
        node = judged(model, tmp_path / "net.onnx", every_value(dtype, image))
        assert node.function == (operator,) and len({tuple(row) for row in node.table.tolist()}) == CHANNELS


@pytest.mark.parametrize("operator", ["Add", "Mul", "Sub"])
def test_quantised_constants(tmp_path: Path, operator: str) -> None:
    model = QdqModel()
    x = model.input((CHANNELS, 4, 4), Q(0.03, 99))
    integers = np.arange(90, 90 + CHANNELS, dtype=np.uint8).reshape(CHANNELS, 1, 1)
    model.operator(operator, [x, model.weight("c", integers, 0.1, 93, 0)], Q(0.04, 80), name="y")
    judged(model, tmp_path / "net.onnx", every_value(np.uint8, (CHANNELS, 4, 4)))


def test_channels_last(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.input((4, 3, CHANNELS), Q(0.03, 99))
    x = model.node("Transpose", [x], "first", perm=[0, 3, 1, 2])
    x = model.node("Transpose", [x], "last", perm=[0, 2, 3, 1])
    y = model.operator("PRelu", [x, model.constant("c", SLOPES)], Q(0.04, 80), name="y")
    model.node("Transpose", [y], "out", perm=[0, 3, 1, 2])
    node = judged(model, tmp_path / "net.onnx", every_value(np.uint8, (CHANNELS, 4, 3)))
    assert node.table.shape == (CHANNELS, 256)


def normalised(path: Path) -> Path:
    """A network that normalises its input, in channels, and has PRelus of channels behind a convolution."""
    model = QdqModel()
    x = model.input((3, 8, 6), Q(1.0, 0))
    mean, deviation = (np.float32(values).reshape(3, 1, 1) for values in ([124, 116, 104], [58, 57, 59]))
    x = model.node("Sub", [x, model.constant("mean", mean)], "centred")
    x = model.operator("Div", [x, model.constant("deviation", deviation)], Q(0.02, 110), name="n")
    weight = np.random.default_rng(3).integers(-99, 100, (CHANNELS, 3, 3, 3)).astype(np.int8)
    x = model.conv(x, weight, Q(0.1, 120), name="c", pads=[1, 1, 1, 1])
    slopes = model.constant("slopes", SLOPES.reshape(CHANNELS, 1, 1))
    model.output(model.operator("PRelu", [x, slopes], Q(0.09, 60), name="y"), (CHANNELS, 8, 6))
    return model.save(path)


@pytest.mark.parametrize("cycles", [300, 4_000])
def test_hardware(tmp_path: Path, cycles: int) -> None:
    """In whole rows, and in parts of rows that come with other rows."""
    path = normalised(tmp_path / "net.onnx")
    graph = load(path)
    operations = [layer.operation for layer in info(graph).layers]
    assert operations == ["lookup Sub, Div by channel", "convolution", "lookup PRelu by channel"]
    layout = plan(graph, cycles=cycles)
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 6))
    assert set(oracle.compare(graph, path, x).values()) == {0}
    result = verify.run(graph, layout, x, engine="amaranth")
    assert set(result.mismatches.values()) == {0}
    timing = cycle_model.predict(elaborate.network(graph, layout), len(x))
    for name, predicted in timing.cycles.items():
        assert predicted == result.beats[name].cycle.tolist(), name
    assert build.netlist(graph, layout).modules
