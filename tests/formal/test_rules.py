"""Every block and kind of layer keeps the rules of streams, whatever its environment does; mutants do not."""
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from amaranth import Cat, Signal

from formal import mutants
from formal.blocks import MAKERS, PIPELINED, QUICK, SUM, block, bottleneck, frames, rows
from formal.prover import design
from formal.rules import Block, broken
from headrace.hdl.base.output import OutputRegister
from headrace.hdl.base.platform import BLOCKRAM, REGISTERS
from headrace.hdl.layers import lookup, shortcut
from headrace.hdl.layers.shortcut import Shortcut
from headrace.hdl.requantise.readout import Readout


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


@pytest.mark.parametrize("name, cycles, rule", (
    ("narrow", 2, "breaks_moves after"),
    ("dense", 11, "breaks_ends after"),
    ("addressed", 2, "breaks_ends after"),
))
def test_less_than_a_layer_needs_is_caught(name: str, cycles: int, rule: str) -> None:
    """So layers do move where they are proved, and end what has come."""
    assert rule in "\n".join(broken(replace(block(name), silence=cycles)))


def test_shortcut_with_a_row_too_few_hangs() -> None:
    """The first output row needs two rows of the input, which the fork must have given to both sides."""
    network = bottleneck(held=0)
    found = "\n".join(broken(replace(block("bottleneck"), dut=network, frames=frames(network))))
    assert "breaks_moves after" in found


class TakesOverWhatIsRead(Readout):
    """Takes a word once the one before has been there for two cycles."""

    def elaborate(self, platform: object) -> Any:
        m = super().elaborate(platform)
        there = Signal(2)
        m.d.sync += there.eq(Cat(self.o.valid, there[0]))
        m.d.comb += self.i.ready.eq(~self.o.valid | there[1])
        return m


def test_readout_that_takes_too_early_is_caught() -> None:
    made = TakesOverWhatIsRead(shape=SUM, count=2, readout=2, o=rows(3, lanes=1, fold=2))
    assert "breaks_keeps after" in "\n".join(broken(replace(block("readout"), dut=made)))


class RoomFollows(OutputRegister):
    """There is room where there will be some."""

    def __init__(self, m: Any, o: Any, *, format: Any) -> None:
        super().__init__(m, o, format=format)
        self.room = ~self._full | o.ready


class DropsTheSecond(OutputRegister):
    """Forgets what is in the second place when the first is taken."""

    def load(self, finished: Any, values: Any) -> None:
        super().load(finished, values)
        with self._m.If(self._o.ready):
            self._m.d.sync += self._o.valid.eq(finished & ~self._full)


@pytest.mark.parametrize("mutant, rule", (
    (RoomFollows, "ready_i follows from takes_o"), (DropsTheSecond, "breaks_ends after")))
def test_output_register_mutant_is_caught(monkeypatch: pytest.MonkeyPatch, mutant: Any, rule: str) -> None:
    monkeypatch.setattr(lookup, "OutputRegister", mutant)
    assert rule in "\n".join(broken(block(f"lookup{PIPELINED}")))


def test_word_read_too_early_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of one beat may leave block RAM in the cycle in which it enters, and is undefined then."""
    monkeypatch.setattr(shortcut, "in_one_memory", lambda *_: True)
    held = Shortcut(i=rows(1), rows=2)
    found = broken(Block(dut=held, silence=1, frames={}, cuts_ready=True, rings=BLOCKRAM))
    assert "breaks_keeps after" in "\n".join(found)


@pytest.mark.parametrize("name", [name for name in MAKERS if "RAM" in name and PIPELINED not in name])
def test_rings_are_memories(name: str) -> None:
    """Of blocks that are proved with memories, small as they are."""
    made = block(name)
    assert made.rings != REGISTERS and design(made.dut, made.rings) != design(made.dut, REGISTERS)
