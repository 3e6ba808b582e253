"""What is known of a module before it is synthesised."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Control:
    """The limits of counters, the entries of tables, bits of other registers, and amounts by name."""

    kind: str
    counters: Sequence[int] = ()
    tables: int = 0
    state: int = 0
    features: Mapping[str, float] = field(default_factory=dict)
    gathers: int = 0  # of the state: beats that wait for the rest of their row, sums that are read out

    @property
    def bits(self) -> int:
        """Bits of all registers."""
        return self.state + self._counted

    @property
    def amounts(self) -> dict[str, float]:
        return {"one": 1, "counters": self._counted, "tables": self.tables, **self.features}

    @property
    def _counted(self) -> int:
        return sum((limit - 1).bit_length() for limit in self.counters)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A module that is there :py:`copies` times.

    ``features`` are amounts by name, to be weighed with a family's coefficients; ``products`` the widths of
    signed factors that are multiplied; ``rom`` words and bits per word; ``ring`` bits per word and words.
    ``state`` are the bits of the registers besides those of ROM and ring, of which a DSP may absorb
    ``absorbed``; ``varying`` are the bits of a ROM's word that are not constant, ``columns`` those of them
    that differ from each other, or the columns of a ring that move together.
    """

    module: str  # what follows the layer's name; of the layer itself ""
    kind: str
    copies: int = 1
    features: Mapping[str, float] = field(default_factory=dict)
    products: tuple[tuple[int, int], ...] = ()
    rom: tuple[int, int] | None = None
    ring: tuple[int, int] | None = None
    state: int = 0
    absorbed: int = 0
    varying: int = 0
    columns: int = 0
    in_memory: bool = False  # the ring
    memory: tuple[int, int] | None = None  # words and bits per word of a block RAM that is written
    block: bool = False  # the ROM is in block RAM however small
    gathers: int = 0  # of the state: beats that wait for the rest of their row, sums that are read out


def controlled(module: str, made: Control) -> Part:
    return Part(module=module, kind=made.kind, state=made.bits, features=made.amounts,
                gathers=made.gathers)


def ring_parts(module: str, word: int, columns: int, depth: int, copies: int = 1) -> Iterator[Part]:
    """Yield the columns of a ring, whose module rings of the same shape share."""
    if depth == 1 or columns == 1:
        yield Part(module=module, kind="ring", copies=copies, ring=(word * columns, depth))
    else:
        yield Part(module=f"ring__{word}x{depth}", kind="ring", copies=columns * copies, ring=(word, depth),
                   columns=columns)


def rom_part(module: str, depth: int, width: int) -> Part:
    return Part(module=module, kind="rom", rom=(depth, width) if depth > 1 else None, varying=width,
                columns=width)


def columns_of(numbers: npt.NDArray[np.int64], bits: int) -> list[int]:
    """Return each bit of a table's words as one number."""
    packed = np.packbits(numbers >> np.arange(bits)[:, None] & 1, axis=1, bitorder="little")
    return [int.from_bytes(column.tobytes(), "little") for column in packed]


def halvings(number: int) -> int:
    """Return how often a number can be halved."""
    return (number & -number).bit_length() - 1


def varied(rows: Sequence[Sequence[bool]]) -> int:
    """Return how many columns of a table are not all alike."""
    return sum(len(set(column)) > 1 for column in zip(*rows, strict=True))


def served(fold: int, places: int, bits: int) -> int:
    """Return how many bits there are to choose from, beyond the first, where lanes serve columns in turn."""
    return (fold - 1) * places * bits
