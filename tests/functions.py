"""Functions of one activation, as files have them, beside what they are in exact arithmetic."""
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, erf, exp, expm1, floor, log, log1p, sqrt, tanh
from typing import Any

import numpy as np

from onnx_models import Q, QdqModel

F32 = np.float32


@dataclass(frozen=True)
class Function:
    """``operators`` are carried out one after the other, each reads the last result and its constants.

    An operator is its name, what it reads and its attributes; "x" is the activation, "" the last result, and
    numbers are constants.
    """

    name: str
    exact: Callable[[float], float]
    operators: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...]
    opset: int = 13
    place_decides: bool = False  # where in a tensor a value stands, about the last bits

    def add(self, model: QdqModel, x: str, name: str) -> str:
        """Add all of it to a model, and return the real result."""
        last = x
        for index, (operator, given, attributes) in enumerate(self.operators):
            read = [{"x": x, "": last}[each] if isinstance(each, str) else model.constant(
                f"{name}_{index}_{at}", np.asarray(each, F32)) for at, each in enumerate(given)]
            last = model.node(operator, read, f"{name}_f{index}", **attributes)
        return last

    def model(self, x: Q, y: Q, shape: tuple[int, ...] = (4, 9, 8), **forms: Any) -> QdqModel:
        model = QdqModel(opset=max(self.opset, 13), **forms)
        model.quantise(self.add(model, model.input(shape, x), "y"), y, name="y")
        return model


def one(operator: str, exact: Callable[[float], float], *constants: Any, opset: int = 13,
        place_decides: bool = False, **attributes: Any) -> Function:
    """A single operator of x and constants."""
    return Function(operator, exact, ((operator, ("x", *constants), attributes),), opset,
                    place_decides=place_decides)


def chain(name: str, exact: Callable[[float], float], *operators: tuple[Any, ...], **options: Any,
          ) -> Function:
    steps = tuple((operator, tuple(given), {}) for operator, *given in operators)
    return Function(name, exact, steps, **options)


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def softplus(x: float) -> float:
    return max(x, 0) + log1p(exp(-abs(x)))


def elu(x: float, alpha: float) -> float:
    return x if x >= 0 else alpha * expm1(x)


def gelu(x: float) -> float:
    return x * (1 + erf(x / sqrt(2))) / 2


_ALPHA, _GAMMA = 1.67326319217681884765625, 1.05070102214813232421875

# Of numbers whatever x is.
FUNCTIONS = (
    one("Sigmoid", sigmoid),
    one("HardSigmoid", lambda x: min(max(0.3 * x + 0.4, 0), 1), alpha=0.3, beta=0.4),
    one("Tanh", tanh),
    one("Elu", lambda x: elu(x, 0.7), alpha=0.7, place_decides=True),
    one("Celu", lambda x: max(x, 0) + min(0, 0.7 * expm1(x / 0.7)), alpha=0.7, place_decides=True),
    one("Selu", lambda x: _GAMMA * elu(x, _ALPHA), place_decides=True),
    one("Softplus", softplus, place_decides=True),
    one("Softsign", lambda x: x / (1 + abs(x))),
    one("Erf", erf),
    one("Exp", exp),
    one("Abs", abs),
    one("Neg", lambda x: -x),
    one("Floor", floor),
    one("Ceil", ceil),
    one("Round", round),
    one("Sign", lambda x: int(x > 0) - int(x < 0)),
    one("ThresholdedRelu", lambda x: x if x > 0.5 else 0, alpha=0.5),
    one("LeakyRelu", lambda x: x if x >= 0 else 0.3 * x, alpha=0.3),
    one("PRelu", lambda x: x if x >= 0 else 0.17 * x, [0.17]),
    one("HardSwish", lambda x: x * min(max(x / 6 + 0.5, 0), 1), opset=14),
    one("Mish", lambda x: x * tanh(softplus(x)), opset=18, place_decides=True),
    one("Gelu", gelu, opset=20),
    one("Mul", lambda x: -0.37 * x, -0.37),
    one("Add", lambda x: x + 0.77, [0.77]),
    one("Sub", lambda x: x - 0.77, 0.77),
    one("Div", lambda x: x / 0.37, [0.37]),
    one("Pow", lambda x: x**2, 2),
    one("Max", lambda x: max(x, -0.4), -0.4),
    one("Min", lambda x: min(x, 0.4), 0.4),
    one("Swish", lambda x: x * sigmoid(0.7 * x), opset=24, alpha=0.7),
    chain("logarithm", lambda x: log(abs(x) + 0.1), ("Abs", "x"), ("Add", "", 0.1), ("Log", ""),
          place_decides=True),
    chain("Sqrt of Abs", lambda x: sqrt(abs(x)), ("Abs", "x"), ("Sqrt", "")),
    chain("Sqrt of Relu", lambda x: sqrt(max(x, 0)), ("Relu", "x"), ("Sqrt", "")),
    chain("cube root", lambda x: (abs(x) + 0.1)**(1 / 3), ("Abs", "x"), ("Add", "", 0.1), ("Pow", "", 1 / 3)),
    chain("reciprocal", lambda x: 1 / (1 + x * x), ("Mul", "x", "x"), ("Add", "", 1), ("Reciprocal", "")),
    chain("constant minus x", lambda x: 0.5 - x, ("Sub", 0.5, "x")),
    chain("constant by x", lambda x: 2 / (abs(x) + 0.5), ("Abs", "x"), ("Add", "", 0.5), ("Div", 2, "")),
    chain("Exp, Sigmoid and LeakyRelu", lambda x: max(sigmoid(exp(x)) - 0.7, 0.01 * (sigmoid(exp(x)) - 0.7)),
          ("Exp", "x"), ("Sigmoid", ""), ("Sub", "", 0.7), ("LeakyRelu", "")),
    chain("SiLU", lambda x: x * sigmoid(x), ("Sigmoid", "x"), ("Mul", "x", "")),
    chain("HardSwish by HardSigmoid", lambda x: x * min(max(0.2 * x + 0.5, 0), 1), ("HardSigmoid", "x"),
          ("Mul", "x", "")),
    chain("HardSwish by Clip", lambda x: x * min(max(x + 3, 0), 6) / 6, ("Add", "x", 3), ("Clip", "", 0, 6),
          ("Mul", "x", ""), ("Div", "", 6)),
    chain("Mish by Softplus", lambda x: x * tanh(softplus(x)), ("Softplus", "x"), ("Tanh", ""),
          ("Mul", "x", ""), place_decides=True),
    chain("Gelu by Erf", gelu, ("Div", "x", sqrt(2)), ("Erf", ""), ("Add", "", 1), ("Mul", "x", ""),
          ("Mul", "", 0.5)),
    chain("Gelu by Erf, halved first", gelu, ("Div", "x", sqrt(2)), ("Erf", ""), ("Add", "", 1),
          ("Mul", "", 0.5), ("Mul", "x", "")),
    chain("x plus f(x)", lambda x: x + tanh(x), ("Tanh", "x"), ("Add", "x", "")),
    chain("f(x) minus x", lambda x: abs(x) - x, ("Abs", "x"), ("Sub", "", "x")),
)


def by_channel(rng: np.random.Generator, shape: int | tuple[int, ...]) -> Function:
    """A function with a number of its own for each channel; exact arithmetic is not asked of it."""
    a, b = rng.uniform(-1, 1, shape), rng.uniform(0.5, 3, shape)
    chains = (
        [("PRelu", ("x", a), {})],
        [("Sub", ("x", a), {}), ("Div", ("", b), {})],
        [("Mul", ("x", a), {}), ("Add", ("", b), {})],
        [("Mul", ("x", b), {}), ("Sigmoid", ("",), {}), ("Mul", ("x", ""), {})],
        [("Max", ("x", a), {}), ("Min", ("", b), {})])
    operators = chains[rng.integers(len(chains))]
    return Function("by channel", abs, tuple(operators))
