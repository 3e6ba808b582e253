"""Means that rounding decides: where ONNX Runtime and the exact sum of a window may differ by right.

ONNX Runtime averages a window in float32. It multiplies each value by its scale, adds up in an order of its
own, and divides; the integer graph does the same with the exact sum. Float32 rounds every addend and every
partial sum, so that a mean next to half a step may come out on either side of it. What makes a difference a
tie is that both results lie between those of the least and of the greatest float32 sum that the window can
have.

Some functions of one activation ONNX Runtime computes in one way with vectors, and in another for a tensor's
last values. Where that may decide, a table is marked.
"""
import numpy as np
import numpy.typing as npt

from headrace.gen.ir.graph import Lookup, Node, Pool, Tensor
from headrace.sim import reference
from headrace.sim.reference import Activations

_UNIT = 2.0**-24  # relative error of one rounding to float32
_DIGITS = 24  # bits of a float32 number
_WIDE_UNIT = 2.0**-53  # the same of float64


def find(node: Node, inputs: list[Activations], tensors: dict[str, Tensor], ours: Activations,
         theirs: Activations) -> npt.NDArray[np.bool_]:
    """Say which elements of two results of a node differ by rounding only, and are right both.

    Parameters
    ----------
    inputs : what the node read, each (N, C, H, W)
    ours : what :py:`reference.apply()` makes of it
    theirs : what ONNX Runtime makes of it
    """
    found: npt.NDArray[np.bool_] = ours != theirs
    if isinstance(node, Lookup):
        near = np.zeros(node.table.shape, np.bool_) if node.ties is None else node.ties
        places = inputs[0] - tensors[node.inputs[0]].quantisation.lo
        found &= node.look_up(near, places) & (abs(ours - theirs) == 1)
        return found
    if not isinstance(node, Pool) or node.kind != "average":
        return np.zeros_like(found)
    x, y = (tensors[name].quantisation for name in (node.inputs[0], node.output))
    windows = np.array([tap[found].astype(np.int32) - x.zero_point for tap in reference.taps(
        inputs[0], node.window, outside=x.zero_point)])
    low, high = (reference.average(sum, node.window.taps, y, node.lo, node.hi)
                 for sum in reachable(windows, np.float32(x.scale)))
    a, b = ours[found], theirs[found]
    found[found] = (low <= np.minimum(a, b)) & (np.maximum(a, b) <= high)
    return found


def reachable(windows: npt.NDArray[np.int32], scale: np.float32,
              ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Bound the float32 sums of scaled integers, the rounded exact sum among them.

    `windows` is addends x anything. The bounds are equal where float32 holds every addend and every sum of
    some of them as it is. One or two addends have one float32 sum. The sums of more are as far from that of
    the rounded addends as their roundings can add up to, in any order (N. Higham, Accuracy and Stability of
    Numerical Algorithms, 4.2).
    """
    exact = windows.sum(0).astype(np.float32) * scale
    addends = windows.astype(np.float32) * scale
    total = addends.sum(0, dtype=np.float64)
    magnitude, count = np.abs(addends).sum(0, dtype=np.float64), np.count_nonzero(windows, axis=0)
    roundings = np.maximum(count - 1, 0) * _UNIT
    error = magnitude * (roundings / (1 - roundings) + count * _WIDE_UNIT)
    certain = (count <= 2) | (np.abs(windows).sum(0) * _odd_part(scale) < 1 << _DIGITS)
    error[certain] = 0
    return (np.minimum(exact, (total - error).astype(np.float32)),
            np.maximum(exact, (total + error).astype(np.float32)))


def _odd_part(scale: np.float32) -> int:
    """The integer that the scale is a power of two times, without factors of two."""
    integer, _ = float(scale).as_integer_ratio()
    return integer // (integer & -integer)
