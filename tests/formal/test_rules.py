"""Every block and kind of layer keeps the rules of streams, whatever its environment does; mutants do not."""
from collections.abc import Callable
from typing import Any

import pytest

from formal import mutants
from formal.blocks import QUICK, block
from formal.rules import Block, broken


@pytest.mark.parametrize("name", QUICK)
def test_keeps_rules(name: str) -> None:
    assert not [*broken(block(name))]


def judge(dut: Any, *, cuts_ready: bool = False) -> str:
    found = broken(Block(dut=dut, silence=3, frames={"i": 3, "o": 3}, cuts_ready=cuts_ready))
    return "\n".join(found)


def test_register_keeps_rules() -> None:
    """What the mutants are mutants of."""
    assert judge(mutants.Passing()) == ""


@pytest.mark.parametrize("make, rule", (
    (mutants.DropsValid, "breaks_keeps after"),
    (mutants.ChangesPayload, "breaks_keeps after"),
    (mutants.ValidFollowsReady, "valid_o follows from takes_o"),
    (mutants.PayloadFollowsReady, "payload_o follows from takes_o"),
    (mutants.WaitsForReady, "breaks_moves after"),
    (mutants.Hangs, "breaks_moves after"),
    (mutants.HangsAfterStall, "breaks_moves after"),
    (mutants.HangsAfterReset, "breaks_moves after"),
    (mutants.KeepsTheLast, "breaks_ends after"),
))
def test_mutant_is_caught(make: Callable[[], Any], rule: str) -> None:
    assert rule in judge(make())


def test_ready_that_follows_is_caught() -> None:
    assert judge(mutants.Passing(), cuts_ready=True) == "ready_i follows from takes_o"
