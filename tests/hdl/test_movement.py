# amaranth: UnusedElaboratable=no
"""Layers that compute nothing, against their models, under idle and stall patterns on both sides."""
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth import Shape, signed, unsigned

import streams
from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.concat import Concat
from headrace.hdl.layers.lookup import Lookup
from headrace.hdl.layers.slice import Slice
from headrace.hdl.layers.upsample import Upsample

gaps = pytest.mark.parametrize("i_gap, o_gap", [
    (i_gap, o_gap) for i_gap in streams.PATTERNS for o_gap in streams.PATTERNS])


def rows(channels: int, height: int = 4, lanes: int = 3, shape: Shape = signed(8),  # noqa: B008
         **more: Any) -> RowFormat:
    return RowFormat(channels=channels, height=height, lanes=lanes, shape=shape, **more)


def images(format_: RowFormat, count: int = 3) -> np.ndarray:
    low = -128 if format_.shape.signed else 0
    return np.random.default_rng(format_.channels).integers(
        low, low + 256, (count, format_.channels, format_.height, format_.width))


def beats(frames: Any) -> list[int]:
    return [beat for frame in frames for beat in streams.pack_rows(frame, rows(*frame.shape))]


@gaps
@pytest.mark.parametrize("x, y", ((signed(8), signed(8)), (unsigned(8), signed(8)), (signed(8), unsigned(8))))
def test_lookup(x: Shape, y: Shape, i_gap: str, o_gap: str) -> None:
    table = np.random.default_rng(0).permutation(256) - (128 if y.signed else 0)
    layer = Lookup(i=rows(40, shape=x), o=rows(40, shape=y), tables=[table.tolist()])
    frames = [np.arange(480).reshape(40, 4, 3) % 256 - (128 if x.signed else 0)]
    expected = beats(layer.model(frame) for frame in frames)
    found = streams.run(layer, {"i": beats(frames)}, len(expected), i_gap=i_gap, o_gap=o_gap)
    assert found == expected


@gaps
@pytest.mark.parametrize("fold", (1, 2))
@pytest.mark.parametrize("together", (Window(), Window((3, 1), (2, 1), (1, 0, 1, 0))), ids=("rows", "groups"))
def test_lookup_by_channel(together: Window, fold: int, i_gap: str, o_gap: str) -> None:
    tables = np.random.default_rng(0).integers(-128, 128, (5, 256))
    format_ = rows(5, fold=fold, together=together)
    layer = Lookup(i=format_, o=format_, tables=tables.tolist())
    frames = images(format_, 2)
    expected = [beat for frame in frames for beat in streams.pack_rows(layer.model(frame), format_)]
    given = [beat for frame in frames for beat in streams.pack_rows(frame, format_)]
    assert streams.run(layer, {"i": given}, len(expected), i_gap=i_gap, o_gap=o_gap) == expected
    by_hand = np.stack([table[channel + 128] for table, channel in zip(tables, frames[0], strict=True)])
    assert (layer.model(frames[0]) == by_hand).all()


def test_lookup_takes_a_beat_per_cycle() -> None:
    layer, values = Lookup(i=rows(2), o=rows(2), tables=[list(range(-128, 128))]), list(range(100))
    assert streams.run(layer, {"i": values}, 100, deadline=103) == values


@gaps
@pytest.mark.parametrize("channels, held", (
    ((3, 2), (0, 0)), ((2, 1, 3), (1, 0, 2)), ((1, 1, 1, 1), (2, 2, 2, 0))))
def test_concat(channels: tuple[int, ...], held: tuple[int, ...], i_gap: str, o_gap: str) -> None:
    formats = [rows(count) for count in channels]
    layer = Concat(inputs=formats, rows=held)
    frames = [images(format_) for format_ in formats]
    expected = beats(layer.model(*parts) for parts in zip(*frames, strict=True))
    inputs = {f"i{index}": beats(each) for index, each in enumerate(frames)}
    assert streams.run(layer, inputs, len(expected), i_gap=i_gap, o_gap=o_gap) == expected


@gaps
@pytest.mark.parametrize("count, held", ((2, (0, 0)), (3, (1, 2, 0))))
def test_concat_in_turn(count: int, held: tuple[int, ...], i_gap: str, o_gap: str) -> None:
    layer = Concat(inputs=[rows(3)] * count, rows=held, in_turn=True)
    frames = [images(rows(3)) + index for index in range(count)]
    expected = beats(layer.model(*parts) for parts in zip(*frames, strict=True))
    inputs = {f"i{index}": beats(each) for index, each in enumerate(frames)}
    assert streams.run(layer, inputs, len(expected), i_gap=i_gap, o_gap=o_gap) == expected


@gaps
@pytest.mark.parametrize("channels, places, columns", (
    (range(1, 4), range(4), range(3)), (range(0, 5, 2), range(1, 4, 2), range(1, 3)),
    (range(5), range(2, 3), range(0, 3, 2)), (range(5), range(4), range(1, 2))))
def test_slice(channels: range, places: range, columns: range, i_gap: str, o_gap: str) -> None:
    layer = Slice(i=rows(5), channels=channels, rows=places, columns=columns)
    frames = images(rows(5))
    expected = [beat for frame in frames for beat in streams.pack_rows(layer.model(frame), layer.formats[1])]
    assert streams.run(layer, {"i": beats(frames)}, len(expected), i_gap=i_gap, o_gap=o_gap) == expected


def test_slice_takes_a_beat_per_cycle() -> None:
    layer = Slice(i=rows(4), channels=range(2), rows=range(4), columns=range(3))
    assert len(streams.run(layer, {"i": list(range(80))}, 40, deadline=83)) == 40


@gaps
@pytest.mark.parametrize("channels, factors", (
    (3, (2, 2)), (3, (3, 1)), (3, (1, 2)), (3, (1, 1)), (1, (2, 3))))
def test_upsample(channels: int, factors: tuple[int, int], i_gap: str, o_gap: str) -> None:
    layer = Upsample(i=rows(channels), factors=factors)
    frames = images(rows(channels))
    expected = beats(layer.model(frame) for frame in frames)
    assert streams.run(layer, {"i": beats(frames)}, len(expected), i_gap=i_gap, o_gap=o_gap) == expected


def test_upsample_gives_a_beat_per_cycle() -> None:
    layer = Upsample(i=rows(3), factors=(2, 1))
    assert len(streams.run(layer, {"i": list(range(30))}, 60, deadline=63)) == 60


def test_wrong_parameters() -> None:
    with pytest.raises(ValueError, match=r"^A table of 256 values is needed, not of 255$"):
        Lookup(i=rows(2), o=rows(2), tables=[[0] * 255])
    with pytest.raises(ValueError, match=r"^One table, or one for each of 3 channels, is needed, not 2$"):
        Lookup(i=rows(3), o=rows(3), tables=[[0] * 256] * 2)
    with pytest.raises(ValueError, match=r"^Factors must be positive integers, not \(2, 0\)$"):
        Upsample(i=rows(2), factors=(2, 0))
    with pytest.raises(ValueError, match=r"^Inputs must be of the same height, lanes and shape$"):
        Concat(inputs=[rows(2), rows(2, lanes=4)], rows=(0, 0))
    with pytest.raises(ValueError, match=r"^Inputs in turn must have as many channels each$"):
        Concat(inputs=[rows(2), rows(3)], rows=(0, 0), in_turn=True)
    with pytest.raises(ValueError, match=r"^Some of 2 channels must be given in ascending order, not range"):
        Slice(i=rows(2), channels=range(3), rows=range(4), columns=range(3))
    with pytest.raises(ValueError, match=r"^Each beat of a row must have as many of the columns, not range"):
        Slice(i=replace(rows(2), fold=2), channels=range(2), rows=range(4), columns=range(3))
