# amaranth: UnusedElaboratable=no
"""QONNX files: what Quant nodes become, and what is refused."""
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from headrace.gen.importer.load import load
from headrace.gen.importer.passes import constants as onnx_constants
from headrace.gen.importer.passes import qonnx as onnx_qonnx
from headrace.gen.importer.source import file as onnx_file
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Conv, Graph, Quantisation
from headrace.gen.netlist import build
from headrace.gen.planning.planner import plan
from headrace.sim.narrow import ports
from qonnx_models import DOMAIN, QonnxModel

RNG = np.random.default_rng(0)


def integers(bits: int, *shape: int) -> np.ndarray:
    """Integers of the narrow range, both ends among them."""
    values = RNG.integers(1 - (1 << bits - 1), 1 << bits - 1, shape)
    values.flat[:2] = values.min() - values.max(), 0
    values.flat[:2] = 1 - (1 << bits - 1), (1 << bits - 1) - 1
    return values


def one_conv(*, bits: int = 4, weight: np.ndarray | None = None, scale: Any = 0.05,
             x: Mapping[str, Any] = {}, y: Mapping[str, Any] = {}, domain: str = DOMAIN,
             between: Callable[[QonnxModel, str], str] = lambda model, x: x, **options: Any) -> QonnxModel:
    """An input of 8 bits, a convolution, what is `between`, and a Quant of 8 bits, the output."""
    model = QonnxModel(domain=domain)
    source = model.quant(model.input((3, 6, 6)), 0.02, 8, "xq", **x)
    weight = integers(bits, 4, 3, 3, 3) if weight is None else weight
    raw = model.node("Conv", [source, model.weight("w", weight, scale, bits, **options)], "c")
    model.output(model.quant(between(model, raw), 0.3, **{"bits": 8, "name": "y", **y}))
    return model


def imported(model: QonnxModel, folder: Path) -> Graph:
    return load(model.save(folder / "net.onnx"))


def conv(model: QonnxModel, folder: Path) -> Conv:
    (node,) = imported(model, folder).nodes
    assert isinstance(node, Conv)
    return node


@pytest.mark.parametrize("domain", onnx_constants.DOMAINS)
@pytest.mark.parametrize("bits", (2, 3, 4, 8))
def test_weights_are_the_low_bit_integers(tmp_path: Path, bits: int, domain: str) -> None:
    weight = integers(bits, 4, 3, 3, 3)
    node = conv(one_conv(bits=bits, weight=weight, domain=domain), tmp_path)
    np.testing.assert_array_equal(node.weight, weight)
    assert node.multiplier.tolist() == [np.float32(0.02) * np.float32(0.05) / np.float32(0.3)] * 4
    assert node.inputs == ("xq/integers",) and node.output == "y/integers"


@pytest.mark.parametrize("bits", (2, 3, 4, 8))
def test_hardware_is_as_wide_as_the_weights(tmp_path: Path, bits: int) -> None:
    """ROM words and the multipliers' operands of all three kinds of layer."""
    model = QonnxModel()
    x = model.quant(model.input((3, 6, 6)), 0.02, 8, "xq")
    for name, shape, group in (("dense", (8, 3, 3, 3), 1), ("deep", (8, 1, 3, 3), 8),
                               ("thin", (4, 8, 1, 1), 1)):
        weight = model.weight(f"{name}_w", integers(bits, *shape), 0.05, bits)
        x = model.quant(model.node("Conv", [x, weight], name, group=group), 0.3, 8, f"{name}_q")
    model.output(x)
    graph = imported(model, tmp_path)
    layout = plan(graph, cycles=20_000)
    modules = build.netlist(graph, layout).modules
    kinds = set()
    for node in graph.nodes:
        layer = layout.layers[node.name]
        kinds.add(layer.kind)
        wanted = layer.p_in * layer.p_out * bits
        assert ports(modules[f"{node.name}__rom"])["data"] == ("output", wanted)
        assert ports(modules[f"{node.name}__lane"])["weight"] == ("input", wanted)
    assert kinds == {"output-stationary", "depthwise", "input-stationary"}


def test_ranges_of_activations(tmp_path: Path) -> None:
    """The integers of a narrow Quant are the only ones that the layer makes."""
    for signed, narrow, bits, limits in ((1, 0, 8, (-128, 127)), (1, 1, 8, (-127, 127)), (1, 0, 4, (-8, 7)),
                                         (1, 1, 3, (-3, 3)), (0, 0, 4, (0, 15)), (0, 1, 2, (0, 2)),
                                         (0, 0, 8, (-128, 127)), (0, 1, 8, (-128, 126))):
        node = conv(one_conv(y={"signed": signed, "narrow": narrow, "bits": bits}), tmp_path)
        assert (node.lo, node.hi) == limits


def test_relu_before_quant(tmp_path: Path) -> None:
    node = conv(one_conv(between=lambda model, x: model.node("Relu", [x], "r"), y={"bits": 5}), tmp_path)
    assert (node.lo, node.hi) == (0, 15)


def test_type_of_activations(tmp_path: Path) -> None:
    """uint8 if all are unsigned; else int8, and unsigned integers of 8 bits are 128 less."""
    unsigned = {"signed": 0, "zero_point": 100}
    for x, y, expected in ((unsigned, unsigned, (100, 100, False)), ({}, unsigned, (0, -28, True)),
                           (unsigned, {"zero_point": -3}, (-28, -3, True)),
                           ({}, {"signed": 0, "zero_point": 3, "bits": 4}, (0, 3, True))):
        graph = imported(one_conv(x=x, y=y), tmp_path)
        *zeros, signed = expected
        assert [tensor.quantisation for tensor in graph.tensors.values()] == [
            Quantisation(float(np.float32(scale)), zero, signed)
            for scale, zero in zip((0.02, 0.3), zeros, strict=True)]


def test_input_of_few_bits_is_limited_by_a_table(tmp_path: Path) -> None:
    model = QonnxModel()
    x = model.quant(model.input((3, 6, 6)), 0.02, 4, "xq", signed=0)
    model.output(model.quant(model.node("MaxPool", [x], "m", kernel_shape=[2, 2]), 0.02, 4, "y", signed=0))
    graph = imported(model, tmp_path)
    assert [(node.lo, node.hi) for node in graph.nodes] == [(0, 15), (0, 255)]


def test_scales_per_channel(tmp_path: Path) -> None:
    scale = np.array([0.1, 0.2, 0.3, 0.4], np.float32).reshape(4, 1, 1, 1)
    node = conv(one_conv(scale=scale), tmp_path)
    assert node.multiplier.tolist() == (np.float32(0.02) * scale.ravel() / np.float32(0.3)).tolist()


def test_zero_point_of_weights(tmp_path: Path) -> None:
    weight = integers(4, 4, 3, 3, 3) + 7
    node = conv(one_conv(weight=weight, zero_point=7, signed=0), tmp_path)
    np.testing.assert_array_equal(node.weight, weight - 7)


@pytest.mark.parametrize("gamma", (1.0, -1.0))
def test_weights_of_nine_bits(tmp_path: Path, gamma: float) -> None:
    weight = RNG.integers(0, 256, (4, 3, 3, 3))
    weight.flat[:2] = 0, 255
    model = one_conv(bits=8, weight=weight, zero_point=5, signed=0,
                     between=lambda model, x: model.batch_normalisation(
                         x, "bn", [gamma] * 4, [0] * 4, [0] * 4, [1] * 4))
    np.testing.assert_array_equal(conv(model, tmp_path).weight, (weight - 5) * int(gamma))


def test_batch_normalisation(tmp_path: Path) -> None:
    """Into the scale; a negative factor negates integers; the bias is in units of both scales."""
    weight = integers(4, 4, 3, 3, 3)
    gamma, variance = np.array([1, -2, 0.5, 0]), np.array([1, 4, 0.25, 1])
    beta, mean = np.array([0.5, 0, -1, 3]), np.array([0, 0.25, 1, 0])
    node = conv(one_conv(weight=weight, between=lambda model, x: model.batch_normalisation(
        x, "bn", gamma, beta, mean, variance)), tmp_path)
    factor = gamma / np.sqrt(variance)
    np.testing.assert_array_equal(node.weight, weight * np.sign(factor)[:, None, None, None])
    unit = 0.02 * 0.05 * np.where(factor == 0, 1, abs(factor))
    np.testing.assert_array_equal(node.bias, np.rint((beta - mean * factor) / unit))
    np.testing.assert_allclose(node.multiplier, unit / 0.3, rtol=1e-6)


def test_channel_with_a_huge_bias_gets_a_coarser_scale(tmp_path: Path) -> None:
    node = conv(one_conv(between=lambda model, x: model.batch_normalisation(
        x, "bn", [1e-6, 1e-12, 1, 1e-40], [3, -3, 3, 3], [0] * 4, [1] * 4)), tmp_path)
    real = node.bias * (node.multiplier * np.float64(0.3))
    np.testing.assert_allclose(real, [3, -3, 3, 3], rtol=1e-3)
    assert abs(node.bias).max() < 1 << 31
    assert [bool(channel.any()) for channel in node.weight] == [True, False, True, False]


def test_other_affine_operators(tmp_path: Path) -> None:
    def between(model: QonnxModel, x: str) -> str:
        x = model.node("Mul", [x, model.constant("k0", np.float32([1, 2, 3, 4]).reshape(4, 1, 1))], "a0")
        x = model.node("Sub", [x, model.constant("k1", np.float32(0.5))], "a1")
        x = model.node("Div", [x, model.constant("k2", np.float32(2))], "a2")
        x = model.node("Sub", [model.constant("k3", np.float32(1)), x], "a3")
        return model.node("Add", [model.constant("k4", np.float32([[[1]]])), x], "a4")

    weight = integers(4, 4, 3, 3, 3)
    node = conv(one_conv(weight=weight, between=between), tmp_path)
    factor = np.array([1, 2, 3, 4]) / 2
    np.testing.assert_array_equal(node.weight, -weight)
    np.testing.assert_array_equal(node.bias, np.rint(2.25 / (0.02 * 0.05 * factor)))
    np.testing.assert_allclose(node.multiplier, 0.02 * 0.05 / 0.3 * factor, rtol=1e-6)


@pytest.mark.parametrize("quantised", (False, True))
def test_bias(tmp_path: Path, quantised: bool) -> None:
    bias = RNG.integers(-3000, 3000, 4)
    scale = np.float32(0.02) * np.float32(0.05)
    model = one_conv()
    name = model.weight("b", bias, scale, 32) if quantised else model.constant(
        "b", (bias * scale).astype(np.float32))
    layer = next(node for node in model.nodes if node.op_type == "Conv")
    layer.input.append(name)
    model.nodes.sort(key=lambda node: node.output[0] != name)
    assert conv(model, tmp_path).bias.tolist() == bias.tolist()


@pytest.mark.parametrize("form", (
    "Gemm", "Gemm transposed", "MatMul", "MatMul of a Transpose", "MatMul and Add"))
def test_fully_connected(tmp_path: Path, form: str) -> None:
    weight = integers(4, 5, 12)
    model = QonnxModel()
    flat = model.node("Flatten", [model.quant(model.input((3, 2, 2)), 0.02, 8, "xq")], "f")
    rows = form in ("Gemm transposed", "MatMul of a Transpose")
    scale = np.linspace(0.1, 0.2, 5, dtype=np.float32).reshape(-1, 1)
    w = model.weight("w", weight if rows else weight.T, scale if rows else scale.T, 4)
    if form == "MatMul of a Transpose":
        w = model.node("Transpose", [w], "wt", perm=[1, 0])
    bias = model.constant("b", (scale.ravel() * np.float32(0.02) * [1, -2, 3, -4, 5]).astype(np.float32))
    match form.split()[0], form.split()[-1]:
        case "Gemm", _:
            y = model.node("Gemm", [flat, w, bias], "g", transB=int(rows))
        case _, "Add":
            y = model.node("Add", [model.node("MatMul", [flat, w], "g"), bias], "a")
        case _:
            y = model.node("MatMul", [flat, w], "g")
    model.output(model.quant(y, 0.3, 8, "y"))
    node = conv(model, tmp_path)
    np.testing.assert_array_equal(node.weight.reshape(5, 12), weight)
    without = form in ("MatMul", "MatMul of a Transpose")
    assert node.bias.tolist() == ([0] * 5 if without else [1, -2, 3, -4, 5])
    np.testing.assert_allclose(node.multiplier, 0.02 * scale.ravel() / 0.3, rtol=1e-6)


def test_shared_weights(tmp_path: Path) -> None:
    """Two layers fold different functions into the same weights."""
    weight = integers(3, 3, 3, 1, 1)
    model = QonnxModel()
    x = model.quant(model.input((3, 4, 4)), 0.02, 8, "xq")
    w = model.weight("w", weight, 0.05, 3)
    for name, gamma in (("a", 1), ("b", -1)):
        raw = model.batch_normalisation(model.node("Conv", [x, w], f"{name}c"), name, [gamma] * 3, [0] * 3,
                                        [0] * 3, [1] * 3)
        x = model.quant(raw, 0.3, 8, f"{name}q")
    model.output(x)
    first, second = imported(model, tmp_path).nodes
    assert isinstance(first, Conv) and isinstance(second, Conv)
    np.testing.assert_array_equal(first.weight, weight)
    np.testing.assert_array_equal(second.weight, -weight)


def test_constants_are_folded(tmp_path: Path) -> None:
    """A scale that the file computes: (0.3 + 0.1 - 0.3) * 2 / 4."""
    model = one_conv()
    for name, value in zip(("k0", "k1", "k2", "k3"), (0.3, 0.1, 2, 4), strict=True):
        model.constant(name, np.float32(value))
    steps = [model.node("Add", ["k0", "k1"], "s0"), model.node("Sub", ["s0", "k0"], "s1"),
             model.node("Mul", ["s1", "k2"], "s2"), model.node("Identity", ["s2"], "s3"),
             model.node("Div", ["s3", "k3"], "s4")]
    model.nodes = model.nodes[-len(steps):] + model.nodes[:-len(steps)]
    next(node for node in model.nodes if node.output[0] == "w").input[1] = "s4"
    np.testing.assert_allclose(conv(model, tmp_path).multiplier, 0.02 * 0.05 / 0.3, rtol=1e-5)


def test_residual_and_pools(tmp_path: Path) -> None:
    model = QonnxModel(opset=11)
    x = model.quant(model.input((4, 8, 8)), 0.02, 8, "xq")
    y = model.quant(model.node("Conv", [x, model.weight("w", integers(4, 4, 4, 1, 1), 0.05, 4)], "c"),
                    0.1, 8, "cq")
    s = model.quant(model.node("Add", [x, y], "s"), 0.1, 6, "sq")
    m = model.node("MaxPool", [s], "m", kernel_shape=[2, 2], strides=[2, 2])
    d = model.quant(model.node("Conv", [m, model.weight("v", integers(2, 4, 1, 3, 3), 0.5, 2)], "d", group=4),
                    0.1, 8, "dq")
    model.output(model.quant(model.node("GlobalAveragePool", [d], "g"), 0.1, 8, "gq"))
    graph = imported(model, tmp_path)
    assert [type(node).__name__ for node in graph.nodes] == [
        "Conv", "Add", "Pool", "Conv", "GlobalAveragePool"]
    assert [(node.lo, node.hi) for node in graph.nodes[:3]] == [(-128, 127), (-32, 31), (-128, 127)]
    assert [load(tmp_path / "net.onnx", cut=tensor).output for tensor in ("sq", "m")] == [
        "sq/integers", "m/integers"]


def test_other_models_are_left_alone(small: Path) -> None:
    model = onnx_file.read(small)
    assert onnx_qonnx.expand(model, small) is model


def refusal(model: QonnxModel, folder: Path) -> str:
    path = model.save(folder / "net.onnx")
    with pytest.raises(HeadraceError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text.removeprefix(f"{path}: ").replace("qonnx.custom_op.general.", "")


def changed(name: str, **attributes: Any) -> QonnxModel:
    """`one_conv()` with other attributes, or a constant input, of the Quant that makes ``name``."""
    model = one_conv()
    node = next(node for node in model.nodes if node.output[0] == name)
    for key, value in attributes.items():
        if key in ("scale", "zeropt", "bits"):
            model.constant(f"{name}_{key}", np.asarray(value, np.float32))
        else:
            (attribute,) = (attribute for attribute in node.attribute if attribute.name == key)
            attribute.CopyFrom(helper.make_attribute(key, value))
    return model


@pytest.mark.parametrize(("name", "change", "expected"), [
    ("y", {"rounding_mode": "FLOOR"},
     "Quant 'y': rounding_mode 'FLOOR' is not supported; ROUND (half to even) is"),
    ("y", {"signed": 2}, "Quant 'y': signed 2 is not supported; 0 and 1 are"),
    ("y", {"scale": 0}, "Quant 'y': its scale is not everywhere positive"),
    ("y", {"scale": np.nan}, "Quant 'y': its scale is not finite numbers"),
    ("y", {"zeropt": 0.5}, "Quant 'y': its zero point is not an integer of -128 to 127"),
    ("y", {"zeropt": 128}, "Quant 'y': its zero point is not an integer of -128 to 127"),
    ("y", {"bits": 16}, "Quant 'y': bit width 16 of an activation is not supported; 2 to 8 are"),
    ("y", {"bits": 1}, "Quant 'y': bit width 1 is not supported; one integer of 2 to 32 is"),
    ("y", {"bits": 3.5}, "Quant 'y': bit width 3.5 is not supported; one integer of 2 to 32 is"),
    ("y", {"bits": [4, 4]}, "Quant 'y': bit width of shape [2] is not supported; one integer of 2 to 32 is"),
    ("y", {"scale": [0.1] * 4}, "Quant 'y': 4 scales for an activation; one per tensor is supported"),
    ("w", {"bits": 9}, "Conv 'c': weights of 9 bits are not supported; 2 to 8 are"),
    ("w", {"scale": [0.1] * 3},
     "Conv 'c': weight scales of shape [1, 1, 1, 3]; per tensor and per output channel are supported"),
    ("w", {"scale": [0.1] * 2}, "Quant 'w': a scale or zero point of shape [2] for values of [4, 3, 3, 3]")])
def test_quant_errors(tmp_path: Path, name: str, change: dict[str, Any], expected: str) -> None:
    assert refusal(changed(name, **change), tmp_path) == expected


@pytest.mark.parametrize(("operator", "inputs", "expected"), [
    ("qonnx.custom_op.general.BipolarQuant", ["", 1.0],
     "BipolarQuant 'b': operator not supported; of QONNX's, Quant (IntQuant) is"),
    ("Div", [1.0, ""], "Div 'b': divides by a layer's result; dividing it by a constant is supported"),
    ("Mul", ["", [1.0] * 3],
     "Mul 'b': a constant of shape [3] for 4 channels; one value, or one per channel, is supported"),
    ("BatchNormalization", ["", [1.0] * 4, [0.0] * 4, [0.0] * 4, [-1.0] * 4],
     "Conv 'c': the constants that follow it (BatchNormalization, …) do not give finite numbers"),
    ("Concat", ["", "w"],
     "Concat 'b': reads a quantised constant; weights and biases of Conv, Gemm, MatMul are supported")])
def test_operators_behind_a_layer(tmp_path: Path, operator: str, inputs: list[Any], expected: str) -> None:
    def between(model: QonnxModel, x: str) -> str:
        names = [(value or x) if isinstance(value, str) else model.constant(f"k{index}", np.float32(value))
                 for index, value in enumerate(inputs)]
        domain, _, name = operator.rpartition(".")
        return model.node(name, names, "b", domain=domain)

    assert refusal(one_conv(between=between), tmp_path) == expected


@pytest.mark.parametrize(("operator", "index", "name", "expected"), [
    ("Quant", 1, "x", "Quant 'w': its scale is not a constant; float constants are supported"),
    ("Conv", 1, "w_float", "Conv 'c': its weights are not quantised; a constant behind a Quant is supported"),
    ("Conv", 0, "x", "Conv 'c': its input 0 is not quantised; every layer needs a Quant before it")])
def test_wrong_inputs(tmp_path: Path, operator: str, index: int, name: str, expected: str) -> None:
    model = one_conv()
    (node,) = (node for node in model.nodes if node.op_type == operator and node.output[0] in "wc")
    node.input[index] = name
    assert refusal(model, tmp_path) == expected


def test_input_vector_of_few_bits(tmp_path: Path) -> None:
    model = QonnxModel()
    x = model.quant(model.input((12,)), 0.02, 4, "xq")
    y = model.node("Gemm", [x, model.weight("w", integers(4, 12, 5), 0.1, 4)], "g")
    model.output(model.quant(y, 0.3, 8, "y"))
    assert [(node.lo, node.hi) for node in imported(model, tmp_path).nodes] == [(-8, 7), (-128, 127)]


def test_constants_do_not_grow(tmp_path: Path) -> None:
    model = one_conv()
    for name, shape in (("row", (1, 9)), ("column", (9, 1))):
        model.quant(model.constant(name, np.ones(shape, np.float32)), 1.0, 8, f"{name}_quant")
    model.node("Mul", ["row_quant", "column_quant"], "outer")
    node = next(node for node in model.nodes if node.output[0] == "y")
    node.input[1] = "outer"
    model.nodes = [*model.nodes[-3:], *model.nodes[:-3]]
    assert refusal(model, tmp_path) == (
        "Mul 'outer': constants of shapes [1, 9] and [9, 1] make a larger one; "
        "one as large as the larger is supported")


def test_computed_constants_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_constants, "MAX_ELEMENTS", 107)
    assert refusal(one_conv(), tmp_path) == "Quant 'w': more than 107 elements of computed constants"


@pytest.mark.parametrize("seed", range(2))
def test_damage_never_raises_anything_else(tmp_path: Path, seed: int) -> None:
    """Nodes that read, write or are something else, and bytes that changed."""
    rng = random.Random(seed)
    path = one_conv(between=lambda model, x: model.batch_normalisation(
        x, "bn", [1] * 4, [0] * 4, [0] * 4, [1] * 4)).save(tmp_path / "net.onnx")
    sound = onnx_file.read(path)
    names = [name for node in sound.graph.node for name in (*node.input, *node.output)]
    for _ in range(250):
        model = onnx.ModelProto()
        model.CopyFrom(sound)
        node, tensor = rng.choice(model.graph.node), rng.choice(model.graph.initializer)
        match rng.randrange(6):
            case 0:
                node.input[rng.randrange(len(node.input))] = rng.choice(names)
            case 1:
                node.output[0] = rng.choice(names)
            case 2:
                node.op_type = rng.choice(model.graph.node).op_type
            case 3:
                node.input.pop()
            case 4:
                tensor.raw_data = rng.randbytes(len(tensor.raw_data))
            case 5:
                tensor.dims[:] = [rng.choice((0, 1, 2, -1, 1 << 40)) for _ in range(rng.randrange(5))]
        content = bytearray(model.SerializeToString())
        if rng.random() < 0.3:
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            load(path)
        except HeadraceError as error:
            assert "\n" not in str(error)
