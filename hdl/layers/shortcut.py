"""Rows that wait for the other operands of a join."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from amaranth import Array, Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part, controlled, ring_parts
from headrace.hdl.base.hierarchy import place, place_copies
from headrace.hdl.base.platform import BLOCKRAM, asked
from headrace.hdl.base.rows import RowFormat, counter
from headrace.hdl.layers.layer import State
from headrace.hdl.storage.block_memory import block_memory
from headrace.hdl.storage.ring import Ring, in_memory
from headrace.hdl.timing.channel import Channel, Process, Queue, Scheduler


class Shortcut(wiring.Component):
    """Hold whole rows of a residual's shortcut in lane registers until its sum needs them.

    Each row has a ring that fills as its channels arrive and empties as they leave, in turn; nothing else
    moves. A row may enter while another leaves. On request they are in one block RAM (:class:`Hierarchy`).
    How many rows a network needs so that it can never stall for good is derived in
    :mod:`headrace.gen.planning.dependence`.

    Parameters
    ----------
    i : :class:`RowFormat`
    rows : :class:`int`
        Rows held. At least 1.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(i.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, rows: int) -> None:
        if rows < 1:
            raise ValueError(f"Rows must be a positive integer, not {rows!r}")
        self.format, self.rows = i, rows
        super().__init__({"i": In(i.signature), "o": Out(i.signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        in_block_ram = in_one_memory(self.format, self.rows, asked(platform).rings)
        full = Signal(self.rows)
        enters, leaves = Signal(), Signal()
        in_beat, _, in_last = counter(m, self.format.row_beats, enters, name="entering_channel")
        entering, _, _ = counter(m, self.rows, enters & in_last, name="entering")
        _, out_next, out_last = counter(m, self.format.row_beats, leaves, name="leaving_channel")
        leaving, leaves_next, _ = counter(m, self.rows, leaves & out_last, name="leaving")
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(entering, 1)),
            enters.eq(self.i.valid & self.i.ready),
            self.o.valid.eq(full.bit_select(leaving, 1)),
            leaves.eq(self.o.valid & self.o.ready),
        ]
        for index in range(self.rows):
            with m.If(enters & in_last & (entering == index)):
                m.d.sync += full[index].eq(1)
            with m.If(leaves & out_last & (leaving == index)):
                m.d.sync += full[index].eq(0)
        if in_block_ram:
            m.d.comb += self.o.payload.eq(self._memory(
                m, platform, (in_beat, entering), enters, (out_next, leaves_next)))
            return m
        rings = place_copies(m, platform, "row", lambda: Ring(
            word=self.format.shape, columns=self.format.lanes, depth=self.format.row_beats), self.rows)
        m.d.comb += self.o.payload.eq(Array(ring.o.as_value() for ring in rings)[leaving])
        for index, ring in enumerate(rings):
            moves = (enters & (entering == index)) | (leaves & (leaving == index))
            m.d.comb += [ring.i.eq(self.i.payload), ring.shift.eq(moves)]
        return m

    def _memory(self, m: Module, platform: object, written: tuple[Value, Value], enters: Value,
                following: tuple[Value, Value]) -> Value:
        """Keep all rows in one memory, whose next word is read ahead; beats and rows are its address."""
        bits = (self.format.row_beats - 1).bit_length()
        depth = self.rows << bits
        return block_memory(m, platform, "rows", width=len(self.i.payload.as_value()), depth=depth,
                            write=(Cat(*written), self.i.payload.as_value(), enters),
                            read=(Cat(*following), Const(1)))


def in_one_memory(format_: RowFormat, rows: int, rings: str) -> bool:
    """Whether all rows of a shortcut are in one block RAM; one of a single beat would be read too early."""
    bits, words = format_.lanes * format_.shape.width, rows * format_.row_beats
    return rings == BLOCKRAM and format_.row_beats > 1 and in_memory(rings, bits, words)


def held_rows(m: Module, platform: object, inputs: Mapping[str, stream.Interface],
              formats: Sequence[RowFormat], rows: Sequence[int]) -> list[stream.Interface]:
    """Return a component's input streams, behind a :class:`Shortcut` those of which rows are held."""
    operands: list[stream.Interface] = []
    for (name, port), format_, count in zip(inputs.items(), formats, rows, strict=True):
        if count:
            shortcut = Shortcut(i=format_, rows=count)
            place(m, platform, f"shortcut_{name}", shortcut)
            wiring.connect(m, wiring.flipped(port), shortcut.i)
            port = shortcut.o
        operands.append(port)
    return operands


def held_processes(inputs: Sequence[Channel], formats: Sequence[RowFormat], rows: Sequence[int],
                   scheduler: Scheduler) -> tuple[list[Channel], list[Process]]:
    """Return when beats leave what :func:`held_rows` makes, and the processes of it."""
    operands, processes = [], []
    for operand, count, format in zip(inputs, rows, formats, strict=True):
        if count:
            full, free, held = Queue(scheduler), Queue(scheduler, [0] * count), Channel(scheduler)
            processes += [_enter(operand, full, free, format), _leave(held, full, free, format)]
            operand = held
        operands.append(operand)
    return operands, processes


def _enter(i: Channel, full: Queue, free: Queue, format: RowFormat) -> Process:
    time = 0
    while True:
        while not free.times:
            yield free
        time = max(time, free.times.popleft())
        for _ in range(format.row_beats):
            while i.offered is None:
                yield i
            time = max(time, i.offered)
            i.take(time)
            time += 1
        full.tell(time)


def _leave(o: Channel, full: Queue, free: Queue, format: RowFormat) -> Process:
    time = 0
    while True:
        while not full.times:
            yield full
        time = max(time, full.times.popleft())
        for _ in range(format.row_beats):
            o.offer(time)
            while o.offered is not None:
                yield o
            time = o.taken + 1
        free.tell(time)


def shortcut_parts(names: Sequence[str], formats: Sequence[RowFormat], rows: Sequence[int],
                   rings: str) -> Iterator[Part]:
    """Yield what the :class:`Shortcut` of each input of which rows are held costs."""
    for name, format_, count in zip(names, formats, rows, strict=True):
        if count:
            yield from _shortcut(f"shortcut_{name}", format_, count, rings)


def _shortcut(module: str, format_: RowFormat, rows: int, rings: str) -> Iterator[Part]:
    bits, beats = format_.lanes * format_.shape.width, format_.row_beats
    together = in_one_memory(format_, rows, rings)
    made = controlled(module, Control(
        "shortcut", counters=(beats, rows, beats, rows), state=rows,
        features={"rows": rows, "bits": 0 if together else (rows - 1) * bits}))
    if together:
        yield replace(made, memory=(rows << (beats - 1).bit_length(), bits))
    else:
        yield made
        yield from ring_parts(f"{module}__row", format_.shape.width, format_.lanes, beats, rows)


def shortcut_state(formats: Sequence[RowFormat], rows: Sequence[int]) -> State:
    """Return the bits of rows held; a machine needs one of each operand that waits."""
    bits = [each.row_bits for each in formats]
    return State(sum(row * held for row, held in zip(bits, rows, strict=True)), 0,
                 sum(row for row, held in zip(bits, rows, strict=True) if held))
