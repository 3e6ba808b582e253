"""Open sizes of an input: the graph is that of the file with fixed ones, and ONNX Runtime agrees."""
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.sim import oracle
from onnx_forms import IMAGE, X, assert_alike, conv, exact, images, plain
from onnx_models import QdqModel
from qoperator_models import QOperatorModel


def opened(model: QdqModel, dims: tuple[Any, ...]) -> QdqModel:
    """``model`` with an input of these sizes."""
    kind = model.inputs[0].type.tensor_type.elem_type
    model.inputs[0].CopyFrom(helper.make_tensor_value_info("x", kind, dims))
    return model


def small(dims: tuple[Any, ...], model: QdqModel | None = None) -> QdqModel:
    model = model or QdqModel()
    y = conv(model, model.input(IMAGE, X), pads=[1, 1, 1, 1])
    model.output(y, (6, *IMAGE[1:]))
    model.outputs[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    return opened(model, dims)


@pytest.mark.parametrize("batch", ["N", "unk__104", None, 0, -1])
@pytest.mark.parametrize("form", [QdqModel, QOperatorModel])
def test_open_batch(tmp_path: Path, batch: Any, form: type[QdqModel]) -> None:
    graph = exact(small((batch, *IMAGE), form()), tmp_path)
    assert_alike(graph, plain(tmp_path, pads=[1, 1, 1, 1]))


@pytest.mark.parametrize("dims", [("N", 4, "h", "w"), (1, 4, None, 7), ("N", "c", "h", "w")])
def test_open_image(tmp_path: Path, dims: tuple[Any, ...]) -> None:
    path = small(dims).save(tmp_path / "net.onnx")
    graph = load(path, shape=IMAGE)
    assert_alike(graph, plain(tmp_path, pads=[1, 1, 1, 1]))
    assert set(oracle.compare(graph, path, images(graph)).values()) == {0}
    assert load(path, shape=lambda: IMAGE).tensors == graph.tensors


def nhwc(dims: tuple[Any, ...]) -> QdqModel:
    model = QdqModel()
    model.input((9, 7, 4), X)
    del model.nodes[:]
    conv(model, model.quantise(model.node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]), X))
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    return opened(model, dims)


@pytest.mark.parametrize("shape", [IMAGE, (9, 7, 4)])
def test_open_image_of_channels_last(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """In the order of headrace's frames, or of the file's."""
    path = nhwc(("N", None, None, 4)).save(tmp_path / "net.onnx")
    graph = load(path, shape=shape)
    assert graph.tensors[graph.input].shape == IMAGE
    assert set(oracle.compare(graph, path, images(graph)).values()) == {0}


def test_square_of_channels_last(tmp_path: Path) -> None:
    """Channels come first in --shape, also where the file has them last."""
    path = nhwc(("N", None, None, None)).save(tmp_path / "net.onnx")
    assert load(path, shape=(4, 9, 7)).tensors["t_q"].shape == (4, 9, 7)


def test_vector(tmp_path: Path) -> None:
    model = QdqModel()
    model.conv(model.input((12,), X), np.ones((5, 12), np.int8), X, name="y", operator="Gemm", transB=1)
    model.outputs.append(helper.ValueInfoProto(name="y_dq"))
    path = opened(model, ("N", "features")).save(tmp_path / "net.onnx")
    graph = load(path, shape=(12,))
    assert graph.tensors["y_q"].shape == (5, 1, 1)
    assert set(oracle.compare(graph, path, images(graph)).values()) == {0}
    with pytest.raises(HeadraceError, match=r"has shape \(N, features\); --shape N, or input data"):
        load(path)


@pytest.mark.parametrize(("dims", "shape", "expected"), [
    (("N", 4, "h", "w"), None, "--shape C H W, or input data in an .npz or .npy, says what is open"),
    ((1, 4, 0, 7), None, "--shape C H W, or input data in an .npz or .npy, says what is open"),
    (("N", 4, "h", "w"), lambda: None, "--shape C H W, or input data in an .npz or .npy, says what is open"),
    (("N", 4, "h", "w"), (3, 9, 7), "(3, 9, 7) does not fit it"),
    (("N", 4, "h", "w"), (9, 7), "(9, 7) does not fit it"),
    (("N", 4, "h", "w"), (4, 0, 7), "(4, 0, 7) does not fit it"),
    (("N", 4, 9, 7), (4, 9, 8), "(4, 9, 8) does not fit it"),
    ((1, 4, 9, 7), (4, 9, 8), "(4, 9, 8) does not fit it"),
    ((2, 4, 9, 7), None, ("a batch of 1, or one of any size, is supported: hardware takes frames one by one, "
                         "so export the network with such a batch"))])
def test_errors(tmp_path: Path, dims: tuple[Any, ...], shape: Any, expected: str) -> None:
    path = small(dims).save(tmp_path / "net.onnx")
    with pytest.raises(HeadraceError) as caught:
        load(path, shape=shape)
    described = ", ".join(map(str, dims))
    assert str(caught.value) == f"{path}: input 'x' has shape ({described}); {expected}"


def test_data_is_not_asked_for_what_is_fixed(tmp_path: Path) -> None:
    def never() -> tuple[int, ...]:
        raise AssertionError

    load(small((1, *IMAGE)).save(tmp_path / "net.onnx"), shape=never)
