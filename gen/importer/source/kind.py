"""What a file is before anything of it is read: quantised as the importer wants it, or else what instead."""
from pathlib import Path

import onnx

from headrace.gen.importer.source.node import OnnxNode
from headrace.gen.ir.errors import HeadraceError

_ENDS = ("QuantizeLinear", "Quant")  # of DequantizeLinear, too, and of QONNX's IntQuant
_STARTS = ("DynamicQuantize", "QGemm", "QLinear")


def is_quantised(node: onnx.NodeProto) -> bool:
    return node.op_type.endswith(_ENDS) or node.op_type.startswith(_STARTS)


def check_quantised(model: onnx.ModelProto, path: Path) -> None:
    """Refuse a float network.

    Raises
    ------
    :exc:`HeadraceError`
        If it is one.
    """
    if not any(map(is_quantised, model.graph.node)):
        raise HeadraceError(f"{path}: a float network (no QuantizeLinear in it); quantised ones are "
                            "supported, and `headrace quantize` makes one of it")


def check_static(model: onnx.ModelProto, path: Path) -> None:
    """Refuse a network whose scales are found while it runs.

    Raises
    ------
    :exc:`HeadraceError`
        If it is one.
    """
    for node in model.graph.node:
        if node.op_type.startswith("DynamicQuantize"):
            raise OnnxNode(node, file=str(path)).error(
                "quantised dynamically, with scales that follow from each image when all of it is known; "
                "static quantisation is supported, as `headrace quantize` makes it of the float network")
