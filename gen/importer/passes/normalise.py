"""The forms in which exporters write a quantised network, brought to the one that the importer knows.

That form is QDQ: each operator between DequantizeLinear and QuantizeLinear, images N x C x H x W. A pass
takes a model and gives a new one, or the very same if there is nothing for it to do; it never alters what it
is given. What a pass does not know it leaves for the importer to refuse.
"""
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import onnx

from headrace.gen.importer.passes import batch_norm as onnx_batch_norm
from headrace.gen.importer.passes import channels as onnx_channels
from headrace.gen.importer.passes import layout as onnx_layout
from headrace.gen.importer.passes import matmul as onnx_matmul
from headrace.gen.importer.passes import mean as onnx_mean
from headrace.gen.importer.passes import pad as onnx_pad
from headrace.gen.importer.passes import pairs as onnx_pairs
from headrace.gen.importer.passes import qonnx as onnx_qonnx
from headrace.gen.importer.passes import qoperator as onnx_qoperator
from headrace.gen.importer.passes import shapes as onnx_shapes
from headrace.gen.importer.passes import signs as onnx_signs
from headrace.gen.importer.passes import split as onnx_split
from headrace.gen.importer.passes.evaluate import evaluate
from headrace.gen.importer.passes.simplify import simplify

Pass = Callable[[onnx.ModelProto, Path], onnx.ModelProto]

# In this order, as each relies on those before it.
_NOTATION: tuple[Pass, ...] = (  # what ONNX Runtime need not see, or cannot run
    evaluate, simplify, onnx_split.cut, onnx_pairs.merge, onnx_qonnx.expand)
_OPERATORS: tuple[Pass, ...] = (onnx_qoperator.expand,)  # what its integer kernels run as it is
_STRUCTURE: tuple[Pass, ...] = (
    onnx_channels.level, onnx_signs.unify, onnx_layout.transpose, onnx_pad.merge, onnx_mean.average,
    onnx_matmul.fuse, onnx_batch_norm.fold, onnx_shapes.separate)


def normalise(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The network of ``model``, which was read from ``path``, in the importer's form.

    Raises
    ------
    :exc:`HeadraceError`
        If an operator that has to be rewritten has a form that cannot be.
    """
    return _apply((*_NOTATION, *_OPERATORS, *_STRUCTURE), model, path)


def judged(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """What ONNX Runtime shall compute to judge the network of ``model``: the file itself, if possible.

    Its integer kernels run QLinearConv and its like as they are. What the passes behind those rewrite keeps
    ONNX Runtime from integer kernels, or is stored as N x H x W x C there: it runs the normalised model.
    """
    plain = _apply(_NOTATION, model, path)
    expanded = _apply(_OPERATORS, plain, path)
    normal = _apply(_STRUCTURE, expanded, path)
    return plain if normal is expanded else normal


def _apply(passes: tuple[Pass, ...], model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    return reduce(lambda current, step: step(current, path), passes, model)
