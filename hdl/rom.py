"""Constants that turn past the arithmetic."""
from collections.abc import Sequence

from amaranth import Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Rom(wiring.Component):
    """Words that are read and never written.

    Latency is one cycle: ``data`` is the word that ``address`` named at the last clock edge. A ROM of one
    word is a constant.

    Members
    -------
    address : :py:`In(range(depth))`
    data : :py:`Out(width)`
    valid : :py:`Out(1)`
        Low in the first cycle only, when nothing has been read yet.
    """

    address: Signal
    data: Signal
    valid: Signal

    def __init__(self, *, width: int, words: Sequence[int]) -> None:
        self.width = width
        self.words = [int(word) for word in words]
        super().__init__({"address": In(range(max(len(self.words), 2))), "data": Out(width),
                          "valid": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if len(self.words) == 1:
            m.d.comb += [self.data.eq(Const(self.words[0], self.width)), self.valid.eq(1)]
            return m
        simulated = getattr(platform, "fast_rings", False)
        for index, bits in enumerate(simulated_pieces(self.width) if simulated else [slice(0, self.width)]):
            width = bits.stop - bits.start
            memory: Memory = Memory(
                shape=width, depth=len(self.words),
                init=[word >> bits.start & (1 << width) - 1 for word in self.words])
            m.submodules[f"words{index}" if simulated else "words"] = memory
            port = memory.read_port()
            m.d.comb += [port.addr.eq(self.address), self.data[bits].eq(port.data)]
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
