"""Streams one after the other: the channels of several images as those of one."""
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from amaranth import Array, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part
from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.base.rows import RowFormat, counter, table
from headrace.hdl.layers.layer import Layer, State
from headrace.hdl.layers.shortcut import held_processes, held_rows, shortcut_parts, shortcut_state
from headrace.hdl.timing.channel import Channel, Process, Scheduler


class Concat(Layer):
    """In every row all channels of the first input, then all of the second, and so on.

    Takes a beat per cycle; latency is zero, but for the rows that a :class:`Shortcut` holds.

    Parameters
    ----------
    inputs : sequence of :class:`RowFormat`
        Of the same height, lanes and shape.
    rows : sequence of :class:`int`
        Rows held of each input; 0 for none.

    Members
    -------
    i0, i1, ... : :py:`In(inputs[0].signature)`, ...
    o : :py:`Out(stream.Signature(inputs[0].layout))`
    """

    o: stream.Interface

    def __init__(self, *, inputs: Sequence[RowFormat], rows: Sequence[int]) -> None:
        self.rows = tuple(rows)
        self.formats = *inputs, replace(inputs[0], channels=sum(each.channels for each in inputs))
        if len({(each.height, each.lanes, repr(each.shape)) for each in inputs}) != 1:
            raise ValueError("Inputs must be of the same height, lanes and shape")
        self.names = [f"i{index}" for index in range(len(inputs))]
        super().__init__({**{name: In(each.signature) for name, each in zip(self.names, inputs, strict=True)},
                          "o": Out(inputs[0].signature)})

    def model(self, *images: Image) -> Image:
        """Compute a (C_0 + C_1 + ...) x H x W image from C_0 x H x W, C_1 x H x W, ... ones."""
        return np.concatenate(images)

    @property
    def rom(self) -> None:
        return None

    def state(self) -> State:
        return shortcut_state(self.formats[:-1], self.rows)

    def control(self) -> Control:
        i, o = self.formats[0], self.formats[-1]
        return Control("concat", (o.row_beats,), tables=o.row_beats, features={
            "bits": i.lanes * i.shape.width * (len(self.names) - 1)})

    def modules(self, rings: str) -> Iterator[Part]:
        return shortcut_parts(self.names, self.formats[:-1], self.rows, rings)

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        operands, processes = held_processes(inputs, self.formats[:-1], self.rows, scheduler)
        return [*processes, self._joins(operands, o)]

    def _joins(self, operands: Sequence[Channel], o: Channel) -> Process:
        time = 0
        while True:
            for operand, format in zip(operands, self.formats[:-1], strict=True):
                for _ in range(format.row_beats):
                    while operand.offered is None:
                        yield operand
                    o.offer(max(time, operand.offered))
                    while o.offered is not None:
                        yield o
                    operand.take(o.taken)
                    time = o.taken + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inputs = {name: getattr(self, name) for name in self.names}
        operands = held_rows(m, platform, inputs, self.formats[:-1], self.rows)
        sources = [index for index, each in enumerate(self.formats[:-1]) for _ in range(each.row_beats)]
        moves = Signal()
        channel, _, _ = counter(m, len(sources), moves, name="channel")
        source = table(sources, channel)
        m.d.comb += [
            self.o.valid.eq(Array(operand.valid for operand in operands)[source]),
            self.o.payload.eq(Array(operand.payload.as_value() for operand in operands)[source]),
            moves.eq(self.o.valid & self.o.ready),
        ]
        m.d.comb += [operand.ready.eq(self.o.ready & (source == index))
                     for index, operand in enumerate(operands)]
        return m
