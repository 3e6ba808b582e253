"""What a plan is asked for, without a command line."""
from pathlib import Path
from typing import Any

import pytest

from headrace.gen.estimate.devices import find
from headrace.gen.estimate.price import Prices
from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Means
from headrace.gen.netlist.target import ECP5, ICE40, XC7
from headrace.gen.planning.planner import plan, unrolled
from headrace.gen.request import Request
from headrace.hdl.base.platform import BLOCKRAM

UNROLLED = "--unroll full gives each column a lane and each layer its own rows; it does not go with "


@pytest.fixture
def graph(small: Path) -> Graph:
    return load(small)


def test_default_and_cycles(graph: Graph) -> None:
    assert Request().plan(graph) == plan(graph)
    means = Means(fold=2, pipelined=True)
    assert Request(cycles=6000, means=means).plan(graph) == plan(graph, cycles=6000, means=means)


def test_target_has_lanes_in_pairs(graph: Graph) -> None:
    made = Request(target=XC7).plan(graph)
    assert made == plan(graph, prices=Prices(XC7)) != plan(graph)
    assert Request(target=ECP5).plan(graph) == plan(graph, prices=Prices(ECP5))


def test_target_has_lanes_that_multiply_bit_by_bit(graph: Graph) -> None:
    made = Request(cycles=100_000, target=ICE40, means=Means(rings=BLOCKRAM)).plan(graph)
    assert made == plan(graph, cycles=100_000, prices=Prices(ICE40), means=Means(rings=BLOCKRAM, serial=True))
    assert any(layer.serial for layer in made.layers.values())
    for target in (ECP5, None):  # whoever asks for it without
        other = Request(cycles=100_000, target=target, means=Means(rings=BLOCKRAM, serial=True)).plan(graph)
        assert not any(layer.serial for layer in other.layers.values())


def test_unrolled(graph: Graph) -> None:
    made = Request(unroll=True, target=XC7, means=Means(rings=BLOCKRAM, pipelined=True)).plan(graph)
    assert made == unrolled(graph, paired=True, pipelined=True, rings=BLOCKRAM)


def test_device_has_a_family(graph: Graph) -> None:
    request = Request(device=find("up5k"), target=ICE40)
    assert request.family == Request(device=find("up5k")).family == ICE40
    assert Request().family is None


@pytest.mark.parametrize(("asked", "message"), (
    (dict(cycles=100, unroll=True), "--cycles and --unroll full do not go together"),
    (dict(cycles=100, device=find("up5k")), "--cycles and --fit do not go together"),
    (dict(device=find("up5k"), unroll=True), "--unroll full and --fit do not go together"),
    (dict(cycles=0), "--cycles must be a positive integer, not 0"),
    (dict(device=find("up5k"), target=ECP5),
     "--fit iCE40UP5K is of target ice40, not of --target ecp5"),
    (dict(unroll=True, means=Means(fold=1)), f"{UNROLLED}--fold"),
    (dict(unroll=True, means=Means(keep="narrow")), f"{UNROLLED}--keep narrow")))
def test_what_does_not_go_together(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        Request(**asked)
    assert str(caught.value) == message
