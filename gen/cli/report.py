"""Tables for people."""
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Group
from rich.table import Table

from headrace.gen.estimate.devices import Device
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.info import NetworkInfo
from headrace.gen.ir.plan import Plan
from headrace.gen.netlist.resources import Report
from headrace.gen.numerics.proof import Proof
from headrace.gen.planning.fit import usage
from headrace.gen.planning.table import PlanTable


def _table(*columns: str, left: int = 1) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index < left else "right", no_wrap=True)
    return table


def host_line(host: Iterable[str]) -> Iterator[str]:
    """A line about the operators that the hardware leaves to the host, or none."""
    if names := ", ".join(host):
        yield f"left to the host: {names}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def info_table(network: NetworkInfo) -> Any:
    table = _table("layer", "operation", "output", "kernel", "stride", "pads", "weights", "bits",
                   "multiplications", "tile", "per output position", "scale", "zero point", "range", left=2)
    for layer in network.layers:
        table.add_row(
            layer.name, layer.operation, _shape(layer.output), _shape(layer.kernel), _shape(layer.stride),
            ",".join(map(str, layer.pads)), f"{layer.weights:,}", str(layer.weight_bits or ""),
            f"{layer.multiplications:,}", "x".join(f"{size:.4g}" for size in layer.tile),
            f"{layer.multiplications_per_position:,}", f"{layer.quantisation.scale:.6g}",
            str(layer.quantisation.zero_point), "..".join(map(str, layer.saturation)))
    return Group(f"{network.name}: input {_shape(network.input)}, output {_shape(network.output)}", table,
                 info_summary(network),
                 f"{network.multiplications_per_position:,} behind each of the {_shape(network.output[1:])} "
                 "output positions: weights x tile, a layer's positions per output position",
                 *_bias_lines(network), *host_line(network.host))


def _bias_lines(network: NetworkInfo) -> Iterator[str]:
    rounded = [layer for layer in network.layers if layer.bias_rounding]
    if rounded:
        most = max(rounded, key=lambda layer: layer.bias_rounding)
        yield (f"real biases of {len(rounded)} layers rounded to multiples of input scale x weight scale, as "
               f"ONNX Runtime rounds them: by up to {most.bias_rounding:.2g} of an output step ({most.name})")


def info_summary(network: NetworkInfo) -> str:
    weighing = sum(layer.weights > 0 for layer in network.layers)
    return (f"{len(network.layers)} layers, {weighing} of them with weights: {network.weights:,} weights, "
            f"{network.multiplications:,} multiplications per frame")


def proof_table(proof: Proof) -> Any:
    table = _table("layer", "operation", "channels", "linear", "tie band", "corrected", "constant",
                   "corrections", "bits of M", "mean", "shift", "sums or pairs", "sum bits", left=2)
    for layer in proof.layers:
        table.add_row(
            layer.name, layer.operation, f"{layer.channels:,}", *(str(count or "") for count in (
                layer.linear, layer.tie_band, layer.corrected, layer.constant, layer.corrections)),
            str(layer.multiplier_bits), f"{layer.mean_multiplier_bits:.1f}", str(layer.shift),
            f"{layer.cases:,}", str(layer.sum_bits or ""))
    return Group(table, proof_summary(proof))


def proof_summary(proof: Proof) -> str:
    total = proof.summary()
    return (f"{total['channels']:,} channels in {len(proof.layers)} requantised layers: {total['linear']:,} "
            f"linear, {total['tie_band']:,} with a tie band, {total['corrected']:,} corrected "
            f"({total['corrections']:,} values), {total['constant']:,} constant; M has up to "
            f"{total['multiplier_bits']} bits; all proved on all {total['cases']:,} reachable sums and pairs")


def check_table(graph: Graph, found: Any, frames: int) -> Any:
    ties = sum(found.ties.values())
    table = _table("tensor", "values", "mismatches", *["ties"] * (ties > 0))
    for name, count in found.mismatches.items():
        channels, height, width = graph.tensors[name].shape
        table.add_row(name, f"{frames * channels * height * width:,}", str(count),
                      *[str(found.ties[name] or "")] * (ties > 0))
    lines = []
    if ties:
        lines.append(f"{ties} ties, one off: means so close to half a step that rounding in ONNX Runtime's "
                     "sums decides; the layers behind are compared from its values on")
    return Group(table, *lines, f"{frames} frames, {sum(found.mismatches.values())} mismatches between the "
                 f"integer reference and ONNX Runtime in {len(found.mismatches)} tensors")


def quantisation(summary: Any) -> str:
    noise = "none" if summary.sqnr is None else f"{summary.sqnr:.1f} dB below the output"
    return (f"{summary.layers} layers; against the float network, on the calibration data: same greatest "
            f"output in {summary.agreement} of {summary.samples}, quantisation noise {noise}")


def simulation_table(result: Any, plan: Plan, answers: Any) -> Any:
    table = _table("layer", "kind", "lanes", "P_in x P_out", "multipliers", "first beat", "last beat",
                   "mismatches", left=2)
    for name, layer in plan.layers.items():
        cycles = result.beats[name].cycle
        table.add_row(name, layer.kind, str(layer.lanes), f"{layer.p_in} x {layer.p_out}",
                      str(layer.multipliers or ""), f"{cycles[0]:,}", f"{cycles[-1]:,}",
                      str(result.mismatches[name]))
    interval = "(needs two frames)" if result.cycles_per_frame is None else f"{result.cycles_per_frame:,.0f}"
    differing = sum(result.mismatches.values())
    lines = []
    lines.append(f"{result.frames} frames, {differing} mismatches between hardware and integer reference in "
                 f"{len(plan.layers)} layers")
    lines.append(f"cycles per frame: {interval}; first frame after {result.first_frame_latency:,} cycles; "
                 f"{result.multipliers:,} multipliers")
    if answers.correct is not None:
        lines.append(f"accuracy: {answers.correct} of {result.frames}, {answers.correct / result.frames:.1%}")
    if answers.differing is not None:
        lines.extend(_answers(answers.to_json()))
    return Group(table, *lines)


def _answers(content: Mapping[str, Any]) -> Iterator[str]:
    behind = f", {content['ties']} of them behind ties of an average" if content.get("ties") else ""
    yield f"outputs: {content['differing']} values differ from the file's{behind}"


def board_table(outputs: npt.NDArray[np.integer], content: Mapping[str, Any]) -> Any:
    """What a board said: of each frame the greatest output, by its class or else channel, row, column."""
    table = _table("frame", "greatest", "value")
    _, _, height, width = outputs.shape
    for number, output in enumerate(outputs):
        at = np.unravel_index(output.argmax(), output.shape)
        table.add_row(str(number), ",".join(map(str, at if height * width > 1 else at[:1])), str(output[at]))
    return Group(table, *_board_lines(content))


def _board_lines(content: Mapping[str, Any]) -> Iterator[str]:
    frames = content["frames"]
    yield f"{frames} frames, {content['repeated']} sent again"
    if "mismatches" in content:
        yield f"{content['mismatches']} mismatches between the board and the integer reference"
    if "correct" in content:
        yield f"accuracy: {content['correct']} of {frames}, {content['correct'] / frames:.1%}"
    if "differing" in content:
        yield from _answers(content)


def plan_table(table: PlanTable) -> Any:
    shown = _table("layer", "kind", "lanes", "fold", "readout", "P_in x P_out", "multipliers", "DSPs", "ROM",
                   "requantise", "cycles/row", "use", "busy", "waits", "state bits", "bound", "first beat",
                   left=2)
    for row in table.rows:
        weighs = row.multipliers > 0
        shown.add_row(
            row.name, row.kind, str(row.lanes), str(row.fold), str(row.readout), f"{row.p_in} x {row.p_out}",
            f"{row.multipliers:,}" if weighs else "", f"{row.dsps:,}" if weighs else "",
            f"{row.rom_depth:,} x {row.rom_width}" if weighs else "", str(row.requantise_steps),
            f"{row.cycles_per_row:,.0f}", f"{row.use:.0%}" if weighs else "", f"{row.busy:.0%}",
            f"{row.waits:.0%}", f"{row.state_bits:,}", f"{row.state_bound:,}", f"{row.latency:,}")
    plan, content = table.plan, table.to_json()
    waiting = [f"{row.name} holds {row.held_rows} rows, {row.state_bits:,} bits with the vector that is made "
               "of them" for row in table.rows if row.kind == "gate" and row.held_rows]
    return Group(
        shown, *waiting, f"cycles per frame: {plan.cycles_per_frame:,.0f}; first frame after "
        f"{plan.first_frame_latency:,} cycles; {plan.multipliers:,} multipliers in {plan.dsps:,} DSPs, "
        f"{table.use:.1%} in use{', pipelined' if plan.pipelined else ''}",
        f"binding: {table.binding.name}, busy {table.binding.busy:.0%} of the time",
        f"state in rings: {content['state_bits']:,} bits, {content['window_bits']:,} of them rows of "
        f"windows; at least {content['state_bound']:,} for windows of the same layers, sums and shortcuts; "
        f"besides, {content['gathered_bits']:,} bits of beats that wait for the rest of their row, and of "
        "sums on their way out")


def with_lines(table: Any, lines: Iterable[str]) -> Any:
    return Group(table, *lines)


def with_estimate(table: Any, estimate: Report | None, device: Device | None, lines: Iterable[str]) -> Any:
    shown = [] if estimate is None else ["", _resources(estimate, f"estimate for {estimate.target}", device)]
    return Group(table, *lines, *shown)


def synthesis_table(resources: Report, device: Device | None = None) -> Any:
    return _resources(resources, f"target {resources.target}", device)


def _resources(resources: Report, title: str, device: Device | None) -> Any:
    content = resources.to_json()
    keys = [key for key, value in content["total"].items() if isinstance(value, int)]
    total, tables = {"name": "total", **content["total"]}, []
    kinds = sorted(({"name": kind, **each} for kind, each in content.get("kinds", {}).items()),
                   key=lambda row: int(row["lut"]), reverse=True)
    for what, rows in (("kind of module", kinds), ("layer", content["layers"])):
        if rows:
            tables.append(_table(what, *keys))
            for row in [*rows, total]:
                tables[-1].add_row(row["name"], *(f"{row[key]:,}" for key in keys))
    lines = [] if device is None else [f"of {device.name}: " + ", ".join(
        f"{use.needed:,} of {use.available:,} {use.name} ({use.part:.0%})"
        for use in usage(resources.total, device))]
    return Group(title, *tables, *lines)


def bitstream_table(made: Any) -> Any:
    table, timing = _table(f"of {made.device}", "used", "available", "part"), made.timing
    for use in made.uses:
        table.add_row(use.name, f"{use.needed:,}", f"{use.available:,}", f"{use.part:.0%}")
    return Group(
        table, f"clock: {timing.achieved:.1f} MHz achieved; the board's is {made.clock:g} MHz",
        f"longest path: {timing.delay:.1f} ns, from {timing.source} to {timing.sink}",
        f"cycles per frame: {made.cycles_per_frame:,.0f}; {made.frames_per_second:,.0f} frames per second at "
        f"{timing.achieved:.1f} MHz", f"{made.file}: {made.board}, {made.baud} baud")
