"""What the importer makes of networks that it supports."""
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Add, Conv, GlobalAveragePool, Graph, Pool, Quantisation, Window
from onnx_models import Q, QdqModel

U8 = Q(0.5, 10)
S8 = Q(0.25, -3, np.int8)
RNG = np.random.default_rng(0)


def weights(*shape: int, dtype: type = np.int8) -> np.ndarray:
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(dtype)


def one_conv(folder: Path, image: tuple[int, ...] = (3, 8, 8), q: Q = U8, y: Q = U8,
             weight: np.ndarray | None = None, **options: object) -> Conv:
    model = QdqModel()
    x = model.input(image, q)
    model.conv(x, weights(4, 3, 3, 3) if weight is None else weight, y, name="c", **options)
    graph = whole(model, folder, "c_dq")
    (node,) = graph.nodes
    assert isinstance(node, Conv)
    return node


def whole(model: QdqModel, folder: Path, output: str) -> Graph:
    model.outputs.append(helper.ValueInfoProto(name=output))
    return load(model.save(folder / "Some net-1.onnx"))


@pytest.mark.parametrize(("name", "nodes", "conv_layers", "shape"), [
    ("fomo_face_mbv2_0.35_96_qdq", 24, 21, (2, 12, 12)),
    ("fomo_face_mbv2_0.35_96_qdq_explicit_act", 24, 21, (2, 12, 12)),
    ("mlperf_tiny_ad01_qdq", 10, 10, (640, 1, 1)),
    ("mlperf_tiny_kws_dscnn_qdq", 11, 10, (12, 1, 1)),
    ("mlperf_tiny_resnet8_cifar10_qdq", 14, 10, (10, 1, 1)),
    ("mlperf_tiny_vww_96_qdq", 29, 28, (2, 1, 1)),
    ("mobilenet_v2_1.0_224_features_ortptq_u8s8pc_qdq", 61, 51, (320, 7, 7)),
    ("mobilenet_v2_1.0_224_features_qdq", 61, 51, (320, 7, 7)),
    ("mobilenet_v2_1.0_224_qdq", 64, 53, (1001, 1, 1)),
])
def test_real_networks(shared: Path, name: str, nodes: int, conv_layers: int,
                       shape: tuple[int, int, int]) -> None:
    graph = load(shared / "models" / f"{name}.onnx")
    assert len(graph.nodes) == nodes
    assert sum(isinstance(node, Conv) for node in graph.nodes) == conv_layers
    assert graph.tensors[graph.output].shape == shape
    assert len({node.name for node in graph.nodes}) == nodes


def test_explicit_activations_change_nothing(shared: Path) -> None:
    """In this network Relu and Clip only say what the saturation does anyway."""
    plain, explicit = (load(shared / "models" / f"fomo_face_mbv2_0.35_96_qdq{suffix}.onnx")
                       for suffix in ("", "_explicit_act"))
    assert [(node.name, node.lo, node.hi) for node in plain.nodes] == [
        (node.name, node.lo, node.hi) for node in explicit.nodes]


def test_conv(tmp_path: Path) -> None:
    weight = weights(4, 3, 3, 2)
    model = QdqModel()
    x = model.input((3, 9, 9), U8)
    model.conv(x, weight, S8, name="net/c", scale=0.1, bias=np.array([1, -2, 3, 1 << 30]),
               strides=[2, 1], pads=[1, 0, 2, 1])
    graph = whole(model, tmp_path, "net/c_dq")
    (node,) = graph.nodes
    assert isinstance(node, Conv)
    assert (graph.name, graph.input, graph.output) == ("some_net_1", "x_q", "net/c_q")
    assert (node.name, node.inputs, node.output) == ("conv_c", ("x_q",), "net/c_q")
    assert graph.tensors["x_q"].quantisation == Quantisation(0.5, 10, signed=False)
    assert graph.tensors["net/c_q"].quantisation == Quantisation(0.25, 125, signed=False)  # as the input is
    assert graph.tensors["net/c_q"].shape == (4, 5, 9)
    assert node.window == Window((3, 2), (2, 1), (1, 0, 2, 1))
    np.testing.assert_array_equal(node.weight, weight)
    assert node.weight.dtype == np.int16 and node.bias.dtype == np.int64
    assert node.bias.tolist() == [1, -2, 3, 1 << 30]
    expected = np.float32(np.float32(0.5) * np.float32(0.1)) / np.float32(0.25)
    assert node.multiplier.dtype == np.float32 and node.multiplier.tolist() == [expected] * 4
    assert (node.groups, node.lo, node.hi) == (1, 0, 255)


def test_weight_zero_points_and_scales(tmp_path: Path) -> None:
    weight = weights(4, 1, 3, 3, dtype=np.uint8)
    scale = np.array([0.5, 0.25, 0.125, 1e-9], np.float32)
    zeros = np.array([0, 52, 201, 255])
    node = one_conv(tmp_path, (4, 5, 5), U8, U8, weight, scale=scale, zero_point=zeros, group=4)
    np.testing.assert_array_equal(node.weight, weight.astype(int) - zeros[:, None, None, None])
    np.testing.assert_array_equal(node.multiplier, scale)
    assert node.depthwise and node.bias.tolist() == [0] * 4


@pytest.mark.parametrize(("mode", "pads"), [
    ("VALID", (0, 0, 0, 0)), ("SAME_UPPER", (0, 1, 1, 2)), ("SAME_LOWER", (1, 2, 0, 1))])
def test_auto_pad(tmp_path: Path, mode: str, pads: tuple[int, ...]) -> None:
    node = one_conv(tmp_path, (3, 8, 7), weight=weights(1, 3, 3, 4), strides=[2, 1], auto_pad=mode)
    assert node.window.pads == pads


@pytest.mark.parametrize(("clip", "limits"), [
    ("Relu", (10, 255)), ((0.0, 6.0), (10, 22)), ((-1.25, 1.25), (8, 12)), ((-99.0, 99.0), (0, 208)),
    ((-np.inf, np.inf), (0, 255))])
def test_activations_narrow_the_range(
        tmp_path: Path, clip: str | tuple[float, float], limits: tuple[int, int]) -> None:
    node = one_conv(tmp_path, clip=clip)
    assert (node.lo, node.hi) == limits


def test_old_clip_and_relu_after_one_another(tmp_path: Path) -> None:
    model = QdqModel(opset=10)
    x = model.input((3, 8, 8), U8)
    raw = model.node("Conv", [x, model.weight("w", weights(4, 3, 1, 1), 0.1, 0, 0)], "raw")
    clipped = model.node("Clip", [model.node("Relu", [raw], "r")], "k", min=-3.0, max=6.0)
    model.quantise(clipped, U8)
    (node,) = whole(model, tmp_path, "k_dq").nodes
    assert (node.lo, node.hi) == (10, 22)


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_over_an_image(tmp_path: Path, transposed: int) -> None:
    weight = weights(5, 2 * 3 * 4)
    model = QdqModel()
    x = model.node("Flatten", [model.input((2, 3, 4), U8)], "flat")
    model.quantisations[x] = U8
    scale = np.linspace(0.1, 0.2, 5, dtype=np.float32)
    model.conv(x, weight if transposed else weight.T, U8, name="g", operator="Gemm", scale=scale,
               transB=transposed, axis=1 - transposed, bias=np.arange(5))
    graph = whole(model, tmp_path, "g_dq")
    (node,) = graph.nodes
    assert isinstance(node, Conv)
    assert node.window == Window(kernel=(3, 4))
    np.testing.assert_array_equal(node.weight, weight.reshape(5, 2, 3, 4))
    assert graph.tensors["g_q"].shape == (5, 1, 1)
    assert node.multiplier.tolist() == (np.float32(0.5) * scale / np.float32(0.5)).tolist()


@pytest.mark.parametrize("target", [[1, -1], [0, -1], [-1, 24], [1, 24]])
def test_reshape_to_a_vector(tmp_path: Path, target: list[int]) -> None:
    model = QdqModel()
    x = model.input((2, 3, 4), U8)
    flat = model.node("Reshape", [x, model.constant("shape", np.array(target))], "flat")
    model.conv(model.quantise(flat, U8), weights(5, 24), U8, name="g", operator="Gemm", transB=1)
    graph = whole(model, tmp_path, "g_dq")
    assert [node.inputs for node in graph.nodes] == [("x_q",)]
    assert set(graph.tensors) == {"x_q", "g_q"}


def test_other_operators(tmp_path: Path) -> None:
    model = QdqModel()
    a = model.input((4, 8, 8), U8)
    b = model.conv(a, weights(4, 4, 1, 1), S8, name="c")
    y = Q(0.3, -5, np.int8)
    s = model.operator("Add", [a, b], y, name="add", clip="Relu")
    m = model.operator("MaxPool", [s], y, name="max", kernel_shape=[3, 3], strides=[2, 2],
                       pads=[1, 1, 1, 1])
    p = model.operator("AveragePool", [m], S8, name="mean", kernel_shape=[2, 2])
    model.operator("GlobalAveragePool", [p], y, name="all")
    graph = whole(model, tmp_path, "all_q")
    _, add, most, mean, everything = graph.nodes
    f32 = np.float32
    assert isinstance(add, Add) and add.inputs == ("x_q", "c_q") and (add.lo, add.hi) == (123, 255)
    assert add.factors == (f32(0.5) / f32(0.3), f32(0.25) / f32(0.3))
    assert isinstance(most, Pool) and most.kind == "max"
    assert most.window == Window((3, 3), (2, 2), (1, 1, 1, 1))
    assert isinstance(mean, Pool) and mean.kind == "average"
    assert mean.window == Window((2, 2))
    assert isinstance(everything, GlobalAveragePool)
    assert everything.multiplier == f32(0.25) / (f32(0.3) * f32(9))
    assert [graph.tensors[node.output].shape for node in graph.nodes] == [
        (4, 8, 8), (4, 8, 8), (4, 4, 4), (4, 3, 3), (4, 1, 1)]
    assert [node.name for node in graph.nodes] == [
        "conv_c", "add", "max_pool_max", "average_pool_mean", "global_average_pool_all"]


def test_integer_input_and_unused_parts(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.input((4, 8, 8), S8, real=False)
    model.node("Softmax", [model.conv(x, weights(4, 4, 1, 1), S8, name="unused")], "nowhere")
    model.node("Relu", [model.operator("GlobalAveragePool", [x], Q(0.5, -128, np.int8), name="g")],
               "relu")
    model.quantise("relu", Q(0.5, -128, np.int8))
    graph = whole(model, tmp_path, "relu_dq")
    assert (graph.input, graph.output) == ("x", "g_q")
    assert set(graph.tensors) == {"x", "g_q"}


def test_input_quantised_twice_alike(tmp_path: Path) -> None:
    model = QdqModel()
    a, b = model.input((4, 8, 8), U8), model.quantise("x", U8, name="again")
    model.operator("Add", [a, b], U8, name="s")
    (node,) = whole(model, tmp_path, "s_dq").nodes
    assert node.inputs == ("x_q", "x_q")


def test_constant_nodes_and_missing_zero_points(tmp_path: Path) -> None:
    model = QdqModel()
    scale = model.node("Constant", [], "scale", value=helper.make_tensor("s", 1, [], [0.5]))
    model.input((4, 8, 8), U8)
    model.nodes = [node for node in model.nodes if node.op_type == "Constant"]
    x = model.node("DequantizeLinear", [model.node("QuantizeLinear", ["x", scale], "q"), scale], "d")
    model.operator("GlobalAveragePool", [x], U8, name="g")
    graph = whole(model, tmp_path, "g_dq")
    assert graph.tensors["q"].quantisation == Quantisation(0.5, 0, signed=False)


def test_quantize_static(tmp_path: Path) -> None:
    """What ONNX Runtime's own quantiser makes of the usual operators."""
    from onnx import numpy_helper, save
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.samples = iter([RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)] * 3)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({"x": sample} for sample in self.samples), None)

    sizes = {"w0": (4, 3, 3, 3), "b0": (4,), "w1": (4, 1, 3, 3), "w2": (5, 16), "b2": (5,)}
    values = [numpy_helper.from_array(RNG.standard_normal(size).astype(np.float32), name)
              for name, size in sizes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w1"], ["d"], pads=[1, 1, 1, 1], group=4),
        helper.make_node("Add", ["r", "d"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], transB=1)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info("y", 1, [1, 5])], values)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
         tmp_path / "float.onnx")
    quantize_static(tmp_path / "float.onnx", tmp_path / "q.onnx", Reader(), per_channel=True,
                    quant_format=QuantFormat.QDQ)
    assert [type(node).__name__ for node in load(tmp_path / "q.onnx").nodes] == [
        "Conv", "Conv", "Add", "Pool", "Conv"]
