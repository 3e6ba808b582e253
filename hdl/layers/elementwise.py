"""What layers share that make one value of the two in the same place of two streams."""
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from amaranth import Module
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.layer import Layer, State
from headrace.hdl.layers.shortcut import held_processes, held_rows, shortcut_state
from headrace.hdl.timing.channel import Channel, Process, Scheduler


class Elementwise(Layer):
    """Takes two streams beat by beat.

    Parameters
    ----------
    a, b, o : :class:`RowFormat`
    rows : sequence of two :class:`int`
        Rows held of each operand; 0 for none.

    Members
    -------
    a : :py:`In(a.signature)`
    b : :py:`In(b.signature)`
    o : :py:`Out(o.signature)`
    """

    a: stream.Interface
    b: stream.Interface
    o: stream.Interface

    def __init__(self, *, a: RowFormat, b: RowFormat, o: RowFormat, rows: Sequence[int]) -> None:
        self.formats, self.rows = (a, b, o), tuple(rows)
        super().__init__(lambda: {
            "a": In(a.signature), "b": In(b.signature), "o": Out(o.signature)})

    @property
    def rom(self) -> None:
        return None

    def state(self) -> State:
        return shortcut_state(self.formats[:-1], self.rows)

    def place_operands(self, m: Module, platform: object) -> Sequence[Any]:
        """Return both streams, behind the rows held of them."""
        inputs: Mapping[str, Any] = {"a": self.a, "b": self.b}
        return held_rows(m, platform, inputs, self.formats[:-1], self.rows)

    def operands(self, inputs: Sequence[Channel],
                 scheduler: Scheduler) -> tuple[list[Channel], list[Process]]:
        """Return when beats of both come, behind the rows held of them, and the processes of these."""
        return held_processes(inputs, self.formats[:-1], self.rows, scheduler)


def meet(operands: Sequence[Channel], time: int) -> Generator[Channel, None, int]:
    """Wait for a beat of each operand; return the first cycle from :py:`time` in which all are there."""
    for operand in operands:
        while operand.offered is None:
            yield operand
        time = max(time, operand.offered)
    return time
