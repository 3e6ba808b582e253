"""What a plan means, layer by layer: the table behind `headrace plan`."""
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from headrace.gen.ir.graph import Graph
from headrace.gen.ir.info import info
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.hdl.layers.layer import RomShape


@dataclass(frozen=True)
class LayerRow:
    """One layer of a plan, at the steady rate of the whole network."""

    name: str
    kind: str
    lanes: int
    fold: int  # columns that each serves
    readout: int  # columns that each requantiser serves
    p_in: int
    p_out: int
    multipliers: int
    dsps: int  # those of a pair of lanes counted once
    rom_depth: int  # words; 1 is a constant
    rom_width: int  # bits
    requantise_steps: int
    cycles_per_row: float  # of the output
    use: float  # of its multipliers, 1 is all the time
    busy: float  # part of a frame that it needs; the highest binds the others
    waits: float  # part of the time that its output is there and not taken
    state_bits: int  # kept in rings: windows, landing rows, unfinished and finished sums, shortcuts
    window_bits: int  # those of them that are rows of a window, but for the newest, which are in use
    state_bound: int  # what any machine keeps that reads a row once: K - S rows, a row of sums, of a shortcut
    held_rows: int  # of what waits at a join: those of a shortcut, or of a map that waits for a vector
    gathered_bits: int  # besides: beats that wait for the rest of their row, sums that are read out
    latency: int  # cycles from the first input of the network to the first beat of its output


@dataclass(frozen=True)
class PlanTable:
    plan: Plan
    rows: tuple[LayerRow, ...]

    @property
    def binding(self) -> LayerRow:
        """The layer that needs the most of a frame's time."""
        return max(self.rows, key=lambda row: row.busy)

    @property
    def use(self) -> float:
        """Part of the time that the multipliers of the network are in use."""
        used = sum(row.use * row.multipliers for row in self.rows)
        return used / max(1, self.plan.multipliers)

    def to_json(self) -> dict[str, Any]:
        plan = self.plan
        return {"cycles_per_frame_budget": plan.budget, "cycles_per_frame": plan.cycles_per_frame,
                "first_frame_latency": plan.first_frame_latency, "multipliers": plan.multipliers,
                "dsps": plan.dsps, "pipelined": plan.pipelined, "use": self.use, "binding": self.binding.name,
                "state_bits": sum(row.state_bits for row in self.rows),
                "window_bits": sum(row.window_bits for row in self.rows),
                "state_bound": sum(row.state_bound for row in self.rows),
                "gathered_bits": sum(row.gathered_bits for row in self.rows),
                "layers": [asdict(row) for row in self.rows]}


def plan_table(graph: Graph, plan: Plan) -> PlanTable:
    """Describe a plan."""
    network = elaborate.network(graph, plan)
    products = {layer.name: layer.multiplications for layer in info(graph).layers}
    frame = plan.cycles_per_frame

    def rows() -> Iterator[LayerRow]:
        for node in graph.nodes:
            layer, _ = network.layers[node.name]
            planned = plan.layers[node.name]
            rom, state = layer.rom or RomShape(0, 0), layer.state()
            yield LayerRow(
                name=node.name, kind=planned.kind, lanes=planned.lanes, fold=planned.fold,
                readout=planned.readout, p_in=planned.p_in, p_out=planned.p_out,
                multipliers=planned.multipliers, dsps=planned.dsps, rom_depth=rom.depth,
                rom_width=rom.width, requantise_steps=planned.requantise_steps,
                cycles_per_row=frame / graph.tensors[node.output].height,
                use=products[node.name] * layer.steps_per_product / (planned.multipliers * frame)
                if planned.multipliers else 0.0,
                busy=planned.cycles / frame, waits=plan.outputs[node.name].waits, state_bits=state.kept,
                window_bits=state.window, state_bound=state.least,
                held_rows=sum(planned.shortcut_rows), gathered_bits=layer.gathers,
                latency=plan.outputs[node.name].first)

    return PlanTable(plan, tuple(rows()))
