# amaranth: UnusedElaboratable=no
"""Each layer against its model, under idle and stall patterns on both sides."""
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth import Shape, signed, unsigned

import streams
from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.arithmetic.requantisation import Requantisation
from layer_cases import (
    PAIRED,
    Values,
    addressed,
    addressed_depthwise,
    average_pool,
    by_strides,
    by_windows,
    case,
    depthwise,
    global_pool,
    input_stationary,
    max_pool,
    output_stationary,
)

SAME = Window((3, 3), (1, 1), (1, 1, 1, 1))
HALVE = Window((3, 3), (2, 2), (0, 0, 1, 1))
HALVE_TORCH = Window((3, 3), (2, 2), (1, 1, 1, 1))
TALL = Window((10, 4), (2, 2), (4, 1, 5, 1))
SKIP = Window((1, 1), (2, 2), (0, 0, 0, 0))
FOUR = Window((4, 4), (3, 3), (1, 1, 1, 1))
FIVE = Window((5, 5), (1, 1), (2, 2, 2, 2))
SEVEN = Window((7, 7), (2, 2), (3, 3, 3, 3))
TILES = Window((2, 2), (2, 2))
APART = Window((5, 4), (1, 1), (2, 3, 2, 3), (2, 3))
APART_HALVE = Window((5, 3), (2, 2), (2, 1, 2, 1), (2, 2))

LAYERS = {
    "narrow": case(input_stationary, (4, 3, 5), 6, p_in=1, p_out=2, drain=False),
    "narrow-pairs": case(input_stationary, (4, 3, 5), 6, p_in=2, p_out=3, drain=False),
    "narrow-drain": case(input_stationary, (4, 3, 2), 6, p_in=2, p_out=1, drain=True),
    "narrow-flat": case(input_stationary, (4, 2, 3), 4, p_in=1, p_out=4, drain=True),
    "narrow-rest": case(input_stationary, (4, 3, 5), 5, p_in=2, p_out=3, drain=False),
    "narrow-rest-drain": case(input_stationary, (4, 3, 2), 7, p_in=1, p_out=3, drain=True),
    "widen-rest": case(output_stationary, (4, 3, 5), 7, p_in=2, p_out=3),
    "dense-rest": case(output_stationary, (2, 4, 5), 5, SAME, p_in=2, p_out=4),
    "depthwise-rest": case(depthwise, (3, 4, 5), 3, SAME, p_in=2),
    "depthwise-rest-halve": case(depthwise, (3, 6, 6), 3, HALVE, p_in=5),
    "max-rest": case(max_pool, (3, 6, 6), 3, HALVE, p_in=4),
    "widen": case(output_stationary, (4, 3, 5), 6, p_in=1, p_out=1),
    "widen-parallel": case(output_stationary, (4, 3, 5), 6, p_in=2, p_out=3),
    "widen-unrolled": case(output_stationary, (4, 3, 2), 6, p_in=4, p_out=6),
    "widen-pairs": case(output_stationary, (4, 5, 3), 6, p_in=2, p_out=1, leaves=by_strides(HALVE)),
    "widen-pairs-first": case(output_stationary, (4, 6, 3), 6, p_in=4, p_out=1, leaves=by_strides(HALVE)),
    "widen-pairs-torch": case(output_stationary, (4, 6, 3), 3, p_in=1, p_out=1,
                              leaves=by_strides(HALVE_TORCH)),
    "dense": case(output_stationary, (2, 4, 5), 4, SAME, p_in=1, p_out=1),
    "dense-banks": case(output_stationary, (2, 4, 5), 4, SAME, p_in=3, p_out=4, banks=2),
    "dense-halve-banks": case(output_stationary, (3, 7, 6), 4, HALVE_TORCH, p_in=9, p_out=4, banks=2),
    "dense-skip-banks": case(output_stationary, (3, 7, 7), 4, SKIP, p_in=3, p_out=2, banks=2),
    "dense-row": case(output_stationary, (2, 4, 5), 4, SAME, p_in=3, p_out=2),
    "dense-channels": case(output_stationary, (4, 4, 3), 4, SAME, p_in=18, p_out=4),
    "dense-halve": case(output_stationary, (3, 6, 6), 4, HALVE, p_in=9, p_out=1),
    "dense-halve-odd": case(output_stationary, (2, 5, 7), 4, HALVE_TORCH, p_in=9, p_out=2),
    "dense-tall": case(output_stationary, (1, 7, 6), 4, TALL, p_in=4, p_out=2),
    "dense-skip": case(output_stationary, (3, 7, 7), 4, SKIP, p_in=3, p_out=2),
    "dense-whole": case(output_stationary, (3, 3, 3), 4, Window((3, 3)), p_in=9, p_out=2),
    "vector": case(output_stationary, (8, 1, 1), 6, p_in=4, p_out=2),
    "depthwise": case(depthwise, (4, 4, 5), 4, SAME, p_in=1),
    "depthwise-unrolled": case(depthwise, (4, 4, 5), 4, SAME, p_in=9),
    "depthwise-halve": case(depthwise, (3, 5, 6), 3, HALVE, p_in=3),
    "depthwise-halve-torch": case(depthwise, (3, 6, 6), 3, HALVE_TORCH, p_in=3),
    "depthwise-column": case(depthwise, (3, 4, 4), 3, Window((1, 3), (1, 1), (0, 1, 0, 1)), p_in=1),
    "depthwise-triple": case(depthwise, (2, 4, 4), 6, SAME, p_in=3),
    "depthwise-row": case(depthwise, (2, 1, 4), 2, SAME, p_in=9),
    "depthwise-one": case(depthwise, (1, 3, 4), 1, SAME, p_in=9),
    "depthwise-five": case(depthwise, (3, 6, 6), 3, FIVE, p_in=5),
    "depthwise-pairs": case(depthwise, (3, 6, 6), 3, HALVE, p_in=3, arrives=by_strides(HALVE)),
    "depthwise-pairs-odd": case(depthwise, (3, 5, 6), 3, HALVE, p_in=9, arrives=by_strides(HALVE)),
    "depthwise-pairs-torch": case(depthwise, (3, 6, 6), 6, HALVE_TORCH, p_in=3,
                                  arrives=by_strides(HALVE_TORCH)),
    "depthwise-pairs-seven": case(depthwise, (2, 8, 6), 2, SEVEN, p_in=7, arrives=by_strides(SEVEN)),
    "depthwise-triples": case(depthwise, (2, 8, 6), 2, FOUR, p_in=4, arrives=by_strides(FOUR)),
    "average": case(average_pool, (3, 4, 6), 3, TILES, p_in=2, weight=signed(4)),
    "max": case(max_pool, (3, 5, 6), 3, HALVE_TORCH, p_in=3),
    "max-pairs": case(max_pool, (3, 5, 6), 3, TILES, p_in=2, arrives=by_strides(TILES)),
    "max-unrolled": case(max_pool, (3, 4, 6), 3, TILES, p_in=4),
    "global": case(global_pool, (5, 3, 4), 5, Window((3, 4))),
    "narrow-folded": case(input_stationary, (4, 3, 6), 5, p_in=2, p_out=1, drain=False, folds=(2, 3)),
    "narrow-folded-drain": case(input_stationary, (4, 3, 6), 5, p_in=1, p_out=1, drain=True, folds=(1, 6)),
    "narrow-unfolds": case(input_stationary, (4, 3, 6), 5, p_in=1, p_out=2, drain=True, folds=(3, 1)),
    "widen-folded": case(output_stationary, (4, 3, 6), 5, p_in=2, p_out=1, folds=(3, 2)),
    "widen-folds": case(output_stationary, (4, 3, 6), 5, p_in=1, p_out=1, folds=(1, 6)),
    "widen-unfolds": case(output_stationary, (4, 3, 6), 5, p_in=4, p_out=2, folds=(2, 1)),
    "widen-pairs-folded": case(output_stationary, (4, 5, 6), 6, p_in=2, p_out=1, folds=(2, 3),
                               leaves=by_strides(HALVE)),
    "dense-folded": case(output_stationary, (2, 4, 6), 4, SAME, p_in=1, p_out=1, folds=(2, 2)),
    "dense-folded-row": case(output_stationary, (4, 4, 6), 4, SAME, p_in=18, p_out=1, banks=2, folds=(3, 6)),
    "dense-folded-tall": case(output_stationary, (1, 7, 8), 4, TALL, p_in=4, p_out=1, folds=(4, 2)),
    "depthwise-folded": case(depthwise, (4, 4, 6), 4, SAME, p_in=1, folds=(2, 3)),
    "depthwise-folds": case(depthwise, (4, 4, 6), 4, SAME, p_in=2, folds=(1, 6)),
    "depthwise-unfolds": case(depthwise, (4, 4, 6), 4, SAME, p_in=2, folds=(3, 1)),
    "depthwise-folded-triple": case(depthwise, (2, 4, 4), 6, SAME, p_in=3, folds=(4, 2)),
    "depthwise-folded-halve": case(depthwise, (3, 5, 8), 3, HALVE, p_in=9, folds=(2, 4)),
    "depthwise-folded-pairs": case(depthwise, (3, 6, 8), 3, HALVE, p_in=3, folds=(2, 2),
                                   arrives=by_strides(HALVE)),
    "depthwise-folded-patient": case(depthwise, (3, 4, 6), 3, SAME, p_in=3, patience=4, folds=(2, 2)),
    "max-folded": case(max_pool, (3, 5, 8), 3, HALVE_TORCH, p_in=3, folds=(4, 2)),
    "widen-windows": case(output_stationary, (4, 5, 3), 6, p_in=2, p_out=1, leaves=by_windows(SAME)),
    "widen-windows-halve": case(output_stationary, (4, 6, 4), 6, p_in=4, p_out=1, banks=2,
                                leaves=by_windows(HALVE)),
    "widen-windows-five": case(output_stationary, (4, 6, 4), 6, p_in=1, p_out=1, folds=(2, 2),
                               leaves=by_windows(FIVE)),
    "depthwise-windows": case(depthwise, (3, 6, 6), 3, SAME, p_in=3, arrives=by_windows(SAME)),
    "depthwise-windows-halve": case(depthwise, (3, 5, 6), 3, HALVE, p_in=9, folds=(3, 3),
                                    arrives=by_windows(HALVE)),
    "depthwise-windows-seven": case(depthwise, (2, 8, 6), 2, SEVEN, p_in=7, arrives=by_windows(SEVEN)),
    "max-windows": case(max_pool, (3, 5, 6), 3, HALVE_TORCH, p_in=3, arrives=by_windows(HALVE_TORCH)),
    "addressed": case(addressed, (4, 3, 5), 6, folds=(5, 5)),
    "addressed-rows": case(addressed, (3, 3, 5), 6, folds=(1, 5)),
    "addressed-parts": case(addressed, (3, 4, 6), 2, folds=(2, 6)),
    "addressed-dense": case(addressed, (2, 4, 5), 4, SAME, folds=(5, 5)),
    "addressed-halve": case(addressed, (3, 5, 7), 4, HALVE_TORCH, folds=(7, 4)),
    "addressed-skip": case(addressed, (3, 7, 6), 4, SKIP, folds=(6, 3)),
    "addressed-skip-even": case(addressed, (3, 6, 6), 2, SKIP, folds=(3, 3)),
    "addressed-tall": case(addressed, (1, 7, 6), 4, TALL, folds=(6, 3)),
    "addressed-vector": case(addressed, (8, 1, 1), 6),
    "addressed-depthwise": case(addressed_depthwise, (4, 4, 5), 4, SAME, folds=(5, 5)),
    "addressed-depthwise-halve": case(addressed_depthwise, (3, 6, 6), 3, HALVE, folds=(6, 3)),
    "addressed-depthwise-torch": case(addressed_depthwise, (3, 6, 6), 3, HALVE_TORCH, folds=(6, 3)),
    "addressed-depthwise-triple": case(addressed_depthwise, (2, 4, 4), 6, SAME, folds=(1, 4)),
    "addressed-depthwise-five": case(addressed_depthwise, (3, 6, 6), 3, FIVE, folds=(6, 6)),
    "serial": case(addressed, (4, 3, 5), 6, serial=True, folds=(5, 5)),
    "serial-halve": case(addressed, (3, 5, 7), 4, HALVE_TORCH, serial=True, folds=(1, 4)),
    "serial-depthwise": case(addressed_depthwise, (4, 4, 5), 4, SAME, serial=True, folds=(5, 5)),
    "dense-apart-banks": case(output_stationary, (3, 7, 7), 4, APART_HALVE, p_in=6, p_out=4, banks=2),
    "dense-apart-folded": case(output_stationary, (2, 6, 6), 4, APART, p_in=3, p_out=1, folds=(3, 3)),
    "depthwise-apart": case(depthwise, (3, 6, 5), 3, APART, p_in=2, patience=4),
    "depthwise-apart-pairs": case(depthwise, (2, 6, 7), 2, APART_HALVE, p_in=3,
                                  arrives=by_strides(APART_HALVE)),
    "max-apart": case(max_pool, (3, 7, 6), 3, APART_HALVE, p_in=4),
    "addressed-apart": case(addressed, (2, 6, 6), 3, APART, folds=(2, 9)),
    "global-folded": case(global_pool, (5, 3, 4), 5, Window((3, 4)), folds=(2, 1)),
}


def requantisation(rng: np.random.Generator, channels: int, *, tie: int | None,
                   shape: Shape) -> Requantisation:
    middle = 0 if shape.signed else 128
    return Requantisation(
        shift=9, tie=tie, parity=1, multipliers=tuple(map(int, rng.integers(1, 1 << 7, channels))),
        offsets=tuple(map(int, rng.integers(-1 << 12, 1 << 12, channels) + (middle << 9))),
        lo=middle - 100, hi=middle + 120)


def make(name: str, *, steps: int, tie: int | None, shape: Shape, scaling: Requantisation | None = None,
         **options: Any) -> tuple[Any, np.ndarray]:
    """Return a layer of random weights and two random frames, always the same of a name, steps and a tie."""
    made, rng = LAYERS[name], np.random.default_rng(list(f"{name}/{steps}/{tie}".encode()))

    def scalings(channels: int) -> Requantisation:
        drawn = requantisation(rng, channels, tie=tie, shape=shape)  # even if another counts: weights stay
        return scaling or drawn

    layer = made.make(Values(
        shape=shape, sum=signed(20), weight=signed(4), pad=3, steps=steps, scaling=scalings,
        weights=lambda *size: rng.integers(-8, 8, size).tolist()), **options)
    low = -128 if shape.signed else 0
    return layer, rng.integers(low, low + 256, (2, *made.x))


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
@pytest.mark.parametrize("name", [name for name, case in LAYERS.items() if case.kind in PAIRED])
def test_pairs_change_nothing(name: str, shape: Any) -> None:
    """Columns even and odd, also one alone."""
    check(*make(name, steps=2, tie=4, shape=shape, paired=True), seed=name)


@pytest.mark.parametrize("gap", streams.PATTERNS)
@pytest.mark.parametrize("name", LAYERS)
def test_pipelined(name: str, gap: str) -> None:
    """Lanes with stages, in pairs where there are pairs, behind a reader that lets them wait."""
    pairs = dict(paired=True) if LAYERS[name].kind in PAIRED else {}
    check(*make(name, steps=2, tie=4, shape=unsigned(8), pipelined=True, **pairs), o_gap=gap, seed=name)


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
    with pytest.raises(ValueError, match=message):
        make(name, steps=1, tie=None, shape=signed(8), p_in=3 if name == "narrow" else 10)


def test_p_out_wrong() -> None:
    with pytest.raises(ValueError, match=r"^p_out must be 1 to the 6 output channels, not 7$"):
        make("widen", steps=1, tie=None, shape=signed(8), p_out=7)
