"""How far a quantised network is from the float one."""
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Summary:
    """The quantised network against the float one, on the calibration data.

    Attributes
    ----------
    sqnr : signal to quantisation noise of the output in decibels; None where there is no noise
    agreement : samples whose greatest output is the same
    """

    layers: int
    samples: int
    sqnr: float | None
    agreement: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def session(model: bytes | Path, level: str = "ORT_ENABLE_BASIC") -> Callable[[str, Samples], Samples]:
    """Return what computes the first output, as a vector, of an input of this name."""
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    carried_out = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda name, x: np.asarray(carried_out.run(None, {name: x[None]})[0], np.float32).reshape(-1)


def compare(layers: int, name: str, samples: Samples, real: Path, quantised: Path) -> Summary:
    """Carry out both; the quantised one node by node, as no kernel of ONNX Runtime then saturates."""
    pair = session(real), session(quantised, "ORT_DISABLE_ALL")
    agreement, signal, noise = 0, 0.0, 0.0
    for sample in samples:
        wanted, found = (run(name, sample) for run in pair)
        agreement += int(wanted.argmax() == found.argmax())
        signal += float(np.square(wanted, dtype=np.float64).sum())
        noise += float(np.square(wanted - found, dtype=np.float64).sum())
    ratio = 10 * np.log10(signal / noise) if signal and noise else None
    return Summary(layers, len(samples), None if ratio is None else float(ratio), agreement)
