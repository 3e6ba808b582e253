"""How yosys maps multiplications, memories and shift registers to the primitives of each family.

The rules are those of its technology files (mul2dsp.v, the brams*.txt and what `synth_*` passes to them),
replayed on widths alone.
"""
from dataclasses import dataclass
from functools import cache

from headrace.gen.netlist.primitives import Multipliers, Primitives
from headrace.hdl.storage.ring import SHORT


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
def memory(family: Primitives, depth: int, width: int, *, block: bool = False) -> tuple[int, int]:
    """Return the block RAMs that a memory becomes, and their kbit; none if LUTs cost less and may be used."""
    if not width:
        return 0, 0
    cost, blocks, kbit = min((ram.cost * (blocks := ram.blocks(depth, width)), blocks, blocks * ram.kbit)
                             for ram in family.block_rams)
    return (blocks, kbit) if block or family.bits_in_luts * cost < depth * width else (0, 0)


def lut_memory(family: Primitives, width: int, depth: int) -> int:
    """Return the LUTs of a memory: those that hold it, and those that choose among them."""
    assert family.lut_ram is not None
    words, bits, luts = family.lut_ram
    rows = -(-depth // words)
    return -(-width // bits) * rows * luts + (rows - 1) * width * 2 // (family.lut_inputs - 1)


def shift_register(family: Primitives, width: int, depth: int) -> tuple[int, int]:
    """Return LUTs and flip-flops of words that move together."""
    if not family.shift_registers or depth <= SHORT:
        return 0, width * depth
    left = depth % 32 == 1 and depth > 32  # the last word is not worth a LUT
    return width * (-(-depth // 32) - left), width * left
