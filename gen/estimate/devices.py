"""FPGAs, and what they hold."""
import re
from dataclasses import dataclass

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.netlist.target import ECP5, GOWIN, ICE40, XC7, XCUP, Target


@dataclass(frozen=True, kw_only=True)
class Device:
    """One FPGA: the primitives that yosys maps to, as its data sheet counts them.

    A LUT is one with the inputs that the family's LUTs have: four, six in Xilinx's. ``bram`` counts blocks of
    ``bram_kbit``, parity included. Where a LUT and a register share a logic cell, and the register only with
    the LUT that it is behind, ``cells`` are the cells that each LUT and each flip-flop takes.
    """

    name: str
    family: str
    target: Target
    lut: int
    ff: int
    dsp: int
    bram: int
    bram_kbit: int
    source: str
    aliases: tuple[str, ...] = ()
    cells: tuple[float, float] | None = None

    @property
    def memory_kbit(self) -> int:
        return self.bram * self.bram_kbit


def _ecp5(size: int, *, lut: int, dsp: int, bram: int) -> Device:
    return Device(name=f"LFE5U-{size}", family="ECP5", target=ECP5, lut=lut, ff=lut, dsp=dsp, bram=bram,
                  bram_kbit=18, source="Lattice FPGA-DS-02012", aliases=(f"ecp5-{size}",))


def _xilinx(name: str, family: str, target: Target, source: str, *, lut: int, dsp: int, bram: int,
            aliases: tuple[str, ...] = ()) -> Device:
    return Device(name=name, family=family, target=target, lut=lut, ff=2 * lut, dsp=dsp, bram=bram,
                  bram_kbit=36, source=source, aliases=aliases)


_ARTIX = ("Artix-7", XC7, "AMD DS180")
_KINTEX = ("Kintex-7", XC7, "AMD DS180")
_ZYNQ = ("Zynq UltraScale+", XCUP, "AMD DS891")
_VIRTEX = ("Virtex UltraScale+", XCUP, "AMD DS890")

# As nextpnr packs digits with its rows in block RAM (docs/boards.md): some carries take a cell of their own,
# and a third of the flip-flops, which no LUT feeds. Where rings are registers, more of them do.
ICE40_CELLS = 1.08, 0.34

DEVICES: tuple[Device, ...] = (
    # A DSP of the ECP5 is one 18x18 multiplier.
    _ecp5(25, lut=24_288, dsp=28, bram=56),
    _ecp5(45, lut=43_848, dsp=72, bram=108),
    _ecp5(85, lut=83_640, dsp=156, bram=208),
    Device(name="iCE40UP5K", family="iCE40", target=ICE40, lut=5_280, ff=5_280, dsp=8, bram=30, bram_kbit=4,
           source="Lattice FPGA-DS-02008", aliases=("up5k",), cells=ICE40_CELLS),
    Device(name="iCE40HX8K", family="iCE40", target=ICE40, lut=7_680, ff=7_680, dsp=0, bram=32, bram_kbit=4,
           source="Lattice FPGA-DS-02029", aliases=("hx8k",), cells=ICE40_CELLS),
    Device(name="GW5AST-138", family="Gowin Arora V", target=GOWIN, lut=138_240, ff=138_240, dsp=298,
           bram=340, bram_kbit=18, source="Gowin DS1104", aliases=("gw5a-138", "gw5at-138")),
    _xilinx("XC7A35T", *_ARTIX, lut=20_800, dsp=90, bram=50),
    _xilinx("XC7A100T", *_ARTIX, lut=63_400, dsp=240, bram=135),
    _xilinx("XC7A200T", *_ARTIX, lut=134_600, dsp=740, bram=365),
    _xilinx("XC7K325T", *_KINTEX, lut=203_800, dsp=840, bram=445),
    _xilinx("XC7K480T", *_KINTEX, lut=298_600, dsp=1_920, bram=955),
    _xilinx("XCZU3EG", *_ZYNQ, lut=70_560, dsp=360, bram=216, aliases=("zu3eg",)),
    _xilinx("XCZU7EV", *_ZYNQ, lut=230_400, dsp=1_728, bram=312, aliases=("zu7ev",)),
    _xilinx("XCZU9EG", *_ZYNQ, lut=274_080, dsp=2_520, bram=912, aliases=("zu9eg",)),
    _xilinx("XCVU9P", *_VIRTEX, lut=1_182_240, dsp=6_840, bram=2_160, aliases=("vu9p",)),
    _xilinx("XCVU13P", *_VIRTEX, lut=1_728_000, dsp=12_288, bram=2_688, aliases=("vu13p",)),
)


def find(name: str) -> Device:
    """Return the device of a name; upper and lower case, spaces, hyphens and underscores do not count.

    Raises
    ------
    :exc:`HeadraceError`
        If there is none.
    """
    for device in DEVICES:
        if _plain(name) in map(_plain, (device.name, *device.aliases)):
            return device
    raise HeadraceError(f"unknown device {name!r}: supported are "
                        f"{', '.join(device.name for device in DEVICES)}")


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.lower())
