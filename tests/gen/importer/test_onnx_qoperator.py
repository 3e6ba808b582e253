"""Networks in operator-oriented quantisation."""
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from headrace.gen.importer.load import load
from headrace.gen.importer.passes.normalise import judged
from headrace.gen.ir.graph import Add, Concat, Conv, GlobalAveragePool, Pool, Upsample
from headrace.sim import oracle
from onnx_forms import assert_alike, assert_exact, finish, images, random
from onnx_models import Q, QdqModel, refusal
from qoperator_models import MS, QOperatorModel

X, Y = Q(0.03, 120), Q(0.4, 7)
ONES = np.ones((4, 4, 1, 1), np.int8)


class Samples(CalibrationDataReader):
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.samples = iter([rng.standard_normal((1, 3, 9, 8)).astype(np.float32) for _ in range(3)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(({"x": sample} for sample in self.samples), None)


def float_network(path: Path) -> Path:
    """Every operator that quantize_static writes as one on integers."""
    rng = np.random.default_rng(1)
    sizes = {"w0": (6, 3, 3, 3), "b0": (6,), "w1": (6, 1, 3, 3), "w2": (6, 6, 1, 1), "b2": (6,),
             "w3": (5, 6), "b3": (5,), "w4": (5, 10)}
    values = [numpy_helper.from_array(rng.standard_normal(size).astype(np.float32) / 3, name)
              for name, size in sizes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c"], strides=[1, 2], pads=[1, 1, 1, 0]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w1"], ["d"], pads=[1, 1, 1, 1], group=6),
        helper.make_node("Conv", ["d", "w2", "b2"], ["p"]),
        helper.make_node("Add", ["r", "p"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["m"], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["m"], ["a"], kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["a"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["h"], transB=1),
        helper.make_node("MatMul", ["h", "w4"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 3, 9, 8])],
                              [helper.make_tensor_value_info("y", 1, [1, 10])], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("activations", "weights"), [
    (QuantType.QUInt8, QuantType.QUInt8), (QuantType.QUInt8, QuantType.QInt8),
    (QuantType.QInt8, QuantType.QInt8)])
def test_quantize_static(tmp_path: Path, activations: QuantType, weights: QuantType,
                         per_channel: bool) -> None:
    """ONNX Runtime runs the file's own QLinear operators."""
    path = tmp_path / "q.onnx"
    quantize_static(float_network(tmp_path / "float.onnx"), path, Samples(), per_channel=per_channel,
                    quant_format=QuantFormat.QOperator, activation_type=activations, weight_type=weights)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert {"QLinearConv", "QLinearAdd", "QLinearAveragePool", "QLinearGlobalAveragePool", "QGemm",
            "QLinearMatMul", "MaxPool", "Flatten"} <= operators
    graph = assert_exact(path)
    model = onnx.load(path)
    assert judged(model, path) is model
    assert [type(node) for node in graph.nodes] == [
        Conv, Conv, Conv, Add, Pool, Pool, GlobalAveragePool, Conv, Conv]
    assert graph.host == ("DequantizeLinear",)


def branching_network(path: Path) -> Path:
    """The operators that only some networks have; the branches of the concatenation differ in scale."""
    rng = np.random.default_rng(2)
    sizes = {"w0": (4, 3, 3, 3), "w1": (5, 4, 1, 1), "w2": (3, 9, 1, 1)}
    values = [numpy_helper.from_array(rng.standard_normal(size).astype(np.float32) / 3, name)
              for name, size in sizes.items()]
    values.append(numpy_helper.from_array(np.array([1, 1, 2, 1], np.float32), "factors"))
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["c"], ["l"], alpha=0.2),
        helper.make_node("Conv", ["l", "w1"], ["d"]),
        helper.make_node("Concat", ["d", "l"], ["j"], axis=1),
        helper.make_node("Resize", ["j", "", "factors"], ["r"], mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric"),
        helper.make_node("Conv", ["r", "w2"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 3, 9, 8])],
                              [helper.make_tensor_value_info("y", 1, [1, 3, 18, 8])], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
def test_quantize_static_of_branches(tmp_path: Path, kind: QuantType) -> None:
    path = tmp_path / "q.onnx"
    quantize_static(branching_network(tmp_path / "float.onnx"), path, Samples(),
                    quant_format=QuantFormat.QOperator, activation_type=kind, weight_type=kind)
    model = onnx.load(path)
    assert {"QLinearLeakyRelu", "QLinearConcat", "Resize"} <= {node.op_type for node in model.graph.node}
    graph = load(path)
    counts = oracle.compare(graph, path, images(graph))
    assert set(counts.values()) == {0} and {"j_quantized", "l_quantized", "r_quantized"} <= counts.keys()
    assert judged(model, path) is model
    assert [type(node) for node in graph.nodes if not isinstance(node, Conv)][-2:] == [Concat, Upsample]
    assert graph.host == ("DequantizeLinear",)


def test_concat_without_whole_triples(tmp_path: Path) -> None:
    model = integer_input(X)
    model.node("QLinearConcat", [*model.q("y", X)[1:], *model.q("x", X)[:2]], "y", domain=MS, axis=1)
    assert refusal(model, tmp_path, output="y") == (
        "com.microsoft.QLinearConcat 'y': has 4 inputs; scale and zero point of the output, and three for "
        "each tensor are supported")


@pytest.mark.parametrize("operator", ["QLinearConcat", "QLinearAdd"])
def test_only_a_later_operand_says_the_input_s_scale(tmp_path: Path, operator: str) -> None:
    """Nothing but pools reads the input."""
    model = integer_input(X)
    model.node("MaxPool", ["x"], "m", kernel_shape=[1, 1])
    model.node("MaxPool", ["m"], "n", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    if operator == "QLinearAdd":
        model.linear(operator, [*model.q("n", X), *model.q("m", X)], "y", Y, domain=MS)
    else:
        parts = [*model.q("n", X), *model.q("m", X)]
        model.node(operator, [*model.q("y", X)[1:], *parts], "y", domain=MS, axis=1)
    model.outputs.append(helper.make_tensor_value_info("y", 2, None))
    graph = assert_exact(model.save(tmp_path / "o.onnx"))
    assert [type(node) for node in graph.nodes][:2] == [Pool, Pool]


def integer_input(q: Q, shape: tuple[int, ...] = (4, 7, 6)) -> QOperatorModel:
    model = QOperatorModel()
    model.inputs.append(helper.make_tensor_value_info("x", 3 if q.dtype is np.int8 else 2, (1, *shape)))
    return model


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("ends", [(0, 255), (255, 0)])
def test_conv_equals_qdq(tmp_path: Path, per_channel: bool, ends: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    x, y = Q(0.03, ends[0]), Q(0.9, ends[1])
    scale = rng.uniform(0.01, 0.02, 6).astype(np.float32) if per_channel else np.float32(0.01)
    weight, bias = random(rng, np.int8, 6, 4, 3, 2), rng.integers(-999, 999, 6).astype(np.int32)
    model = integer_input(x)
    model.linear("QLinearConv", [*model.q("x", x), *model.w("w", weight, scale)], "y", y,
                 model.constant("b", bias), strides=[2, 1], pads=[0, 1, 1, 1])
    model.outputs.append(helper.make_tensor_value_info("y", 2, None))
    plain = QdqModel()
    plain.conv(plain.input((4, 7, 6), x, real=False), weight, y, name="y", scale=scale, bias=bias,
               strides=[2, 1], pads=[0, 1, 1, 1])
    assert_alike(assert_exact(model.save(tmp_path / "o.onnx")), finish(plain, tmp_path / "p.onnx", "y_dq"))


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("operator", ["QGemm", "QLinearMatMul"])
def test_matrices_equal_qdq(tmp_path: Path, operator: str, transposed: int) -> None:
    rng = np.random.default_rng(4)
    scale = rng.uniform(0.01, 0.02, 6).astype(np.float32)
    weight = random(rng, np.int8, 168, 6)
    model = integer_input(X)
    model.node("Reshape", ["x", model.constant("to", np.array([0, -1]))], "f")
    inputs = ["f", *model.q("x", X)[1:]]
    if operator == "QGemm":
        values = np.ascontiguousarray(weight.T) if transposed else weight
        bias = model.constant("b", np.arange(6, dtype=np.int32) * 1000)
        inputs += [*model.w("w", values, scale), bias, *model.q("y", Y)[1:]]
        model.node("QGemm", inputs, "y", domain=MS, transB=transposed)
    else:
        model.linear("QLinearMatMul", [*inputs, *model.w("w", weight, scale)], "y", Y)
    model.outputs.append(helper.make_tensor_value_info("y", 2, None))
    plain = QdqModel()
    x = plain.input((4, 7, 6), X, real=False)
    flat = plain.quantise(plain.node("Flatten", [x], "f"), X)
    plain.conv(flat, weight, Y, name="y", operator="Gemm", scale=scale, axis=1,
               bias=np.arange(6) * 1000 if operator == "QGemm" else np.zeros(6))
    assert_alike(assert_exact(model.save(tmp_path / "o.onnx")), finish(plain, tmp_path / "p.onnx", "y_dq"))


@pytest.mark.parametrize("operator", ["QGemm", "QLinearConv"])
def test_sums_beyond_int32(tmp_path: Path, operator: str) -> None:
    """Refused where ONNX Runtime's kernels would wrap."""
    weight = np.ones((1, 4, 1, 1), np.int8)
    for over in (False, True):
        model = integer_input(X, (4,) if operator == "QGemm" else (4, 7, 6))
        bias = model.constant("b", np.array([(1 << 31) - 1 - 4 * (255 - X.zero_point) + over], np.int32))
        x = model.q("x", X)
        if operator == "QGemm":
            inputs = [*x, *model.w("w", weight.reshape(1, 4), 0.01), bias, *model.q("y", Y)[1:]]
            model.node("QGemm", inputs, "y", domain=MS, transB=1)
        else:
            model.linear("QLinearConv", [*x, *model.w("w", weight, 0.01)], "y", Y, bias)
        if over:
            assert "; sums within int32 are supported, " in refusal(model, tmp_path, output="y")
        else:
            model.outputs.append(helper.make_tensor_value_info("y", 2, None))
            assert_exact(model.save(tmp_path / "o.onnx"))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_integers_between(tmp_path: Path, dtype: type) -> None:
    """MaxPool, Clip, Pad and Transposes that cancel, on integers; the graph equals that of real numbers."""
    rng = np.random.default_rng(5)
    x = Q(0.03, 20, dtype)
    weight = random(rng, np.int8, 4, 4, 3, 3)
    model = integer_input(x)
    model.node("MaxPool", ["x"], "m", kernel_shape=[2, 2])
    pads = model.constant("pads", np.array([0, 0, 1, 0, 0, 0, 1, 2]))
    model.node("Pad", ["m", pads, model.parameters("x", x.scale, 20, dtype)[1]], "p")
    model.node("Transpose", ["p"], "t", perm=[0, 2, 3, 1])
    model.node("Transpose", ["t"], "u", perm=[0, 3, 1, 2])
    model.linear("QLinearConv", ["u", *model.q("x", x)[1:], *model.w("w", weight, 0.01)], "c", x)
    limits = [model.constant(name, np.array(value, dtype)) for name, value in (("lo", 20), ("hi", 90))]
    model.node("Clip", ["c", *limits], "y")
    model.outputs.append(helper.make_tensor_value_info("y", 3 if dtype is np.int8 else 2, None))
    graph = assert_exact(model.save(tmp_path / "o.onnx"))
    plain = QdqModel()
    m = plain.operator("MaxPool", [plain.input((4, 7, 6), x, real=False)], x, name="m", kernel_shape=[2, 2])
    plain.conv(m, weight, x, name="y", pads=[1, 0, 1, 2], clip=(0.0, 70 * 0.03))
    assert_alike(graph, finish(plain, tmp_path / "p.onnx", "y_dq"))
    assert (graph.nodes[1].lo, graph.nodes[1].hi) == (20, 90)


def add(q: Q) -> QOperatorModel:
    model = integer_input(X)
    model.linear("QLinearConv", [*model.q("x", X), *model.w("w", ONES, 0.01)], "c", q)
    return model


def test_add_and_pools(tmp_path: Path) -> None:
    c, s = Q(0.05, 9), Q(0.07, 250)
    model = add(c)
    model.linear("QLinearAdd", [*model.q("c", c), *model.q("x", X)], "s", s, domain=MS)
    model.linear("QLinearAveragePool", model.q("s", s), "a", s, domain=MS, kernel_shape=[3, 3],
                 strides=[1, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    model.linear("QLinearGlobalAveragePool", model.q("a", s), "y", Y, domain=MS, channels_last=0)
    model.outputs.append(helper.make_tensor_value_info("y", 2, None))
    graph = assert_exact(model.save(tmp_path / "o.onnx"))
    assert [type(node) for node in graph.nodes] == [Conv, Add, Pool, GlobalAveragePool]
    assert set(graph.tensors) == {"x", "c", "s", "a", "y"}


def test_refused(tmp_path: Path) -> None:
    c = Q(0.05, 9)
    model = add(c)
    constant = model.w("k", np.arange(4, dtype=np.uint8).reshape(2, 2, 1), 0.1)
    model.linear("QLinearAdd", [*model.q("c", c), *constant], "y", c, domain=MS)
    assert refusal(model, tmp_path, output="y").startswith(
        "com.microsoft.QLinearAdd 'y': a constant of shape [2, 2, 1] does not fit shape ")
    model = add(c)
    model.linear("QLinearGlobalAveragePool", model.q("c", c), "y", c, domain=MS, channels_last=1)
    assert refusal(model, tmp_path, output="y") == (
        "com.microsoft.QLinearGlobalAveragePool 'y': channels_last 1 is not supported; 0 is")
    model = add(c)
    model.node("Clip", ["c", model.constant("lo", np.float32(3))], "y")
    assert refusal(model, tmp_path, output="y") == (
        "Clip 'y': its limit 'lo' is not one uint8 constant; one is supported")
    model = integer_input(X, (4,))
    model.node("QGemm", [*model.q("x", X), *model.w("w", np.ones((4, 4), np.int8), 0.01)], "y", domain=MS)
    assert refusal(model, tmp_path, output="y") == (
        "com.microsoft.QGemm 'y': its result is in real numbers; one with y_scale is supported")
    model = integer_input(X)
    model.linear("QLinearConv", [*model.q("x", X), *model.w("w", ONES, 0.01)], "y", c,
                 model.constant("b", np.ones(4, np.int32)))
    model.nodes[0].input[1] = "c"
    assert refusal(model, tmp_path, output="y") == (
        "QLinearConv 'y': its scales 'c' and 'w_scale' are not both float constants; these are supported")
    model = integer_input(X)
    model.node("QLinearConv", ["x"], "y")
    assert refusal(model, tmp_path, output="y") == "QLinearConv 'y': has 1 inputs, not 8 to 9"
