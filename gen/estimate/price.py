"""What layers cost, in one coin: LUTs of the FPGA that is planned for."""
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.gen.estimate.devices import DEVICES, Device
from headrace.gen.estimate.estimate import coefficients_of, mapped
from headrace.gen.netlist.target import XC7, Target
from headrace.hdl.area.part import Part

TYPICAL = XC7
"""The family whose prices count where none is named, or there is no estimate of the one that is."""

LATENCY = 0.35
"""Of a design's price: what it is worth if the first result comes one frame's time earlier."""

Amounts = npt.NDArray[np.float64]
"""LUTs, flip-flops, DSPs, kbit of block RAM."""

Coin = npt.NDArray[np.float64]
"""LUTs that one of each is worth."""


@dataclass(frozen=True)
class Prices:
    """What decides between plans that are equally fast.

    A resource is worth what it is of all that the device has, or all listed devices of the family together:
    of a device with 100 LUTs for each DSP, a DSP is worth 100 LUTs, if the design takes as large a part of
    both; less if there are more of them to spare.

    Parameters
    ----------
    target : :class:`Target` or None
        FPGA family whose DSPs are used; None for any.
    device : :class:`Device` or None
        One of that family.
    latency : :class:`float`
        What a frame's time of latency is worth, of the price of the whole design.
    """

    target: Target | None = None
    device: Device | None = None
    latency: float = LATENCY

    @property
    def family(self) -> Target:
        """The family whose estimate is asked."""
        return self.target if self.target is not None and self.target.primitives is not None else TYPICAL

    @property
    def pairs(self) -> bool:
        """Whether lanes may share multipliers in pairs."""
        return self.target is not None and self.target.pairs

    @property
    def serial(self) -> bool:
        """Whether lanes may multiply bit by bit."""
        return self.target is not None and self.target.serial

    @property
    def capacity(self) -> Amounts:
        devices = [self.device] if self.device else [each for each in DEVICES if each.target == self.family]
        each = np.array([[one.lut, one.ff, one.dsp, one.memory_kbit] for one in devices], float)
        return np.asarray(each.sum(axis=0))

    def coin(self, total: Amounts | None = None) -> Coin:
        """Return what resources are worth in a design that takes so much in all; by default of each alike."""
        capacity = self.capacity
        worth: Coin = np.divide(capacity[0], capacity, out=np.zeros_like(capacity), where=capacity > 0)
        if total is None:
            return worth
        shares = total / np.maximum(capacity, 1)
        scarce: Coin = worth * shares / max(shares.max(), 1e-9)
        return np.asarray(scarce / max(scarce[0], 1e-9))

    def amounts(self, parts: Iterable[Part]) -> Amounts:
        """Return what parts take, by the estimate."""
        family, coefficients = self.family.estimated(), coefficients_of(self.family)
        total = np.zeros(4)
        for part in parts:
            one = mapped(part, family)
            total += part.copies * np.array([
                one.lut(coefficients), one.fixed.ff, one.fixed.dsp, one.fixed.bram_kbit])
        return total
