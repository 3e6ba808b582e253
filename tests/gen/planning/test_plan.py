import numpy as np
import pytest

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Add, Conv, Graph, Node, Quantisation, Tensor
from headrace.gen.netlist import build
from headrace.gen.planning.choice import PORTS, WEIGHT
from headrace.gen.planning.dependence import SLACK, shortcuts
from headrace.gen.planning.planner import default_budget, plan, unrolled
from headrace.hdl.arithmetic.geometry import Window

Q = Quantisation(scale=0.5, zero_point=3, signed=True)


def conv(name: str, x: Tensor, channels: int, window: Window, *,
         depthwise: bool = False) -> tuple[Conv, Tensor]:
    height, width = window.output_size(x.height, x.width)
    y = Tensor(name, channels, height, width, Q)
    depth = 1 if depthwise else x.channels
    return Conv(name=name, inputs=(x.name,), output=name,
                weight=np.ones((channels, depth, *window.kernel), np.int16),
                bias=np.zeros(channels, np.int64), multiplier=np.full(channels, 0.01, np.float32),
                window=window, groups=x.channels if depthwise else 1, lo=-128, hi=127), y


def residual(kernels: list[int], *, dense: bool, height: int = 12) -> Graph:
    """A chain of same-size convolutions and a shortcut past all of them."""
    x = Tensor("x", 4, height, 6, Q)
    nodes: list[Node] = []
    tensors = {"x": x}
    y = x
    for index, kernel in enumerate(kernels):
        half = kernel // 2
        window = Window((kernel, kernel), (1, 1), (half, half, half, half))
        node, y = conv(f"conv{index}", y, 4, window, depthwise=not dense)
        nodes.append(node)
        tensors[y.name] = y
    out = Tensor("out", 4, height, 6, Q)
    nodes.append(Add("add", (y.name, "x"), "out", (np.float32(1), np.float32(1)), -128, 127))
    graph = Graph("residual", "x", "out", tensors | {"out": out}, tuple(nodes))
    graph.verify()
    return graph


@pytest.mark.parametrize("kernels, rows", (([1], 1), ([3], 2), ([3, 3], 3), ([1, 3, 1], 2), ([5, 3], 4)))
def test_shortcut_holds_the_rows_that_a_window_looks_ahead(kernels: list[int], rows: int) -> None:
    graph = residual(kernels, dense=True)
    assert shortcuts(graph)["add"] == (0, rows + SLACK)


def test_shortcut_past_depthwise_layers_counts_their_flush() -> None:
    graph = residual([3, 3], dense=False)
    assert shortcuts(graph)["add"] == (0, 3 + SLACK)


def test_shortcut_never_holds_more_than_the_image() -> None:
    graph = residual([3, 3, 3], dense=True, height=3)
    assert shortcuts(graph)["add"] == (0, 3)


@pytest.mark.parametrize("budget", (1200, 2500, 10_000))
def test_every_layer_meets_the_budget(budget: int) -> None:
    layout = plan(residual([3, 1, 3], dense=True), cycles=budget)
    assert all(layer.cycles <= budget for layer in layout.layers.values())
    assert layout.multipliers == sum(layer.lanes * layer.p_in * layer.p_out
                                     for layer in layout.layers.values() if layer.kind != "add")


def test_fewer_cycles_take_more_multipliers() -> None:
    graph = residual([3, 1, 3], dense=True)
    counts = [plan(graph, cycles=budget).multipliers for budget in (600, 1200, 2400, 4800)]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1]


def test_default_is_four_cycles_per_beat_of_the_busiest_stream() -> None:
    assert default_budget(residual([3], dense=True)) == 4 * 12 * 4


def test_impossible_budget_is_an_error() -> None:
    with pytest.raises(HeadraceError, match=r"^layer conv0 needs \d+ cycles per frame however far it is "
                                            r"unrolled, more than the 10 allowed: allow at least \d+$"):
        plan(residual([3], dense=True), cycles=10)


def test_no_module_has_more_inputs_than_a_netlist_can_have() -> None:
    """A window of 5,184 operands, each with a weight: 83,000 bits, if one step takes them all."""
    x = Tensor("x", 4, 36, 36, Q)
    node, y = conv("fc", x, 5, Window((36, 36)))
    graph = Graph("net", "x", "fc", {"x": x, "fc": y}, (node,))
    with pytest.raises(HeadraceError, match="fully unrolled, may have [0-9,]+ bits of inputs in a module"):
        unrolled(graph)
    with pytest.raises(HeadraceError, match="more than the 100 allowed") as refused:
        plan(graph, cycles=100)
    least = int(str(refused.value).rsplit(" ", 1)[-1])
    fastest = plan(graph, cycles=least)
    assert WEIGHT * fastest.layers["fc"].p_in < PORTS
    build.netlist(graph, fastest)
