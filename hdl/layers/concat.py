"""Streams one after the other, or in turn: the channels of several images as those of one."""
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
    """In every row all channels of the first input, then all of the second, and so on; or in turn, the first
    channel of each, then the second of each, and so on.

    Takes a beat per cycle; latency is zero, but for the rows that a :class:`Shortcut` holds.

    Parameters
    ----------
    inputs : sequence of :class:`RowFormat`
        Of the same height, lanes and shape.
    rows : sequence of :class:`int`
        Rows held of each input; 0 for none.
    in_turn : :class:`bool`
        Of inputs with as many channels each.

    Members
    -------
    i0, i1, ... : :py:`In(inputs[0].signature)`, ...
    o : :py:`Out(stream.Signature(inputs[0].layout))`
    """

    o: stream.Interface

    def __init__(self, *, inputs: Sequence[RowFormat], rows: Sequence[int], in_turn: bool = False) -> None:
        self.rows, self.in_turn = tuple(rows), in_turn
        self.formats = *inputs, replace(inputs[0], channels=sum(each.channels for each in inputs))
        if len({(each.height, each.lanes, repr(each.shape)) for each in inputs}) != 1:
            raise ValueError("Inputs must be of the same height, lanes and shape")
        if in_turn and len({each.channels for each in inputs}) != 1:
            raise ValueError("Inputs in turn must have as many channels each")
        self.names = [f"i{index}" for index in range(len(inputs))]
        super().__init__({**{name: In(each.signature) for name, each in zip(self.names, inputs, strict=True)},
                          "o": Out(inputs[0].signature)})

    def model(self, *images: Image) -> Image:
        """Compute a (C_0 + C_1 + ...) x H x W image from C_0 x H x W, C_1 x H x W, ... ones."""
        if self.in_turn:
            return np.stack(images, 1).reshape(-1, *images[0].shape[1:])
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

    @property
    def _sources(self) -> list[int]:
        """The input of each beat of a row."""
        *inputs, o = self.formats
        if self.in_turn:
            return [index for index in range(len(inputs)) for _ in range(o.fold)] * inputs[0].channels
        return [index for index, each in enumerate(inputs) for _ in range(each.row_beats)]

    def _joins(self, operands: Sequence[Channel], o: Channel) -> Process:
        sources, time = self._sources, 0
        while True:
            for source in sources:
                operand = operands[source]
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
        sources, moves = self._sources, Signal()
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
