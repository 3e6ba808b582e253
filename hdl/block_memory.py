"""Words that are written and read by address: for devices whose registers do not hold a network's rows."""
from amaranth import ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.lib.memory import Memory

from headrace.hdl.hierarchy import Hierarchy


def block_memory(m: Module, platform: object, name: str, *, width: int, depth: int,
                 write: tuple[Value, Value, Value], read: tuple[Value, Value]) -> Signal:
    """Describe a memory made of block RAM, and return what was read at the last clock edge.

    A word that is written while it is read is undefined: not every family's block RAM says which of the two
    it gives, and to have it either way would take registers around it.

    Parameters
    ----------
    width, depth : :class:`int`
    write : address, data, enable
    read : address, enable
        Without enable, what was read stays.
    """
    data = Signal(width, name=f"{name}_data", reset_less=True)
    if isinstance(platform, Hierarchy):
        m.submodules[name] = _cell(name, depth, write, read, data)
        return data
    words: Memory = Memory(shape=width, depth=depth, init=[])
    m.submodules[name] = words
    w, r = words.write_port(), words.read_port()
    m.d.comb += [w.addr.eq(write[0]), w.data.eq(write[1]), w.en.eq(write[2]),
                 r.addr.eq(read[0]), r.en.eq(read[1]), data.eq(r.data)]
    return data


def _cell(name: str, depth: int, write: tuple[Value, Value, Value], read: tuple[Value, Value],
          data: Signal) -> Instance:
    width, off, on = len(data), Const(0, 1), Const(1, 1)
    unknown = rtlil.Undef(width)
    bits = max((depth - 1).bit_length(), 1)
    write_address, written, enable = write
    return Instance(
        "$mem_v2", a_ram_style="block", p_MEMID=f"\\{name}", p_ABITS=bits, p_SIZE=depth, p_WIDTH=width,
        p_OFFSET=0, p_INIT=rtlil.Undef(depth * width), p_RD_PORTS=1, p_RD_CLK_ENABLE=on,
        p_RD_CLK_POLARITY=on, p_RD_TRANSPARENCY_MASK=off, p_RD_COLLISION_X_MASK=on,
        p_RD_WIDE_CONTINUATION=off, p_RD_CE_OVER_SRST=off, p_RD_ARST_VALUE=unknown, p_RD_SRST_VALUE=unknown,
        p_RD_INIT_VALUE=unknown, p_WR_PORTS=1, p_WR_CLK_ENABLE=on, p_WR_CLK_POLARITY=on,
        p_WR_PRIORITY_MASK=off, p_WR_WIDE_CONTINUATION=off,
        i_RD_CLK=ClockSignal(), i_RD_EN=read[1], i_RD_ARST=off, i_RD_SRST=off,
        i_RD_ADDR=_exactly(read[0], bits), o_RD_DATA=data,
        i_WR_CLK=ClockSignal(), i_WR_EN=enable.replicate(width), i_WR_ADDR=_exactly(write_address, bits),
        i_WR_DATA=written)


def _exactly(address: Value, bits: int) -> Value:
    return (address | Const(0, bits))[:bits]
