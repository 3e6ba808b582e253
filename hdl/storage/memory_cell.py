"""A memory as a cell of Yosys."""
from amaranth import ClockSignal, Const, Instance, Value
from amaranth.back import rtlil  # type: ignore[attr-defined]


def memory_cell(name: str, *, width: int, depth: int, read: tuple[Value, Value, Value],
                words: int | None = None, write: tuple[Value, Value, Value] | None = None,
                block: bool = False) -> Instance:
    """Return what a Memory with one port to read, and at most one to write, becomes.

    Of a Memory's contents, Amaranth makes a net for every bit, which takes microseconds each: minutes for
    some millions of weights. And it would say of a word that is written while it is read that the old one is
    read, which costs registers where a block RAM gives neither for certain; here it is undefined.

    Parameters
    ----------
    words : :class:`int`
        All of them, packed; None where they are written first.
    read, write : address, data, enable
    block : :class:`bool`
        Be a block RAM however small.
    """
    off, on, none = Const(0, 1), Const(1, 1), Const(0, 0)
    unknown = rtlil.Undef(width)  # what is read first: not every block RAM could have a value there
    bits = max((depth - 1).bit_length(), 1)
    address, data, enable = read
    written = off if write is None else on
    to, value, writes = write or (none, none, none)
    return Instance(
        "$mem_v2", *([("a", "ram_style", "block"), ("a", "rom_style", "block")] if block else []),
        p_MEMID=f"\\{name}", p_ABITS=bits, p_SIZE=depth, p_WIDTH=width, p_OFFSET=0,
        p_INIT=rtlil.Undef(depth * width) if words is None else Const(words, depth * width),
        p_RD_PORTS=1, p_RD_CLK_ENABLE=on, p_RD_CLK_POLARITY=on, p_RD_TRANSPARENCY_MASK=off,
        p_RD_COLLISION_X_MASK=written, p_RD_WIDE_CONTINUATION=off, p_RD_CE_OVER_SRST=off,
        p_RD_ARST_VALUE=unknown, p_RD_SRST_VALUE=unknown, p_RD_INIT_VALUE=unknown,
        p_WR_PORTS=int(write is not None), p_WR_CLK_ENABLE=written, p_WR_CLK_POLARITY=written,
        p_WR_PRIORITY_MASK=off, p_WR_WIDE_CONTINUATION=off,
        i_RD_CLK=ClockSignal(), i_RD_EN=enable, i_RD_ARST=off, i_RD_SRST=off,
        i_RD_ADDR=_exactly(address, bits), o_RD_DATA=data,
        i_WR_CLK=none if write is None else ClockSignal(), i_WR_EN=writes.replicate(width),
        i_WR_ADDR=none if write is None else _exactly(to, bits), i_WR_DATA=value)


def _exactly(value: Value, bits: int) -> Value:
    return (value | Const(0, bits))[:bits]
