"""What gateware may ask of the platform that it is elaborated for."""
from dataclasses import dataclass
from typing import Final

REGISTERS: Final = "registers"
LUTRAM: Final = "lutram"
BLOCKRAM: Final = "blockram"
"""What rings are made of."""


@dataclass(kw_only=True, eq=False)
class Platform:
    """How memories are described; a platform of another kind, or none, asks for nothing.

    Parameters
    ----------
    fast_rings : :class:`bool`
        Describe rings and ROMs for simulation, where moving a pointer is cheaper than shifting every word.
    rings : :class:`str`
        What rings are made of otherwise: "registers", "lutram" for memory made of LUTs, or "blockram".
    """

    fast_rings: bool = False
    rings: str = REGISTERS


def asked(platform: object) -> Platform:
    """Return what a platform asks for."""
    return platform if isinstance(platform, Platform) else Platform()
