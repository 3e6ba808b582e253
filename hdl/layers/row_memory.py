"""The rows of a layer that reads them by address."""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream

from headrace.hdl.arithmetic.geometry import Window, rows_in_turn
from headrace.hdl.base.rows import RowFormat, counter, table
from headrace.hdl.storage.block_memory import block_memory
from headrace.hdl.timing.channel import Channel, Process, Queue, Scheduler


@dataclass(frozen=True, kw_only=True)
class RowMemory:
    """Block RAM with places for rows, which land in one after another as long as there is one.

    A row is given up after the last output row that needs it. A beat of several columns is taken at once and
    written one by one.

    Parameters
    ----------
    format : :class:`RowFormat`
    window : :class:`Window`
    """

    format: RowFormat
    window: Window

    @cached_property
    def _in_turn(self) -> tuple[list[int], list[int]]:
        return rows_in_turn(self.window, self.format.height)

    @property
    def needs(self) -> Sequence[int]:
        """Rows that must be there for each output row."""
        return self._in_turn[0]

    @property
    def frees(self) -> Sequence[int]:
        """Rows that are given up after it."""
        return self._in_turn[1]

    @property
    def places(self) -> int:
        """One for a row more, and for all that a window reaches in the padding."""
        return 1 << max(*self.needs, self.window.kernel[0]).bit_length()

    @property
    def depth(self) -> int:
        """Words: places, channels and columns have bits of the address to themselves."""
        return 1 << sum(self._bits)

    @property
    def _bits(self) -> tuple[int, int, int]:
        """Bits of the address: of column, channel and place."""
        i = self.format
        return (i.width - 1).bit_length(), (i.channels - 1).bit_length(), (self.places - 1).bit_length()

    @property
    def beat(self) -> int:
        """Bits of the register of a beat of several columns."""
        i = self.format
        return i.lanes * i.shape.width if i.lanes > 1 else 0

    def counters(self) -> list[int]:
        return [self.format.width, self.format.channels, self.places, self.places + 1]

    def state(self) -> int:
        """Return the bits of registers besides counters."""
        return self.beat + (self.format.lanes.bit_length() if self.beat else 0)

    def queues(self, scheduler: Scheduler) -> tuple[Queue, Queue]:
        """Return when rows have landed, and when there are places for the next."""
        return Queue(scheduler), Queue(scheduler, [0] * self.places)

    def process(self, i: Channel, landed: Queue, free: Queue) -> Process:
        """Say when beats are taken and rows have landed."""
        lanes, time = self.format.lanes, 0
        while True:
            room: int | None = None
            for _ in range(self.format.row_beats):
                while i.offered is None:
                    yield i
                if lanes > 1:  # taken at once, then written column by column
                    i.take(max(time, i.offered))
                    time = i.taken + 1
                if room is None:
                    while not free.times:
                        yield free
                    room = free.times.popleft()
                if lanes > 1:
                    time = max(time, room) + lanes
                else:
                    i.take(max(time, room, i.offered))
                    time = i.taken + 1
            landed.tell(time)


class MemoryRows:
    """The gateware of rows in memory, added to a layer.

    Parameters
    ----------
    m : :class:`Module`
    i : stream of rows
    memory : :class:`RowMemory`
    """

    def __init__(self, m: Module, i: stream.Interface, memory: RowMemory) -> None:
        self._m, self._memory = m, memory
        # A row has landed; rows that landed and were not given up.
        self._landed, self._held = Signal(), Signal(range(memory.places + 1), name="held")
        self._written, self._value = self._columns(i, self._held != memory.places)
        self._column, _, column_last = counter(m, memory.format.width, self._written, name="landing_column")
        self._channel, _, channel_last = counter(m, memory.format.channels, self._written & column_last,
                                                 name="landing_channel")
        m.d.comb += self._landed.eq(self._written & column_last & channel_last)
        self._place, _, _ = counter(m, memory.places, self._landed, name="landing")

    def there(self, row: Value) -> Value:
        """Return whether the rows are there that an output row needs."""
        return self._held >= table(self._memory.needs, row)

    def give_up(self, row: Value, *, ends: Value) -> None:
        """Give up what an output row needed last where it :py:`ends`."""
        frees = Mux(ends, table(self._memory.frees, row), 0)
        self._m.d.sync += self._held.eq(self._held + self._landed - frees)

    def read(self, platform: object, column: Value, channel: Value, place: Value, enable: Value) -> Signal:
        """Add the memory; return what is at an address, a cycle later."""
        return block_memory(
            self._m, platform, "rows", width=self._memory.format.shape.width, depth=self._memory.depth,
            write=(self._address(self._column, self._channel, self._place), self._value, self._written),
            read=(self._address(column, channel, place), enable))

    def _address(self, *parts: Value) -> Value:
        """Return where a column of a channel of a row lies."""
        pairs = zip(parts, self._memory._bits, strict=True)
        return Cat((value | Const(0, width))[:width] for value, width in pairs if width)

    def _columns(self, i: stream.Interface, room: Value) -> tuple[Value, Value]:
        """Return whether a column is written and its value, the columns of a beat one after another."""
        m, format_ = self._m, self._memory.format
        if format_.lanes == 1:
            m.d.comb += i.ready.eq(room)
            return i.valid & room, Value.cast(i.payload[0])
        beat = Signal(self._memory.beat, reset_less=True)
        left = Signal(range(format_.lanes + 1))
        written = Signal()
        m.d.comb += [i.ready.eq(left == 0), written.eq((left != 0) & room)]
        with m.If(i.ready & i.valid):
            m.d.sync += [beat.eq(i.payload), left.eq(format_.lanes)]
        with m.Elif(written):
            m.d.sync += [beat.eq(beat >> format_.shape.width), left.eq(left - 1)]
        return written, beat[:format_.shape.width]
