"""The pipeline over time as a picture: which layer gives which row when."""
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headrace.gen.cycles import model as cycle_model
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.gen.system import files
from headrace.hdl.base.rows import RowFormat

FRAMES = 3
_COLOURS = ("Blues", "Oranges", "Greens")  # of each frame, from its first row to its last
_LAYER_INCHES = 0.16
_OUTLINES = re.compile(r' d="[^"]*"')
_DIGITS = re.compile(r"(\.\d\d)\d+")

Bar = tuple[int, int, int, int]
"""Frame, row, cycle of its first beat, cycle after its last."""
Corners = list[tuple[float, float]]


def draw(graph: Graph, plan: Plan, path: Path) -> None:
    """Write an SVG of the first frames, back to back, as the cycle model predicts every beat.

    Each layer is a line, each row that it gives a bar from its first beat to its last; rows that leave
    together, channel by channel, lie below each other. The same plan gives the same bytes.

    Raises
    ------
    :exc:`HeadraceError`
        If matplotlib is missing or the file cannot be written.
    """
    logging.getLogger("matplotlib").addHandler(logging.NullHandler())  # of its cache, which is no concern
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path as Outline
    except ImportError as error:
        raise HeadraceError("matplotlib is missing: install `headrace[picture]`") from error
    network = elaborate.network(graph, plan)
    timing = cycle_model.predict(network, FRAMES)
    formats = elaborate.row_formats(graph, plan)
    names = [node.name for node in graph.nodes]
    with matplotlib.rc_context({"svg.hashsalt": "headrace", "svg.fonttype": "none", "font.size": 7}):
        figure = Figure(figsize=(13, 1.2 + _LAYER_INCHES * len(names)), layout="constrained")
        axes = figure.add_subplot()
        shapes: dict[Any, list[Corners]] = {}  # by colour, as a path for each bar would double the file
        for line, node in enumerate(graph.nodes):
            format = formats[node.output]
            for frame, row, start, end in bars(timing.cycles[node.name], format):
                thickness = 0.84 / format.together.stride[0]
                top = line - 0.42 + thickness * ((row + format.together.pads[0]) % format.together.stride[0])
                colour = matplotlib.colormaps[_COLOURS[frame]](0.3 + 0.65 * row / format.height)
                shapes.setdefault(colour, []).append(
                    [(start, top), (end, top), (end, top + thickness), (start, top + thickness)])
        for colour, bars_alike in shapes.items():
            outline = Outline.make_compound_path_from_polys(np.array(bars_alike))
            axes.add_patch(PathPatch(outline, facecolor=colour, linewidth=0))
        axes.set(xlim=(0, timing.frame_ends[-1] + 1), ylim=(len(names) - 0.5, -0.5), xlabel="cycle",
                 yticks=range(len(names)), yticklabels=[name.replace("$", r"\$") for name in names],
                 title=f"{FRAMES} frames, {plan.cycles_per_frame:,.0f} cycles each: each row that a layer "
                       "gives, darker towards the bottom of the image; lines are ends of frames")
        axes.xaxis.set_major_formatter(lambda cycle, _: f"{cycle:,.0f}")
        for end in timing.frame_ends:
            axes.axvline(end, color="black", linewidth=0.5)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        with files.replaced(path) as made:
            made.write_text(_OUTLINES.sub(_rounded, text.getvalue()), "utf-8")


def _rounded(outline: re.Match[str]) -> str:
    """Leave hundredths of a point: matplotlib always writes six digits."""
    return _DIGITS.sub(r"\1", outline[0])


def bars(cycles: list[int], format: RowFormat) -> Iterator[Bar]:
    """Yield every row of a stream whose beats move in these cycles."""
    rows, *_ = format.order()
    for frame, moved in enumerate(np.reshape(cycles[:len(cycles) // format.beats * format.beats],
                                             (-1, format.beats))):
        for row in range(format.height):
            times = moved[rows == row]
            yield frame, row, int(times[0]), int(times[-1]) + 1
