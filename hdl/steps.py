"""The steps of a layer's lanes, and how finished sums leave them."""
from typing import Any

from amaranth import Cat, Const, Module, Signal, Value

STAGES = 2
"""Registers between a step of the sequencer and the sums of pipelined lanes: of operands, of products."""


class Steps:
    """What a sequencer and its lanes tell each other.

    In lanes that are not pipelined, a step that finishes a sum waits until it is taken. In pipelined lanes,
    steps go on meanwhile, and sums follow them :data:`STAGES` cycles later. A finished sum that is not taken
    in its first cycle then stops all of the pipeline, the sequencer included, until it is.

    Parameters
    ----------
    m : :class:`Module`
        To which the logic is added.
    possible : :class:`Value`
        All that a step needs is there.
    computes, first, finishes : :class:`Value`
        In this step lanes keep their sums; start new ones; have finished them.
    finished, taken : :class:`Value`
        ``valid`` and ``ready`` of the finished sums.

    Attributes
    ----------
    step : :class:`Signal`
        The sequencer moves on.
    moves : :class:`Value`
        The registers of the lanes load.
    first, advance : :class:`Value`
        What lanes are told: these are new sums; keep them.
    """

    def __init__(self, m: Module, *, possible: Value, computes: Value, first: Value, finishes: Value,
                 finished: Value, taken: Value, pipelined: bool) -> None:
        self._m, self.pipelined = m, pipelined
        self.step = Signal(name="step")
        self.moves: Value = Const(1)
        self.first, self.advance = first, self.step & computes
        if not pipelined:
            m.d.comb += [finished.eq(possible & finishes), self.step.eq(possible & (~finishes | taken))]
            return
        self.moves = Signal(name="moves")
        stage = Cat(self.advance, first, self.step & finishes)
        for number in range(STAGES):
            stage = self.behind(stage, name=f"stage{number}")
        advance, self.first, leaves = stage
        self.advance = advance & self.moves
        m.d.comb += [finished.eq(leaves), self.moves.eq(~leaves | taken), self.step.eq(possible & self.moves)]

    def behind(self, value: Any, *, name: str) -> Any:
        """Return a value as lanes see it one stage later, or the value itself where there are none."""
        if not self.pipelined:
            return value
        register = Signal.like(value, name=name)
        with self._m.If(self.moves):
            self._m.d.sync += register.eq(value)
        return register

    def tell(self, lane: Any) -> None:
        """Connect what a lane is told, but for operands, weights and which of them it selects."""
        self._m.d.comb += [lane.first.eq(self.first), lane.step.eq(self.advance)]
        if self.pipelined:
            self._m.d.comb += lane.moves.eq(self.moves)
