"""How good the outputs are, if the input file says what they should be."""
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.gen.errors import HeadraceError
from headrace.gen.files import opened
from headrace.gen.graph import Graph


@dataclass(frozen=True)
class Score:
    """What a comparison with a file's answers found; None where it has none.

    Attributes
    ----------
    correct : frames whose greatest output is at the position that the array `labels` names
    differing : output values that differ from the array `y`, quantised outputs
    """

    correct: int | None = None
    differing: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def score(graph: Graph, paths: list[Path], outputs: npt.NDArray[np.integer]) -> Score:
    """Compare outputs, (frames, channels, height, width), with the answers in an .npz file.

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
    correct = differing = None
    if "labels" in answers:
        correct = int((outputs.reshape(frames, -1).argmax(1) == answers["labels"]).sum())
    if "y" in answers:
        differing = int((outputs != answers["y"].reshape(outputs.shape)).sum())
    return Score(correct, differing)
