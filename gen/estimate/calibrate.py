"""Fitting the estimate's coefficients to what yosys makes of the modules of some networks.

`make calibrate` runs it; see tests/calibrate.py for the networks.
"""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.gen.estimate.estimate import Mapped, mapped
from headrace.gen.netlist.primitives import Primitives
from headrace.gen.netlist.resources import Resources
from headrace.hdl.area.part import Part

_CERTAIN = 10  # LUTs: an error of a module's square root counts alike from here on


@dataclass(frozen=True)
class Sample:
    """A module: what is estimated of it, what yosys made of it, and how often it is there."""

    name: str
    part: Mapped
    made: Resources
    copies: int


def samples(layers: Iterable[tuple[str, Sequence[Part]]], made: Mapping[str, Resources],
            family: Primitives) -> list[Sample]:
    """Match the parts of a netlist with its synthesised modules, by name."""
    return [Sample(name, mapped(part, family), made[name], part.copies)
            for layer, found in layers for part in found if (name := module(layer, part)) in made]


def module(layer: str, part: Part) -> str:
    """Return the name of a part's module in the netlist."""
    if part.module.startswith("ring__"):
        return part.module
    return f"{layer}__{part.module}" if part.module else layer


def fit(found: Iterable[Sample]) -> dict[str, dict[str, float]]:
    """Return coefficients by kind of part and feature: least squares, none of them negative."""
    kinds: dict[str, list[Sample]] = {}
    for sample in found:
        kinds.setdefault(sample.part.kind, []).append(sample)
    result = {}
    for kind, each in sorted(kinds.items()):
        names = sorted({name for sample in each for name, amount in sample.part.features.items() if amount})
        if not names:
            continue
        amounts = np.array([[sample.part.features.get(name, 0) for name in names] for sample in each], float)
        luts = np.array([sample.made.lut - sample.part.fixed.lut for sample in each], float)
        weights = np.array([sample.copies for sample in each]) / (np.maximum(luts, 0) + _CERTAIN)
        root = np.sqrt(weights)
        solved = _non_negative(amounts * root[:, None], luts * root)
        result[kind] = {name: round(float(value), 4)
                        for name, value in zip(names, solved, strict=True) if value > 0}
    return result


def _non_negative(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Solve ``a x = b`` by least squares, without the unknowns that would become negative."""
    kept = list(range(a.shape[1]))
    result = np.zeros(a.shape[1])
    while kept:
        solved, *_ = np.linalg.lstsq(a[:, kept], b, rcond=None)
        if (solved >= 0).all():
            result[kept] = solved
            break
        del kept[int(np.argmin(solved))]
    return result
