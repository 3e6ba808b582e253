"""Operators that make each value of their result of the value in the same place alone."""
from collections.abc import Collection, Iterable

import onnx

# Of one tensor, and of limits or slopes that are constants.
UNARY = frozenset({
    "Abs", "Ceil", "Celu", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Log", "Mish", "Neg", "PRelu", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign",
    "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu"})

# Of two tensors, of which one may be a constant.
BINARY = frozenset({"Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"})

FUNCTIONS = UNARY | BINARY

# Where ONNX Runtime computes with vectors but for the last few values, and the two differ in the last bits.
PLACE_DECIDES = frozenset({"Celu", "Elu", "Log", "Mish", "Selu", "Softplus"})

# What ONNX Runtime makes of some of them.
_FUSED = frozenset({"BiasGelu", "Cast", "FastGelu", "QLinearSigmoid", "QuickGelu"})


def of_two_tensors(nodes: Iterable[onnx.NodeProto], constants: Collection[str]) -> set[str]:
    """The operators among `nodes`, in order, that are functions but not of one quantised tensor alone.

    A real tensor follows from the quantised one that its DequantizeLinear reads, or that functions of it
    began with. Operators that are no functions are passed over, and so are differences of two tensors just as
    they were quantised, which the reference computes as ONNX Runtime does.
    """
    dequantised = set[str]()
    sources: dict[str, frozenset[str]] = {}
    found = set[str]()
    for node in nodes:
        read = [name for name in node.input if name and name not in constants]
        begun = frozenset[str]().union(*(sources.get(name, frozenset({name})) for name in read))
        if node.op_type == "DequantizeLinear":
            dequantised.update(node.output)
        elif node.op_type == "Sub" and len(begun) == 2 and dequantised.issuperset(read):
            continue  # exact
        if node.op_type in FUNCTIONS | _FUSED or node.op_type == "DequantizeLinear":
            sources.update(dict.fromkeys(node.output, begun))
            if len(begun) > 1:
                found.add(node.op_type)
    return found


def is_function(operator: str) -> bool:
    """Is it one, as it stands in a file or as ONNX Runtime fuses it?"""
    return operator in FUNCTIONS | _FUSED
