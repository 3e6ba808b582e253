"""FPGA families: how yosys synthesises for each, and what matters of it to plans and estimates."""
from dataclasses import dataclass

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.netlist.primitives import BlockRam, Multipliers, Primitives
from headrace.hdl.base.platform import BLOCKRAM, LUTRAM, REGISTERS


@dataclass(frozen=True, kw_only=True)
class Target:
    """An FPGA family.

    Parameters
    ----------
    name : :class:`str`
        What `--target` calls it.
    synthesis : :class:`str`
        Yosys' commands, a line each, with ``{}`` for the top module; the last maps to primitives, and keeps
        hierarchy, so that a lane is synthesised once.
    memory_step : :class:`str`
        Step of that last command in which memories become RAMs.
    pairs : :class:`bool`
        A DSP multiplies for two lanes at a time (:class:`headrace.hdl.lanes.pair.LanePair`).
    dsps : :class:`bool`
        Synthesis uses DSPs.
    lut_ram : :class:`bool`
        There is memory made of LUTs.
    flat : :class:`bool`
        A bitstream's design is flattened before synthesis: docs/boards.md has figures.
    primitives : :class:`Primitives` or None
        What estimates follow from; None if there is no estimate.
    """

    name: str
    synthesis: str
    memory_step: str = "map_ram"
    pairs: bool = False
    dsps: bool = True
    lut_ram: bool = True
    flat: bool = False
    primitives: Primitives | None = None

    def __post_init__(self) -> None:
        if self.primitives is not None:
            assert self.dsps == (self.primitives.multipliers is not None)
            assert self.lut_ram == (self.primitives.lut_ram is not None)

    def __str__(self) -> str:
        return self.name

    @property
    def serial(self) -> bool:
        """Whether lanes may multiply bit by bit (:class:`headrace.hdl.lanes.bit_lane.BitLane`)."""
        return not self.dsps

    @property
    def ring_memory(self) -> str:
        """What rings can be made of besides registers, at least cost."""
        return LUTRAM if self.lut_ram else BLOCKRAM

    def check_rings(self, rings: str) -> None:
        """Raise :exc:`HeadraceError` if there is nothing to make rings of."""
        if rings == LUTRAM and not self.lut_ram:
            raise HeadraceError(f"target {self} has no memory made of LUTs: rings must be {REGISTERS} or "
                                f"{BLOCKRAM}")

    def estimated(self) -> Primitives:
        """Return what estimates follow from.

        Raises
        ------
        :exc:`HeadraceError`
            If there is no estimate for this family.
        """
        if self.primitives is None:
            known = (name for name, target in TARGETS.items() if target.primitives is not None)
            raise HeadraceError(f"there is no estimate for target {self.name!r}: supported are "
                                f"{', '.join(sorted(known))}")
        return self.primitives


_XILINX = "scratchpad -set abc9.verify false\nsynth_xilinx -family {} -noiopad -noclkbuf -top {{}}"
_XILINX_RAMS = (BlockRam(18, 14, (1, 2, 4, 9, 18, 36), 129), BlockRam(36, 15, (1, 2, 4, 9, 18, 36, 72), 257))

ECP5 = Target(
    name="ecp5", synthesis="synth_ecp5 -noflatten -noiopad -top {}", primitives=Primitives(
        Multipliers(18, 18, 18), (BlockRam(18, 14, (1, 2, 4, 9, 18, 36), 128),), lut_ram=(16, 4, 6)))
ICE40 = Target(
    name="ice40", synthesis="synth_ice40 -noflatten -top {}", dsps=False, lut_ram=False, flat=True,
    primitives=Primitives(None, (BlockRam(4, 12, (1, 2, 4, 8, 16), 64),)))
XC7 = Target(
    name="xc7", synthesis=_XILINX.format("xc7"), memory_step="map_memory", pairs=True, primitives=Primitives(
        Multipliers(25, 18, 18, signed=True), _XILINX_RAMS, lut_inputs=6, bits_in_luts=64,
        shift_registers=True, dsp_absorbs=True, lut_ram=(32, 6, 4)))
XCUP = Target(
    name="xcup", synthesis=_XILINX.format("xcup"), memory_step="map_memory", pairs=True,
    primitives=Primitives(
        Multipliers(27, 18, 18, signed=True), _XILINX_RAMS, lut_inputs=6, bits_in_luts=64,
        shift_registers=True, lut_ram=(32, 14, 8)))
GOWIN = Target(name="gowin", synthesis="synth_gowin -noflatten -noiopads -top {}")
NEXUS = Target(name="nexus", synthesis="synth_nexus -noflatten -noiopad -top {}")

TARGETS: dict[str, Target] = {target.name: target for target in (ECP5, ICE40, XC7, XCUP, GOWIN, NEXUS)}


def find(name: str) -> Target:
    """Return the family of a name.

    Raises
    ------
    :exc:`HeadraceError`
        If there is none.
    """
    if name not in TARGETS:
        raise HeadraceError(f"unknown target {name!r}: supported are {', '.join(sorted(TARGETS))}")
    return TARGETS[name]
