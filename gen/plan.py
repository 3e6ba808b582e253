"""How much of each layer is unrolled.

For a budget of cycles per frame every layer gets the fewest multipliers that meet it on their own. What a
layer costs in cycles is counted here per frame, as its sequencer steps; layers that wait for each other can
make the whole a little slower.
"""
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from headrace.gen.dependence import shortcut_rows
from headrace.gen.errors import HeadraceError
from headrace.gen.graph import Add, Conv, GlobalAveragePool, Graph, Node, Pool, Window
from headrace.hdl.geometry import first_group, group_rows, merges, passing_groups

Kind = Literal["output-stationary", "input-stationary", "depthwise", "max-pool", "average-pool",
               "global-pool", "add"]

REQUANTISE_STEPS = 8
"""The most cycles a requantiser takes per output: beyond that it hardly gets smaller."""


@dataclass(frozen=True)
class LayerPlan:
    """One layer: its lanes and how its loops are unrolled."""

    name: str
    kind: Kind
    lanes: int
    p_in: int  # operands used per step in each lane
    p_out: int  # outputs computed side by side in each lane
    requantise_steps: int  # cycles per requantised output
    drain: bool  # finished sums wait in a ring of their own
    group: int  # rows that leave together
    first: int  # rows in the first group of them
    shortcut_rows: tuple[int, int]  # rows held of each operand of an Add
    cycles: int  # per frame, if nothing else makes it wait

    @property
    def multipliers(self) -> int:
        return self.lanes * self.p_in * self.p_out if self.kind in WITH_WEIGHTS else 0


WITH_WEIGHTS = ("output-stationary", "input-stationary", "depthwise")


@dataclass(frozen=True)
class Plan:
    budget: int  # cycles per frame
    layers: dict[str, LayerPlan]

    @property
    def multipliers(self) -> int:
        return sum(layer.multipliers for layer in self.layers.values())

    def to_json(self) -> dict[str, Any]:
        return {"cycles_per_frame_budget": self.budget, "multipliers": self.multipliers,
                "layers": [asdict(layer) | {"multipliers": layer.multipliers}
                           for layer in self.layers.values()]}


def default_budget(graph: Graph) -> int:
    """Return the cycles of one pixel per clock, or four per beat of the busiest stream if more."""
    image = graph.tensors[graph.input]
    return max(image.height * image.width,
               max(4 * tensor.channels * tensor.height for tensor in graph.tensors.values()))


def plan(graph: Graph, *, cycles: int | None = None) -> Plan:
    """Plan every layer of a network for a budget of cycles per frame.

    Raises
    ------
    :exc:`HeadraceError`
        If a layer cannot be that fast.
    """
    budget = default_budget(graph) if cycles is None else cycles
    layers = {}
    groups = {graph.input: 1}  # rows that come together, by tensor
    for node in graph.nodes:
        options = list(_options(graph, node, budget, groups[node.inputs[0]]))
        fast = [option for option in options if option.cycles <= budget]
        if not fast:
            best = min(option.cycles for option in options)
            raise HeadraceError(f"layer {node.name} needs {best} cycles per frame however far it is "
                                f"unrolled, more than the {budget} allowed: allow at least {best}")
        best_ = min(fast, key=lambda option: _cost(option, graph.tensors[node.output].channels))
        layers[node.name], groups[node.output] = best_, best_.group
    return Plan(budget, layers)


def _cost(option: LayerPlan, channels: int) -> tuple[float, ...]:
    """Return what an option costs: rows that leave one by one, multipliers of 8 by 8 bits, then control.

    A requantiser multiplies by 24 bits or so, in as many cycles as it may take; a draining row takes a
    register for a sum per channel, sixteen of which are worth a multiplier.
    """
    requantiser = 3 / option.requantise_steps
    return (-option.group, option.multipliers + option.lanes * (requantiser + option.drain * channels / 16),
            option.drain, option.p_in * option.p_out, option.p_in)


def _options(graph: Graph, node: Node, budget: int, group: int) -> Iterator[LayerPlan]:
    x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]

    def option(kind: Kind, cycles: int, *, p_in: int = 1, p_out: int = 1, steps: int, drain: bool = False,
               rows: tuple[int, int] = (0, 0), leaves: Window = Window()) -> LayerPlan:  # noqa: B008
        return LayerPlan(name=node.name, kind=kind, lanes=y.width, p_in=p_in, p_out=p_out,
                         requantise_steps=steps, drain=drain, shortcut_rows=rows, cycles=cycles,
                         group=leaves.stride[0], first=first_group(leaves, y.height, leaves.stride[0]))

    match node:
        case Add():
            beats = y.height * y.channels
            steps = _steps(budget // beats)
            yield option("add", beats * steps, steps=steps, rows=shortcut_rows(graph, node))
        case GlobalAveragePool():
            steps = _steps(budget // x.channels - x.height)
            yield option("global-pool", (x.height - 1 + steps) * x.channels, steps=steps)
        case Conv(groups=1):
            pointwise = node.window == Window()
            if pointwise and y.channels < x.channels and x.width > 1:
                for p_in, p_out, steps, drain, cycles in _input_stationary(node, graph, budget):
                    yield option("input-stationary", cycles, p_in=p_in, p_out=p_out, steps=steps, drain=drain)
                return
            for p_in, p_out, steps, cycles in _output_stationary(node, graph, budget):
                yield option("output-stationary", cycles, p_in=p_in, p_out=p_out, steps=steps)
                leaves = _groups_wanted(graph, node.output)
                if pointwise and p_out == 1 and leaves is not None:
                    yield option("output-stationary", cycles, p_in=p_in, steps=steps, leaves=leaves)
        case Conv() | Pool():
            kind: Kind = ("depthwise" if isinstance(node, Conv)
                          else "max-pool" if node.kind == "max" else "average-pool")
            passing = passing_groups(node.window, x.height, group)
            emits, copies = sum(each.emits for each in passing), y.channels // x.channels
            fill = len(passing) - emits - merges(passing)
            for p_in in divisors(node.window.taps):
                selects = node.window.taps // p_in
                left = (budget - fill * group * x.channels) // (emits * y.channels)
                steps = 1 if kind == "max-pool" else _steps(left)
                busy = max(group - 1 + copies * selects, copies * steps)
                yield option(kind, x.channels * (fill * group + emits * busy), p_in=p_in, steps=steps)


def _groups_wanted(graph: Graph, tensor: str) -> Window | None:
    """Return the window whose rows come best in groups: that of the only reader, if it skips rows."""
    match [*graph.consumers(tensor)]:
        case [Conv(depthwise=True) | Pool() as reader] if (
                tensor != graph.output and reader.window.kernel[0] >= reader.window.stride[0] > 1):
            return reader.window
    return None


def _output_stationary(node: Conv, graph: Graph, budget: int) -> Iterator[tuple[int, int, int, int]]:
    x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
    taps = node.window.taps
    groups, _ = group_rows(node.window, x.height)
    emits = sum(group.emits for group in groups)
    sides = [*divisors(taps), *(taps * side for side in divisors(x.channels) if side > 1)]
    for p_in in sides:
        words = x.channels // max(1, p_in // taps)
        span = x.channels * taps // p_in  # steps of one sweep
        for p_out in divisors(y.channels):
            sweeps = y.channels // p_out
            filling = (len(groups) - emits) * words
            per_turn = (budget - filling) // emits
            steps = _steps(min(per_turn // y.channels, max(span, per_turn // sweeps) // p_out))
            compute = filling + emits * sweeps * max(span, p_out * steps)
            landing = x.height * x.channels + len(groups) * max(words, span)
            yield p_in, p_out, steps, max(compute, landing)


def _input_stationary(node: Conv, graph: Graph,
                      budget: int) -> Iterator[tuple[int, int, int, bool, int]]:
    x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
    per_row = budget // x.height
    for p_in in divisors(x.channels):
        groups = x.channels // p_in
        for p_out in divisors(y.channels):
            turns = y.channels // p_out
            sums = groups * max(turns, p_in)
            steps = _steps((per_row - sums + turns) // y.channels)
            yield p_in, p_out, steps, False, x.height * (sums - turns + turns * max(1, p_out * steps))
            if turns > 1:
                steps = _steps((per_row - turns) // y.channels)
                yield p_in, p_out, steps, True, x.height * max(sums, y.channels * steps + turns)


def _steps(affordable: int) -> int:
    return max(1, min(affordable, REQUANTISE_STEPS))


def divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
