"""Concat, Resize and functions of one activation: what the importer makes of them, and refuses."""
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Concat, Graph, Lookup, Pool, Upsample
from onnx_forms import assert_alike, exact
from onnx_models import Q, QdqModel, refusal

U8 = Q(0.5, 10)
OTHER = Q(0.25, 20)
F32 = np.float32


def whole(model: QdqModel, folder: Path, output: str = "y_dq") -> Graph:
    model.outputs.append(helper.ValueInfoProto(name=output))
    return load(model.save(folder / "net.onnx"))


def resized(*inputs: object, shape: tuple[int, ...] = (4, 8, 8), opset: int = 13,
            **attributes: object) -> QdqModel:
    """A network of one Resize with constant inputs; None stands for one left out."""
    model = QdqModel(opset=opset)
    names = [model.input(shape, U8)]
    names += ["" if value is None else model.constant(f"input{index}", np.asarray(value))
              for index, value in enumerate(inputs)]
    model.operator("Resize", names, U8, name="y", **attributes)
    return model


def scales(*values: float) -> np.ndarray:
    return np.array(values, F32)


FLOOR = dict(coordinate_transformation_mode="asymmetric", nearest_mode="floor")


def test_rescale_is_a_table(tmp_path: Path) -> None:
    model = QdqModel()
    model.quantise(model.input((4, 8, 8), U8), OTHER, name="y")
    (node,) = whole(model, tmp_path).nodes
    assert isinstance(node, Lookup) and node.inputs == ("x_q",) and node.output == "y_q"
    assert node.table.tolist() == np.clip((np.arange(256) - 10) * 2 + 20, 0, 255).tolist()
    assert (node.name, node.lo, node.hi) == ("y_q", 0, 255)


def test_relu_of_a_quantised_tensor_is_a_table(tmp_path: Path) -> None:
    model = QdqModel()
    model.operator("Relu", [model.input((4, 8, 8), U8)], U8, name="y")
    (node,) = whole(model, tmp_path).nodes
    assert isinstance(node, Lookup)
    assert node.table.tolist() == np.maximum(np.arange(256), 10).tolist()


def test_relu_that_changes_nothing_is_nothing(tmp_path: Path) -> None:
    """The convolution saturates there already."""
    model = QdqModel()
    x = model.conv(model.input((4, 8, 8), U8), np.ones((4, 4, 1, 1), np.int8), U8, name="c", clip="Relu")
    model.operator("Relu", [x], U8, name="y")
    assert [node.name for node in whole(model, tmp_path).nodes] == ["conv_c"]


def test_limits_after_a_slope(tmp_path: Path) -> None:
    model = QdqModel()
    model.operator("LeakyRelu", [model.input((4, 8, 8), U8)], U8, name="y", alpha=0.5, clip=(-1.0, 6.0))
    (node,) = whole(model, tmp_path).nodes
    assert isinstance(node, Lookup)
    assert node.table[[0, 8, 9, 10, 11, 30]].tolist() == [8, 9, 10, 10, 11, 22]


def test_max_pool_of_another_quantisation_has_a_table_before_it(tmp_path: Path) -> None:
    model = QdqModel()
    model.operator("MaxPool", [model.input((4, 8, 8), U8)], OTHER, name="y", kernel_shape=[2, 2], clip="Relu")
    table, pool = whole(model, tmp_path).nodes
    assert isinstance(table, Lookup) and isinstance(pool, Pool)
    assert pool.inputs == (table.output,) == ("y_q/x_q",) and (pool.lo, pool.hi) == (20, 255)
    assert (table.name, pool.name, table.table.min()) == ("y_lookup", "max_pool_y", 20)


def test_concat_rescales_operands(tmp_path: Path) -> None:
    model = QdqModel()
    a = model.input((4, 8, 8), U8)
    b = model.conv(a, np.ones((3, 4, 1, 1), np.int8), OTHER, name="b")
    for names in (names for node in model.nodes for names in (node.input, node.output)):
        names[:] = ["y_q/x_q" if name == "b_raw" else name for name in names]  # takes the table's name
    model.operator("Concat", [a, b, a], OTHER, name="y", axis=1)
    graph = whole(model, tmp_path)
    _, table, node = graph.nodes
    assert isinstance(table, Lookup) and isinstance(node, Concat)
    assert table.output == "y_q/x_q'" and node.inputs == (table.output, "b_q", table.output)
    assert graph.tensors["y_q"].shape == (11, 8, 8)


def test_concat_of_vectors(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.input((4,), U8)
    model.operator("Concat", [x, x], U8, name="y", axis=-1)
    assert whole(model, tmp_path).tensors["y_q"].shape == (8, 1, 1)


@pytest.mark.parametrize("model", [
    resized(None, scales(1, 1, 2, 3), **FLOOR),
    resized(None, None, np.array([1, 4, 16, 24]), **FLOOR),
    resized(scales(), scales(), np.array([1, 4, 16, 24])),
    resized(None, scales(1, 1, 2, 3), cubic_coeff_a=-0.5, extrapolation_value=1.0),
    resized(scales(1, 1, 2, 3), opset=10),
], ids=range(5))
def test_upsample(tmp_path: Path, model: QdqModel) -> None:
    graph = whole(model, tmp_path)
    (node,) = graph.nodes
    assert isinstance(node, Upsample) and node.factors == (2, 3)
    assert graph.tensors["y_q"].shape == (4, 16, 24)


def joined(*shapes: tuple[int, ...], **attributes: object) -> QdqModel:
    """A concatenation of a convolution of each of these shapes."""
    model = QdqModel()
    x = model.input((4, 8, 8), U8)
    parts = [model.conv(x, np.ones((channels, 4, 9 - height, 9 - width), np.int8), U8, name=f"c{index}")
             for index, (channels, height, width) in enumerate(shapes)]
    model.operator("Concat", parts, U8, name="y", **attributes)
    return model


def flattened() -> QdqModel:
    model = QdqModel()
    x = model.node("Flatten", [model.input((4, 8, 8), U8)], "flat")
    model.operator("Concat", [x, x], U8, name="y", axis=1)
    return model


SUPPORTED = "[1, 1, vertical, horizontal] with whole numbers of 1 to 64 is"
DO = "'asymmetric' with 'floor' and 'half_pixel' with 'round_prefer_floor' do"


@pytest.mark.parametrize(("model", "expected"), [
    (joined((4, 8, 8), (4, 8, 8), axis=2),
     "Concat 'y': axis 2 of shape (1, 4, 8, 8) is not supported; 1, the channels, is"),
    (joined((4, 8, 8), axis=1), "Concat 'y': has 1 inputs, not 2 to 256"),
    (joined((4, 8, 8), (4, 8, 7), axis=1),
     ("Concat 'y': joins shape (1, 4, 8, 8) and shape (1, 4, 8, 7); "
      "shapes that differ only in their channels are supported")),
    (flattened(), ("Concat 'y': joins a flattened image of shape (1, 4, 8, 8); "
                   "images are supported, and vectors made of single pixels")),
    (resized(None, scales(1, 1, 1.5, 2), **FLOOR),
     f"Resize 'y': scales [1, 1, 1.5, 2] are not supported; {SUPPORTED}"),
    (resized(None, scales(1, 1, np.nan, 2), **FLOOR),
     f"Resize 'y': scales [1, 1, nan, 2] are not supported; {SUPPORTED}"),
    (resized(None, scales(1, 2, 2, 2), **FLOOR),
     f"Resize 'y': scales [1, 2, 2, 2] are not supported; {SUPPORTED}"),
    (resized(None, scales(1, 1, 1, 65), **FLOOR),
     f"Resize 'y': scales [1, 1, 1, 65] are not supported; {SUPPORTED}"),
    (resized(None, None, np.array([1, 4, 12, 4]), **FLOOR),
     f"Resize 'y': scales [1, 1, 1.5, 0.5] are not supported; {SUPPORTED}"),
    (resized(None, scales(2, 2), **FLOOR), "Resize 'y': its scales have shape [2]; [4] is supported"),
    (resized(**FLOOR), "Resize 'y': its scales are nothing; a constant is supported"),
    (resized(None, scales(1, 1, 2, 2), mode="linear"),
     "Resize 'y': mode 'linear' is not supported; 'nearest' is"),
    (resized(None, scales(1, 1, 3, 2), coordinate_transformation_mode="asymmetric"),
     ("Resize 'y': coordinate_transformation_mode 'asymmetric' with nearest_mode 'round_prefer_floor' "
      f"does not repeat every pixel 3 x 2 times; {DO}")),
    (resized(None, scales(1, 1, 2, 2), coordinate_transformation_mode="tf_crop_and_resize"),
     ("Resize 'y': coordinate_transformation_mode 'tf_crop_and_resize' with nearest_mode "
      f"'round_prefer_floor' does not repeat every pixel 2 x 2 times; {DO}")),
    (resized(None, scales(1, 1, 2, 2), keep_aspect_ratio_policy="not_larger"),
     "Resize 'y': keep_aspect_ratio_policy 'not_larger' is not supported; 'stretch' is"),
    (resized(None, scales(1, 1, 2, 2), axes=[2, 3]), "Resize 'y': attribute 'axes' is not supported"),
    (resized(None, scales(1, 1, 64, 1), shape=(1, 2048, 1)),
     "Resize 'y': its output has shape (1, 1, 131072, 1); sides of up to 65536 are supported"),
    (resized(None, scales(1, 1, 2, 2), shape=(4,)),
     "Resize 'y': reads shape (1, 4); an image (1, C, H, W) and a row (1, C, W) are supported"),
])
def test_refused(tmp_path: Path, model: QdqModel, expected: str) -> None:
    assert refusal(model, tmp_path) == expected


def test_rescale_beyond_float32(tmp_path: Path) -> None:
    model = QdqModel()
    model.quantise(model.input((4, 8, 8), Q(3e38, 0)), U8, name="y")
    assert refusal(model, tmp_path) == (
        "QuantizeLinear 'y_q': its input's scale 3e+38 takes values beyond float32")


@pytest.mark.parametrize("flat", [False, True])
def test_max_pool_without_quantisation_behind(tmp_path: Path, flat: bool) -> None:
    """As exporters of networks write it that were trained with quantisation: it keeps that of its input."""
    graphs = []
    for quantised in (False, True):
        model = QdqModel()
        x = model.node("MaxPool", [model.input((3, 6, 8), U8)], "pooled", kernel_shape=[2, 2], strides=[2, 2])
        x = model.quantise(x, U8) if quantised else x
        x = model.node("Flatten", [x], "flat") if flat else x
        model.quantisations[x] = U8
        weight = np.random.default_rng(0).integers(-99, 99, (5, 36) if flat else (5, 3, 3, 3)).astype(np.int8)
        options = {"operator": "Gemm", "transB": 1} if flat else {}
        model.conv(x, weight, Q(0.5, 100), name="y", bias=np.arange(5), **options)
        graphs.append(exact(model, tmp_path))
    assert_alike(*graphs)
