"""What an FPGA family is made of, as far as multiplications, memories and shift registers follow from it."""
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Multipliers:
    """The widest factors of a DSP, the pieces that wider ones are cut into, and the narrowest product."""

    a: int
    b: int
    piece: int
    signed: bool = False  # a piece needs a sign bit of its own
    least_factor: int = 2
    least_product: int = 9


@dataclass(frozen=True)
class BlockRam:
    """A way to use a block RAM: its size, widths and what a block costs."""

    kbit: int
    address_bits: int  # of single bits
    widths: Sequence[int]
    cost: int

    def blocks(self, depth: int, width: int) -> int:
        """Return how many hold so many words."""
        return min(-(-width // each) * -(-depth // (1 << self.address_bits - (each.bit_length() - 1)))
                   for each in self.widths)


@dataclass(frozen=True)
class Primitives:
    """A family's DSPs, block RAMs and LUTs, as its technology files in yosys use them."""

    multipliers: Multipliers | None
    block_rams: Sequence[BlockRam]
    lut_inputs: int = 4
    bits_in_luts: int = 16  # that cost as much as 1
    shift_registers: bool = False  # of 32 words in a LUT
    dsp_absorbs: bool = False  # the register behind it
    lut_ram: tuple[int, int, int] | None = None  # words, bits and LUTs of a memory with a port to read
