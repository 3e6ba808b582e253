"""What a plan means, layer by layer: the table behind `headrace plan`."""
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from headrace.gen.cycles import model as cycle_model
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.info import info
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.hdl.layers.addressed import Addressed
from headrace.hdl.layers.branch import Add
from headrace.hdl.layers.concat import Concat
from headrace.hdl.layers.global_pool import GlobalPool
from headrace.hdl.layers.input_stationary import InputStationary
from headrace.hdl.layers.output_stationary import OutputStationary
from headrace.hdl.layers.upsample import Upsample
from headrace.hdl.layers.window import Depthwise, MaxPool

_FRAMES = 4


@dataclass(frozen=True)
class LayerRow:
    """One layer of a plan, at the steady rate of the whole network."""

    name: str
    kind: str
    lanes: int
    fold: int  # columns that each serves
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
                "layers": [asdict(row) for row in self.rows]}


def plan_table(graph: Graph, plan: Plan) -> PlanTable:
    """Describe a plan; asks the cycle model."""
    network = elaborate.network(graph, plan)
    timing = cycle_model.predict(network, _FRAMES, endless=True)
    products = {layer.name: layer.multiplications for layer in info(graph).layers}
    frame = plan.cycles_per_frame

    def rows() -> Iterator[LayerRow]:
        for node in graph.nodes:
            layer, _ = network.layers[node.name]
            planned = plan.layers[node.name]
            depth, width = _rom(layer)
            kept, window, bound = _state(layer)
            yield LayerRow(
                name=node.name, kind=planned.kind, lanes=planned.lanes, fold=planned.fold, p_in=planned.p_in,
                p_out=planned.p_out, multipliers=planned.multipliers, dsps=planned.dsps, rom_depth=depth,
                rom_width=width, requantise_steps=planned.requantise_steps,
                cycles_per_row=frame / graph.tensors[node.output].height,
                use=_steps(layer, products[node.name]) / (planned.multipliers * frame)
                if planned.multipliers else 0.0,
                busy=planned.cycles / frame, waits=timing.waits[node.name], state_bits=kept,
                window_bits=window, state_bound=bound, latency=timing.cycles[node.name][0])

    return PlanTable(plan, tuple(rows()))


def _steps(layer: Any, products: int) -> int:
    """Return how many steps of a lane a number of products takes."""
    return products * layer.planes if isinstance(layer, Addressed) else products


def _rom(layer: Any) -> tuple[int, int]:
    """Return words and bits per word of a layer's weights."""
    match layer:
        case Addressed():
            return layer.rom_depth, layer.weight.width // layer.planes
        case OutputStationary():
            depth = layer.words * layer.selects * layer.sweeps
            return depth, layer.p_in * layer.p_out * layer.weight.width
        case InputStationary():
            return layer.groups * layer.turns, layer.p_in * layer.p_out * layer.weight.width
        case Depthwise() if layer.weights is not None:
            return layer.rom_depth, layer.p_in * layer.weight.width
    return 0, 0


def _state(layer: Any) -> tuple[int, int, int]:
    """Return the bits that a layer's rings hold, those that are earlier rows of a window, and the least."""
    match layer:
        case Addressed():
            x, _ = layer.formats
            row = x.channels * x.width * x.shape.width
            least = row * max(0, layer.window.kernel[0] - layer.window.stride[0])
            return row * layer.places, least, least
        case OutputStationary():
            x, _ = layer.formats
            row = x.channels * x.width * x.shape.width
            kernel, stride = layer.hold.kernel[0], layer.hold.stride[0]
            least = max(0, kernel - stride)
            return row * (kernel + layer.banks * min(kernel, stride)), row * least, row * least
        case InputStationary():
            _, y = layer.formats
            held = layer.turns * layer.p_out * y.width * layer.sum.width
            return held * (1 + layer.drains), 0, y.channels * y.width * layer.sum.width
        case Depthwise() | MaxPool():
            x, _ = layer.formats
            row = x.channels * x.width * x.shape.width
            kernel, stride = layer.window.kernel[0], layer.window.stride[0]
            kept = row * max(0, kernel - x.group)
            return kept, kept, row * max(0, kernel - max(stride, x.group))
        case GlobalPool():
            x, _ = layer.formats
            return x.channels * layer.sum.width, 0, x.channels * layer.sum.width
        case Upsample():
            x, down = layer.format, layer.factors[0]
            row = x.channels * x.width * x.shape.width
            return (row, 0, row) if down > 1 else (0, 0, 0)
        case Add() | Concat():
            rows = [x.channels * x.width * x.shape.width for x in layer.formats]
            return (sum(row * held for row, held in zip(rows, layer.rows, strict=True)), 0,
                    sum(row for row, held in zip(rows, layer.rows, strict=True) if held))
    return 0, 0, 0
