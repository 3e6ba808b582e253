"""The rules of streams, and the judgement of a component by them."""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from formal.harness import RULES, Harness, streams
from formal.prover import FAILS, PROVED, prove, run
from headrace.hdl.base.platform import REGISTERS

SECONDS = 120
"""For each method and rule: some thirty times what the longest takes."""


@dataclass(frozen=True)
class Block:
    """A component to be proved.

    Parameters
    ----------
    dut : :class:`wiring.Component`
        With streams as members.
    silence : :class:`int`
        Cycles after which something must have moved, as :class:`Harness` says it.
    frames : mapping from :class:`str` to :class:`int`
        Beats of a frame on each stream, where streams carry frames.
    cuts_ready : :class:`bool`
        The ready of no input may follow from that of an output's reader in the same cycle.
    rings : :class:`str`
        What rings are made of (:class:`headrace.hdl.base.hierarchy.Hierarchy`).
    """

    dut: Any
    silence: int
    frames: Mapping[str, int]
    cuts_ready: bool
    rings: str = REGISTERS


def broken(block: Block) -> Iterator[str]:
    """Yield which rules a component breaks, or is not proved to keep, and how.

    1. What is valid stays, with its payload, until it is taken.
    2. Neither valid nor payload follows from any reader's ready in the same cycle.
    3. Nothing hangs: within some cycles something moves, and a frame that has come leaves.
    """
    harness = Harness(dut=block.dut, silence=block.silence, frames=block.frames)
    verdict = prove(harness, RULES, seconds=SECONDS, rings=block.rings)
    inputs = [name for name, _, is_input in streams(block.dut) if is_input]
    outputs = [name for name, _, is_input in streams(block.dut) if not is_input]
    takes = {f"takes_{name}" for name in outputs}
    independent = [f"{what}_{name}" for what in ("valid", "payload") for name in outputs]
    for output in independent + [f"ready_{name}" for name in inputs if block.cuts_ready]:
        if found := verdict.follows[output] & takes:
            yield f"{output} follows from {', '.join(sorted(found))}"
    for rule in RULES:
        if verdict.never[rule] == FAILS:
            shortest = run(harness, rule, seconds=SECONDS, rings=block.rings)
            yield f"{rule} after\n" + "\n".join(map(_line, enumerate(shortest)))
        elif verdict.never[rule] != PROVED:
            yield f"{rule}: not found out"


def _line(cycle: tuple[int, Mapping[str, int]]) -> str:
    number, inputs = cycle
    return f"  cycle {number}: " + " ".join(
        f"{name}={value}" for name, value in inputs.items()
        if name.startswith(("offers", "fresh", "takes")) or name == "rst" and value)
