"""What each layer of a plan will cost on an FPGA, without synthesis.

Flip-flops, DSPs, block RAMs and ROM bits follow from the parameters of the gateware and the rules of
:mod:`headrace.gen.estimate.mapping`. LUTs are a sum of features, weighed with coefficients that `make
calibrate` fits to what yosys makes of the modules of many layers; they are in estimate.json beside this file.
"""
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from headrace.gen.estimate.mapping import Product, lut_memory, memory, product, shift_register
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.gen.netlist.primitives import Primitives
from headrace.gen.netlist.resources import Report, Resources
from headrace.gen.netlist.target import Target
from headrace.hdl.area.part import Part
from headrace.hdl.base.platform import REGISTERS
from headrace.hdl.edge.axi import channels_together
from headrace.hdl.layers.fork import Fork
from headrace.hdl.network import Network

COEFFICIENTS = "estimate.json"

Coefficients = Mapping[str, Mapping[str, float]]
"""LUTs per feature, by kind of part."""


@dataclass(frozen=True)
class Mapped:
    """One copy of a part: what rules say, and the features that LUTs follow from."""

    fixed: Resources
    kind: str
    features: Mapping[str, float]

    def lut(self, coefficients: Coefficients) -> float:
        if not any(self.features.values()):
            return self.fixed.lut
        # What was never seen without a DSP, or never with one, has the coefficients of the other.
        kind = self.kind.removesuffix("-dsp")
        found = [coefficients[each] for each in (self.kind, kind, f"{kind}-dsp") if each in coefficients]
        assert found, f"nothing was calibrated for {self.kind}"
        weights = found[0]
        return self.fixed.lut + sum(weights.get(name, 0.0) * amount for name, amount in self.features.items())


def mapped(part: Part, family: Primitives) -> Mapped:
    """Apply a family's rules to a part."""
    features, kind = dict(part.features), part.kind
    lut, srl, ff, dsp, bram, kbit, lutram = 0, 0, part.state, 0, 0, 0, 0
    if part.memory is not None:
        bram, kbit = memory(family, *part.memory, block=True)
        pointer = (part.memory[0] - 1).bit_length() if kind == "ring" else 0
        lut, ff = 2 * pointer, ff + pointer
    elif part.ring is not None and part.in_memory:
        lutram, pointer = lut_memory(family, *part.ring), (part.ring[1] - 1).bit_length()
        lut, ff = lutram + 2 * pointer, ff + pointer + part.ring[0]
    elif part.ring is not None:
        srl, words = shift_register(family, *part.ring)
        ff += words
    if part.rom is not None and kind == "rom":
        depth, _ = part.rom
        bram, kbit = memory(family, depth, part.varying, block=part.block)
        ff += 1 if bram else 1 + part.columns
        lut = 1 if bram else 0
        features = {} if bram else _in_luts(family, depth, part.columns)
    if part.products:
        total = sum((product(family.multipliers, *widths) for widths in part.products), Product())
        dsp = total.dsp
        features |= {"soft": total.soft, "joined": total.joined}
        if dsp:
            kind += "-dsp"
            ff -= part.absorbed if family.dsp_absorbs else 0
    bits = part.rom[0] * part.rom[1] if part.rom else 0
    fixed = Resources(lut=srl + lut, ff=ff, dsp=dsp, bram=bram, bram_kbit=kbit, srl=srl, lutram=lutram,
                      rom_bits=bits, writable_memories=int(part.in_memory or part.memory is not None))
    return Mapped(fixed, kind, features)


def _in_luts(family: Primitives, depth: int, columns: int) -> dict[str, float]:
    """A table's bits in LUTs, and those that choose among several LUTs of a column."""
    luts = max(1.0, depth / (1 << family.lut_inputs))
    return {"one": 1, "columns": columns, "luts": columns * (luts - 1)}


def estimate(graph: Graph, plan: Plan, *, target: Target) -> Report:
    """Estimate what `headrace synth` reports of a plan.

    Raises
    ------
    :exc:`HeadraceError`
        If there is no estimate for the target, or it has no memory for the plan's rings.
    """
    return estimate_network(elaborate.network(graph, plan), target=target, rings=plan.rings)


def estimate_network(network: Network, *, target: Target, rings: str = REGISTERS) -> Report:
    """As :func:`estimate`, of gateware."""
    primitives, coefficients = target.estimated(), coefficients_of(target)
    target.check_rings(rings)
    layers = dict(all_parts(network, rings))
    kinds: dict[str, list[Part]] = {}
    for parts in layers.values():
        for part in parts:
            kinds.setdefault(part.kind, []).append(part)
    totals = {name: _total(parts, primitives, coefficients) for name, parts in layers.items()}
    by_kind = {kind: _total(parts, primitives, coefficients) for kind, parts in kinds.items()}
    return Report(target.name, totals, by_kind)


def all_parts(network: Network, rings: str = REGISTERS) -> Iterator[tuple[str, list[Part]]]:
    """Yield each layer's parts, those between layers, and those at the edge."""
    for name, (layer, _) in network.layers.items():
        yield name, list(layer.parts(rings))
    for maker, readers in network.readers().items():
        if len(readers) > 1:
            yield f"{maker or 'input'}__fork", [Fork.part(len(readers))]
    yield from _edge(network)


def _edge(network: Network) -> Iterator[tuple[str, list[Part]]]:
    i, o = network.formats
    together = channels_together(i.channels)
    pixel, beats = together * i.shape.width, i.height * i.width * i.channels // together
    counted = (i.width - 1).bit_length() + (together - 1).bit_length()
    yield "axi__pixels_to_rows", [Part(
        module="", kind="pixels-to-rows", state=pixel * (2 * i.width - 1 if i.width > 1 else 2) + 1 + counted,
        features={"one": 1, "bits": pixel * i.width if together > 1 else 0})]
    yield "axi__frame_guard", [Part(
        module="", kind="frame-guard", features={"one": 1, "bits": pixel + (beats - 1).bit_length()},
        state=2 + (beats - 1).bit_length())]
    yield "axi__rows_to_values", [Part(
        module="", kind="rows-to-values", features={"one": 1, "bits": (o.lanes - 1) * o.shape.width},
        state=o.lanes * o.shape.width + 1 + (o.lanes - 1).bit_length() + (o.beats - 1).bit_length())]


def _total(found: list[Part], family: Primitives, coefficients: Coefficients) -> Resources:
    total, lut = Resources(), 0.0
    for part in found:
        one = mapped(part, family)
        total += one.fixed * part.copies
        lut += one.lut(coefficients) * part.copies
    return total.with_lut(max(0, round(lut)))


@cache
def coefficients_of(target: Target) -> Coefficients:
    """Return the fitted coefficients of a target."""
    table: Any = json.loads((resources.files(__package__) / COEFFICIENTS).read_text("utf-8"))
    found: Coefficients = table[target.name]["coefficients"]
    return found
