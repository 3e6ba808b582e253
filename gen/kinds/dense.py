"""Dense convolutions: each output needs every channel."""
from collections.abc import Sequence

import numpy as np

from headrace.gen.ir.graph import Conv, Graph, Tensor, Window
from headrace.gen.kinds.kind import Kind
from headrace.gen.kinds.needs import Needs, reached


class DenseKind(Kind[Conv]):
    of = Conv

    def needs(self, node: Conv, graph: Graph, inputs: Sequence[Needs], held: tuple[int, ...],
              fold: int) -> Needs:
        y = graph.tensors[node.output]
        last = reached(inputs[0], node.window.last_rows(y.height))
        return np.repeat(last[:, -1:], y.channels * fold, axis=1)


def narrows(node: Conv, x: Tensor, y: Tensor) -> bool:
    """Whether a convolution is one whose lanes hold sums rather than operands."""
    return node.window == Window() and y.channels < x.channels and x.width > 1
