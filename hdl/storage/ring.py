"""Shift registers: what a layer stores between steps."""
from typing import Any

from amaranth import Cat, Const, Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.hierarchy import place_copies
from headrace.hdl.base.platform import BLOCKRAM, LUTRAM, asked
from headrace.hdl.storage.block_memory import block_memory
from headrace.hdl.storage.rom import simulated_pieces

SHORT = 6
"""Words up to which a ring is flip-flops even where LUTs can shift: there are two of them for each LUT, and
designs take a far smaller part of them."""

WORTH_LUTRAM = 4
"""Words of a ring from which on memory is smaller than registers."""

WORTH_BLOCKRAM = 256, 16
"""Bits and words from which on a ring is worth block RAM."""


_FLIP_FLOPS: dict[str, Any] = {"keep": 1, "shreg_extract": "no"}  # attributes that Yosys and Vivado obey


class Ring(wiring.Component):
    """A shift register of words, :py:`columns` of them side by side.

    ``o`` is the word that entered :py:`depth` shifts ago. Feed ``o`` back to ``i`` and it is a ring that
    turns; whether a word is loaded or turned is a choice at the tail alone. No address, no reset: synthesis
    may map it to shift-register resources, if it is not short.

    On request (:class:`Platform`), long ones are memories made of LUTs or of block RAM, whose oldest word is
    replaced; the next one waits in a register.

    Parameters
    ----------
    word : :class:`ShapeLike`
        Shape of one column's word.
    columns : :class:`int`
        Words side by side, moved together.
    depth : :class:`int`
        Shifts from ``i`` to ``o``. At least 1.

    Members
    -------
    shift : :py:`In(1)`
    i : :py:`In(ArrayLayout(word, columns))`
    o : :py:`Out(ArrayLayout(word, columns))`
    """

    shift: Signal
    i: Any
    o: Any

    def __init__(self, *, word: ShapeLike, columns: int, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"Depth must be a positive integer, not {depth!r}")
        self.word = word
        self.columns = columns
        self.depth = depth
        layout = data.ArrayLayout(word, columns)
        super().__init__({"shift": In(1), "i": In(layout), "o": Out(layout)})

    def elaborate(self, platform: object) -> Module:
        m, made = Module(), asked(platform)
        i, o = Value.cast(self.i), Value.cast(self.o)
        width = Shape.cast(self.word).width
        if self.depth == 1:
            word = Signal(len(i), reset_less=True)
            with m.If(self.shift):
                m.d.sync += word.eq(i)
            m.d.comb += o.eq(word)
        elif made.fast_rings:
            self._pointer(m, i, o)
        elif in_memory(made.rings, len(i), self.depth):
            self._memory(m, platform, made.rings, i, o)
        elif self.columns == 1:
            attrs = _FLIP_FLOPS if self.depth <= SHORT else {}
            words = Signal(width * self.depth, reset_less=True, attrs=attrs)
            with m.If(self.shift):
                m.d.sync += words.eq(Cat(words[width:], i))
            m.d.comb += o.eq(words[:width])
        else:
            columns = place_copies(
                m, platform, "column",
                lambda: Ring(word=width, columns=1, depth=self.depth), self.columns,
                module=f"ring__{width}x{self.depth}")
            for index, column in enumerate(columns):
                m.d.comb += column.shift.eq(self.shift)
                m.d.comb += Value.cast(column.i).eq(i.word_select(index, width))
                m.d.comb += o.word_select(index, width).eq(column.o)
        return m

    def _memory(self, m: Module, platform: object, rings: str, i: Value, o: Value) -> None:
        """Describe the same behaviour as a memory whose next word is read ahead into a register."""
        oldest, following = Signal(range(self.depth)), Signal(range(self.depth))
        m.d.comb += following.eq(oldest)
        with m.If(self.shift):
            m.d.comb += following.eq(Mux(oldest == self.depth - 1, 0, oldest + 1))
        m.d.sync += oldest.eq(following)
        if rings == BLOCKRAM:
            m.d.comb += o.eq(block_memory(m, platform, "words", width=len(i), depth=self.depth,
                                          write=(oldest, i, self.shift), read=(following, Const(1))))
        else:
            m.d.comb += o.eq(self._lut_memory(m, i, oldest, following))

    def _lut_memory(self, m: Module, i: Value, oldest: Value, following: Value) -> Value:
        words: Memory = Memory(shape=len(i), depth=self.depth, init=[], attrs={"ram_style": "distributed"})
        m.submodules.words = words
        write, read = words.write_port(), words.read_port(domain="comb")
        ahead = Signal(len(i), reset_less=True)
        m.d.comb += [write.addr.eq(oldest), write.data.eq(i), write.en.eq(self.shift),
                     read.addr.eq(following)]
        m.d.sync += ahead.eq(read.data)
        return ahead

    def _pointer(self, m: Module, i: Value, o: Value) -> None:
        """Describe the same behaviour as memories whose oldest word is replaced: simulation only."""
        oldest = Signal(range(self.depth))
        for index, bits in enumerate(simulated_pieces(len(i))):
            words: Memory = Memory(shape=bits.stop - bits.start, depth=self.depth, init=[])
            m.submodules[f"words{index}"] = words
            write, read = words.write_port(), words.read_port(domain="comb")
            m.d.comb += [write.addr.eq(oldest), write.data.eq(i[bits]), write.en.eq(self.shift)]
            m.d.comb += [read.addr.eq(oldest), o[bits].eq(read.data)]
        with m.If(self.shift):
            m.d.sync += oldest.eq(Mux(oldest == self.depth - 1, 0, oldest + 1))


def in_memory(rings: str, width: int, depth: int) -> bool:
    """Whether a ring or shortcut of so many words is a memory, where rings are made of :py:`rings`."""
    if rings == BLOCKRAM:
        bits, words = WORTH_BLOCKRAM
        return depth >= words and width * depth >= bits
    return rings == LUTRAM and depth >= WORTH_LUTRAM
