"""Tables, Concat and Resize: the reference against ONNX Runtime."""
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

from headrace.gen.importer.load import load
from headrace.gen.importer.resize import _COORDINATES, _ROUNDINGS
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Concat, Conv, Lookup, Pool, Upsample
from headrace.sim import oracle
from onnx_models import Q, QdqModel

dtypes = pytest.mark.parametrize("dtype", [np.uint8, np.int8])


def quantisation(rng: np.random.Generator, dtype: type) -> Q:
    """An arbitrary zero point, and a scale near 0.1."""
    limits = np.iinfo(dtype)
    return Q(float(np.float32(rng.uniform(0.05, 0.2))), int(rng.integers(limits.min, limits.max + 1)), dtype)


def check(model: QdqModel, folder: Path, *kinds: type, output: str = "y_dq") -> None:
    """Compare all that ONNX Runtime computes; every value occurs in the input."""
    model.outputs.append(helper.ValueInfoProto(name=output))
    path = model.save(folder / "net.onnx")
    graph = load(path)
    assert [type(node) for node in graph.nodes] == list(kinds)
    source = graph.tensors[graph.input]
    rng = np.random.default_rng(0)
    x = np.stack([rng.permutation(np.resize(np.arange(source.quantisation.lo, source.quantisation.hi + 1),
                                            np.prod(source.shape))).reshape(source.shape) for _ in range(3)])
    for layers in (False, True):
        counts = oracle.compare(graph, path, x, layers=layers)
        assert graph.output in counts and set(counts.values()) == {0}


@dtypes
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("operator, attributes, clip", [
    (None, {}, None), ("Relu", {}, None), ("Relu", {}, (-0.7, 2.1)), ("LeakyRelu", {"alpha": 0.1}, None),
    ("LeakyRelu", {"alpha": -0.3}, (-0.4, 3.0)), ("LeakyRelu", {"alpha": 1.7}, "Relu")])
def test_functions_of_one_activation(tmp_path: Path, operator: str | None, attributes: dict[str, float],
                                     clip: str | tuple[float, float] | None, seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    x, y = quantisation(rng, dtype), quantisation(rng, dtype)
    if seed == 0:
        x, y = Q(0.5, 3, dtype), Q(1.0, 6, dtype)  # ties
    model = QdqModel()
    first = model.input((4, 9, 8), x)
    if operator:
        model.operator(operator, [first], y, name="y", clip=clip, **attributes)
    else:
        model.quantise(first, y, name="y")
    check(model, tmp_path, Lookup)


def test_change_of_type(tmp_path: Path) -> None:
    """int8 behind uint8 is uint8, too: a table only where the real numbers change."""
    model = QdqModel()
    model.quantise(model.input((4, 9, 8), Q(0.1, 5)), Q(0.1, -120, np.int8), name="y")
    check(model, tmp_path, Lookup)


@dtypes
@pytest.mark.parametrize("clip", (None, "Relu", (-1.0, 2.0)))
def test_max_pool_of_another_quantisation(tmp_path: Path, clip: str | tuple[float, float] | None,
                                          dtype: type) -> None:
    rng = np.random.default_rng(1)
    model = QdqModel()
    model.operator("MaxPool", [model.input((4, 9, 8), quantisation(rng, dtype))], quantisation(rng, dtype),
                   name="y", kernel_shape=[3, 3], pads=[1, 1, 1, 1], clip=clip)
    check(model, tmp_path, Lookup, Pool)


@dtypes
@pytest.mark.parametrize("same", (True, False))
@pytest.mark.parametrize("clip", (None, "Relu"))
def test_concat(tmp_path: Path, clip: str | None, same: bool, dtype: type) -> None:
    rng = np.random.default_rng(2)
    x = quantisation(rng, dtype)
    a, b, y = ([x] * 3 if same else [quantisation(rng, dtype) for _ in range(3)])
    model = QdqModel()
    first = model.input((4, 9, 8), x)
    operands = [first, *(model.operator("MaxPool", [first], q, name=name, kernel_shape=[1, 3],
                                        pads=[0, 1, 0, 1]) for name, q in (("a", a), ("b", b))), first]
    model.operator("Concat", operands, y, name="y", axis=-3, clip=clip)
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    path = model.save(tmp_path / "net.onnx")
    graph = load(path)
    values = np.random.default_rng(0).integers(-128, 128, (4, 4, 9, 8)) + (128 if dtype is np.uint8 else 0)
    counts = oracle.compare(graph, path, values)
    assert set(counts) == {"x_q", "a_q", "b_q", "y_q"} and set(counts.values()) == {0}


@dtypes
@pytest.mark.parametrize("same", (True, False))
@pytest.mark.parametrize("clip", (None, "Relu"))
@pytest.mark.parametrize("opset", (10, 11, 13, 18))
def test_upsample(tmp_path: Path, opset: int, clip: str | None, same: bool, dtype: type) -> None:
    rng = np.random.default_rng(3)
    x = quantisation(rng, dtype)
    model = QdqModel(opset=opset)
    inputs = [model.input((4, 5, 3), x)]
    factors = model.constant("factors", np.array([1, 1, 3, 2], np.float32))
    inputs += [factors] if opset == 10 else [model.constant("roi", np.zeros(8, np.float32)), factors]
    model.operator("Resize", inputs, x if same else quantisation(rng, dtype), name="y", clip=clip,
                   **({} if opset == 10 else {"coordinate_transformation_mode": "half_pixel"}))
    check(model, tmp_path, *([] if same and not clip else [Lookup]), Upsample)


@pytest.mark.parametrize("rounding", _ROUNDINGS)
@pytest.mark.parametrize("coordinates", _COORDINATES)
def test_every_form_of_resize(tmp_path: Path, coordinates: str, rounding: str) -> None:
    """What is imported, ONNX Runtime computes so; what is refused, it computes otherwise."""
    for factor in (1, 2, 3, 5):
        for size in (2, 7):
            model = QdqModel(opset=11)
            x = model.input((1, size, 3), Q(0.1, 5))
            factors = model.constant("factors", np.array([1, 1, factor, 1], np.float32))
            model.operator("Resize", [x, model.constant("roi", np.zeros(8, np.float32)), factors], Q(0.1, 5),
                           name="y", coordinate_transformation_mode=coordinates, nearest_mode=rounding)
            model.outputs.append(helper.ValueInfoProto(name="y_dq"))
            path = model.save(tmp_path / "net.onnx")
            values = np.arange(3 * size).reshape(1, 1, size, 3)
            repeats = (ort_resize(path, values) == values.repeat(factor, axis=2)).all()
            try:
                load(path)
            except HeadraceError:
                assert not repeats
            else:
                assert repeats


def test_network_of_all(branched: Path) -> None:
    graph = load(branched)
    assert {type(node) for node in graph.nodes} == {Concat, Conv, Lookup, Pool, Upsample}
    counts = oracle.compare(graph, branched, np.random.default_rng(0).integers(0, 256, (20, 3, 8, 6)))
    assert len(counts) == 9 and set(counts.values()) == {0}


def ort_resize(path: Path, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(path.read_bytes())
    real: np.ndarray = session.run(None, {"x": ((x - 5) * 0.1).astype(np.float32)})[0]
    return np.rint(real / 0.1 + 5).astype(int)
