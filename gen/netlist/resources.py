"""What FPGAs are made of, and which of the families' cells take how much of it."""
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

# Cells by what they occupy. A cell that takes several LUTs is listed with their number.
LUTS = {
    "LUT4": 1, "CCU2C": 2, "CCU2": 2,  # ECP5, Nexus: a carry cell is made of two LUTs
    "SB_LUT4": 1,
    **{f"LUT{width}": 1 for width in range(1, 7)}, "LUT6_2": 1, "INV": 1,
    "ALU": 1,  # Gowin: a LUT as an adder bit
    "WIDEFN9": 2,
}
SHIFT_REGISTERS = {"SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1}
FLIP_FLOPS = ("TRELLIS_FF", "SB_DFF", "FDRE", "FDSE", "FDCE", "FDPE", "DFF", "FD1P3")
DSPS = ("MULT18X18D", "MULT9X9D", "ALU54B", "SB_MAC16", "DSP48E1", "DSP48E2", "MULT9X9", "MULT18X18",
        "MULT36X36", "MULTADDALU", "MULTALU", "MULT12X12", "MULT27X36", "MULTADDSUB")
BLOCK_RAMS = {
    "DP16KD": 18,  # ECP5
    "SB_RAM40_4K": 4,
    "RAMB18E1": 18, "RAMB36E1": 36, "RAMB18E2": 18, "RAMB36E2": 36,
    "pROM": 16, "pROMX9": 18, "SP": 16, "SPX9": 18, "SDPB": 16, "SDPX9B": 18, "DPB": 16, "DPX9B": 18,  # Gowin
    "DP16K": 18, "PDP16K": 18, "PDPSC16K": 18, "LRAM": 512,  # Nexus
}
LUT_RAMS = {
    "TRELLIS_DPR16X4": 6, "DPR16X4": 6,  # ECP5, Nexus: two of them only for the write port
    "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8,
    "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8,
    "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8,
    "RAM16SDP1": 1, "RAM16SDP2": 2, "RAM16SDP4": 4,  # Gowin
}
FREE = ("SB_CARRY", "CARRY4", "CARRY8", "MUXF", "PFUMX", "L6MUX21", "MUX2_LUT", "GND", "VCC", "VHI", "VLO",
        "BUF", "IBUF", "OBUF", "GSR", "$scopeinfo")


@dataclass(frozen=True)
class Resources:
    """Primitives. ``bram_kbit`` is the capacity of the block RAMs used; ``other`` counts unknown cells.

    Shift registers and memories made of LUTs (``srl``, ``lutram``) are counted in ``lut`` too.
    ``writable_memories`` are memories with a write port, before mapping; ``rom_bits`` are the bits of all
    others.
    """

    lut: int = 0
    ff: int = 0
    dsp: int = 0
    bram: int = 0
    bram_kbit: int = 0
    srl: int = 0
    lutram: int = 0
    rom_bits: int = 0
    writable_memories: int = 0
    other: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, added: "Resources") -> "Resources":
        a, b = asdict(self), asdict(added)
        other = dict(Counter(a.pop("other")) + Counter(b.pop("other")))
        return Resources(**{name: a[name] + b[name] for name in a}, other=other)

    def __mul__(self, copies: int) -> "Resources":
        of = asdict(self)
        other = {cell: count * copies for cell, count in of.pop("other").items()}
        return Resources(**{name: count * copies for name, count in of.items()}, other=other)

    def with_lut(self, lut: int) -> "Resources":
        return replace(self, lut=lut)


@dataclass(frozen=True)
class Report:
    """Resources of a design by layer and, where it is an estimate, by kind of module."""

    target: str
    layers: Mapping[str, Resources]
    kinds: Mapping[str, Resources] = field(default_factory=dict)

    @property
    def total(self) -> Resources:
        return sum(self.layers.values(), Resources())

    def to_json(self) -> dict[str, Any]:
        return {"target": self.target,
                "layers": [{"name": name, **asdict(layer)} for name, layer in self.layers.items()],
                **({"kinds": {kind: asdict(each) for kind, each in self.kinds.items()}}
                   if self.kinds else {}),
                "total": asdict(self.total)}


def classify(cells: Mapping[str, int], writable: int, rom_bits: int) -> Resources:
    """Count a module's cells by what they occupy; the memories are those before mapping."""
    total: Counter[str] = Counter(writable_memories=writable, rom_bits=rom_bits)
    other: dict[str, int] = {}
    for cell, count in cells.items():
        if cell in LUTS:
            total["lut"] += LUTS[cell] * count
        elif cell in SHIFT_REGISTERS:
            total["lut"] += count
            total["srl"] += count
        elif cell in BLOCK_RAMS:
            total["bram"] += count
            total["bram_kbit"] += BLOCK_RAMS[cell] * count
        elif cell.startswith(DSPS):
            total["dsp"] += count
        elif cell.startswith(FLIP_FLOPS):
            total["ff"] += count
        elif cell in LUT_RAMS:
            total["lut"] += LUT_RAMS[cell] * count
            total["lutram"] += LUT_RAMS[cell] * count
        elif not cell.startswith(FREE):
            other[cell] = count
    return Resources(**total, other=other)
