"""The fastest plan that a device holds, by the estimate."""
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, sqrt

from headrace.gen.estimate.devices import DEVICES, Device
from headrace.gen.estimate.estimate import estimate
from headrace.gen.estimate.price import LATENCY, Prices
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import Plan
from headrace.gen.netlist.resources import Resources
from headrace.gen.planning.planner import try_plan
from headrace.hdl.base.platform import REGISTERS

_ENDLESS = 1 << 32  # cycles: more than any plan takes
_CLOSE = 1.02  # budgets that are told apart
_SLOW = (1.0, 0.7, 0.5, 0.35)  # of the slowest plan's cycles: the smallest plan is not always the slowest


@dataclass(frozen=True)
class Use:
    """How much of one kind of a device's primitives a design takes."""

    name: str
    needed: int
    available: int

    @property
    def fits(self) -> bool:
        return self.needed <= self.available

    @property
    def part(self) -> float:
        return self.needed / self.available if self.available else float(self.needed > 0)

    def __str__(self) -> str:
        times = f" ({self.part:.1f} times)" if self.available else ""
        return f"{self.needed:,} {self.name} of {self.available:,}{times}"


def usage(total: Resources, device: Device) -> tuple[Use, ...]:
    """Return what a design takes of each kind; block RAMs by their capacity."""
    cells: tuple[Use, ...] = ()
    if device.cells:
        per_lut, per_ff = device.cells
        cells = (Use("logic cells", ceil(total.lut * per_lut + total.ff * per_ff), device.lut),)
    return (*cells, Use("LUTs", total.lut, device.lut), Use("flip-flops", total.ff, device.ff),
            Use("DSPs", total.dsp, device.dsp),
            Use("block RAMs", ceil(total.bram_kbit / device.bram_kbit), device.bram))


def fits(total: Resources, device: Device) -> bool:
    return all(use.fits for use in usage(total, device))


def fit(graph: Graph, device: Device, means: Means = Means(), latency: float = LATENCY) -> Plan:  # noqa: B008
    """Return the plan of the fewest cycles per frame whose estimate the device holds, up to all of it.

    Budgets are bisected, between a plan that fits and those that are too fast or too large. Lanes may
    multiply bit by bit where the device has no DSPs. Where the device does not hold a plan, latency is worth
    nothing, and another is made.

    Raises
    ------
    :exc:`HeadraceError`
        If the device holds none of the slow plans; the message says what there is too little of.
    """
    prices = Prices(device.target, device, latency)
    search = _Search(graph, device, prices, replace(means, serial=prices.serial))
    best, total = search.smallest()
    if not fits(total, device):
        raise HeadraceError("; ".join(_statement(graph, best, total, device)))
    least, most = 1.0, best.cycles_per_frame
    while most / least > _CLOSE:
        budget = int(sqrt(least * most))
        try:
            attempt, total = search.attempt(budget)
        except HeadraceError:  # too fast
            least = max(budget, least * _CLOSE)
            continue
        if fits(total, device):
            best, most = attempt, min(float(budget), attempt.cycles_per_frame)
        else:
            least = max(budget, least * _CLOSE)
    return best


@dataclass(frozen=True)
class _Search:
    """What plans are made of, and for."""

    graph: Graph
    device: Device
    prices: Prices
    means: Means

    def smallest(self) -> tuple[Plan, Resources]:
        """Return the first plan that fits, slow ones first, or else the one that exceeds the device least."""
        self.device.target.check_rings(self.means.rings)
        slowest = self._plan(_ENDLESS)
        tried = []
        for part in _SLOW:
            try:  # with no more cycles allowed than it takes: some of them are waited for
                attempt, total = self.attempt(ceil(slowest.cycles_per_frame * part))
            except HeadraceError:  # too fast
                continue
            if fits(total, self.device):
                return attempt, total
            tried.append((attempt, total))
        if not tried:
            return slowest, self._total(slowest)
        return min(tried, key=lambda each: _excess(each[1], self.device))

    def attempt(self, cycles: int) -> tuple[Plan, Resources]:
        """Plan for so many cycles."""
        made = self._plan(cycles)
        total = self._total(made)
        if self.prices.latency and not fits(total, self.device):
            return replace(self, prices=replace(self.prices, latency=0.0)).attempt(cycles)
        return made, total

    def _plan(self, cycles: int) -> Plan:
        return try_plan(self.graph, cycles, self.prices, self.means)

    def _total(self, made: Plan) -> Resources:
        return estimate(self.graph, made, target=self.device.target).total


def _excess(total: Resources, device: Device) -> float:
    """Return how much a design takes of what the device has the least of."""
    return max(use.part for use in usage(total, device))


def _statement(graph: Graph, smallest: Plan, total: Resources, device: Device) -> Iterator[str]:
    lacking = ", ".join(str(use) for use in usage(total, device) if not use.fits)
    yield (f"{graph.name} needs at least {lacking} on {device.name} by estimate, in its smallest plan, of "
           f"{smallest.cycles_per_frame:,.0f} cycles per frame")
    only_dsps = all(use.fits for use in usage(total, device) if use.name != "DSPs")
    if smallest.rings == REGISTERS and not only_dsps:
        yield f"rings of memory take less (--rings {device.target.ring_memory})"
    holding = [other.name for other in DEVICES if other.target == device.target and fits(total, other)]
    yield (f"it fits {', '.join(holding)}" if holding
           else f"no listed device of target {device.target} holds it")
