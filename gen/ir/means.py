"""What a plan may be made of: the means of docs/small.md and docs/clock.md."""
from dataclasses import dataclass
from typing import Literal, TypeAlias

from headrace.hdl.base.platform import BLOCKRAM, REGISTERS

Keep: TypeAlias = Literal["wide", "narrow"]


@dataclass(frozen=True, kw_only=True)
class Means:
    """Parameters of a plan that change its size and clock, and no value.

    Parameters
    ----------
    fold : :class:`int` or None
        The most columns that a lane may serve; None for as many as it has time for, if less than a pixel per
        clock is asked for.
    keep : :class:`str`
        Where the rows of a window are kept: "wide", at its own input; "narrow", at the input of the layer
        before, if that is narrower.
    rings : :class:`str`
        What rings are made of. Where that is block RAM, convolutions of a single lane keep their rows there,
        too (:class:`headrace.hdl.layers.addressed.Addressed`).
    serial : :class:`bool`
        Those may multiply bit by bit. Of no effect otherwise.
    pipelined : :class:`bool`
        Lanes have stages; then no output comes every cycle.
    """

    fold: int | None = None
    keep: Keep = "wide"
    rings: str = REGISTERS
    serial: bool = False
    pipelined: bool = False

    @property
    def addressed(self) -> bool:
        """Whether layers may have addresses."""
        return self.rings == BLOCKRAM
