"""The pipeline over time as a picture: which layer gives which row when."""
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headrace.gen import cycle_model, elaborate
from headrace.gen.errors import HeadraceError
from headrace.gen.graph import Graph
from headrace.gen.plan import Plan
from headrace.hdl.rows import RowFormat

FRAMES = 3
_COLOURS = ("Blues", "Oranges", "Greens")  # of each frame, from its first row to its last
_LAYER_INCHES = 0.16

Bar = tuple[int, int, int, int]
"""Frame, row, cycle of its first beat, cycle after its last."""


def draw(graph: Graph, plan: Plan, path: Path) -> None:
    """Write an SVG of the first frames, back to back, as the cycle model predicts every beat.

    Each layer is a line, each row that it gives a bar from its first beat to its last; rows that leave
    together, channel by channel, lie below each other. The same plan gives the same bytes.

    Raises
    ------
    :exc:`HeadraceError`
        If matplotlib is missing or the file cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.collections import PolyCollection
        from matplotlib.figure import Figure
    except ImportError as error:
        raise HeadraceError("matplotlib is missing: install `headrace[picture]`") from error
    network = elaborate.network(graph, plan)
    timing = cycle_model.predict(network, FRAMES)
    formats = elaborate.row_formats(graph, plan)
    names = [node.name for node in graph.nodes]
    with matplotlib.rc_context({"svg.hashsalt": "headrace", "svg.fonttype": "none", "font.size": 7}):
        figure = Figure(figsize=(13, 1.2 + _LAYER_INCHES * len(names)), layout="constrained")
        axes = figure.add_subplot()
        for line, node in enumerate(graph.nodes):
            format = formats[node.output]
            shapes, colours = [], []
            for frame, row, start, end in bars(timing.cycles[node.name], format):
                thickness = 0.84 / format.group
                top = line - 0.42 + thickness * ((row - format.first) % format.group)
                shapes.append([(start, top), (end, top), (end, top + thickness), (start, top + thickness)])
                colours.append(matplotlib.colormaps[_COLOURS[frame]](0.3 + 0.65 * row / format.height))
            axes.add_collection(PolyCollection(shapes, facecolors=colours, linewidths=0))
        axes.set(xlim=(0, timing.frame_ends[-1] + 1), ylim=(len(names) - 0.5, -0.5), xlabel="cycle",
                 yticks=range(len(names)), yticklabels=[name.replace("$", r"\$") for name in names],
                 title=f"{FRAMES} frames, {plan.cycles_per_frame:,.0f} cycles each: each row that a layer "
                       "gives, darker towards the bottom of the image; lines are ends of frames")
        axes.xaxis.set_major_formatter(lambda cycle, _: f"{cycle:,.0f}")
        for end in timing.frame_ends:
            axes.axvline(end, color="black", linewidth=0.5)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        except OSError as error:
            raise HeadraceError(f"cannot write {path}: {error.strerror}") from error


def bars(cycles: list[int], format: RowFormat) -> Iterator[Bar]:
    """Yield every row of a stream whose beats move in these cycles."""
    rows, _ = format.order()
    for frame, moved in enumerate(np.reshape(cycles[:len(cycles) // format.beats * format.beats],
                                             (-1, format.beats))):
        for row in range(format.height):
            times = moved[rows == row]
            yield frame, row, int(times[0]), int(times[-1]) + 1
