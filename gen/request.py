"""What a plan is asked for, as the command line and users of the library ask, and who carries it out."""
from dataclasses import dataclass, field, replace

from headrace.gen.estimate.devices import Device
from headrace.gen.estimate.price import LATENCY, Prices
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import Plan
from headrace.gen.netlist.target import Target
from headrace.gen.planning.fit import fit
from headrace.gen.planning.planner import plan, unrolled


@dataclass(frozen=True, kw_only=True)
class Request:
    """How fast a plan shall be, for which FPGA, and of what means. Of the first three at most one is given.

    Parameters
    ----------
    cycles : :class:`int` or None
        Cycles between frames at most; by default :py:`planner.default_budget()` is aimed at.
    unroll : :class:`bool`
        Every weight has a multiplier of its own, where streams can feed them.
    device : :class:`Device` or None
        The plan is the fastest that this FPGA holds, by estimate.
    target : :class:`Target` or None
        FPGA family whose DSPs to use; that of the device if there is one, or by default any.
    means : :class:`Means`
        ``serial`` apart, which the target decides.
    latency : :class:`float`
        What it is worth if the first result comes a frame's time earlier, of the price of the whole design.

    Raises
    ------
    :exc:`HeadraceError`
        If what is asked for does not go together.
    """

    cycles: int | None = None
    unroll: bool = False
    device: Device | None = None
    target: Target | None = None
    means: Means = field(default_factory=Means)
    latency: float = LATENCY

    def __post_init__(self) -> None:
        speeds = {"--cycles": self.cycles is not None, "--unroll full": self.unroll,
                  "--fit": self.device is not None}
        if len(given := list(filter(speeds.get, speeds))) > 1:
            raise HeadraceError(f"{' and '.join(given)} do not go together")
        if self.cycles is not None and self.cycles < 1:
            raise HeadraceError(f"--cycles must be a positive integer, not {self.cycles!r}")
        if self.device and self.target not in (None, self.device.target):
            raise HeadraceError(f"--fit {self.device.name} is of target {self.device.target}, "
                                f"not of --target {self.target}")
        if self.family is not None:
            self.family.check_rings(self.means.rings)
        narrowed = {"--fold": self.means.fold is not None, "--keep narrow": self.means.keep == "narrow"}
        for name in filter(narrowed.get, narrowed if self.unroll else ()):
            raise HeadraceError("--unroll full gives each column a lane and each layer its own rows; it does "
                                f"not go with {name}")

    @property
    def family(self) -> Target | None:
        """The FPGA family that is planned for, or None for any."""
        return self.device.target if self.device else self.target

    def plan(self, graph: Graph) -> Plan:
        """Plan a network as asked.

        Raises
        ------
        :exc:`HeadraceError`
            If it cannot be that fast, or the device holds no plan of it.
        """
        prices = Prices(self.family, self.device, self.latency)
        means = replace(self.means, serial=prices.serial)
        if self.unroll:
            return unrolled(graph, paired=prices.pairs, pipelined=means.pipelined, rings=means.rings)
        if self.device:
            return fit(graph, self.device, means, self.latency)
        return plan(graph, cycles=self.cycles, prices=prices, means=means)
