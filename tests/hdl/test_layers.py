# amaranth: UnusedElaboratable=no
"""Each layer against its model, under idle and stall patterns on both sides."""
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth import signed, unsigned

import streams
from headrace.hdl.arithmetic.geometry import Window, strides, whole
from headrace.hdl.arithmetic.requantisation import Requantisation
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.addressed import Addressed
from headrace.hdl.layers.global_pool import GlobalPool
from headrace.hdl.layers.input_stationary import InputStationary
from headrace.hdl.layers.output_stationary import OutputStationary
from headrace.hdl.layers.window import Depthwise, MaxPool

SAME = Window((3, 3), (1, 1), (1, 1, 1, 1))
HALVE = Window((3, 3), (2, 2), (0, 0, 1, 1))
HALVE_TORCH = Window((3, 3), (2, 2), (1, 1, 1, 1))
TALL = Window((10, 4), (2, 2), (4, 1, 5, 1))
SKIP = Window((1, 1), (2, 2), (0, 0, 0, 0))
POINT = Window()
ALONE = MaxPool, GlobalPool, Addressed  # whose lanes never go in pairs


def by_strides(window: Window) -> Any:
    return lambda height: strides(window, height)


def by_windows(window: Window) -> Any:
    return lambda height: whole(window)


# name: (layer, input C x H x W, output channels, window, options)
LAYERS: dict[str, tuple[Any, tuple[int, int, int], int, Window, dict[str, Any]]] = {
    "narrow": (InputStationary, (4, 3, 5), 6, POINT, dict(p_in=1, p_out=2, drain=False)),
    "narrow-pairs": (InputStationary, (4, 3, 5), 6, POINT, dict(p_in=2, p_out=3, drain=False)),
    "narrow-drain": (InputStationary, (4, 3, 2), 6, POINT, dict(p_in=2, p_out=1, drain=True)),
    "narrow-flat": (InputStationary, (4, 2, 3), 4, POINT, dict(p_in=1, p_out=4, drain=True)),
    "narrow-rest": (InputStationary, (4, 3, 5), 5, POINT, dict(p_in=2, p_out=3, drain=False)),
    "narrow-rest-drain": (InputStationary, (4, 3, 2), 7, POINT, dict(p_in=1, p_out=3, drain=True)),
    "widen-rest": (OutputStationary, (4, 3, 5), 7, POINT, dict(p_in=2, p_out=3)),
    "dense-rest": (OutputStationary, (2, 4, 5), 5, SAME, dict(p_in=2, p_out=4)),
    "depthwise-rest": (Depthwise, (3, 4, 5), 3, SAME, dict(p_in=2)),
    "depthwise-rest-halve": (Depthwise, (3, 6, 6), 3, HALVE, dict(p_in=5)),
    "max-rest": (MaxPool, (3, 6, 6), 3, HALVE, dict(p_in=4)),
    "widen": (OutputStationary, (4, 3, 5), 6, POINT, dict(p_in=1, p_out=1)),
    "widen-parallel": (OutputStationary, (4, 3, 5), 6, POINT, dict(p_in=2, p_out=3)),
    "widen-unrolled": (OutputStationary, (4, 3, 2), 6, POINT, dict(p_in=4, p_out=6)),
    "widen-pairs": (OutputStationary, (4, 5, 3), 6, POINT, dict(p_in=2, p_out=1, leaves=by_strides(HALVE))),
    "widen-pairs-first": (OutputStationary, (4, 6, 3), 6, POINT, dict(p_in=4, p_out=1,
                                                                       leaves=by_strides(HALVE))),
    "widen-pairs-torch": (OutputStationary, (4, 6, 3), 3, POINT, dict(p_in=1, p_out=1,
                                                                       leaves=by_strides(HALVE_TORCH))),
    "dense": (OutputStationary, (2, 4, 5), 4, SAME, dict(p_in=1, p_out=1)),
    "dense-banks": (OutputStationary, (2, 4, 5), 4, SAME, dict(p_in=3, p_out=4, banks=2)),
    "dense-halve-banks": (OutputStationary, (3, 7, 6), 4, HALVE_TORCH, dict(p_in=9, p_out=4, banks=2)),
    "dense-skip-banks": (OutputStationary, (3, 7, 7), 4, SKIP, dict(p_in=3, p_out=2, banks=2)),
    "dense-row": (OutputStationary, (2, 4, 5), 4, SAME, dict(p_in=3, p_out=2)),
    "dense-channels": (OutputStationary, (4, 4, 3), 4, SAME, dict(p_in=18, p_out=4)),
    "dense-halve": (OutputStationary, (3, 6, 6), 4, HALVE, dict(p_in=9, p_out=1)),
    "dense-halve-odd": (OutputStationary, (2, 5, 7), 4, HALVE_TORCH, dict(p_in=9, p_out=2)),
    "dense-tall": (OutputStationary, (1, 7, 6), 4, TALL, dict(p_in=4, p_out=2)),
    "dense-skip": (OutputStationary, (3, 7, 7), 4, SKIP, dict(p_in=3, p_out=2)),
    "dense-whole": (OutputStationary, (3, 3, 3), 4, Window((3, 3)), dict(p_in=9, p_out=2)),
    "vector": (OutputStationary, (8, 1, 1), 6, POINT, dict(p_in=4, p_out=2)),
    "depthwise": (Depthwise, (4, 4, 5), 4, SAME, dict(p_in=1)),
    "depthwise-unrolled": (Depthwise, (4, 4, 5), 4, SAME, dict(p_in=9)),
    "depthwise-halve": (Depthwise, (3, 5, 6), 3, HALVE, dict(p_in=3)),
    "depthwise-halve-torch": (Depthwise, (3, 6, 6), 3, HALVE_TORCH, dict(p_in=3)),
    "depthwise-column": (Depthwise, (3, 4, 4), 3, Window((1, 3), (1, 1), (0, 1, 0, 1)), dict(p_in=1)),
    "depthwise-triple": (Depthwise, (2, 4, 4), 6, SAME, dict(p_in=3)),
    "depthwise-row": (Depthwise, (2, 1, 4), 2, SAME, dict(p_in=9)),
    "depthwise-one": (Depthwise, (1, 3, 4), 1, SAME, dict(p_in=9)),
    "depthwise-five": (Depthwise, (3, 6, 6), 3, Window((5, 5), (1, 1), (2, 2, 2, 2)), dict(p_in=5)),
    "depthwise-pairs": (Depthwise, (3, 6, 6), 3, HALVE, dict(p_in=3, pairs=True)),
    "depthwise-pairs-odd": (Depthwise, (3, 5, 6), 3, HALVE, dict(p_in=9, pairs=True)),
    "depthwise-pairs-torch": (Depthwise, (3, 6, 6), 6, HALVE_TORCH, dict(p_in=3, pairs=True)),
    "depthwise-pairs-seven": (Depthwise, (2, 8, 6), 2, Window((7, 7), (2, 2), (3, 3, 3, 3)),
                              dict(p_in=7, pairs=True)),
    "depthwise-triples": (Depthwise, (2, 8, 6), 2, Window((4, 4), (3, 3), (1, 1, 1, 1)),
                          dict(p_in=4, pairs=True)),
    "average": (Depthwise, (3, 4, 6), 3, Window((2, 2), (2, 2)), dict(p_in=2, weights=None)),
    "max": (MaxPool, (3, 5, 6), 3, Window((3, 3), (2, 2), (1, 1, 1, 1)), dict(p_in=3)),
    "max-pairs": (MaxPool, (3, 5, 6), 3, Window((2, 2), (2, 2)), dict(p_in=2, pairs=True)),
    "max-unrolled": (MaxPool, (3, 4, 6), 3, Window((2, 2), (2, 2)), dict(p_in=4)),
    "global": (GlobalPool, (5, 3, 4), 5, Window((3, 4)), {}),
    "narrow-folded": (InputStationary, (4, 3, 6), 5, POINT, dict(p_in=2, p_out=1, drain=False, folds=(2, 3))),
    "narrow-folded-drain": (InputStationary, (4, 3, 6), 5, POINT, dict(p_in=1, p_out=1, drain=True,
                                                                       folds=(1, 6))),
    "narrow-unfolds": (InputStationary, (4, 3, 6), 5, POINT, dict(p_in=1, p_out=2, drain=True, folds=(3, 1))),
    "widen-folded": (OutputStationary, (4, 3, 6), 5, POINT, dict(p_in=2, p_out=1, folds=(3, 2))),
    "widen-folds": (OutputStationary, (4, 3, 6), 5, POINT, dict(p_in=1, p_out=1, folds=(1, 6))),
    "widen-unfolds": (OutputStationary, (4, 3, 6), 5, POINT, dict(p_in=4, p_out=2, folds=(2, 1))),
    "widen-pairs-folded": (OutputStationary, (4, 5, 6), 6, POINT, dict(p_in=2, p_out=1, folds=(2, 3),
                                                                        leaves=by_strides(HALVE))),
    "dense-folded": (OutputStationary, (2, 4, 6), 4, SAME, dict(p_in=1, p_out=1, folds=(2, 2))),
    "dense-folded-row": (OutputStationary, (4, 4, 6), 4, SAME, dict(p_in=18, p_out=1, folds=(3, 6), banks=2)),
    "dense-folded-tall": (OutputStationary, (1, 7, 8), 4, TALL, dict(p_in=4, p_out=1, folds=(4, 2))),
    "depthwise-folded": (Depthwise, (4, 4, 6), 4, SAME, dict(p_in=1, folds=(2, 3))),
    "depthwise-folds": (Depthwise, (4, 4, 6), 4, SAME, dict(p_in=2, folds=(1, 6))),
    "depthwise-unfolds": (Depthwise, (4, 4, 6), 4, SAME, dict(p_in=2, folds=(3, 1))),
    "depthwise-folded-triple": (Depthwise, (2, 4, 4), 6, SAME, dict(p_in=3, folds=(4, 2))),
    "depthwise-folded-halve": (Depthwise, (3, 5, 8), 3, HALVE, dict(p_in=9, folds=(2, 4))),
    "depthwise-folded-pairs": (Depthwise, (3, 6, 8), 3, HALVE, dict(p_in=3, pairs=True, folds=(2, 2))),
    "depthwise-folded-patient": (Depthwise, (3, 4, 6), 3, SAME, dict(p_in=3, patience=4, folds=(2, 2))),
    "max-folded": (MaxPool, (3, 5, 8), 3, Window((3, 3), (2, 2), (1, 1, 1, 1)), dict(p_in=3, folds=(4, 2))),
    "widen-windows": (OutputStationary, (4, 5, 3), 6, POINT, dict(p_in=2, p_out=1, leaves=by_windows(SAME))),
    "widen-windows-halve": (OutputStationary, (4, 6, 4), 6, POINT, dict(p_in=4, p_out=1, banks=2,
                                                                        leaves=by_windows(HALVE))),
    "widen-windows-five": (OutputStationary, (4, 6, 4), 6, POINT, dict(
        p_in=1, p_out=1, leaves=by_windows(Window((5, 5), (1, 1), (2, 2, 2, 2))), folds=(2, 2))),
    "depthwise-windows": (Depthwise, (3, 6, 6), 3, SAME, dict(p_in=3, windows=True)),
    "depthwise-windows-halve": (Depthwise, (3, 5, 6), 3, HALVE, dict(p_in=9, windows=True, folds=(3, 3))),
    "depthwise-windows-seven": (Depthwise, (2, 8, 6), 2, Window((7, 7), (2, 2), (3, 3, 3, 3)),
                                dict(p_in=7, windows=True)),
    "max-windows": (MaxPool, (3, 5, 6), 3, Window((3, 3), (2, 2), (1, 1, 1, 1)), dict(p_in=3, windows=True)),
    "addressed": (Addressed, (4, 3, 5), 6, POINT, dict(depthwise=False, folds=(5, 5))),
    "addressed-rows": (Addressed, (3, 3, 5), 6, POINT, dict(depthwise=False, folds=(1, 5))),
    "addressed-parts": (Addressed, (3, 4, 6), 2, POINT, dict(depthwise=False, folds=(2, 6))),
    "addressed-dense": (Addressed, (2, 4, 5), 4, SAME, dict(depthwise=False, folds=(5, 5))),
    "addressed-halve": (Addressed, (3, 5, 7), 4, HALVE_TORCH, dict(depthwise=False, folds=(7, 4))),
    "addressed-skip": (Addressed, (3, 7, 6), 4, SKIP, dict(depthwise=False, folds=(6, 3))),
    "addressed-skip-even": (Addressed, (3, 6, 6), 2, SKIP, dict(depthwise=False, folds=(3, 3))),
    "addressed-tall": (Addressed, (1, 7, 6), 4, TALL, dict(depthwise=False, folds=(6, 3))),
    "addressed-vector": (Addressed, (8, 1, 1), 6, POINT, dict(depthwise=False)),
    "addressed-depthwise": (Addressed, (4, 4, 5), 4, SAME, dict(depthwise=True, folds=(5, 5))),
    "addressed-depthwise-halve": (Addressed, (3, 6, 6), 3, HALVE, dict(depthwise=True, folds=(6, 3))),
    "addressed-depthwise-torch": (Addressed, (3, 6, 6), 3, HALVE_TORCH, dict(depthwise=True, folds=(6, 3))),
    "addressed-depthwise-triple": (Addressed, (2, 4, 4), 6, SAME, dict(depthwise=True, folds=(1, 4))),
    "addressed-depthwise-five": (Addressed, (3, 6, 6), 3, Window((5, 5), (1, 1), (2, 2, 2, 2)),
                                 dict(depthwise=True, folds=(6, 6))),
    "serial": (Addressed, (4, 3, 5), 6, POINT, dict(depthwise=False, serial=True, folds=(5, 5))),
    "serial-halve": (Addressed, (3, 5, 7), 4, HALVE_TORCH, dict(depthwise=False, serial=True, folds=(1, 4))),
    "serial-depthwise": (Addressed, (4, 4, 5), 4, SAME, dict(depthwise=True, serial=True, folds=(5, 5))),
    "global-folded": (GlobalPool, (5, 3, 4), 5, Window((3, 4)), dict(folds=(2, 1))),
}


def requantisation(rng: np.random.Generator, channels: int, *, tie: int | None,
                   shape: Any) -> Requantisation:
    middle = 0 if shape.signed else 128
    return Requantisation(
        shift=9, tie=tie, parity=1, multipliers=tuple(map(int, rng.integers(1, 1 << 7, channels))),
        offsets=tuple(map(int, rng.integers(-1 << 12, 1 << 12, channels) + (middle << 9))),
        lo=middle - 100, hi=middle + 120)


def make(name: str, *, steps: int, tie: int | None, shape: Any,
         scaling: Requantisation | None = None, paired: bool = False,
         pipelined: bool = False) -> tuple[Any, np.ndarray]:
    kind, (channels, height, width), outputs, window, options = LAYERS[name]
    options = dict(options)
    arrives = POINT
    if options.pop("pairs", False):
        arrives = strides(window, height)
    elif options.pop("windows", False):
        arrives = whole(window)
    rng = np.random.default_rng(list(f"{name}/{steps}/{tie}".encode()))
    rows, columns = window.output_size(height, width)
    leaves = options.pop("leaves", lambda _: POINT)(rows)  # the rows of the output that go together
    fold_in, fold_out = options.pop("folds", (1, 1))
    common: dict[str, Any] = dict(
        i=RowFormat(channels=channels, height=height, lanes=width // fold_in, shape=shape, fold=fold_in,
                    together=arrives, pipelined=pipelined),
        o=RowFormat(channels=outputs, height=rows, lanes=columns // fold_out, shape=shape, fold=fold_out,
                    together=leaves, pipelined=pipelined))
    if kind is not MaxPool:
        random = requantisation(rng, outputs, tie=tie, shape=shape)
        common |= dict(scaling=scaling or random, requantise_steps=steps, sum=signed(20))
    if kind not in (MaxPool, GlobalPool):
        taps = window.taps if kind is Depthwise or options.get("depthwise") else channels * window.taps
        common |= dict(weights=rng.integers(-8, 8, (outputs, taps)).tolist(), weight=signed(4))
    if kind in (OutputStationary, Depthwise, Addressed):
        common |= dict(window=window, pad=3)
    if kind is MaxPool:
        common |= dict(window=window)
    if paired:
        common |= dict(paired=True)
    layer = kind(**(common | options))
    low = -128 if shape.signed else 0
    return layer, rng.integers(low, low + 256, (2, channels, height, width))


@pytest.mark.parametrize("o_gap", streams.PATTERNS)
@pytest.mark.parametrize("i_gap", streams.PATTERNS)
@pytest.mark.parametrize("name", LAYERS)
def test_matches_model(name: str, i_gap: str, o_gap: str) -> None:
    steps, tie, shape = 2, 4, signed(8)
    layer, frames = make(name, steps=steps, tie=tie, shape=shape)
    check(layer, frames, i_gap=i_gap, o_gap=o_gap, seed=name)


def check(layer: Any, frames: np.ndarray, **run: Any) -> None:
    expected = [beat for x in frames for beat in streams.pack_rows(layer.model(x), layer.formats[1])]
    beats = [beat for x in frames for beat in streams.pack_rows(x, layer.formats[0])]
    assert streams.run(layer, {"i": beats}, len(expected), **run) == expected


@pytest.mark.parametrize("shape", (signed(8), unsigned(8)))
@pytest.mark.parametrize("name", [name for name, (kind, *_, options) in LAYERS.items()
                                  if kind not in ALONE and "weights" not in options])
def test_pairs_change_nothing(name: str, shape: Any) -> None:
    """Columns even and odd, also one alone."""
    check(*make(name, steps=2, tie=4, shape=shape, paired=True), seed=name)


@pytest.mark.parametrize("gap", streams.PATTERNS)
@pytest.mark.parametrize("name", LAYERS)
def test_pipelined(name: str, gap: str) -> None:
    """Lanes with stages, in pairs where there are pairs, behind a reader that lets them wait."""
    paired = LAYERS[name][0] not in ALONE and "weights" not in LAYERS[name][4]
    check(*make(name, steps=2, tie=4, shape=unsigned(8), paired=paired, pipelined=True), o_gap=gap, seed=name)


@pytest.mark.parametrize("tie", (None, 0, 5, 8))
@pytest.mark.parametrize("steps", (1, 2, 3, 7))
@pytest.mark.parametrize("name", ("narrow", "widen-parallel", "depthwise"))
def test_requantises(name: str, steps: int, tie: int | None) -> None:
    layer, frames = make(name, steps=steps, tie=tie, shape=unsigned(8))
    expected = [beat for x in frames for beat in streams.pack_rows(layer.model(x), layer.formats[1])]
    beats = [beat for x in frames for beat in streams.pack_rows(x, layer.formats[0])]
    assert streams.run(layer, {"i": beats}, len(expected)) == expected


@pytest.mark.parametrize("steps", (1, 3))
@pytest.mark.parametrize("name", ("narrow", "widen-parallel", "global"))
def test_corrects_single_sums(name: str, steps: int) -> None:
    layer, frames = make(name, steps=steps, tie=4, shape=signed(8))
    plain = layer.scaling
    sums = {(channel, int(value)) for image in frames for channel, values in enumerate(
        image.sum(axis=(1, 2), keepdims=True) if name == "global"
         else np.tensordot(np.array(layer.weights), image, 1)) for value in values.ravel()[:2]}
    chosen = sorted(sums)[::2]
    scaling = replace(plain, corrections=tuple((channel, value, 1 if value & 1 else -1)
                                               for channel, value in chosen))
    layer, _ = make(name, steps=steps, tie=4, shape=signed(8), scaling=scaling)
    expected = [beat for x in frames for beat in streams.pack_rows(layer.model(x), layer.formats[1])]
    assert any((layer.model(x) != make(name, steps=steps, tie=4, shape=signed(8))[0].model(x)).any()
               for x in frames)
    beats = [beat for x in frames for beat in streams.pack_rows(x, layer.formats[0])]
    assert streams.run(layer, {"i": beats}, len(expected)) == expected


@pytest.mark.parametrize("name, message", (
    ("narrow", r"^p_in must divide the 4 input channels, not 3$"),
    ("dense", r"^p_in must be 1 to the 9 taps or a multiple of them that divides 18, not 10$"),
    ("depthwise", r"^p_in must be 1 to the 9 taps, not 10$"),
    ("max", r"^p_in must be 1 to the 9 taps, not 10$"),
))
def test_p_in_wrong(name: str, message: str) -> None:
    kind, shape, outputs, window, options = LAYERS[name]
    LAYERS["wrong"] = kind, shape, outputs, window, options | dict(p_in=3 if name == "narrow" else 10)
    try:
        with pytest.raises(ValueError, match=message):
            make("wrong", steps=1, tie=None, shape=signed(8))
    finally:
        del LAYERS["wrong"]


def test_p_out_wrong() -> None:
    layer, _ = make("widen", steps=1, tie=None, shape=signed(8))
    with pytest.raises(ValueError, match=r"^p_out must be 1 to the 6 output channels, not 7$"):
        OutputStationary(i=layer.formats[0], o=layer.formats[1], window=POINT, pad=0, weight=signed(4),
                         weights=layer.weights, sum=signed(20), p_in=1, p_out=7,
                         scaling=layer.scaling, requantise_steps=1)
