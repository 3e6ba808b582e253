"""What a plan says: how much of each layer is unrolled."""
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from headrace.hdl.arithmetic.geometry import Window
from headrace.hdl.base.platform import REGISTERS


@dataclass(frozen=True)
class LayerPlan:
    """One layer: its lanes and how its loops are unrolled."""

    name: str
    kind: str  # of :data:`headrace.gen.kinds.registry.KINDS`
    lanes: int
    cycles: int  # per frame, if nothing behind it makes it wait
    requantise_steps: int  # cycles per requantised output
    p_in: int = 1  # operands used per step in each lane
    p_out: int = 1  # outputs computed side by side in each lane
    banks: int = 1  # of landing rows
    drain: bool = False  # finished sums wait in a ring of their own
    patience: int = 0  # cycles that the last row of a frame waits for the next frame's first
    shortcut_rows: tuple[int, ...] = ()  # rows held of each operand
    together: Window = Window()  # of rows that leave together
    fold: int = 1  # columns that each lane serves in turn
    readout: int = 1  # columns that each requantiser serves in turn
    serial: bool = False  # its lane multiplies by one bit of a weight per step
    paired: bool = False  # neighbour lanes' products come from one multiplier
    multiplies: bool = False  # it has weights

    @property
    def beats(self) -> int:
        """In which a row of a channel comes."""
        return self.fold * self.readout

    @property
    def multipliers(self) -> int:
        return self.lanes * self.p_in * self.p_out if self.multiplies else 0

    @property
    def dsps(self) -> int:
        """Multipliers with those of a pair of lanes counted once, of an odd lane those of two outputs."""
        if self.serial:
            return 0
        if not self.paired:
            return self.multipliers
        return self.p_in * (self.lanes // 2 * self.p_out + self.lanes % 2 * -(-self.p_out // 2))


@dataclass(frozen=True)
class Output:
    """What the cycle model says of a layer's output stream."""

    first: int  # cycle in which the first beat moves, from the network's first input
    waits: float  # part of the time that a beat is there and not taken


@dataclass(frozen=True)
class Plan:
    """A network's layers by name, and what the cycle model says of them."""

    budget: int | None  # cycles per frame that were allowed
    cycles_per_frame: float  # frames back to back
    first_frame_latency: int
    layers: dict[str, LayerPlan]
    pipelined: bool = False  # lanes have stages, and no layer's readiness follows from the next one's at once
    rings: str = REGISTERS  # what they are made of
    outputs: Mapping[str, Output] = field(default_factory=dict)  # of the layers, by name

    @property
    def multipliers(self) -> int:
        return sum(layer.multipliers for layer in self.layers.values())

    @property
    def dsps(self) -> int:
        return sum(layer.dsps for layer in self.layers.values())

    def to_json(self) -> dict[str, Any]:
        return {"cycles_per_frame_budget": self.budget, "cycles_per_frame": self.cycles_per_frame,
                "first_frame_latency": self.first_frame_latency, "multipliers": self.multipliers,
                "dsps": self.dsps, "pipelined": self.pipelined, "rings": self.rings,
                "layers": [asdict(layer) | {"multipliers": layer.multipliers, "dsps": layer.dsps}
                           for layer in self.layers.values()]}
