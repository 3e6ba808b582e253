"""The sequencer of a layer that holds its window and sweeps over it."""
from dataclasses import dataclass
from functools import cached_property

from amaranth import Cat, Const, Module, Mux, Signal, Value

from headrace.hdl.arithmetic.geometry import HeldGroup, Window, held_groups
from headrace.hdl.base.rows import RowFormat, counter, replayed, table
from headrace.hdl.lanes.steps import MAC_STAGES, MacSteps
from headrace.hdl.layers.landing import LandingRows, Slots
from headrace.hdl.requantise.requantise import Requantise
from headrace.hdl.storage.rom import Rom
from headrace.hdl.timing.channel import Channel, Process
from headrace.hdl.timing.pipeline import Pipeline, first_step


@dataclass(frozen=True)
class Turn:
    """What a turn tells the window and the lanes.

    Attributes
    ----------
    number : :class:`Value`
        Which turn of a frame.
    takes : :class:`Value`
        The landing rows that it takes, a bit for each slot.
    enters : :class:`Value`
        High in the first sweep, in which they do.
    fold : :class:`Value`
        Which of its columns a lane serves.
    select : :class:`Value`
        Which operands of a word the lanes use.
    weight : :class:`Value`
    word_ends, sweep_ends : :class:`Value`
        High in the last step of each word and of a sweep.
    steps : :class:`MacSteps`
    """

    number: Value
    takes: Value
    enters: Value
    fold: Value
    select: Value
    weight: Value
    word_ends: Value
    sweep_ends: Value
    steps: MacSteps


@dataclass(frozen=True, kw_only=True)
class Turns:
    """A sequencer that makes a turn for each row, or group of rows, of the output.

    A turn is a sweep over the words of the window for every :py:`p_out` outputs, for each row of a group and
    for each column that a lane serves. In the first one rows enter that have landed; a turn that only fills
    the window ends with that, and takes one step per word.

    Parameters
    ----------
    formats : input and output :class:`RowFormat`
    window : :class:`Window`
    words : :class:`int`
        Of a row.
    selects : :class:`int`
        Steps of a word.
    sweeps : :class:`int`
        Until all output channels are computed.
    """

    formats: tuple[RowFormat, RowFormat]
    window: Window
    words: int
    selects: int
    sweeps: int

    @cached_property
    def groups(self) -> list[HeldGroup]:
        i, _ = self.formats
        return held_groups(self.window, i.height)[0]

    @property
    def span(self) -> int:
        """Steps of a sweep."""
        return self.words * self.selects

    @property
    def depth(self) -> int:
        """Steps, and words of weights, until all output channels are computed."""
        return self.span * self.sweeps

    def counters(self) -> list[int]:
        _, o = self.formats
        counters = [len(self.groups), self.selects, self.words, self.sweeps, self.depth, o.fold]
        return [*counters, o.group] if o.group > 1 else counters

    def describe(self, m: Module, rom: Rom, rows: LandingRows, requantise: Requantise) -> Turn:
        """Add the gateware to a layer."""
        (_, o), groups, slots = self.formats, self.groups, self.window.enters
        turn_ends, ready, first, finishes = Signal(), Signal(), Signal(), Signal()
        turn, _, _ = counter(m, len(groups), turn_ends, name="turn")
        emits = table([group.emits for group in groups], turn)
        takes = Cat(table([group.lands[slot] for group in groups], turn) for slot in range(slots))
        steps = MacSteps(
            m, possible=ready, computes=Const(1), first=first, finishes=finishes,
            finished=requantise.i.valid, taken=requantise.i.ready, pipelined=o.pipelined)
        step = steps.step
        select, _, select_last = counter(m, self.selects, step & emits, name="select")
        word_ends = step & (~emits | select_last)
        word, _, word_last = counter(m, self.words, word_ends, name="word")
        sweep_ends = word_ends & word_last
        fold, _, fold_last = counter(m, o.fold, sweep_ends & emits, name="fold")
        swept = sweep_ends & fold_last if o.fold > 1 else sweep_ends  # by all columns
        member: Value = Const(0)
        member_last: Value = Const(1)
        if o.group > 1:
            member, member_last, select = self._members(m, turn, swept & emits)
        sweep, _, sweep_last = counter(m, self.sweeps, swept & emits & member_last, name="sweep")
        again = sweep_ends & ~(member_last & fold_last)
        weight = steps.weights(rom, *replayed(m, len(rom.words), step & emits, again=again,
                                              back=self.span - 1, name="address"))
        first_sweep = Signal()
        m.d.comb += [
            ready.eq(rom.valid & (~first_sweep | rows.there(takes))),
            first.eq((word == 0) & ((select == 0) if o.group == 1 else 1)),
            first_sweep.eq((sweep == 0) & (member == 0) & (fold == 0)),
            finishes.eq(emits & word_last & (select_last if o.group == 1 else 1)),
            turn_ends.eq(sweep_ends & (~emits | sweep_last & member_last & fold_last)),
        ]
        return Turn(number=turn, takes=takes, enters=first_sweep, fold=fold, select=select, weight=weight,
                    word_ends=word_ends, sweep_ends=sweep_ends, steps=steps)

    def _members(self, m: Module, turn: Value, ends: Value) -> tuple[Value, Value, Value]:
        """Go through the rows of a group; return which one it is, whether the last, and its tap."""
        _, o = self.formats
        member, last = Signal(range(o.group)), Signal(name="member_last")
        rows = [[tap for tap, inside in enumerate(group.inside) if inside] for group in self.groups]
        m.d.comb += last.eq(member == table([len(taps) - 1 for taps in rows], turn))
        with m.If(ends):
            m.d.sync += member.eq(Mux(last, 0, member + 1))
        select = Signal(range(max(self.window.kernel[0], 2)))
        m.d.comb += select.eq(member + table([taps[0] for taps in rows], turn))
        return member, last, select

    def process(self, landed: Slots, free: Slots, sums: Channel) -> Process:
        """Say when rows that landed are taken and sums finished."""
        _, o = self.formats
        time, bank = first_step(self.depth), 0
        pipeline = Pipeline(sums, MAC_STAGES) if o.pipelined else None
        while True:
            for group in self.groups:
                slots = [slot for slot, lands in enumerate(group.lands) if lands]
                for slot in slots:
                    while not landed[bank][slot].times:
                        yield landed[bank][slot]
                    time = max(time, landed[bank][slot].times.popleft())
                members = sum(group.inside) if o.group > 1 else 1
                for sweep in range(self.sweeps * o.fold * members if group.emits else 1):
                    span = self.span if group.emits else self.words
                    if pipeline is not None:
                        time = 1 + (yield from pipeline.steps(time, span, finish=group.emits))
                    elif group.emits:
                        sums.offer(time + span - 1)
                        while sums.offered is not None:
                            yield sums
                        time = sums.taken + 1
                    else:
                        time += span
                    if sweep == 0:
                        for slot in slots:
                            free[bank][slot].tell(time)
                    if pipeline is not None and group.emits:
                        yield from pipeline.settle()
                if slots:
                    bank = (bank + 1) % len(landed)
