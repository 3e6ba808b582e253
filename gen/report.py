"""Tables for people."""
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table

from headrace.gen.graph import Graph
from headrace.gen.info import NetworkInfo
from headrace.gen.plan import Plan
from headrace.gen.proof import Proof


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
                   "multiplications", "scale", "zero point", "range", left=2)
    for layer in network.layers:
        table.add_row(
            layer.name, layer.operation, _shape(layer.output), _shape(layer.kernel), _shape(layer.stride),
            ",".join(map(str, layer.pads)), f"{layer.weights:,}", str(layer.weight_bits or ""),
            f"{layer.multiplications:,}", f"{layer.quantisation.scale:.6g}",
            str(layer.quantisation.zero_point), "..".join(map(str, layer.saturation)))
    return Group(f"{network.name}: input {_shape(network.input)}, output {_shape(network.output)}", table,
                 f"{len(network.layers)} layers, {network.weights:,} weights, "
                 f"{network.multiplications:,} multiplications per frame", *host_line(network.host))


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


def check_table(graph: Graph, counts: Mapping[str, int], frames: int) -> Any:
    table = _table("tensor", "values", "mismatches")
    for name, count in counts.items():
        channels, height, width = graph.tensors[name].shape
        table.add_row(name, f"{frames * channels * height * width:,}", str(count))
    return Group(table, f"{frames} frames, {sum(counts.values())} mismatches between the integer reference "
                 f"and ONNX Runtime in {len(counts)} tensors")


def simulation_table(result: Any, plan: Plan, answers: Any) -> Any:
    table = _table("layer", "kind", "lanes", "P_in x P_out", "multipliers", "first beat", "last beat",
                   "mismatches", left=2)
    for name, layer in plan.layers.items():
        cycles = result.beats[name].cycle
        table.add_row(name, layer.kind, str(layer.lanes), f"{layer.p_in} x {layer.p_out}",
                      str(layer.multipliers or ""), f"{cycles[0]:,}", f"{cycles[-1]:,}",
                      str(result.mismatches[name]))
    interval = "(needs two frames)" if result.cycles_per_frame is None else f"{result.cycles_per_frame:,}"
    differing = sum(result.mismatches.values())
    lines = []
    lines.append(f"{result.frames} frames, {differing} mismatches between hardware and integer reference in "
                 f"{len(plan.layers)} layers")
    lines.append(f"cycles per frame: {interval}; first frame after {result.first_frame_latency:,} cycles; "
                 f"{result.multipliers:,} multipliers")
    if answers.correct is not None:
        lines.append(f"accuracy: {answers.correct} of {result.frames}, {answers.correct / result.frames:.1%}")
    if answers.differing is not None:
        lines.append(f"outputs: {answers.differing} values differ from the file's")
    return Group(table, *lines)


def synthesis_table(resources: Any) -> Any:
    keys = [key for key, value in resources.to_json()["total"].items() if isinstance(value, int)]
    table = _table("layer", *keys)
    rows = [*resources.to_json()["layers"], {"name": "total", **resources.to_json()["total"]}]
    for row in rows:
        table.add_row(row["name"], *(f"{row[key]:,}" for key in keys))
    return Group(f"target {resources.target}", table)
