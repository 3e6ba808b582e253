"""The reference against ONNX Runtime, tensor by tensor."""
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from headrace.gen.importer import probe as onnx_probe
from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError, shorten
from headrace.sim import oracle, reference
from onnx_forms import finish, images
from onnx_models import Q, QdqModel

NETWORKS = [
    ("fomo_face_mbv2_0.35_96_qdq", 3), ("fomo_face_mbv2_0.35_96_qdq_explicit_act", 3),
    ("mlperf_tiny_ad01_qdq", 6), ("mlperf_tiny_kws_dscnn_qdq", 3),
    ("mlperf_tiny_resnet8_cifar10_qdq", 6), ("mlperf_tiny_vww_96_qdq", 3),
    ("mobilenet_v2_1.0_224_features_ortptq_u8s8pc_qdq", 1), ("mobilenet_v2_1.0_224_qdq", 1)]

TYPES = [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)]
types = pytest.mark.parametrize(("activation", "weight"), TYPES)


@pytest.mark.parametrize(("name", "count"), NETWORKS)
def test_every_tensor_of_real_networks(shared: Path, name: str, count: int) -> None:
    path = shared / "models" / f"{name}.onnx"
    graph = load(path)
    golden = np.load(shared / "golden" / f"{name.removesuffix('_explicit_act')}.npz")
    x = golden["x"][:count].reshape(count, *graph.tensors[graph.input].shape)
    theirs, ours = oracle.tensors(path, graph, x), reference.run(graph, x)
    assert theirs.keys() == ours.keys() == graph.tensors.keys()
    assert [tensor for tensor in ours if (ours[tensor] != theirs[tensor]).any()] == []
    np.testing.assert_array_equal(theirs[graph.output].reshape(count, -1),
                                  golden["y"][:count].reshape(count, -1))


def values(rng: np.random.Generator, dtype: type, *shape: int) -> np.ndarray:
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def quantisation(rng: np.random.Generator, dtype: type, scale: float) -> Q:
    """An arbitrary zero point, and a scale near ``scale``."""
    return Q(float(np.float32(scale * rng.uniform(0.5, 2))), int(values(rng, dtype, 1)[0]), dtype)


def mismatches(model: QdqModel, folder: Path, output: str, count: int, seed: int = 0,
               **options: bool) -> dict[str, int]:
    if not model.outputs:
        model.outputs.append(helper.ValueInfoProto(name=output))
    path = model.save(folder / "net.onnx")
    graph = load(path)
    source = graph.tensors[graph.input]
    x = np.random.default_rng(seed).integers(source.quantisation.lo, source.quantisation.hi + 1,
                                             (count, *source.shape))
    return oracle.compare(graph, path, x, **options)


@types
@pytest.mark.parametrize("clip", [None, "Relu", (-0.5, 1.5)])
@pytest.mark.parametrize("kind", ["dense", "depthwise", "gemm", "flattened"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_convolutions(tmp_path: Path, activation: type, weight: type, kind: str, per_channel: bool,
                      clip: str | tuple[float, float] | None) -> None:
    rng = np.random.default_rng([len(kind), per_channel, TYPES.index((activation, weight))])
    model = QdqModel()
    x = model.input((12,) if kind == "gemm" else (12, 9, 8), quantisation(rng, activation, 0.03))
    y = quantisation(rng, activation, 0.3)
    scale = rng.uniform(0.001, 0.1, 12).astype(np.float32) if per_channel else 0.01
    zeros = values(rng, weight, 12 if per_channel else 1) if weight is np.uint8 else 0
    zeros = zeros if per_channel or weight is np.int8 else zeros[0]
    options = {"scale": scale, "zero_point": zeros, "clip": clip, "name": "c",
               "bias": rng.integers(-3000, 3000, 12)}
    match kind:
        case "dense":
            model.conv(x, values(rng, weight, 12, 12, 3, 2), y, strides=[2, 1], pads=[0, 0, 1, 1],
                       **options)
        case "depthwise":
            model.conv(x, values(rng, weight, 12, 1, 3, 3), y, pads=[1, 1, 1, 1], group=12, **options)
        case "gemm":
            model.conv(x, values(rng, weight, 12, 12), y, operator="Gemm", axis=1, **options)
        case "flattened":
            flat = model.quantise(model.node("Flatten", [x], "flat"), model.quantisations[x])
            model.conv(flat, values(rng, weight, 12, 12 * 72), y, operator="Gemm", transB=1, **options)
    assert mismatches(model, tmp_path, "c_dq", 8) == {"x_q": 0, "c_q": 0}


@types
def test_ties(tmp_path: Path, activation: type, weight: type) -> None:
    """Scales of powers of two, where half of the results lie between two integers."""
    model = QdqModel()
    x = model.input((8, 32, 32), Q(0.5, 3, activation))
    model.conv(x, values(np.random.default_rng(0), weight, 64, 8, 1, 1), Q(16.0, 5, activation),
               name="c", scale=0.25, zero_point=100 if weight is np.uint8 else 0, clip="Relu")
    assert mismatches(model, tmp_path, "c_dq", 2) == {"x_q": 0, "c_q": 0}


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("seed", range(4))
def test_add_of_all_pairs(tmp_path: Path, dtype: type, seed: int) -> None:
    """Convolutions with weight 1 hand the two channels of an image to the two sides."""
    rng = np.random.default_rng(seed)
    q = Q(0.25, int(values(rng, dtype, 1)[0]), dtype)
    b = Q(quantisation(rng, dtype, 0.1).scale, q.zero_point, dtype)
    y = quantisation(rng, dtype, 0.4)
    if seed == 0:
        b = y = q  # ties
    model = QdqModel()
    x = model.input((2, 256, 256), q)
    pick = np.array([[[[1]], [[0]]], [[[0]], [[1]]]], np.int8)
    weight = pick if dtype is np.int8 else pick.astype(np.uint8)
    first, second = (model.conv(x, weight[i:i + 1], to, name=f"c{i}", scale=to.scale / q.scale)
                     for i, to in enumerate((q, b)))
    model.operator("Add", [first, second], y, name="s", clip="Relu" if seed == 1 else None)
    model.outputs.append(helper.ValueInfoProto(name="s_dq"))
    path = model.save(tmp_path / "net.onnx")
    graph = load(path)
    lo = np.iinfo(dtype).min
    every = np.arange(lo, lo + 256)
    image = np.stack(np.meshgrid(every, every))[None]
    result = oracle.tensors(path, graph, image)
    pairs = set(zip(result["c0_q"].ravel().tolist(), result["c1_q"].ravel().tolist(), strict=True))
    assert len(pairs) == 1 << 16
    assert not any(oracle.compare(graph, path, image).values())


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 5), (7, 7), (25, 5), (13, 17)])
def test_global_average_pool(tmp_path: Path, dtype: type, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(size)
    model = QdqModel()
    q = quantisation(rng, dtype, 0.1)
    x = model.input((64, *size), q)
    model.operator("GlobalAveragePool", [x], q if size[0] == size[1] else Q(
        q.scale / 8, q.zero_point, dtype), name="g")
    assert mismatches(model, tmp_path, "g_dq", 20) == {"x_q": 0, "g_q": 0}


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_max_pool(tmp_path: Path, dtype: type) -> None:
    model = QdqModel()
    q = Q(0.1, 30, dtype)
    x = model.input((5, 9, 8), q)
    model.operator("MaxPool", [x], q, name="m", kernel_shape=[3, 2], strides=[2, 2],
                   pads=[1, 1, 2, 0], clip=(-2.0, 5.0))
    assert mismatches(model, tmp_path, "m_dq", 10) == {"x_q": 0, "m_q": 0}


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_average_pool_without_ties(tmp_path: Path, dtype: type) -> None:
    model = QdqModel()
    q = Q(0.1, 31, dtype)
    x = model.input((5, 9, 8), q)
    model.operator("AveragePool", [x], q, name="m", kernel_shape=[3, 3], strides=[2, 1],
                   pads=[1, 1, 1, 1], count_include_pad=1)
    assert mismatches(model, tmp_path, "m_dq", 50) == {"x_q": 0, "m_q": 0}


def test_average_pool_with_ties(tmp_path: Path) -> None:
    """ONNX Runtime averages real numbers: a tie may be rounded either way, nothing else differs."""
    for zero_point in (31, 200):
        model = QdqModel()
        q = Q(0.1, zero_point)
        model.operator("AveragePool", [model.input((5, 8, 8), q)], q, name="m", kernel_shape=[2, 2])
        model.outputs.append(helper.ValueInfoProto(name="m_dq"))
        path = model.save(tmp_path / "net.onnx")
        graph = load(path)
        x = np.random.default_rng(0).integers(0, 256, (20, 5, 8, 8))
        ours, theirs = reference.run(graph, x)["m_q"], oracle.tensors(path, graph, x)["m_q"]
        sums = sum(x[:, :, i:i + 7, j:j + 7] for i in (0, 1) for j in (0, 1))
        different = ours != theirs
        assert (abs(ours - theirs) <= 1).all() and (sums[different] % 4 == 2).all()
        assert np.count_nonzero(different) < 0.05 * different.size


def test_layers_are_compared_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = QdqModel()
    q = Q(0.1, 31)
    x = model.conv(model.input((4, 8, 8), q), np.full((4, 4, 1, 1), 9, np.uint8), q, name="a",
                   bias=np.full(4, 100))
    model.conv(x, np.full((4, 4, 1, 1), 9, np.uint8), q, name="b")
    assert mismatches(model, tmp_path, "b_dq", 3, layers=True) == {"x_q": 0, "a_q": 0, "b_q": 0}
    whole = reference.accumulate
    monkeypatch.setattr(reference, "accumulate", lambda node, x, zero_point: whole(
        node, x, zero_point) + (500 if node.bias.any() else 0))
    alone = mismatches(model, tmp_path, "b_dq", 3, layers=True)
    assert alone["a_q"] > 0 and alone["b_q"] == 0
    chained = mismatches(model, tmp_path, "b_dq", 3)
    assert chained["a_q"] == alone["a_q"] and chained["b_q"] > 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_integer_input_and_several_clips(tmp_path: Path, dtype: type) -> None:
    rng = np.random.default_rng(0)
    q, kind = Q(0.1, 31, dtype), dtype
    model = QdqModel()
    x = model.input((4, 8, 8), q, real=False)
    for name in "abc":
        x = model.conv(x, values(rng, kind, 4, 4, 3, 3), q, name=name, clip="Relu", scale=0.004,
                       zero_point=0 if dtype is np.int8 else 128, pads=[1, 1, 1, 1])
    assert mismatches(model, tmp_path, "c_q", 20) == {"x": 0, "a_q": 0, "b_q": 0, "c_q": 0}


def test_no_integer_kernel(tmp_path: Path) -> None:
    model = QdqModel()
    q = Q(0.1, 31, np.int8)
    c = model.conv(model.input((4, 8, 8), q), np.ones((4, 4, 1, 1), np.int8), q, name="c")
    again = model.quantise("c_raw", Q(0.2, 0, np.int8), name="again")
    model.operator("Add", [c, again], q, name="y")
    with pytest.raises(HeadraceError, match=(
            r"net\.onnx: ONNX Runtime computes Conv with real numbers, and not with its integer kernels, "
            r"which alone can be compared with; they want one QuantizeLinear behind each operator$")):
        mismatches(model, tmp_path, "y_dq", 1)


def test_refused_by_onnx_runtime(tmp_path: Path) -> None:
    model = QdqModel()
    q = Q(0.1, 31)
    model.operator("GlobalAveragePool", [model.input((4, 8, 8), q)], q, name="g")
    model.opset = 99999
    with pytest.raises(HeadraceError) as caught:
        mismatches(model, tmp_path, "g_dq", 1)
    assert "net.onnx: ONNX Runtime cannot run it: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_extreme_input_scale(tmp_path: Path) -> None:
    model = QdqModel()
    q = Q(3e38, 0)
    model.operator("GlobalAveragePool", [model.input((4, 8, 8), q)], q, name="g")
    with pytest.raises(HeadraceError, match="^input scale 3e.38 is too extreme for float inputs$"):
        mismatches(model, tmp_path, "g_dq", 1)


DATA = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize("name", ["shared_zero", "shared_weights"])
def test_weights_may_share_constants(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime fails on such files as they are: its copy has constants of their own for each."""
    path = DATA / f"{name}.onnx"
    graph = load(path)
    assert set(oracle.compare(graph, path, images(graph)).values()) == {0}
    monkeypatch.setattr(onnx_probe, "_explicit", lambda *_: [])
    with pytest.raises(HeadraceError, match="ONNX Runtime cannot run it: .* Attempt to replace the existing"):
        oracle.compare(graph, path, images(graph))


@pytest.mark.parametrize("operator", ["Conv", "MatMul"])
def test_a_weight_used_twice(tmp_path: Path, operator: str) -> None:
    """By two DequantizeLinears that share scale, zero point and all."""
    rng, model, q = np.random.default_rng(2), QdqModel(), Q(0.03, 3)
    weight = values(rng, np.int8, 4, 4) if operator == "MatMul" else values(rng, np.int8, 4, 4, 1, 1)
    x = model.input((4,) if operator == "MatMul" else (4, 5, 6), q)
    for name in "ab":
        scale, zero = model.parameters("w", 0.01, 0, np.int8)
        model.node("DequantizeLinear", [model.constant("w_q", weight), scale, zero], f"w{name}")
        x = model.operator(operator, [x, f"w{name}"], q, name=name)
    assert mismatches(model, tmp_path, "b_dq", 5) == {"x_q": 0, "a_q": 0, "b_q": 0}


def test_types_without_zero_points() -> None:
    """`output_dtype` says what QuantizeLinear makes."""
    path = DATA / "output_dtype.onnx"
    graph = load(path)
    assert all(tensor.quantisation.signed for tensor in graph.tensors.values())
    assert set(oracle.compare(graph, path, images(graph)).values()) == {0}


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_no_zero_points_at_all(tmp_path: Path, dtype: type) -> None:
    """Nor of weights, behind a Flatten and a MaxPool."""
    rng, q = np.random.default_rng(1), Q(0.03, 0, dtype)
    model = QdqModel(opset=21)
    x = model.input((3, 4, 4), q, real=dtype is np.uint8)
    x = model.conv(x, values(rng, np.int8, 4, 3, 1, 1), q, name="a", clip="Relu", bias=np.arange(4))
    x = model.operator("MaxPool", [x], q, name="m", kernel_shape=[2, 2])
    flat = model.quantise(model.node("Flatten", [x], "f"), q)
    model.conv(flat, values(rng, np.int8, 3, 36), q, name="y", operator="Gemm", transB=1)
    for node in model.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            del node.input[2]
            if node.op_type == "QuantizeLinear" and dtype is np.int8:
                node.attribute.append(helper.make_attribute("output_dtype", 3))
    assert set(mismatches(model, tmp_path, "y_dq", 5).values()) == {0}


@pytest.mark.parametrize("ir_version", (3, 8))
def test_constants_among_the_inputs(tmp_path: Path, ir_version: int) -> None:
    """As old exporters list them: where they might be given, ONNX Runtime would not compute with integers."""
    rng, model, q = np.random.default_rng(3), QdqModel(), Q(0.03, 3)
    model.conv(model.input((2, 4, 5), q), values(rng, np.int8, 3, 2, 3, 3), q, name="y", bias=np.arange(3))
    model.inputs += [helper.make_tensor_value_info(each.name, each.data_type, list(each.dims))
                     for each in model.initialisers]
    finish(model, path := tmp_path / "net.onnx", "y_dq")
    proto = onnx.load(path)
    proto.ir_version = ir_version
    onnx.save(proto, path)
    graph = load(path)
    assert set(oracle.compare(graph, path, images(graph)).values()) == {0}


def test_shorten() -> None:
    assert shorten("  one two three\nfour", 100) == "one two three"
    assert shorten("one two three", 10) == "one two …" and shorten("", 10) == ""
    assert shorten("onetwothree", 5) == "onetw"
