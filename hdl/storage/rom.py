"""Constants that turn past the arithmetic."""
from collections.abc import Sequence

from amaranth import Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.hierarchy import Hierarchy
from headrace.hdl.base.platform import asked
from headrace.hdl.storage.memory_cell import memory_cell


class Rom(wiring.Component):
    """Words that are read and never written.

    Latency is one cycle: ``data`` is the word that ``address`` named at the last clock edge. A ROM of one
    word is a constant.

    Parameters
    ----------
    width : :class:`int`
    words : sequence of :class:`int`
    waits : :class:`bool`
        Whether there is an :py:`enable`.
    block : :class:`bool`
        Be a block RAM however small.

    Members
    -------
    address : :py:`In(range(depth))`
    data : :py:`Out(width)`
    valid : :py:`Out(1)`
        Low in the first cycle only, when nothing has been read yet.
    enable : :py:`In(1)`
        Read; otherwise ``data`` stays.
    """

    address: Signal
    data: Signal
    valid: Signal
    enable: Signal

    def __init__(self, *, width: int, words: Sequence[int], waits: bool = False,
                 block: bool = False) -> None:
        self.width, self.block = width, block
        self.words = [int(word) for word in words]
        self.waits = waits
        super().__init__({"address": In(range(max(len(self.words), 2))), "data": Out(width),
                          "valid": Out(1), **({"enable": In(1)} if waits else {})})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if len(self.words) == 1:
            m.d.comb += [self.data.eq(Const(self.words[0], self.width)), self.valid.eq(1)]
            return m
        enable: Value = self.enable if self.waits else Const(1)
        simulated = asked(platform).fast_rings
        for index, bits in enumerate(simulated_pieces(self.width) if simulated else [slice(0, self.width)]):
            width, name = bits.stop - bits.start, f"words{index}" if simulated else "words"
            words = [word >> bits.start & (1 << width) - 1 for word in self.words]
            if isinstance(platform, Hierarchy):
                m.submodules[name] = memory_cell(
                    name, width=width, depth=len(words), words=pack(words, width), block=self.block,
                    read=(self.address, self.data[bits], enable))
                continue
            memory: Memory = Memory(shape=width, depth=len(words), init=words)
            m.submodules[name] = memory
            port = memory.read_port()
            m.d.comb += [port.addr.eq(self.address), port.en.eq(enable), self.data[bits].eq(port.data)]
        m.d.sync += self.valid.eq(1)
        return m


def simulated_pieces(width: int) -> list[slice]:
    """Return the parts of a word that a compiled simulation keeps in memories of their own.

    It handles a wide word as a whole, however few bits are wanted: at 2,304 bits, that was half its time.
    """
    return [slice(start, min(start + 32, width)) for start in range(0, width, 32)]


def pack(values: Sequence[int], width: int) -> int:
    """Return one word that holds all values, the first in the lowest bits."""
    mask = (1 << width) - 1
    return sum((int(value) & mask) << index * width for index, value in enumerate(values))
