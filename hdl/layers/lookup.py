"""Any function of one activation, as a table, or one table for each channel."""
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from amaranth import Cat, Module, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part, columns_of
from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.base.hierarchy import place_copies
from headrace.hdl.base.output import OutputRegister, output_bits, spare_bits
from headrace.hdl.base.rows import RowFormat, channel_end, counter
from headrace.hdl.layers.layer import Layer, State
from headrace.hdl.timing.channel import Channel, Process, Scheduler
from headrace.hdl.timing.pipeline import register


class LookupLane(wiring.Component):
    """``y = words[channel][x]``, where ``x`` counts as unsigned. Combinational.

    Members
    -------
    x : :py:`In(x)`
    channel : :py:`In(range(len(words)))`
        The same for all lanes; only where there are several tables.
    y : :py:`Out(y)`
    """

    x: Signal
    channel: Signal
    y: Signal

    def __init__(self, *, x: Shape, y: Shape, words: Sequence[Sequence[int]]) -> None:
        self.words = words
        chosen = {"channel": In(range(len(words)))} if len(words) > 1 else {}
        super().__init__({"x": In(x), "y": Out(y), **chosen})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = [word for table in self.words for word in table]
        memory: Memory = Memory(shape=self.y.shape(), depth=len(words), init=words)
        m.submodules.words = memory
        port = memory.read_port(domain="comb")
        address = Cat(self.x, self.channel) if len(self.words) > 1 else self.x
        m.d.comb += [port.addr.eq(address), self.y.eq(port.data)]
        return m


class Lookup(Layer):
    """``y = tables[c][x - lo]``, where ``lo`` is the least value of the input's shape.

    A single table serves every channel ``c``.

    Takes a beat per cycle; latency is one cycle, that of the :class:`OutputRegister`.

    Parameters
    ----------
    i, o : :class:`RowFormat`
        Of the same size.
    tables : sequence of sequences of 256 :class:`int`
        One, or one for each channel.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, o: RowFormat, tables: Sequence[Sequence[int]]) -> None:
        if len(tables) not in (1, i.channels):
            raise ValueError(f"One table, or one for each of {i.channels} channels, is needed, "
                             f"not {len(tables)}")
        for table in tables:
            if len(table) != 1 << i.shape.width:
                raise ValueError(f"A table of {1 << i.shape.width} values is needed, not of {len(table)}")
        self.formats, self.tables = (i, o), np.array(tables, np.int64)
        self.low = -(1 << i.shape.width - 1) if i.shape.signed else 0
        super().__init__({"i": In(i.signature), "o": Out(o.signature)})

    def model(self, *images: Image) -> Image:
        """Compute an image of the same size, bit for bit."""
        (x,) = images
        return self.tables[np.arange(len(self.tables))[:, None, None], x - self.low]

    @property
    def rom(self) -> None:
        return None

    def state(self) -> State:
        return State()

    def control(self) -> Control:
        _, o = self.formats
        counters = list[int]()
        if len(self.tables) > 1:
            counters.append(o.channels)
            if o.group > 1:
                counters += [len(o.groups), o.group * o.fold, o.channels]
            elif o.fold > 1:
                counters.append(o.fold)
        return Control("lookup-row", counters, state=output_bits(o), features={"spare": spare_bits(o)})

    def modules(self, rings: str) -> Iterator[Part]:
        """Tables in LUTs: for each bit a tree that halves the words, with equal parts made once."""
        i, o = self.formats
        words, chosen = self._words(), len(self.tables)
        channel_bits = (chosen - 1).bit_length()
        most = i.shape.width + channel_bits
        nodes = dict.fromkeys(range(max(most, 8) + 1), 0)
        padded = np.concatenate([words, words[-1:].repeat((1 << channel_bits) - chosen, axis=0)])
        level = set(columns_of(padded.ravel(), o.shape.width))
        for inputs in range(most, 1, -1):
            level = {column for column in level if 0 < column < (1 << (1 << inputs)) - 1}
            nodes[inputs] = len(level)
            half = 1 << inputs - 1
            level = {part for column in level for part in (column & (1 << half) - 1, column >> half)}
        above = sum(count for inputs, count in nodes.items() if inputs == 5 or inputs > 6)
        yield Part(module="lane", kind="lookup", copies=o.lanes, rom=(words.size, o.shape.width), features={
            "fours": nodes[4], "sixes": nodes[6], "above": above})

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        return [register(inputs[0], o, pipelined=self.formats[1].pipelined)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.formats
        words = self._words().tolist()
        lanes = place_copies(m, platform, "lane", lambda: LookupLane(x=i.shape, y=o.shape, words=words),
                             o.lanes)
        output = OutputRegister(m, self.o, format=o)
        m.d.comb += self.i.ready.eq(output.room)
        m.d.comb += [lane.x.eq(x) for lane, x in zip(lanes, self.i.payload, strict=True)]
        if len(words) > 1:
            taken = Signal()
            m.d.comb += taken.eq(self.i.valid & output.room)
            channel, _, _ = counter(m, len(words), channel_end(m, i, taken), name="channel")
            m.d.comb += [lane.channel.eq(channel) for lane in lanes]
        output.load(self.i.valid, [lane.y for lane in lanes])
        return m

    def _words(self) -> npt.NDArray[np.int64]:
        """Each table from 0 on, then the negative values."""
        return np.roll(self.tables, self.low, axis=1)
