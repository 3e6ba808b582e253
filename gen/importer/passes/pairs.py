"""Several QuantizeLinears of one tensor: they keep ONNX Runtime from its integer kernels."""
from pathlib import Path

import onnx

from headrace.gen.importer.source.rewrite import Rewrite


def merge(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Let what several QuantizeLinears make of a tensor with the same parameters be one.

    A quantiser that gives each reader a pair of its own writes them (DedicatedQDQPair of onnxruntime's).
    """
    sources = [node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input]
    if len(sources) == len(set(sources)):
        return model
    rewrite = Rewrite(model, path)
    made: dict[tuple[object, ...], str] = {}
    for node in rewrite:
        if node.op_type == "QuantizeLinear":
            attributes = sorted(each.SerializeToString(deterministic=True) for each in node.attribute)
            key = (node.input[0], *(_content(rewrite, name) for name in node.input[1:]), *attributes)
            if (before := made.setdefault(key, node.output[0])) != node.output[0]:
                rewrite.rename(node.output[0], before)
                continue
        rewrite.keep(node)
    return rewrite.model()


def _content(rewrite: Rewrite, name: str) -> object:
    """What a parameter is, whatever it is called."""
    tensor = rewrite.tensor(name)
    return name if tensor is None else (tensor.data_type, tuple(tensor.dims), tensor.raw_data,
                                        tuple(tensor.float_data), tuple(tensor.int32_data))
