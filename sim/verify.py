"""The generated hardware, run on images and compared with the integer reference in every layer."""
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from headrace.gen.ir.graph import Graph, Tensor
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.hdl.base.platform import REGISTERS
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.network import Network
from headrace.sim import amaranth_run, compiled, reference
from headrace.sim.beats import Beats, Pattern, Progress, always

Integers = npt.NDArray[np.integer]
Engine = Literal["cxxrtl", "amaranth"]

DEADLINE = 100_000
"""Cycles without any transfer after which a network counts as hung."""

SHORT = 10_000
"""Cycles up to which a compiled run is over sooner than the compiler is with its optimisation."""


@dataclass(frozen=True)
class Mismatch:
    """The first value in which a layer differs from the reference."""

    layer: str
    frame: int
    row: int
    channel: int
    column: int
    value: int
    reference: int

    def __str__(self) -> str:
        return (f"layer {self.layer}, frame {self.frame}, row {self.row}, channel {self.channel}, "
                f"column {self.column}: {self.value}, reference {self.reference}")


@dataclass(frozen=True, eq=False)
class Result:
    """A run of the hardware.

    Attributes
    ----------
    beats : dict from layer name to :class:`Beats`
    output : array (frames, channels, height, width)
        What the network's output stream carried.
    mismatches : dict from layer name to the number of values that differ from the reference
    first : the first mismatch in time, if any
    frame_ends : cycle of the last output beat of each frame
    """

    frames: int
    multipliers: int
    beats: dict[str, Beats]
    output: npt.NDArray[np.int16]
    mismatches: dict[str, int]
    first: Mismatch | None
    frame_ends: tuple[int, ...]

    @property
    def first_frame_latency(self) -> int:
        """Cycles from the first input beat to the last output beat of the first frame."""
        return self.frame_ends[0] + 1

    @property
    def cycles_per_frame(self) -> float | None:
        """Cycles between frames, back to back; None for a single frame.

        Of several frames the last does not count, as nothing follows it, nor the first of more than three, as
        the pipeline is filling.
        """
        ends = self.frame_ends[self.frames > 3:-1 if self.frames > 2 else None]
        return (ends[-1] - ends[0]) / (len(ends) - 1) if self.frames > 1 else None

    def to_json(self) -> dict[str, Any]:
        return {"frames": self.frames, "mismatches": sum(self.mismatches.values()),
                "cycles_per_frame": self.cycles_per_frame,
                "first_frame_latency": self.first_frame_latency, "multipliers": self.multipliers,
                "layers": [{"name": name, "mismatches": count, "first_beat": int(self.beats[name].cycle[0]),
                            "last_beat": int(self.beats[name].cycle[-1])}
                           for name, count in self.mismatches.items()]}


def run(graph: Graph, plan: Plan, x: Integers, *, engine: Engine = "cxxrtl", valid: Pattern = always,
        ready: Pattern = always, progress: Progress | None = None) -> Result:
    """Run the hardware on images, back to back, and compare each layer's output with the reference.

    Parameters
    ----------
    x : array (frames, channels, height, width)
    valid, ready : cycle patterns in which the input is offered and the output taken
    progress : called with the number of output beats seen and expected, and the cycle

    Raises
    ------
    :exc:`HeadraceError`
        If a tool is missing or the hardware hangs.
    """
    long = plan.first_frame_latency + len(x) * plan.cycles_per_frame > SHORT
    hardware = Hardware(graph, plan, engine=engine, optimise=long)
    return hardware.run(x, valid=valid, ready=ready, progress=progress)


class Hardware:
    """What :py:`run()` runs, made once to be run several times.

    Parameters
    ----------
    fast_rings : :class:`bool`
        Describe rings so that they are simulated fast; if not, as `build` writes them, of what the plan says.
        In Amaranth's simulator they are registers.
    optimise : :class:`bool`
        Compile for a long run.
    """

    def __init__(self, graph: Graph, plan: Plan, *, engine: Engine = "cxxrtl", fast_rings: bool = True,
                 optimise: bool = True) -> None:
        self._graph, self._plan = graph, plan
        self._network = elaborate.network(graph, plan)
        self._streams = self._network.streams()
        self._compiled: compiled.Simulation | None = None
        if engine == "cxxrtl":
            hierarchy = Hierarchy(fast_rings=fast_rings, rings=REGISTERS if fast_rings else plan.rings)
            hierarchy.build(self._network, probes=probes(self._network))
            self._compiled = compiled.compile(hierarchy, optimise=optimise)

    def run(self, x: Integers, *, valid: Pattern = always, ready: Pattern = always,
            progress: Progress | None = None) -> Result:
        graph = self._graph
        image, formats = graph.tensors[graph.input], elaborate.row_formats(graph, self._plan)
        # Of layers, too: the network's output may be complete before rows that no window reaches have come.
        beats_each = {"o": formats[graph.output].beats} | {
            node.name: formats[node.output].beats for node in graph.nodes}
        common: dict[str, Any] = dict(
            inputs={"i": pack(x, image)},
            outputs={name: len(x) * count for name, count in beats_each.items()},
            valid={"i": valid}, ready={"o": ready}, deadline=DEADLINE, progress=progress)
        if self._compiled is None:
            beats = amaranth_run.run(self._network, probes=self._streams, **common)
        else:
            beats = self._compiled.run(probes=list(self._streams), **common)
        return compare(graph, self._plan, x, beats)


def probes(network: Network) -> dict[str, Any]:
    """Return every layer's output stream as named signals, for ports of the top module."""
    return {f"{name}__{part}": getattr(stream, part) for name, stream in network.streams().items()
            for part in ("valid", "ready", "payload")}


def pack(x: Integers, tensor: Tensor) -> npt.NDArray[np.uint8]:
    """Return the beats of images: row by row, channel by channel; shape (beats, width)."""
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).astype(np.uint8).reshape(-1, tensor.width)


def received(payload: npt.NDArray[np.uint8], format: RowFormat) -> npt.NDArray[np.int16]:
    """Return the beats of the whole frames in a stream: frames x beats x lanes."""
    beats = payload[:len(payload) // format.beats * format.beats].reshape(-1, format.beats, format.lanes)
    return (beats.view(np.int8) if format.shape.signed else beats).astype(np.int16)


def unpack(payload: npt.NDArray[np.uint8], format: RowFormat) -> npt.NDArray[np.int16]:
    """Return the whole images in a stream of beats."""
    beats = received(payload, format)
    values = np.zeros((len(beats), format.channels, format.height, format.fold, format.lanes), np.int16)
    rows, channels, steps = format.order()
    values[:, channels, rows, steps] = beats
    return values.reshape(*values.shape[:3], format.width)


def sent(images: Integers, format: RowFormat) -> Integers:
    """Return the beats that carry images: frames x beats x lanes."""
    rows, channels, steps = format.order()
    return images.reshape(*images.shape[:3], format.fold, format.lanes)[:, channels, rows, steps]


def compare(graph: Graph, plan: Plan, x: Integers, beats: dict[str, Beats]) -> Result:
    """Compare what the streams carried with the reference of a network of the same shapes."""
    expected, formats = reference.run(graph, x), elaborate.row_formats(graph, plan)
    out = formats[graph.output]
    mismatches, firsts = {}, []
    for node in graph.nodes:
        seen, format = beats[node.name], formats[node.output]
        wanted = sent(expected[node.output], format)
        values = received(seen.payload, format)[:len(wanted)]
        mismatches[node.name] = int((values != wanted[:len(values)]).sum()) + wanted[len(values):].size
        firsts += [(seen.cycle[index], mismatch) for index, mismatch
                   in _differences(node.name, values, wanted[:len(values)], format)]
    ends = beats["o"].cycle[out.beats - 1::out.beats]
    first = min(firsts, key=lambda item: int(item[0]), default=(0, None))[1]
    return Result(len(x), plan.multipliers, beats, unpack(beats["o"].payload, out), mismatches, first,
                  tuple(int(cycle) for cycle in ends))


def _differences(name: str, values: Integers, wanted: Integers,
                 format: RowFormat) -> Iterator[tuple[int, Mismatch]]:
    """Yield the first difference, with the number of its beat."""
    where = np.argwhere(values != wanted)
    if len(where):
        rows, channels, steps = format.order()
        frame, beat, lane = at = tuple(int(index) for index in where[0])
        column = int(steps[beat]) * format.lanes + lane
        yield (frame * format.beats + beat, Mismatch(
            name, frame, int(rows[beat]), int(channels[beat]), column, int(values[at]), int(wanted[at])))
