# amaranth: UnusedElaboratable=no
"""The rows that arrive at a layer that holds its window, while those before them are in use."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from amaranth import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream

from headrace.hdl.area.part import Part, ring_parts
from headrace.hdl.arithmetic.geometry import LandingRow, Window, held_groups
from headrace.hdl.base.hierarchy import place_copies
from headrace.hdl.base.rows import RowFormat, counter, table
from headrace.hdl.storage.ring import Ring
from headrace.hdl.timing.channel import Channel, Process, Queue, Scheduler

Slots = Sequence[Sequence[Queue]]  # by bank and slot


@dataclass(frozen=True, kw_only=True)
class Landing:
    """Rings for the rows that enter a window in its next turn.

    In each bank there is a ring for each of those rows, its slot. Rows fill slot after slot; a turn empties
    those of a bank together, word by word. The input is held up only while a row has nowhere to land.

    Parameters
    ----------
    format : :class:`RowFormat`
    window : :class:`Window`
    side : :class:`int`
        Channels side by side in a word.
    banks : :class:`int`
    """

    format: RowFormat
    window: Window
    side: int
    banks: int

    @cached_property
    def rows(self) -> list[LandingRow]:
        """Where each row of a frame lands."""
        return held_groups(self.window, self.format.height)[1]

    @property
    def slots(self) -> int:
        return self.window.enters

    @cached_property
    def columns(self) -> list[int]:
        """The columns that a window reaches: no other lands."""
        reached = (column for taps in self.window.columns(self.format.width) for column in taps)
        return sorted({column for column in reached if column is not None})

    @property
    def words(self) -> int:
        """Of a row."""
        return self.format.channels // self.side

    @property
    def beats(self) -> int:
        """Of a word."""
        return self.side * self.format.fold

    @property
    def word(self) -> data.ArrayLayout:
        """Of a column."""
        return data.ArrayLayout(self.format.shape, self.side)

    def counters(self) -> list[int]:
        return [self.format.height, self.beats, self.words]

    def state(self) -> int:
        """Return the bits of registers besides rings and counters."""
        return self.slots * self.banks + (2 if self.banks > 1 else 0) + self.gathers

    @property
    def gathers(self) -> int:
        """Bits of the beats that wait for the rest of their word."""
        return self.format.lanes * self.format.shape.width * (self.beats - 1)

    def modules(self) -> Iterator[Part]:
        yield from ring_parts("landing", self.side * self.format.shape.width, len(self.columns), self.words,
                              self.slots * self.banks)

    def queues(self, scheduler: Scheduler) -> tuple[Slots, Slots]:
        """Return when rows have landed, and when there is room for the next."""
        return ([[Queue(scheduler) for _ in range(self.slots)] for _ in range(self.banks)],
                [[Queue(scheduler, [0]) for _ in range(self.slots)] for _ in range(self.banks)])

    def process(self, i: Channel, landed: Slots, free: Slots) -> Process:
        """Say when beats are taken and rows have landed."""
        time, bank = 0, 0
        while True:
            for row in self.rows:
                if row.slot is not None:
                    room = free[bank][row.slot]
                    while not room.times:
                        yield room
                    time = max(time, room.times.popleft())
                for _ in range(self.format.row_beats):
                    while i.offered is None:
                        yield i
                    time = max(time, i.offered)
                    i.take(time)
                    time += 1
                if row.slot is not None:
                    landed[bank][row.slot].tell(time)
                if row.completes:
                    bank = (bank + 1) % self.banks


class LandingRows:
    """The gateware of landing rows, added to a layer.

    Parameters
    ----------
    m : :class:`Module`
    platform
    i : stream of rows
    landing : :class:`Landing`
    """

    def __init__(self, m: Module, platform: object, i: stream.Interface, landing: Landing) -> None:
        self._m, self._i, self._landing = m, i, landing
        slots, banks, rows = landing.slots, landing.banks, landing.rows
        rings = place_copies(m, platform, "landing", lambda: Ring(
            word=landing.word, columns=len(landing.columns), depth=landing.words), slots * banks)
        self._rings = [rings[bank * slots:][:slots] for bank in range(banks)]
        self._landed = [Signal(slots, name=f"landed{bank}") for bank in range(banks)]
        self._filling, self._emptying = Signal(), Signal(name="emptying")  # banks
        self._accept, self._row_ends, self._taken = Signal(), Signal(), Signal(name="taken")
        row, _, _ = counter(m, len(rows), self._row_ends, name="landing_row")
        self._lands = Cat(table([each.slot == slot for each in rows], row) for slot in range(slots))
        m.d.comb += [i.ready.eq(~(self._lands & Array(self._landed)[self._filling]).any()),
                     self._accept.eq(i.valid & i.ready)]
        part, _, self._part_last = counter(m, landing.beats, self._accept, name="part")
        _, _, word_last = counter(m, landing.words, self._accept & self._part_last, name="landing_word")
        m.d.comb += self._row_ends.eq(self._accept & self._part_last & word_last)
        if banks > 1:
            with m.If(self._row_ends & table([each.completes for each in rows], row)):
                m.d.sync += self._filling.eq(~self._filling)
            with m.If(self._taken):
                m.d.sync += self._emptying.eq(~self._emptying)
        layout = landing.format.layout
        self._early = [data.View(layout, Signal(layout, name=f"early{index}", reset_less=True))
                       for index in range(landing.beats - 1)]
        for index, register in enumerate(self._early):
            with m.If(self._accept & (part == index)):
                m.d.sync += register.eq(i.payload)

    def there(self, takes: Value) -> Value:
        """Return whether the rows of these slots have landed."""
        return ~(takes & ~Array(self._landed)[self._emptying]).any()

    def front(self, slot: int, index: int) -> Value:
        """Return the word of a slot that a turn takes next, of one of the columns that land."""
        return Array(rings[slot].o[index].as_value() for rings in self._rings)[self._emptying]

    def move(self, takes: Value, *, enters: Value, word_ends: Value, sweep_ends: Value) -> None:
        """Fill the rings, and empty those of the slots that a turn :py:`takes` in the sweep that they enter.

        Parameters
        ----------
        takes : :class:`Value`
            A bit for each slot.
        enters : :class:`Value`
            High in that sweep.
        word_ends, sweep_ends : :class:`Value`
            High in the last step of each word and of a sweep.
        """
        m, i, landing = self._m, self._i, self._landing
        m.d.comb += self._taken.eq(sweep_ends & enters & takes.any())
        for bank, flags in enumerate(self._landed):
            m.d.sync += flags.eq((flags | Mux(self._row_ends & (self._filling == bank), self._lands, 0))
                                 & ~Mux(self._taken & (self._emptying == bank), takes, 0))
        for bank, rings in enumerate(self._rings):
            for slot, ring in enumerate(rings):
                m.d.comb += ring.shift.eq(
                    (self._accept & self._part_last & (self._filling == bank) & self._lands[slot])
                    | (word_ends & enters & (self._emptying == bank) & takes[slot]))
                for index, column in enumerate(landing.columns):
                    fold, lane = divmod(column, landing.format.lanes)
                    for channel in range(landing.side):
                        source = [*self._early, i.payload][channel * landing.format.fold + fold]
                        m.d.comb += ring.i[index][channel].eq(source[lane])
