"""A number of cycles that a refusal names is one that is then allowed."""
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import random_models
from headrace.gen.estimate.price import Prices
from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Means
from headrace.gen.kinds.place import Option
from headrace.gen.netlist.target import ICE40
from headrace.gen.planning import planner
from headrace.gen.planning.choice import Choice, Chosen, TooFast
from headrace.gen.planning.planner import plan
from random_networks import Network, networks

MEANS = st.builds(Means, fold=st.sampled_from((None, None, 1, 2, 3)),
                  keep=st.sampled_from(("wide", "narrow")), pipelined=st.booleans(), serial=st.booleans(),
                  rings=st.sampled_from(("registers", "lutram", "blockram"))).filter(
                      lambda means: not means.serial or means.rings != "lutram")  # which iCE40 has not


def allowed(graph: Graph, cycles: int, means: Means) -> int | None:
    """The number that a refusal of `cycles` names, which is tried; None if nothing is refused."""
    prices = Prices(ICE40 if means.serial else None)
    try:
        plan(graph, cycles=cycles, prices=prices, means=means)
    except HeadraceError as error:
        found = re.search(r": allow at least (\d+)$", str(error))
        assert found is not None, error
        assert cycles < int(found[1]) and plan(graph, cycles=int(found[1]), prices=prices, means=means)
        return int(found[1])
    return None


def climb(graph: Graph, means: Means) -> int:
    """Ask for what was named, made a little less, again and again; return how many refusals there were."""
    cycles, refusals = 1, 0
    for divisor in (1, 1, 2, 3, 5):
        if (found := allowed(graph, max(1, cycles), means)) is None:
            break
        refusals += 1
        cycles = found - max(1, (found - cycles) // (2 * divisor)) if divisor > 1 else found - 1
    return refusals


@pytest.mark.parametrize("means", [
    Means(), Means(fold=4), pytest.param(Means(keep="narrow"), marks=pytest.mark.full),
    pytest.param(Means(pipelined=True), marks=pytest.mark.full),
    pytest.param(Means(rings="blockram", pipelined=True), marks=pytest.mark.full)], ids=str)
def test_bundled_network(digits: Path, means: Means) -> None:
    assert climb(load(digits), means) >= 1


def climb_random(folders: pytest.TempPathFactory, network: Network, means: Means) -> None:
    climb(load(random_models.save(network, folders.mktemp("random") / "net.onnx")), means)


@settings(max_examples=10, deadline=None, derandomize=True, database=None,
          suppress_health_check=list(HealthCheck))
@given(network=networks(), means=MEANS)
def test_random_networks(tmp_path_factory: pytest.TempPathFactory, network: Network, means: Means) -> None:
    climb_random(tmp_path_factory, network, means)


@pytest.mark.full
@settings(max_examples=300, deadline=None, derandomize=True, database=None,
          suppress_health_check=list(HealthCheck))
@given(network=networks(), means=MEANS)
def test_many_random_networks(tmp_path_factory: pytest.TempPathFactory, network: Network,
                              means: Means) -> None:
    climb_random(tmp_path_factory, network, means)


def test_cheap_bound_does_not_suffice(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first layer that fails needs is less than what the network does: who names it is caught."""
    first: Callable[..., int] = lambda graph, cycles, paired, means: cycles  # noqa: E731
    monkeypatch.setattr(planner, "_sufficient", first)
    with pytest.raises(HeadraceError, match="allow at least"):
        climb(load(digits), Means(pipelined=True))


def test_no_rate_below_a_cycle(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers that make each other wait for long are planned for less and less, but not for nothing."""
    asked, choose = list[int](), Choice.choose

    def slower(self: Choice, each: int, chosen: Callable[..., Option]) -> Chosen:
        asked.append(each)
        return choose(self, 10_000, chosen)

    monkeypatch.setattr(Choice, "choose", slower)
    monkeypatch.setattr(planner, "_fastest", lambda *_: SimpleNamespace(cycles_per_frame=1e9))
    with pytest.raises(TooFast):
        planner.try_plan(load(digits), 3, Prices(), Means())
    assert min(asked) == 1
