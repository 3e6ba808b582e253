"""Constants that turn past the arithmetic."""
from collections.abc import Sequence

from amaranth import ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from headrace.hdl.hierarchy import Hierarchy


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
        simulated = getattr(platform, "fast_rings", False)
        for index, bits in enumerate(simulated_pieces(self.width) if simulated else [slice(0, self.width)]):
            width, name = bits.stop - bits.start, f"words{index}" if simulated else "words"
            words = [word >> bits.start & (1 << width) - 1 for word in self.words]
            if isinstance(platform, Hierarchy):
                m.submodules[name] = _cell(name, self.address, enable, self.data[bits], words, self.block)
                continue
            memory: Memory = Memory(shape=width, depth=len(words), init=words)
            m.submodules[name] = memory
            port = memory.read_port()
            m.d.comb += [port.addr.eq(self.address), port.en.eq(enable), self.data[bits].eq(port.data)]
        m.d.sync += self.valid.eq(1)
        return m


def _cell(name: str, address: Value, enable: Value, data: Value, words: Sequence[int],
          block: bool) -> Instance:
    """Return Yosys' own cell for what a Memory with one read port describes.

    Of a Memory's contents, Amaranth makes a net for every bit, which takes microseconds each: minutes for
    some millions of weights.
    """
    width, off, none = len(data), Const(0, 1), Const(0, 0)
    unknown = rtlil.Undef(width)  # what is read first: not every block RAM could have a value there
    contents = "".join(f"{word:0{width}b}" for word in reversed(words))
    return Instance(
        "$mem_v2", *([("a", "rom_style", "block")] if block else []), p_MEMID=f"\\{name}", p_ABITS=len(address), p_SIZE=len(words), p_WIDTH=width, p_OFFSET=0,
        p_INIT=Const(int(contents, 2), len(contents)), p_RD_PORTS=1, p_RD_CLK_ENABLE=Const(1, 1),
        p_RD_CLK_POLARITY=Const(1, 1), p_RD_TRANSPARENCY_MASK=off, p_RD_COLLISION_X_MASK=off,
        p_RD_WIDE_CONTINUATION=off, p_RD_CE_OVER_SRST=off, p_RD_ARST_VALUE=unknown,
        p_RD_SRST_VALUE=unknown, p_RD_INIT_VALUE=unknown, p_WR_PORTS=0, p_WR_CLK_ENABLE=off,
        p_WR_CLK_POLARITY=off, p_WR_PRIORITY_MASK=off, p_WR_WIDE_CONTINUATION=off,
        i_RD_CLK=ClockSignal(), i_RD_EN=enable, i_RD_ARST=off, i_RD_SRST=off, i_RD_ADDR=address,
        o_RD_DATA=data, i_WR_CLK=none, i_WR_EN=none, i_WR_ADDR=none, i_WR_DATA=none)


def simulated_pieces(width: int) -> list[slice]:
    """Return the parts of a word that a compiled simulation keeps in memories of their own.

    It handles a wide word as a whole, however few bits are wanted: at 2,304 bits, that was half its time.
    """
    return [slice(start, min(start + 32, width)) for start in range(0, width, 32)]


def pack(values: Sequence[int], width: int) -> int:
    """Return one word that holds all values, the first in the lowest bits."""
    mask = (1 << width) - 1
    return sum((int(value) & mask) << index * width for index, value in enumerate(values))
