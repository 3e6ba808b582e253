"""ONNX Runtime as the judge: the same network, carried out by its integer kernels.

ONNX Runtime computes with integers only after it has fused the quantised operators, and on x86
processors without VNNI its defaults saturate sums of int8 products at 16 bits. The settings here
avoid both, so that its results are those of exact integer arithmetic. Two kinds of operators have no integer
kernel: the average of a window, and functions of one activation, where a tie may go either way
(:mod:`headrace.sim.ties`).
"""
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from headrace.gen.importer import probe as onnx_probe
from headrace.gen.importer.table import ERRORS as ERRORS
from headrace.gen.importer.table import options as session_options
from headrace.gen.ir.errors import HeadraceError, shorten
from headrace.gen.ir.graph import Graph
from headrace.gen.system import processes
from headrace.sim import reference, ties
from headrace.sim.reference import Activations, Integers

_REASON = 400  # characters of a message


def tensors(path: str | PathLike[str], graph: Graph, x: Integers, *,
            cut: str | None = None) -> dict[str, Activations]:
    """Every tensor of `graph` that is in `path`, by name, (N, C, H, W), as ONNX Runtime computes it.

    Parameters
    ----------
    path
        The ONNX file that `graph` was imported from.
    x
        Quantised inputs (N, C, H, W), also if the file's input is N x H x W x C.
    cut
        The tensor at which `graph` ends, if it was imported with one.

    Raises
    ------
    :exc:`HeadraceError`
        If ONNX Runtime refuses the model, or computes part of it without integers.
    """
    path = Path(path)
    try:
        session = _session(path, graph, cut)
        names = [output.name for output in session.get_outputs()]
        (source,) = session.get_inputs()
        feeds = _feeds(graph, x, real=source.type == "tensor(float)").reshape(len(x), *source.shape)
        runs = [session.run(names, {source.name: feed}) for feed in feeds]
    except ERRORS as error:
        raise HeadraceError(f"{path}: ONNX Runtime cannot run it: {shorten(str(error), _REASON)}") from error
    results = {graph.input: x.astype(np.int16)}
    for name, values in zip(names, zip(*runs, strict=True), strict=True):
        shape = len(x), *graph.tensors[name].shape
        results[name] = np.concatenate(values).reshape(shape).astype(np.int16)
    return results


@dataclass(frozen=True, eq=False)
class Comparison:
    """The reference beside ONNX Runtime.

    Attributes
    ----------
    mismatches : for each tensor of the file, the elements in which both differ without being ties
    ties : for each of these tensors, the elements that differ, and are right both (:py:`ties.find()`)
    output : the network's output by the reference, (N, C, H, W), with every tie as ONNX Runtime has it
    """

    mismatches: dict[str, int]
    ties: dict[str, int]
    output: Activations


def judge(graph: Graph, path: str | PathLike[str], x: Integers, *, layers: bool = False,
          cut: str | None = None) -> Comparison:
    """Compare the reference with ONNX Runtime, tensor by tensor.

    The layers behind a tie are computed from ONNX Runtime's value, so that what follows from it is no
    difference. ``layers`` feeds each node of the reference with ONNX Runtime's tensors, so that a mismatch,
    too, is counted only where it arises.
    """
    theirs = tensors(path, graph, x, cut=cut)
    mismatches, tied, outputs = dict.fromkeys(theirs, 0), dict.fromkeys(theirs, 0), []
    for frames in reference.chunks(graph, len(x)):
        values = {graph.input: theirs[graph.input][frames]}
        for node in graph.nodes:
            inputs = [theirs[name][frames] if layers and name in theirs else values[name]
                      for name in node.inputs]
            ours = values[node.output] = reference.apply(node, inputs, graph.tensors)
            if node.output in theirs:
                right = theirs[node.output][frames]
                same = ties.find(node, inputs, graph.tensors, ours, right)
                tied[node.output] += int(same.sum())
                mismatches[node.output] += int(((ours != right) & ~same).sum())
                values[node.output] = np.where(same, right, ours)
        outputs.append(values[graph.output])
    return Comparison(mismatches, tied, np.concatenate(outputs))


def compare(graph: Graph, path: str | PathLike[str], x: Integers, *, layers: bool = False,
            cut: str | None = None) -> dict[str, int]:
    """Return the mismatches of :py:`judge()`."""
    return judge(graph, path, x, layers=layers, cut=cut).mismatches


def _session(path: Path, graph: Graph, cut: str | None) -> ort.InferenceSession:
    options = session_options(signed=any(tensor.quantisation.signed for tensor in graph.tensors.values()))
    with processes.workspace() as folder:
        optimised = folder / "optimised.onnx"
        options.optimized_model_filepath = str(optimised)
        session = ort.InferenceSession(onnx_probe.probe(path, graph, cut), options,
                                       providers=["CPUExecutionProvider"])
        rounding = onnx_probe.float_operators(optimised)
    if rounding:
        raise HeadraceError(
            f"{path}: ONNX Runtime computes {', '.join(rounding)} with real numbers, and not with its "
            "integer kernels, which alone can be compared with; they want one QuantizeLinear behind each "
            "operator")
    return session


def _feeds(graph: Graph, x: Integers, *, real: bool) -> npt.NDArray[np.generic]:
    """`x` as the model takes it: in its integer type, or so that QuantizeLinear gives `x` again."""
    q = graph.tensors[graph.input].quantisation
    if not real:
        return x.astype(np.int8 if q.signed else np.uint8)
    scale = np.float32(q.scale)
    with np.errstate(over="ignore", under="ignore"):
        feeds = (x.astype(np.int32) - q.zero_point).astype(np.float32) * scale
        again = np.clip(np.rint(feeds / scale) + np.float32(q.zero_point), q.lo, q.hi)
    if not np.array_equal(again, x):
        raise HeadraceError(f"input scale {q.scale:g} is too extreme for float inputs")
    return feeds
