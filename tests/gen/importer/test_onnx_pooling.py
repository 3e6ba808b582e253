"""Places of a window beyond the last whole one, and the greatest value of an image."""
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.gen.ir.graph import Lookup, Pool
from headrace.sim import oracle
from onnx_forms import Y, exact, finish, images
from onnx_models import Q, QdqModel, refusal

X = Q(0.25, 3)


@pytest.mark.parametrize("shape", [(2, 7, 8), (3, 6, 5)])
@pytest.mark.parametrize(("attributes", "taps"), [
    (dict(kernel_shape=[2, 3], strides=[2, 2]), 6),
    (dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 9),
    (dict(kernel_shape=[2, 2], strides=[3, 4], pads=[1, 0, 1, 1]), 4),  # the last place is all padding
    (dict(kernel_shape=[1, 1], strides=[4, 5]), 1),
    (dict(kernel_shape=[3, 2], strides=[2, 3], auto_pad="SAME_UPPER"), 6),
    (dict(kernel_shape=[3, 2], strides=[3, 3], auto_pad="VALID"), 6)])
def test_places_beyond(tmp_path: Path, shape: tuple[int, ...], attributes: dict[str, Any], taps: int) -> None:
    """ONNX Runtime makes as many, of the same values."""
    model = QdqModel()
    graph = exact(model, tmp_path, model.operator(
        "MaxPool", [model.input(shape, X)], X, name="y", ceil_mode=1, **attributes))
    (node,) = graph.nodes
    assert isinstance(node, Pool) and node.window.taps == taps


@pytest.mark.parametrize("attributes", [
    dict(kernel_shape=[3, 2], strides=[2, 2]),
    dict(kernel_shape=[3, 2], strides=[2, 2], count_include_pad=1, pads=[1, 0, 1, 0]),
    dict(kernel_shape=[4, 2], strides=[2, 6], count_include_pad=1, pads=[1, 0, 0, 0])])
def test_means_of_as_many(tmp_path: Path, attributes: dict[str, Any]) -> None:
    model = QdqModel()
    exact(model, tmp_path, model.operator(
        "AveragePool", [model.input((2, 7, 8), X)], X, name="y", ceil_mode=1, **attributes))


@pytest.mark.parametrize("attributes", [
    dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    dict(kernel_shape=[3, 3], strides=[3, 3], ceil_mode=1, pads=[1, 1, 1, 1], count_include_pad=1),
    dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])])
def test_means_of_fewer(tmp_path: Path, attributes: dict[str, Any]) -> None:
    model = QdqModel()
    model.operator("AveragePool", [model.input((2, 9, 8), X)], X, name="y", **attributes)
    assert refusal(model, tmp_path) == (
        f"AveragePool 'y': count_include_pad {attributes.get('count_include_pad', 0)} with pads "
        f"{attributes.get('pads', [0] * 4)} and ceil_mode {attributes.get('ceil_mode', 0)} divides windows "
        "at the edges by fewer values than others; as many for all, as with count_include_pad 1 and "
        "ceil_mode 0, are supported")


@pytest.mark.parametrize(("shape", "windows"), [
    ((3, 5, 4), [(1, 4), (5, 1)]), ((3, 1, 4), [(1, 4)]), ((3, 4, 1), [(4, 1)]), ((3, 6), [(1, 6)])])
@pytest.mark.parametrize("y", [X, Y])
@pytest.mark.parametrize("clip", [None, (-0.5, 12.0)])
def test_greatest(tmp_path: Path, shape: tuple[int, ...], windows: list[tuple[int, int]], y: Q,
                  clip: tuple[float, float] | None) -> None:
    """Along rows first, then down; behind a table if scale or limits differ."""
    model = QdqModel()
    x = model.operator("GlobalMaxPool", [model.input(shape, X)], y, name="y", clip=clip)
    path = tmp_path / "net.onnx"
    graph = finish(model, path, model.gemm(x, np.arange(6, dtype=np.int8).reshape(2, 3), Y, name="g"))
    assert set(oracle.compare(graph, path, images(graph)).values()) == {0}
    tables, nodes = int(y != X or clip is not None), graph.nodes[:-1]
    assert [type(node) for node in nodes[:tables]] == [Lookup] * tables
    assert [node.window.kernel for node in nodes[tables:] if isinstance(node, Pool)] == windows


def test_greatest_of_too_many(tmp_path: Path) -> None:
    model = QdqModel()
    model.operator("GlobalMaxPool", [model.input((1, 600, 2), X)], X, name="y")
    assert refusal(model, tmp_path) == (
        "GlobalMaxPool 'y': reads shape (1, 1, 600, 2); images of up to 512 by 512 are supported")
