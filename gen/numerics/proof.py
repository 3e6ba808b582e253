"""What is proved of a network's requantisers: the table behind `headrace proof`.

Every row describes the constants that the hardware is made with (:py:`constants.find()`), and there are no
others than proved ones: :py:`requantise.prove()` and :py:`requantise_add.prove()` compare each with ONNX
Runtime's float32 rule over all sums that a channel can reach, or over all pairs of addends.
"""
from dataclasses import asdict, dataclass
from typing import Any

from headrace.gen.ir.graph import Add, Graph, Node, Sub
from headrace.gen.ir.info import operation
from headrace.gen.numerics import constants
from headrace.gen.numerics.constants import Constants
from headrace.hdl.arithmetic.requantisation import AddRequantisation, Requantisation

PAIRS = 1 << 16  # of 8-bit addends


@dataclass(frozen=True)
class LayerProof:
    """One requantised layer; each channel is counted as exactly one of four forms."""

    name: str
    operation: str
    linear: int  # channels: (s * M + offset) >> shift
    tie_band: int  # channels: the same with rounding half to even, which a layer has for all or none
    corrected: int  # channels: one of these, and single sums (or pairs of addends) that are one off
    constant: int  # channels: one result whatever the sum; the multiplier is 0
    corrections: int  # sums, or pairs of addends
    multiplier_bits: int  # of the widest multiplier, which the hardware has room for
    mean_multiplier_bits: float  # over the channels that are not constant
    shift: int
    cases: int  # reachable sums of all channels, or pairs of addends; all proved
    sum_bits: int  # of the accumulator; 0 without one

    @property
    def channels(self) -> int:
        return self.linear + self.tie_band + self.corrected + self.constant


@dataclass(frozen=True)
class Proof:
    network: str
    layers: tuple[LayerProof, ...]

    def total(self, name: str) -> int:
        return sum(getattr(layer, name) for layer in self.layers)

    def summary(self) -> dict[str, int]:
        """Return totals, and the widest multiplier and accumulator."""
        added = ("channels", "linear", "tie_band", "corrected", "constant", "corrections", "cases")
        widest = ("multiplier_bits", "sum_bits")
        return {name: self.total(name) for name in added} | {
            name: max((getattr(layer, name) for layer in self.layers), default=0) for name in widest}

    def to_json(self) -> dict[str, Any]:
        return {"network": self.network, "layers": [asdict(layer) | {"channels": layer.channels}
                                                    for layer in self.layers], "total": self.summary()}


def prove(graph: Graph) -> Proof:
    """Find and prove the constants of every layer."""
    found = constants.find(graph)
    return Proof(graph.name, tuple(_layer(graph, node, found) for node in graph.nodes
                                   if node.name in found.adds or node.name in found.sums))


def _layer(graph: Graph, node: Node, found: Constants) -> LayerProof:
    channels = graph.tensors[node.output].channels
    scaling: Requantisation | AddRequantisation
    if isinstance(node, Add | Sub):
        scaling = found.adds[node.name]
        alive = channels if any(scaling.multipliers) else 0
        corrected = channels if scaling.corrections else 0
        cases, sum_bits = PAIRS, 0
    else:
        scaling, reach = found.sums[node.name], found.reach[node.name]
        alive = int(found.alive(node.name).sum())
        corrected = len({channel for channel, *_ in scaling.corrections})
        if len(scaling.multipliers) == 1:
            corrected *= channels  # one stands for all
        cases, sum_bits = int((reach.hi - reach.lo + 1).sum()), found.sum_shape(node.name).width
    bits = [factor.bit_length() for factor in scaling.multipliers if factor]
    exact = alive - corrected
    return LayerProof(
        name=node.name, operation=operation(node), linear=exact if scaling.tie is None else 0,
        tie_band=0 if scaling.tie is None else exact, corrected=corrected, constant=channels - alive,
        corrections=len(scaling.corrections), multiplier_bits=scaling.multiplier_width,
        mean_multiplier_bits=round(sum(bits) / max(len(bits), 1), 1), shift=scaling.shift, cases=cases,
        sum_bits=sum_bits)
