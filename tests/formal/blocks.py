# amaranth: UnusedElaboratable=no
"""Every block with streams and every kind of layer, at the least sizes at which each of its parts is there.

Mostly 2 channels, 3 rows and 2 columns of activations of one bit: enough for every counter to go around, for
padding on all sides, and for each register to hold a value that another one could not be taken for.
"""
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from amaranth import Shape, signed, unsigned
from amaranth.lib import data

from formal.ports import AlwaysTaken, Axi, Guarded
from formal.rules import Block
from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.arithmetic.requantisation import AddRequantisation, Requantisation
from headrace.hdl.base.platform import BLOCKRAM, LUTRAM, REGISTERS
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.edge.adapter import PixelsToRows, RowsToValues
from headrace.hdl.edge.frames import Stuff
from headrace.hdl.edge.link import Link, Replies
from headrace.hdl.edge.requests import Requests
from headrace.hdl.layers.add import Add
from headrace.hdl.layers.collect import Collect
from headrace.hdl.layers.concat import Concat
from headrace.hdl.layers.drain import Drain
from headrace.hdl.layers.fork import Fork
from headrace.hdl.layers.gate import Gate, Repeat
from headrace.hdl.layers.layer import Layer
from headrace.hdl.layers.lookup import Lookup
from headrace.hdl.layers.mul import Mul
from headrace.hdl.layers.shortcut import Shortcut
from headrace.hdl.layers.slice import Slice
from headrace.hdl.layers.upsample import Upsample
from headrace.hdl.layers.window import MaxPool
from headrace.hdl.network import Network
from headrace.hdl.requantise.readout import Readout
from headrace.hdl.requantise.requantise import Requantise
from headrace.hdl.requantise.scale import Scale
from headrace.hdl.requantise.serialise import Serialise
from layer_cases import (
    POINT,
    Builder,
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

PIPELINED = ", pipelined"

MEMORIES = {"block RAM": BLOCKRAM, "LUT RAM": LUTRAM}

BIT = unsigned(1)
SUM = signed(3)
SAME = Window((3, 3), (1, 1), (1, 1, 1, 1))
COLUMN = Window((3, 1), (1, 1), (1, 0, 1, 0))
HALVE = Window((2, 2), (2, 2), (0, 0, 1, 0))
AHEAD = Window((2, 1), (2, 1), (1, 0, 0, 0))
SKIP = Window((1, 1), (2, 1))
PAIR = Window((2, 1), (1, 1), (0, 0, 1, 0))


def frames(dut: Any) -> dict[str, int]:
    """Return the beats of a frame on each stream of a layer or a network, and nothing for anything else."""
    match dut:
        case PixelsToRows():
            return {"i": dut.format.beats * dut.format.width // dut.together, "o": dut.format.beats}
        case RowsToValues():
            return {"i": dut.format.beats, "o": dut.format.beats * dut.format.lanes}
        case Network():
            i, o = dut.formats
            return {"i": i.beats, "o": o.beats}
        case Layer():
            names = dut.names if isinstance(dut, Concat) else ("i",)
            if isinstance(dut, Add | Mul):
                names = "a", "b"
            return {name: each.beats for name, each in zip((*names, "o"), dut.formats, strict=True)}
    return {}


def rows(channels: int = 2, height: int = 3, lanes: int = 2, shape: Shape = BIT, **more: Any) -> RowFormat:
    return RowFormat(channels=channels, height=height, lanes=lanes, shape=shape, **more)


def scaling(channels: int, *, bits: int = 2) -> Requantisation:
    """Multipliers that differ, of so many bits."""
    top = 1 << bits - 1
    return Requantisation(
        shift=2, tie=0, parity=1, multipliers=tuple(top + index % top for index in range(channels)),
        offsets=tuple(range(-1, channels - 1)), lo=0, hi=1)


def weights(outputs: int, taps: int) -> list[list[int]]:
    """Weights of two bits, other ones for each tap and channel."""
    return [[(3 * o + t) % 4 - 2 for t in range(taps)] for o in range(outputs)]


def layer(kind: Builder, window: Window = POINT, *, channels: int = 2, height: int = 3, width: int = 2,
          outputs: int = 2, pipelined: bool = False, steps: int = 2, **more: Any) -> Layer:
    return case(kind, (channels, height, width), outputs, window, **more).make(Values(
        shape=BIT, sum=SUM, weight=signed(2), pad=1, steps=steps, weights=weights, scaling=scaling),
        pipelined=pipelined)


def bottleneck(*, pipelined: bool = False, held: int = 2) -> Network:
    """A bottleneck: a layer that widens, a depthwise one, one that narrows, and a shortcut."""
    x = rows(1, pipelined=pipelined)
    widen = layer(output_stationary, channels=1, p_in=1, p_out=1, pipelined=pipelined)
    along = layer(depthwise, COLUMN, p_in=1, pipelined=pipelined)
    narrow = layer(input_stationary, outputs=1, p_in=1, p_out=1, drain=False, pipelined=pipelined)
    add = Add(a=x, b=x, o=x, scaling=ADD, steps=2, rows=(held, 0))
    return Network(i=x, o=x, layers={
        "widen": (widen, {"i": None}), "depthwise": (along, {"i": "widen"}),
        "narrow": (narrow, {"i": "depthwise"}), "add": (add, {"a": None, "b": "narrow"})})


def pooled(*, pipelined: bool = False) -> Network:
    i = rows(1, 2, shape=unsigned(8), pipelined=pipelined)
    o = rows(1, 1, 1, shape=unsigned(8), pipelined=pipelined)
    pool = MaxPool(i=i, o=o, window=Window((2, 2), (2, 2)), p_in=2)
    return Network(i=i, o=o, layers={"pool": (pool, {"i": None})})


ADD = AddRequantisation(shift=2, tie=0, parity=0, multipliers=(2, 3), offset=1, lo=0, hi=1)


def alone() -> dict[str, tuple[int, bool, Callable[[], Any]]]:
    """Return silence, whether ready is cut and what makes it, of each block that has one form only."""
    takes = [[True, True], [False, True]]
    return {
        "fork": (1, False, partial(Fork, shape=unsigned(2), count=3)),
        "shortcut": (1, True, partial(Shortcut, i=rows(), rows=2)),
        "concat": (1, False, partial(Concat, inputs=[rows(), rows(1)], rows=(0, 0))),
        "concat, held rows": (1, True, partial(Concat, inputs=[rows(), rows(1)], rows=(2, 1))),
        "concat, in turn": (1, False, partial(Concat, inputs=[rows(), rows()], rows=(1, 0), in_turn=True)),
        "slice": (4, False, partial(Slice, i=rows(), channels=range(1), rows=range(1, 3), columns=range(1))),
        "collect": (1, False, partial(Collect, i=rows(), takes=takes, words=2)),
        "collect, folded": (2, False, partial(Collect, i=rows(lanes=1, fold=2), takes=takes, words=2)),
        "serialise": (1, False, partial(Serialise, shape=SUM, count=2, o=rows(3))),
        "readout": (1, False, partial(Readout, shape=SUM, count=2, readout=2, o=rows(3, lanes=1, fold=2))),
        "drain": (1, True, partial(Drain, word=data.ArrayLayout(SUM, 1), lanes=2, depth=3)),
        "repeat": (1, False, partial(Repeat, i=rows(2, 1, 1), o=rows(2, 2, 1, fold=2))),
        "upsample": (1, False, partial(Upsample, i=rows(), factors=(2, 2))),
        "upsample, columns": (1, False, partial(Upsample, i=rows(), factors=(1, 2))),
        "pixels to rows": (1, False, partial(PixelsToRows, o=rows(), together=2)),
        "pixels to rows, one": (1, False, partial(PixelsToRows, o=rows(), together=1)),
        "rows to values": (1, False, partial(RowsToValues, i=rows())),
        "frame guard": (1, False, partial(Guarded, beats=3)),
        "stuff": (1, False, Stuff),
        "requests": (1, False, lambda: AlwaysTaken(Requests(pixels=2, pixel_bytes=2))),
        "replies": (1, False, Replies),
        "link": (1, False, lambda: AlwaysTaken(Link(pixels=2, pixel_bytes=1, timeout=3))),
    }


def either(pipelined: bool) -> dict[str, tuple[int, bool, Callable[[], Any]]]:
    """Return the same of each that has a pipelined form and a plain one, in one of them."""
    p: dict[str, Any] = dict(pipelined=pipelined)

    def of(*args: Any, **options: Any) -> Any:
        return partial(layer, *args, **options, **p)

    made = {
        "scale": (3, partial(Scale, operands={"sum": SUM}, o=rows(**p), scaling=scaling(2), steps=2)),
        "requantise": (3, partial(Requantise, sum=SUM, count=2, o=rows(3, **p), scaling=scaling(3), steps=2)),
        "requantise, readout": (3, partial(
            Requantise, sum=SUM, count=2, readout=2, o=rows(3, lanes=1, fold=2, **p),
            scaling=scaling(3), steps=1)),
        "requantise, readout of folds": (3, partial(
            Requantise, sum=SUM, count=1, readout=3, o=rows(lanes=1, fold=6, **p),
            scaling=scaling(2), steps=2)),
        "lookup": (1, partial(Lookup, i=rows(**p), o=rows(**p), tables=[[1, 0]])),
        "lookup, by channel": (1, partial(Lookup, i=rows(**p), o=rows(**p), tables=[[1, 0], [0, 1]])),
        "add": (1, partial(Add, a=rows(**p), b=rows(**p), o=rows(**p), scaling=ADD, steps=1, rows=(0, 0))),
        "add, held rows": (
            3, partial(Add, a=rows(**p), b=rows(**p), o=rows(**p), scaling=ADD, steps=2, rows=(2, 1))),
        "sub": (3, partial(Add, a=rows(**p), b=rows(**p), o=rows(**p), steps=2, rows=(0, 0),
                           scaling=replace(ADD, mirror=1))),
        "mul": (3, partial(Mul, a=rows(**p), b=rows(**p), o=rows(**p), zero_points=(0, 1), sum=signed(3),
                           scaling=scaling(1), steps=2, rows=(0, 0))),
        "gate": (3, partial(Gate, a=rows(1, 2, **p), b=rows(1, 1, 1, **p), o=rows(1, 2, **p),
                            zero_points=(0, 1), sum=signed(3), scaling=scaling(1), steps=1, rows=(0, 0))),
        "narrow": (3, of(input_stationary, p_in=1, p_out=1, drain=False)),
        "narrow, drain": (4, of(input_stationary, p_in=1, p_out=1, drain=True)),
        "narrow, rest": (4, of(input_stationary, outputs=3, p_in=2, p_out=2, drain=False)),
        "narrow, folded": (4, of(input_stationary, p_in=1, p_out=1, drain=False, folds=(2, 2))),
        "narrow, folded drain": (8, of(input_stationary, p_in=2, p_out=1, drain=True, folds=(2, 2))),
        "widen": (5, of(output_stationary, p_in=1, p_out=1)),
        "widen, parallel": (4, of(output_stationary, p_in=2, p_out=2)),
        "widen, folded": (5, of(output_stationary, p_in=1, p_out=1, folds=(2, 2))),
        "widen, strides": (5, of(output_stationary, p_in=1, p_out=1, leaves=by_strides(HALVE))),
        "widen, windows": (5, of(output_stationary, p_in=1, p_out=1, leaves=by_windows(PAIR))),
        "dense": (12, of(output_stationary, SAME, p_in=1, p_out=1, outputs=1, channels=1)),
        "dense, row": (9, of(output_stationary, SAME, p_in=3, p_out=2)),
        "dense, two banks": (20, of(output_stationary, COLUMN, p_in=1, p_out=1, banks=2)),
        "dense, halve": (7, of(output_stationary, HALVE, p_in=2, p_out=1)),
        "dense, halve, two banks": (20, of(output_stationary, HALVE, p_in=4, p_out=2, banks=2)),
        "dense, skip": (5, of(output_stationary, SKIP, p_in=1, p_out=1, banks=2)),
        "dense, paired": (20, of(output_stationary, COLUMN, p_in=3, p_out=1, paired=True)),
        "depthwise": (3, of(depthwise, COLUMN, p_in=1)),
        "depthwise, window": (20, of(depthwise, SAME, p_in=9)),
        "depthwise, patient": (3, of(depthwise, COLUMN, p_in=3, patience=2)),
        "depthwise, halve": (20, of(depthwise, HALVE, p_in=2)),
        "depthwise, strides": (5, of(depthwise, HALVE, p_in=4, arrives=by_strides(HALVE))),
        "depthwise, windows": (20, of(depthwise, COLUMN, p_in=1, arrives=by_windows(COLUMN))),
        "depthwise, multiplier": (20, of(depthwise, COLUMN, p_in=3, channels=1)),
        "depthwise, folded": (20, of(depthwise, COLUMN, p_in=3, folds=(2, 2))),
        "depthwise, paired": (20, of(depthwise, COLUMN, p_in=3, paired=True)),
        "average": (20, of(average_pool, HALVE, p_in=2)),
        "max": (20, of(max_pool, COLUMN, p_in=1)),
        "max, halve": (20, of(max_pool, HALVE, p_in=4)),
        "max, patient": (20, of(max_pool, COLUMN, p_in=1, patience=2)),
        "max, strides": (20, of(max_pool, HALVE, p_in=2, arrives=by_strides(HALVE))),
        "max, folded": (20, of(max_pool, COLUMN, p_in=3, folds=(2, 2))),
        "global": (20, of(global_pool, Window((3, 2)))),
        "global, folded": (20, of(global_pool, Window((3, 2)), folds=(2, 1))),
        "addressed": (40, of(addressed, folds=(2, 2))),
        "addressed, rows": (40, of(addressed, folds=(1, 2))),
        "addressed, window": (40, of(addressed, COLUMN, folds=(2, 2))),
        "addressed, halve": (40, of(addressed, HALVE, folds=(2, 1))),
        "addressed, depthwise": (40, of(addressed_depthwise, COLUMN, folds=(2, 2))),
        "addressed, serial": (40, of(addressed, PAIR, serial=True, folds=(2, 2))),
        "bottleneck": (48, partial(bottleneck, **p)),
        "axi, pool": (40, lambda: Axi(pooled(**p))),
    }
    kept = "depthwise", "dense, two banks", "narrow, drain", "add, held rows", "bottleneck"  # in rings
    made |= {f"{name}, {memory}": made[name] for memory in MEMORIES for name in kept}
    stages = 12 if pipelined else 0  # of lanes and requantisers, and what they wait for one another
    return {name: (silence + stages, pipelined, make) for name, (silence, make) in made.items()}


MAKERS = alone() | either(False) | {f"{name}{PIPELINED}": made for name, made in either(True).items()}


def block(name: str) -> Block:
    silence, cuts_ready, make = MAKERS[name]
    dut = make()
    rings = next((rings for what, rings in MEMORIES.items() if what in name), REGISTERS)
    return Block(dut=dut, silence=silence, frames=frames(dut), cuts_ready=cuts_ready, rings=rings)


QUICK = [
    *alone(), "requantise, readout", "scale", "lookup", "add, held rows",
    "narrow, drain", "widen, windows", "dense", "dense, two banks", "depthwise, patient",
    "depthwise, strides", "depthwise, windows", "max, patient", "gate", "global", "addressed, window",
    "addressed, serial", "bottleneck", "axi, pool", "add, held rows, block RAM",
    *(f"{name}{PIPELINED}" for name in (
        "scale", "requantise, readout", "lookup", "add, held rows", "narrow, drain", "depthwise, patient",
        "max, patient", "global"))
]
"""Those that `make test` proves: each kind in one form at least."""
