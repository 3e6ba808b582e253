"""How good the outputs are, if the input file says what they should be."""
import zipfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph, Pool
from headrace.gen.system.files import opened
from headrace.sim import oracle, reference
from headrace.sim.reference import Integers


@dataclass(frozen=True)
class Score:
    """What a comparison with a file's answers found; None where it has none.

    Attributes
    ----------
    correct : frames whose greatest output is at the position that the array `labels` names
    differing : output values that differ from the array `y`, quantised outputs
    ties : those of them that are the reference's, and as in the file if ties of averages are as ONNX Runtime
        has them
    """

    correct: int | None = None
    differing: int | None = None
    ties: int | None = None

    @property
    def wrong(self) -> int:
        """Output values whose difference nothing excuses."""
        return (self.differing or 0) - (self.ties or 0)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def score(graph: Graph, paths: list[Path], x: Integers, outputs: Integers, *, model: Path) -> Score:
    """Compare outputs, (frames, channels, height, width), with the answers in an .npz file.

    Parameters
    ----------
    x : the inputs that led to the outputs
    model : the ONNX file, which ONNX Runtime is asked about where an average may have made a difference

    Raises
    ------
    :exc:`HeadraceError`
        If the answers have another shape.
    """
    if len(paths) != 1 or paths[0].suffix.lower() != ".npz":
        return Score()
    try:
        with opened(paths[0]) as file, np.load(file, allow_pickle=False) as arrays:
            answers = {name: arrays[name][:len(outputs)] for name in ("labels", "y") if name in arrays}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise HeadraceError(f"{paths[0]}: damaged, or not what its suffix says") from error
    frames = len(outputs)
    tensor = graph.tensors[graph.output]
    for name, shapes in (("labels", ((frames,),)),
                         ("y", ((frames, *tensor.shape), (frames, tensor.channels)))):
        if name in answers and answers[name].shape not in shapes:
            raise HeadraceError(f"{paths[0]}: array {name} has shape {answers[name].shape}, which does not "
                                f"fit {frames} outputs of shape {tensor.shape}")
    correct = differing = ties = None
    if "labels" in answers:
        correct = int((outputs.reshape(frames, -1).argmax(1) == answers["labels"]).sum())
    if "y" in answers:
        answer = answers["y"].reshape(outputs.shape)
        other = outputs != answer
        differing = int(other.sum())
        if differing and any(isinstance(node, Pool) and node.kind == "average" for node in graph.nodes):
            which = other.any((1, 2, 3))
            with suppress(HeadraceError):  # ONNX Runtime may not run every network
                settled = oracle.judge(graph, model, x[which]).output
                right = reference.run(graph, x[which])[graph.output] == outputs[which]  # hardware may not be
                ties = int((other[which] & right & (settled == answer[which])).sum())
    return Score(correct, differing, ties)
