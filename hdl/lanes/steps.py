"""The steps of a sequencer whose lanes work in stages, and how what they finish leaves them."""
from typing import Any

from amaranth import Const, Module, Signal, Value
from amaranth.lib.wiring import In, Member

from headrace.hdl.storage.rom import Rom

MAC_STAGES = 3
"""Registers between a sequencer and the sums of pipelined lanes that multiply: two of operands, as a weight
leaves a block RAM late and goes on from a register, and one of products."""

SCALE_STAGES = 3
"""Those of pipelined requantisers: of digits, of products, of the scaled sum."""


class Steps:
    """What a sequencer and its lanes tell each other.

    In lanes without stages, a step that finishes something waits until that is taken. In lanes with stages,
    steps go on meanwhile, and what they finish follows them so many cycles later. If it is not taken in its
    first cycle, it stops all of the pipeline, the sequencer included, until it is.

    Parameters
    ----------
    m : :class:`Module`
        To which the logic is added.
    possible : :class:`Value`
        All that a step needs is there.
    finishes : :class:`Value`
        With this step something is finished.
    finished, taken : :class:`Value`
        ``valid`` and ``ready`` of what is finished.
    stages : :class:`int`

    Attributes
    ----------
    step : :class:`Signal`
        The sequencer moves on.
    moves : :class:`Value`
        The registers of the stages load.
    """

    def __init__(self, m: Module, *, possible: Value, finishes: Value, finished: Value, taken: Value,
                 stages: int) -> None:
        self._m, self._stages = m, stages
        self.step = Signal(name="step")
        self.moves: Value = Const(1)
        if stages:
            self.moves = Signal(name="moves")
            leaves = self.behind(self.step & finishes, stages, name="leaves")
            m.d.comb += [finished.eq(leaves), self.moves.eq(~leaves | taken),
                         self.step.eq(possible & self.moves)]
        else:
            m.d.comb += [finished.eq(possible & finishes), self.step.eq(possible & (~finishes | taken))]

    def behind(self, value: Any, stages: int, *, name: str) -> Any:
        """Return a value as it is seen so many stages later; or the value itself where there are none."""
        for number in range(min(stages, self._stages)):
            register = Signal.like(value, name=f"{name}{number}")
            with self._m.If(self.moves):
                self._m.d.sync += register.eq(value)
            value = register
        return value

    def once(self, value: Value, stages: int, *, name: str) -> Value:
        """Return the same of what happens in a step: it is high in one cycle, also where that waits."""
        later: Value = self.behind(value, stages, name=name)
        return later & self.moves if self._stages else later

    def tell(self, lane: Any) -> None:
        """Connect what a lane needs for its stages."""
        if self._stages:
            self._m.d.comb += lane.moves.eq(self.moves)


class MacSteps(Steps):
    """Of lanes that multiply: also what these are told of a step.

    Parameters
    ----------
    computes, first : :class:`Value`
        In this step lanes keep their sums; start new ones.
    pipelined : :class:`bool`
        Whether the lanes are.
    fetch : :class:`int`
        Stages before the lanes, in which operands are read.
    """

    def __init__(self, m: Module, *, computes: Value, first: Value, pipelined: bool, fetch: int = 0,
                 **streams: Value) -> None:
        stages = fetch + (MAC_STAGES if pipelined else 0)
        super().__init__(m, stages=stages, **streams)
        self._fetch, self._pipelined = fetch, pipelined
        self._first = self.behind(first, stages, name="first")
        self._keeps = self.once(self.step & computes, stages, name="keeps")

    def weights(self, rom: Rom, value: Value, following: Value) -> Value:
        """Connect the ROM of the weights; return them when lanes multiply by them.

        A ROM that waits reads what the present step needs, any other what the next one may need. Where
        operands are fetched, they come later by as much: lanes without stages need no more than the ROM's own
        delay. A constant needs no register.
        """
        if rom.waits:
            value = self.behind(value, self._fetch if self._pipelined else 0, name="address")
            self._m.d.comb += [rom.address.eq(value), rom.enable.eq(self.moves)]
        else:
            self._m.d.comb += rom.address.eq(following)
        weight: Value = self.behind(rom.data, self._pipelined and len(rom.words) > 1, name="weight")
        return weight

    def tell(self, lane: Any) -> None:
        """Connect what a lane is told, but for operands, weights and which of them it selects."""
        if self._pipelined:
            super().tell(lane)
        self._m.d.comb += [lane.first.eq(self._first), lane.step.eq(self._keeps)]


def members(pipelined: bool) -> dict[str, Member]:
    """Return the further members of lanes that have stages."""
    return {"moves": In(1)} if pipelined else {}


def assign(m: Module, lane: Any, target: Signal, value: Value) -> None:
    """Describe a signal that is a stage of a pipelined lane, and otherwise only a name."""
    if lane.pipelined:
        with m.If(lane.moves):
            m.d.sync += target.eq(value)
    else:
        m.d.comb += target.eq(value)


def staged(m: Module, lane: Any, value: Value, *, name: str) -> Value:
    """Return a value behind a stage of a pipelined lane, and otherwise the value."""
    if not lane.pipelined:
        return value
    register = Signal(value.shape(), name=name, reset_less=True)
    assign(m, lane, register, value)
    return register
