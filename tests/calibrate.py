"""`make calibrate`: fit the estimate's coefficients to what yosys makes of some networks.

Writes gen/estimate/estimate.json, and prints what was made beside what is then estimated. Those of ../shared
are used where they are; larger ones are left to check the estimate with.
"""
import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from headrace.gen.estimate.calibrate import Sample, fit, samples
from headrace.gen.estimate.estimate import COEFFICIENTS, all_parts
from headrace.gen.estimate.price import LATENCY, Prices
from headrace.gen.importer.load import load
from headrace.gen.ir.means import Means
from headrace.gen.kinds import elaborate
from headrace.gen.netlist import build
from headrace.gen.netlist.synthesis import synthesise_modules
from headrace.gen.netlist.target import TARGETS, Target, find
from headrace.gen.planning.planner import plan
from headrace.hdl.base.platform import BLOCKRAM, REGISTERS
from small_models import branches, every_operator, products, rearranged

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "gen/estimate" / COEFFICIENTS
SHARED = ROOT / "../shared/models"
DIGITS = ROOT / "models/digits.onnx"
NETWORKS = {
    "digits": (DIGITS, (None, 4_000)),
    "kws": (SHARED / "mlperf_tiny_kws_dscnn_qdq.onnx", (6_400,)),
}

WIDE = SHARED / "mlperf_tiny_vww_96_qdq.onnx", 9_216
"""At a pixel per cycle its lanes take many operands at once: for products in pairs, which then are many."""


IN_BLOCK_RAM = {"digits 20000 blockram": 20_000, "digits 100000 blockram": 100_000}
"""Cycles per frame of digits with its rows in block RAM: for the kinds of parts that others do not have."""


def networks(folder: Path, target: Target) -> Iterator[tuple[str, Path, int | None, Means]]:
    """Yield name, file, cycles per frame and what plans are made of, of each network to calibrate with.

    Devices whose lanes may multiply bit by bit are small: none of them holds the larger networks.
    """
    every = every_operator(folder / "every.onnx")
    yield "every operator", every, 6_000, Means()
    yield "every operator pipelined", every, 3_000, Means(pipelined=True)
    yield "branches", branches(folder / "branches.onnx"), 6_000, Means()
    multiplied = products(folder / "products.onnx")
    yield "products", multiplied, 6_000, Means()
    yield "products pipelined", multiplied, 600, Means(pipelined=True)
    moved = rearranged(folder / "rearranged.onnx")
    yield "rearranged", moved, 6_000, Means()
    yield "rearranged pipelined", moved, 600, Means(pipelined=True)
    for name, (file, budgets) in NETWORKS.items():
        if target.serial:
            budgets = budgets[1:]
        for cycles in budgets if file.exists() else ():
            yield f"{name} {cycles or ''}".strip(), file, cycles, Means()
    if target.pairs and WIDE[0].exists():
        yield f"vww {WIDE[1]}", *WIDE, Means()
    if not target.serial:
        yield "digits pipelined", DIGITS, None, Means(pipelined=True)
    for name, cycles in IN_BLOCK_RAM.items():
        yield name, DIGITS, cycles, Means(rings=BLOCKRAM)


def calibrate(target: Target, jobs: int) -> dict[str, Any]:
    """Return coefficients, and for each network what yosys made and what is estimated."""
    found: dict[str, list[Sample]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, file, cycles, means in networks(Path(folder), target):
            graph = load(file)
            for paired in ([True, False] if target.pairs and means.rings == REGISTERS else [False]):
                prices = Prices(target if paired or not target.pairs else None,
                                latency=0 if means.rings == BLOCKRAM else LATENCY)
                planned = plan(graph, cycles=cycles, prices=prices,
                               means=replace(means, serial=target.serial))
                netlist = build.netlist(graph, planned)
                made = synthesise_modules(netlist, target=target, jobs=jobs)
                parts = all_parts(elaborate.network(graph, planned), means.rings)
                found[name + " paired" * paired] = samples(parts, made, target.estimated())
                print(f"{target}: {name}{' paired' * paired} synthesised", flush=True)
    return table(found, target)


def table(found: dict[str, list[Sample]], target: Target) -> dict[str, Any]:
    """Fit, and compare by network.

    Of networks with rows in block RAM only those kinds count that others do not have; all where devices are
    so small that networks have their rows there.
    """
    known = set() if target.serial else {
        sample.part.kind for name, each in found.items() if name not in IN_BLOCK_RAM for sample in each}
    coefficients = fit(sample for name, each in found.items() for sample in each
                       if name not in IN_BLOCK_RAM or sample.part.kind not in known)
    networks = {}
    for name, each in found.items():
        made = sum((sample.made * sample.copies for sample in each[1:]), each[0].made * each[0].copies)
        rules = sum((sample.part.fixed * sample.copies for sample in each[1:]),
                    each[0].part.fixed * each[0].copies)
        lut = round(sum(sample.part.lut(coefficients) * sample.copies for sample in each))
        networks[name] = {key: {"yosys": getattr(made, key), "estimate": value} for key, value in (
            ("lut", lut), ("ff", rules.ff), ("dsp", rules.dsp), ("bram", rules.bram))}
    return {"networks": networks, "coefficients": coefficients}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", default=[
        name for name, target in TARGETS.items() if target.primitives is not None])
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    for target in map(find, options.targets):
        made = calibrate(target, options.jobs)
        everything = json.loads(TABLE.read_text()) if TABLE.exists() else {}
        known = everything.get(target.name, {}).get("coefficients", {})
        made["coefficients"] = known | made["coefficients"]  # of kinds that these networks do not have
        TABLE.write_text(json.dumps(everything | {target.name: made}, indent=1, sort_keys=True) + "\n")
        for name, figures in made["networks"].items():
            print(f"{target}: {name}: " + ", ".join(
                f"{key} {each['yosys']:,} estimated {each['estimate']:,}" for key, each in figures.items()))


if __name__ == "__main__":
    main()
