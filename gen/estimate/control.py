"""What stands around the lanes of each kind of layer: counters, tables, multiplexers, masks."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd
from typing import Any

from headrace.hdl.arithmetic.geometry import held_groups, merges, passing_groups
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.lanes.steps import MAC_STAGES
from headrace.hdl.layers.addressed import Addressed
from headrace.hdl.layers.branch import Add
from headrace.hdl.layers.concat import Concat
from headrace.hdl.layers.global_pool import GlobalPool
from headrace.hdl.layers.input_stationary import InputStationary
from headrace.hdl.layers.lookup import Lookup
from headrace.hdl.layers.output_stationary import OutputStationary
from headrace.hdl.layers.upsample import Upsample
from headrace.hdl.layers.window import Depthwise, MaxPool


@dataclass(frozen=True)
class Control:
    """The limits of counters, the entries of tables, bits of other registers, and amounts by name."""

    kind: str
    counters: Sequence[int] = ()
    tables: int = 0
    state: int = 0
    features: Mapping[str, float] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        """Bits of all registers."""
        return self.state + self._counted

    @property
    def amounts(self) -> dict[str, float]:
        return {"one": 1, "counters": self._counted, "tables": self.tables, **self.features}

    @property
    def _counted(self) -> int:
        return sum((limit - 1).bit_length() for limit in self.counters)


def control(layer: Any) -> Control:
    """Return what a layer has besides lanes, rings, ROMs and requantiser."""
    made = _control(layer)
    return replace(made, state=made.state + _stages(layer))


def _stages(layer: Any) -> int:
    """Return the bits that registers hold of what lanes are told, where these have stages."""
    match layer:
        case Addressed() if layer.lane_pipelined:
            depth = layer.rom_depth
            return 3 * MAC_STAGES + (depth - 1).bit_length() + (depth > 1) * layer.weight.width
        case OutputStationary() | InputStationary() if layer.formats[1].pipelined:
            return 3 * MAC_STAGES + layer.p_in * layer.p_out * layer.weight.width
        case Depthwise() if layer.formats[1].pipelined:
            return 3 * MAC_STAGES + (layer.rom_depth > 1) * layer.p_in * layer.weight.width
    return 0


def _control(layer: Any) -> Control:
    match layer:
        case Addressed():
            return _addressed(layer)
        case OutputStationary():
            return _output_stationary(layer)
        case InputStationary():
            o = layer.formats[1]
            counters = layer.turns, layer.groups, layer.groups * layer.turns, o.fold
            return Control("input-stationary", counters, features={
                "served": _served(o, o.lanes, layer.p_in * layer.formats[0].shape.width)})
        case Depthwise() | MaxPool():
            return _window(layer)
        case GlobalPool():
            i, width = layer.formats[0], layer.sum.width
            adders = i.lanes * i.shape.width if i.width > 1 else 0
            return Control("global-pool", (i.channels, i.height, i.fold), state=width + 1,
                           features={"across": adders, "sum": width if i.height > 1 else 0})
        case Lookup():
            o = layer.formats[1]
            return Control("lookup-row", state=o.lanes * o.shape.width + 1)
        case Concat():
            total, many = sum(each.row_beats for each in layer.formats), len(layer.formats)
            return Control("concat", (total,), tables=total, features={
                "bits": layer.formats[0].lanes * layer.formats[0].shape.width * (many - 1)})
        case Upsample():
            i, down = layer.format, layer.factors[0]
            return Control("upsample", (i.row_beats, down) if down > 1 else (), features={
                "bits": i.lanes * i.shape.width if down > 1 else 0})
        case Add():
            return Control("add")
    raise AssertionError(f"no parts are known of {type(layer).__name__}")


def _addressed(layer: Addressed) -> Control:
    (i, o), window, places = layer.formats, layer.window, layer.places
    outputs = (o.channels // i.channels, i.channels) if layer.depthwise else (o.channels,)
    counters = [i.width, i.channels, places, places + 1, *reversed(window.kernel), layer.planes, layer.inner,
                o.width, *outputs, o.height, layer.rom_depth]
    beat = i.lanes * i.shape.width if i.lanes > 1 else 0
    # Where the window is: bits that a stride never changes are constants.
    above = _bits_above(places, window.stride[0], i.height - (o.height - 1) * window.stride[0])
    begin = 0
    if o.width > 1 and (layer.pads_columns or window.stride[1] > 1):  # else it counts the columns
        reached = max((o.width - 1) * window.stride[1] + window.kernel[1], i.width)
        begin = reached.bit_length() + 1 if layer.pads_columns else (i.width - 1).bit_length()
        begin -= _even(window.stride[1])
    masked = _varied([window.inside(window.first_row(row), i.height) for row in range(o.height)])
    padded = layer.pads_columns or layer.pads_rows
    state = beat + (i.lanes.bit_length() if beat else 0) + above + begin
    return Control("addressed", counters, tables=o.height * (masked + (len(set(layer.needs)) > 1)),
                   state=state + padded + 3 + 2 * layer.serial, features={
        "beat": beat, "pad": padded * i.shape.width, "depthwise": layer.depthwise})


def _bits_above(places: int, *steps: int) -> int:
    return max(0, (places - 1).bit_length() - _even(gcd(*steps)))


def _even(number: int) -> int:
    """Return how often a number can be halved."""
    return (number & -number).bit_length() - 1


def _varied(rows: Sequence[Sequence[bool]]) -> int:
    """Return how many columns of a table are not all alike."""
    return sum(len(set(column)) > 1 for column in zip(*rows, strict=True))


def _output_stationary(layer: OutputStationary) -> Control:
    (i, o), window = layer.formats, layer.hold
    groups, _ = held_groups(window, i.height)
    kernel, kept = window.kernel[0], min(window.kernel[0], window.stride[0])
    used = len({column for taps in window.columns(i.width) for column in taps if column is not None})
    bits = used * layer.side * i.shape.width  # of one row of words
    masked = _varied([group.inside for group in groups]) if o.group == 1 else 0
    counters = [i.height, layer.side * i.fold, layer.words, len(groups), layer.selects, layer.words,
                layer.sweeps, layer.words * layer.selects * layer.sweeps, o.fold]
    if o.group > 1:
        counters.append(o.group)
    state = (kept * layer.banks + (2 if layer.banks > 1 else 0)
             + i.lanes * i.shape.width * (layer.side * i.fold - 1))
    return Control("output-stationary", counters, tables=len(groups) * masked, state=state, features={
        "enter": bits * kernel, "bank": bits * kept * (layer.banks - 1), "mask": bits * masked,
        "served": _served(o, window.reached(o.lanes), kernel * layer.side * i.shape.width)})


def _served(o: RowFormat, places: int, bits: int) -> int:
    """Return how many bits there are to choose from, beyond the first, where lanes serve columns in turn."""
    return (o.fold - 1) * places * bits


def _window(layer: Depthwise | MaxPool) -> Control:
    (x, o), window, kernel = layer.formats, layer.window, layer.window.kernel[0]
    groups = passing_groups(window, x.height, x.group)
    masked = _varied([group.inside for group in groups])
    merged = merges(groups)
    counters = [len(groups), -(-window.taps // layer.p_in), o.channels // x.channels, x.channels, o.fold]
    state = 0
    if isinstance(layer, MaxPool):
        state += o.lanes * o.shape.width + 1
    elif layer.weights is not None:
        counters.append(o.channels * -(-window.taps // layer.p_in))
    if merged:
        counters.append(x.channels + 1)
        if layer.patience:
            counters.append(layer.patience + 1)
    bits = x.width * x.shape.width
    return Control("window", counters, tables=len(groups) * masked, state=state, features={
        "merge": merged, "pass": merged * bits * max(0, kernel - x.group), "mask": bits * masked,
        "served": _served(o, window.reached(o.lanes), kernel * x.shape.width)})
