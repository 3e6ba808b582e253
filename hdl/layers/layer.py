"""What every kind of layer is: gateware, values, timing, cost and state in one class."""
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from headrace.hdl.area.part import Control, Part, controlled
from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.base.component import Portable
from headrace.hdl.base.platform import BLOCKRAM, REGISTERS
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.storage.ring import in_memory
from headrace.hdl.timing.channel import Channel, Process, Scheduler


@dataclass(frozen=True)
class RomShape:
    """The ROM of a layer's weights; a single word is a constant."""

    depth: int  # words
    width: int  # bits


@dataclass(frozen=True)
class State:
    """The bits that a layer keeps between steps, apart from what an adder or a requantiser works on."""

    kept: int = 0  # in rings: windows, landing rows, unfinished and finished sums, shortcuts
    window: int = 0  # of them, rows of a window, but for the newest, which are in use
    least: int = 0  # what any machine keeps that reads a row once


class Layer(Portable, ABC):
    """A layer of a network: streams of rows in, a stream of rows ``o`` out.

    Attributes
    ----------
    formats : :class:`tuple` of :class:`RowFormat`
        Of the inputs, in the order of the ports, then of the output.
    """

    formats: tuple[RowFormat, ...]
    o: Any

    @property
    @abstractmethod
    def rom(self) -> RomShape | None:
        """The ROM of its weights, if it has weights."""

    @abstractmethod
    def model(self, *images: Image) -> Image:
        """Compute its output image from its input images, C x H x W, bit for bit."""

    @abstractmethod
    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        """Say when beats move: the sequencers of the gateware without data, to the cycle."""

    @abstractmethod
    def control(self) -> Control:
        """Say what its own module costs: counters, tables, multiplexers, masks."""

    @abstractmethod
    def modules(self, rings: str) -> Iterator[Part]:
        """Yield what the modules below its own cost, with rings in registers."""

    @abstractmethod
    def state(self) -> State:
        """Say how many bits it keeps."""

    @property
    def steps_per_product(self) -> int:
        """Steps that a lane takes to multiply once."""
        return 1

    @final
    def parts(self, rings: str = REGISTERS) -> Iterator[Part]:
        """Yield its modules and what matters of each for its area, with rings of registers or of memory.

        One :class:`Part` per module of the netlist that :class:`headrace.hdl.base.hierarchy.Hierarchy` makes
        of the layer, under the same name, but for modules that only connect others. Nothing is elaborated:
        parts follow from parameters, so that a planner can ask for them often.
        """
        for part in (self.own_part(), *self.modules(rings)):
            if part.ring is not None:
                (width, depth), columns = part.ring, max(1, part.columns)  # which are one memory
                if in_memory(rings, width * columns, depth):
                    part = replace(part, copies=part.copies // columns, **(
                        dict(ring=None, memory=(depth, width * columns)) if rings == BLOCKRAM
                        else dict(ring=(width * columns, depth), in_memory=True)))
            yield part

    @final
    @property
    def gathers(self) -> int:
        """Bits besides :py:`state` in which beats wait for the rest of their row, and sums to be read out."""
        return sum(part.gathers * part.copies for part in (self.own_part(), *self.modules(REGISTERS)))

    def own_part(self) -> Part:
        """Return what its own module costs."""
        return controlled("", self.control())
