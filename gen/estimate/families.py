"""How yosys maps multiplications, memories and shift registers to the primitives of each family.

The rules are those of its technology files (mul2dsp.v, the brams*.txt and what `synth_*` passes to them),
replayed on widths alone.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from headrace.gen.ir.errors import HeadraceError


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
class Family:
    target: str
    multipliers: Multipliers | None
    block_rams: Sequence[BlockRam]
    lut_inputs: int = 4
    bits_in_luts: int = 16  # that cost as much as 1
    shift_registers: bool = False  # of 32 words in a LUT
    dsp_absorbs: bool = False  # the register behind it
    lut_ram: tuple[int, int, int] | None = None  # words, bits and LUTs of a memory with a port to read


_XILINX_RAMS = (BlockRam(18, 14, (1, 2, 4, 9, 18, 36), 129), BlockRam(36, 15, (1, 2, 4, 9, 18, 36, 72), 257))

FAMILIES: dict[str, Family] = {family.target: family for family in (
    Family("ecp5", Multipliers(18, 18, 18), (BlockRam(18, 14, (1, 2, 4, 9, 18, 36), 128),),
           lut_ram=(16, 4, 6)),
    Family("ice40", None, (BlockRam(4, 12, (1, 2, 4, 8, 16), 64),)),
    Family("xc7", Multipliers(25, 18, 18, signed=True), _XILINX_RAMS, lut_inputs=6, bits_in_luts=64,
           shift_registers=True, dsp_absorbs=True, lut_ram=(32, 6, 4)),
    Family("xcup", Multipliers(27, 18, 18, signed=True), _XILINX_RAMS, lut_inputs=6, bits_in_luts=64,
           shift_registers=True, lut_ram=(32, 14, 8)),
)}


def family(target: str) -> Family:
    """Return what is known of a target of `headrace synth`.

    Raises
    ------
    :exc:`HeadraceError`
        If there is no estimate for it.
    """
    if target not in FAMILIES:
        raise HeadraceError(f"there is no estimate for target {target!r}: supported are "
                            f"{', '.join(sorted(FAMILIES))}")
    return FAMILIES[target]


@dataclass(frozen=True)
class Product:
    """What a multiplication becomes: DSPs, bits by bits in LUTs, and bits that are added up from pieces."""

    dsp: int = 0
    soft: int = 0
    joined: int = 0

    def __add__(self, added: "Product") -> "Product":
        return Product(self.dsp + added.dsp, self.soft + added.soft, self.joined + added.joined)


@cache
def product(dsp: Multipliers | None, a: int, b: int) -> Product:
    """Map a multiplication of signed factors."""
    return _piece(dsp, max(a, b), min(a, b), a + b)


def _piece(dsp: Multipliers | None, a: int, b: int, y: int) -> Product:
    if dsp is None or min(a, b) < dsp.least_factor or y < dsp.least_product:
        return Product(soft=a * b)
    if a > dsp.a:
        cut, rest = _cut(dsp, a, dsp.a)
        pieces = [_piece(dsp, dsp.piece, b, min(y, b + dsp.piece))] * cut + [_piece(dsp, rest, b, b + rest)]
    elif b > dsp.b:
        cut, rest = _cut(dsp, b, dsp.b)
        pieces = [_piece(dsp, a, dsp.piece, min(y, a + dsp.piece))] * cut + [_piece(dsp, a, rest, a + rest)]
    else:
        return Product(dsp=1)
    return sum(pieces, Product(joined=cut * y))


def _cut(dsp: Multipliers, width: int, widest: int) -> tuple[int, int]:
    """Return how many pieces are cut off, and what is left."""
    step = dsp.piece - dsp.signed
    count = (width - widest + step - 1) // step
    return count, width - count * step


@cache
def memory(family: Family, depth: int, width: int, *, block: bool = False) -> tuple[int, int]:
    """Return the block RAMs that a memory becomes, and their kbit; none if LUTs cost less and may be used."""
    if not width:
        return 0, 0
    cost, blocks, kbit = min((ram.cost * (blocks := ram.blocks(depth, width)), blocks, blocks * ram.kbit)
                             for ram in family.block_rams)
    return (blocks, kbit) if block or family.bits_in_luts * cost < depth * width else (0, 0)


def lut_memory(family: Family, width: int, depth: int) -> int:
    """Return the LUTs of a memory: those that hold it, and those that choose among them."""
    assert family.lut_ram is not None
    words, bits, luts = family.lut_ram
    rows = -(-depth // words)
    return -(-width // bits) * rows * luts + (rows - 1) * width * 2 // (family.lut_inputs - 1)


def shift_register(family: Family, width: int, depth: int) -> tuple[int, int]:
    """Return LUTs and flip-flops of words that move together."""
    if not family.shift_registers or depth < 3:
        return 0, width * depth
    left = depth % 32 == 1 and depth > 32  # the last word is not worth a LUT
    return width * (-(-depth // 32) - left), width * left
