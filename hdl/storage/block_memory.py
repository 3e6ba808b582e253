"""Words that are written and read by address: for devices whose registers do not hold a network's rows."""
from amaranth import Module, Signal, Value
from amaranth.lib.memory import Memory

from headrace.hdl.base.hierarchy import Hierarchy
from headrace.hdl.storage.memory_cell import memory_cell


def block_memory(m: Module, platform: object, name: str, *, width: int, depth: int,
                 write: tuple[Value, Value, Value], read: tuple[Value, Value]) -> Signal:
    """Describe a memory made of block RAM, and return what was read at the last clock edge.

    A word that is written while it is read is undefined.

    Parameters
    ----------
    width, depth : :class:`int`
    write : address, data, enable
    read : address, enable
        Without enable, what was read stays.
    """
    data = Signal(width, name=f"{name}_data", reset_less=True)
    if isinstance(platform, Hierarchy):
        m.submodules[name] = memory_cell(name, width=width, depth=depth, write=write, block=True,
                                         read=(read[0], data, read[1]))
        return data
    words: Memory = Memory(shape=width, depth=depth, init=[])
    m.submodules[name] = words
    w, r = words.write_port(), words.read_port()
    m.d.comb += [w.addr.eq(write[0]), w.data.eq(write[1]), w.en.eq(write[2]),
                 r.addr.eq(read[0]), r.en.eq(read[1]), data.eq(r.data)]
    return data
