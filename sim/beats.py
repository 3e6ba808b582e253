"""What a simulation takes and gives: beats of streams, and the cycles in which they may move.

Cycles count rising clock edges from the initial state; a value belongs to cycle ``t`` if it stands before
edge ``t``. Both simulators follow the same rules in every cycle:

- an input offers its next beat once its pattern is true, and from then on until the transfer;
- an output is ready in the cycles its pattern says, also after all the beats that were asked for;
- a beat moves, on any stream, in a cycle in which valid and ready are high;
- the run ends after the cycle in which the last output has had all its beats.
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.gen.ir.errors import HeadraceError

Pattern = npt.NDArray[np.bool_]
"""Whether a side is willing, cycle by cycle; repeats from its end."""

Progress = Callable[[int, int, int], None]
"""Called now and then with the number of output beats seen and expected, and the cycle."""

always: Pattern = np.ones(1, np.bool_)


@dataclass(frozen=True, eq=False)
class Beats:
    """The beats that moved on one stream.

    Attributes
    ----------
    cycle : array (beats,) of int64
        When each beat moved.
    payload : array (beats, bytes) of uint8
        Its payload, little endian, padded to whole bytes.
    """

    cycle: npt.NDArray[np.int64]
    payload: npt.NDArray[np.uint8]


def row_bytes(width: int) -> int:
    """Bytes that a payload of so many bits takes in :class:`Beats`."""
    return -(-width // 8)


def pattern(patterns: Mapping[str, Pattern] | None, stream: str) -> Pattern:
    """Return the pattern of a stream, which is :data:`always` if none is given."""
    found = np.ascontiguousarray((patterns or {}).get(stream, always), np.bool_)
    if not found.any():
        raise ValueError(f"A pattern must be true at times; that of {stream} is not")
    return found


def hang(cycle: int, deadline: int, seen: Mapping[str, str]) -> HeadraceError:
    """Return the error for a run in which nothing moved for too long."""
    beats = ", ".join(f"{name} {count}" for name, count in seen.items())
    return HeadraceError(f"simulation hangs: no transfer on any stream in the {deadline} cycles before "
                         f"cycle {cycle}; beats seen: {beats}")
