"""What occurs in a network stays within the ranges that its constants are proved for."""
import numpy as np

from headrace.gen.ir.graph import Conv, GlobalAveragePool, Graph, Pool
from headrace.gen.numerics import constants
from headrace.gen.numerics.ranges import Range
from headrace.sim import reference


def holds(bound: Range, values: np.ndarray) -> None:
    assert (values.min((0, 2, 3)) >= bound.lo).all() and (values.max((0, 2, 3)) <= bound.hi).all()


def inside(graph: Graph, seed: int) -> None:
    """Assert that random images stay inside, extreme ones included."""
    rng = np.random.default_rng(seed)
    found = constants.find(graph)
    q = graph.tensors[graph.input].quantisation
    shape = graph.tensors[graph.input].shape
    x = np.concatenate([rng.integers(q.lo, q.hi + 1, (20, *shape)), rng.choice([q.lo, q.hi], (20, *shape)),
                        np.broadcast_to(np.array([q.lo, q.hi])[:, None, None, None], (2, *shape))])
    values = reference.run(graph, x)
    for name, bound in found.ranges.items():
        holds(bound, values[name])
    for node in graph.nodes:
        source, zero_point = values[node.inputs[0]], graph.tensors[node.inputs[0]].quantisation.zero_point
        if isinstance(node, Conv):
            zeros = node.weight.reshape(len(node.weight), -1).sum(1, dtype=np.int64)
            sums = reference.accumulate(node, source, zero_point)
            holds(found.reach[node.name], sums + (zeros * zero_point - node.bias)[:, None, None])
        elif isinstance(node, GlobalAveragePool):
            holds(found.reach[node.name], source.astype(np.int64).sum((2, 3), keepdims=True))
        elif isinstance(node, Pool) and node.kind == "average":
            holds(found.reach[node.name], np.stack([
                node.window.view(frame.astype(np.int64), zero_point).sum((1, 2)) for frame in source]))
