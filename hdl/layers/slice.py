"""Some channels, rows and columns of an image."""
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from amaranth import Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part
from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.base.rows import RowFormat, counter, table
from headrace.hdl.layers.layer import Layer, State
from headrace.hdl.timing.channel import Channel, Process, Scheduler


class Slice(Layer):
    """``y[c][i][j] = x[channels[c]][rows[i]][columns[j]]``.

    Columns are chosen by wires. Beats of other channels and rows are taken and dropped, one per cycle; the
    others pass through at once.

    Parameters
    ----------
    i : :class:`RowFormat`
    channels, rows, columns : :class:`range`
        In ascending order. Of folded rows, each beat has as many of the columns (:func:`evenly`).

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(stream.Signature(ArrayLayout(i.shape, len(columns) // i.fold)))`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, channels: range, rows: range, columns: range) -> None:
        for name, places, size in (
                ("channels", channels, i.channels), ("rows", rows, i.height), ("columns", columns, i.width)):
            if not places or places.step < 1 or places[0] < 0 or places[-1] >= size:
                raise ValueError(f"Some of {size} {name} must be given in ascending order, not {places!r}")
        if not evenly(columns, i.width, i.fold):
            raise ValueError(f"Each beat of a row must have as many of the columns, not {columns!r}")
        self.channels, self.rows, self.columns = channels, rows, columns
        lanes = len(columns) // i.fold
        self.formats = i, replace(i, channels=len(channels), height=len(rows), lanes=lanes)
        super().__init__({"i": In(i.signature), "o": Out(stream.Signature(data.ArrayLayout(i.shape, lanes)))})

    def model(self, *images: Image) -> Image:
        """Compute an image of the channels, rows and columns that are chosen."""
        (x,) = images
        return x[np.ix_(self.channels, self.rows, self.columns)]

    @property
    def rom(self) -> None:
        return None

    def state(self) -> State:
        return State()

    @property
    def _kept(self) -> tuple[list[bool], list[bool]]:
        """Which beats of a row are kept, and which rows, up to where it is the same again."""
        i, _ = self.formats
        beats = [channel in self.channels for channel in range(i.channels) for _ in range(i.fold)]
        rows = _period([row in self.rows for row in range(i.height)])
        return beats if len(rows) > 1 else _period(beats), rows

    def control(self) -> Control:
        beats, rows = self._kept
        return Control("slice", (len(beats), len(rows)), tables=sum(
            len(each) for each in (beats, rows) if not all(each)))

    def modules(self, rings: str) -> Iterator[Part]:
        return iter(())

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        return [self._passes(inputs[0], o)]

    def _passes(self, i: Channel, o: Channel) -> Process:
        beats, rows = self._kept
        time = 0
        while True:
            for row_kept in rows:
                for beat_kept in beats:
                    while i.offered is None:
                        yield i
                    time = max(time, i.offered)
                    if row_kept and beat_kept:
                        o.offer(time)
                        while o.offered is not None:
                            yield o
                        time = o.taken
                    i.take(time)
                    time += 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beats, rows = self._kept
        i, o = self.formats
        moves, kept = Signal(), Signal()
        beat, _, row_ends = counter(m, len(beats), moves, name="beat")
        row, _, _ = counter(m, len(rows), moves & row_ends, name="row")
        m.d.comb += [
            kept.eq(table(beats, beat) & table(rows, row)),
            self.o.valid.eq(self.i.valid & kept),
            self.i.ready.eq(self.o.ready | ~kept),
            moves.eq(self.i.valid & self.i.ready),
        ]
        m.d.comb += [y.eq(self.i.payload[column])
                     for y, column in zip(self.o.payload, self.columns[:o.lanes], strict=True)]
        return m


def _period(values: list[bool]) -> list[bool]:
    """Return the values that repeat."""
    count = len(values)
    return next(values[:size] for size in range(1, count + 1)
                if count % size == 0 and values[:size] * (count // size) == values)


def evenly(columns: range, width: int, fold: int) -> bool:
    """Whether each beat of a folded row has as many of the columns, in the same places."""
    return fold == 1 or len(columns) * columns.step == width and len(columns) % fold == 0
