# amaranth: UnusedElaboratable=no
"""The layer that holds its operands: dense convolution, expansion, fully connected."""
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from amaranth import Const, Module, Mux, Shape, Signal
from amaranth.lib import data

from headrace.hdl.area.part import Control, Part, ring_parts, rom_part, served, varied
from headrace.hdl.arithmetic.geometry import Image, Window
from headrace.hdl.arithmetic.requantisation import Requantisation
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat, table
from headrace.hdl.lanes.area import Lanes, told_stages
from headrace.hdl.lanes.fold import in_turn
from headrace.hdl.lanes.pair import place_lanes
from headrace.hdl.layers.landing import Landing, LandingRows
from headrace.hdl.layers.layer import RomShape, State
from headrace.hdl.layers.requantised import Requantised
from headrace.hdl.layers.turns import Turn, Turns
from headrace.hdl.storage.ring import Ring
from headrace.hdl.storage.rom import Rom, pack
from headrace.hdl.timing.channel import Channel, Process, Scheduler


class OutputStationary(Requantised):
    """Dense convolution whose lanes hold the window and sweep one output channel after another.

    ``sum[o] = sum over c, kh, kw of x[c][kh][kw] * weight[o][c][kh][kw]``, then :class:`Requantise`. A turn
    (one output row) takes ``(C_in * taps / p_in) * (C_out / p_out) * o.fold`` steps of one cycle, quotients
    rounded up; what is then left over is multiplied by weights of 0, or left out. The rows of the
    next turn land in rings of their own meanwhile, and enter the window during the first sweep of the turn.
    The input is held up only while a row has nowhere to land. Where the output is folded, every sweep is made
    for each column that a lane serves before the next.

    A pointwise layer can hold a group of rows, and send them as one (:py:`o.together`): a turn is then a
    group, and every sweep is made for each of its rows before the next. Groups that overlap are the windows
    of the layer behind, which then keeps no rows: they are kept here, where there are fewer channels, and
    computed anew for each window.

    Parameters
    ----------
    window : :class:`Window`
    pad : :class:`int`
        What stands outside the image.
    weights : sequence of shape [C_out][C_in * taps]
        Taps in the order channel, row, column.
    p_in : :class:`int`
        Operands used per step: at most the window's taps, or a multiple of them that divides ``C_in * taps``.
    p_out : :class:`int`
        Outputs computed side by side, at most ``C_out``; 1 where rows leave in groups or folded.
    banks : :class:`int`
        1 or 2: with a second bank of landing rows, a group lands even while the one before moves up.
    i, o, weight, sum, scaling, requantise_steps, readout, paired
        As in :class:`Requantised`.
    """

    def __init__(self, *, i: RowFormat, o: RowFormat, window: Window, pad: int, weight: Shape,
                 weights: Sequence[Sequence[int]], sum: Shape, p_in: int, p_out: int, scaling: Requantisation,
                 requantise_steps: int, readout: int = 1, banks: int = 1, paired: bool = False) -> None:
        taps = window.taps
        if not 1 <= p_in <= taps and (p_in < 1 or p_in % taps or i.channels * taps % p_in):
            raise ValueError(f"p_in must be 1 to the {taps} taps or a multiple of them that divides "
                             f"{i.channels * taps}, not {p_in!r}")
        if not 1 <= p_out <= o.channels:
            raise ValueError(f"p_out must be 1 to the {o.channels} output channels, not {p_out!r}")
        self.hold = window
        if o.group > 1:
            if window != Window() or p_out != 1:
                raise ValueError("Only a pointwise layer with p_out of 1 can send groups of rows")
            self.hold = o.together
        if o.fold > readout and p_out > 1:
            raise ValueError(f"p_out must be 1 where columns are folded, not {p_out!r}")
        super().__init__(i=i, o=o, sum=sum, scaling=scaling, requantise_steps=requantise_steps,
                         readout=readout, p_out=p_out)
        self.window, self.pad = window, pad
        self.weight, self.weights = weight, weights
        self.p_in, self.p_out, self.paired = p_in, p_out, paired
        self.landing = Landing(format=i, window=self.hold, side=max(1, p_in // taps), banks=banks)
        self.turns = Turns(formats=self.computing, window=self.hold, words=self.landing.words,
                           selects=window.selects(p_in), sweeps=-(-o.channels // p_out))

    def rom_words(self) -> list[int]:
        """Return the weights in the order of the steps, ``p_out * p_in`` per word."""
        turns, used = self.turns, self.landing.side * self.window.taps  # operands of a word
        padded = np.zeros((turns.sweeps * self.p_out, turns.words, turns.selects * self.p_in), np.int64)
        padded[:len(self.weights), :, :used] = np.reshape(self.weights, (-1, turns.words, used))
        steps = padded.reshape(turns.sweeps, self.p_out, turns.span, self.p_in)
        return [pack(step.ravel(), self.weight.width) for sweep in steps for step in sweep.swapaxes(0, 1)]

    def model(self, *images: Image) -> Image:
        """Compute a C_out x H_out x W_out image from a C_in x H x W one, bit for bit."""
        (x,) = images
        seen = self.window.view(x, self.pad)
        sums = np.tensordot(np.array(self.weights), seen.reshape(-1, *seen.shape[3:]), 1)
        return self.scaling.model(sums)

    @property
    def rom(self) -> RomShape:
        return RomShape(self.turns.depth, self.p_in * self.p_out * self.weight.width)

    def state(self) -> State:
        row, (kernel, _) = self.formats[0].row_bits, self.hold.kernel
        least = row * self.hold.stays
        return State(row * (kernel + self.landing.banks * self.landing.slots), least, least)

    def control(self) -> Control:
        (i, o), landing, groups, kernel = self.computing, self.landing, self.turns.groups, self.hold.kernel[0]
        bits = len(landing.columns) * landing.side * i.shape.width  # of one row of words
        masked = varied([self.hold.seen(group.inside) for group in groups]) if o.group == 1 else 0
        rows = len(self.hold.tap_rows)
        state = landing.state()
        if o.pipelined:
            state += told_stages(self.rom.width, constant=self.rom.depth == 1)
        return Control("output-stationary", [*landing.counters(), *self.turns.counters()],
                       tables=len(groups) * masked, state=state, gathers=landing.gathers, features={
            "enter": bits * kernel, "bank": bits * landing.slots * (landing.banks - 1), "mask": bits * masked,
            "served": served(o.fold, self.hold.reached(o.lanes), rows * landing.side * i.shape.width)})

    def modules(self, rings: str) -> Iterator[Part]:
        (i, o), landing, window = self.computing, self.landing, self.hold
        yield from landing.modules()
        yield from ring_parts("held", landing.side * i.shape.width * window.kernel[0], len(landing.columns),
                              landing.words)
        yield rom_part("rom", self.rom.depth, self.rom.width)
        yield from Lanes(count=o.lanes, x=i.shape, weight=self.weight, sum=self.sum,
                         operands=landing.side * window.taps, p_in=self.p_in, p_out=self.p_out,
                         paired=self.paired, pipelined=o.pipelined).parts()
        yield from self.requantise.parts("requantise")

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        (i,), sums = inputs, Channel(scheduler)
        landed, free = self.landing.queues(scheduler)
        return [self.landing.process(i, landed, free), self.turns.process(landed, free, sums),
                *self.requantise.processes(sums, o, scheduler)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        _, o = self.computing
        self.place_requantiser(m, platform)
        rom = Rom(width=self.p_in * self.p_out * self.weight.width, words=self.rom_words(), waits=o.pipelined)
        place(m, platform, "rom", rom)
        rows = LandingRows(m, platform, self.i, self.landing)
        turn = self.turns.describe(m, rom, rows, self.requantise)
        rows.move(turn.takes, enters=turn.enters, word_ends=turn.word_ends, sweep_ends=turn.sweep_ends)
        self._compute(m, platform, turn, self._mask(m, turn, self._window(m, platform, rows, turn)))
        return m

    def _window(self, m: Module, platform: object, rows: LandingRows, turn: Turn) -> Any:
        """Return the words of each column that lands.

        In the first sweep of a turn the rows of the window move up and those that landed enter.
        """
        landing, (kernel, _), (stride, _) = self.landing, self.hold.kernel, self.hold.stride
        held = Ring(word=data.ArrayLayout(landing.word, kernel), columns=len(landing.columns),
                    depth=landing.words)
        place(m, platform, "held", held)
        present = data.View(held.i.shape(), held.i.as_value())
        m.d.comb += held.shift.eq(turn.word_ends)
        for index in range(len(landing.columns)):
            for tap in range(kernel):
                moved = tap + stride
                newer = held.o[index][moved] if moved < kernel else rows.front(
                    tap - kernel + landing.slots, index)
                m.d.comb += present[index][tap].eq(Mux(turn.enters, newer, held.o[index][tap]))
        return present

    def _mask(self, m: Module, turn: Turn, present: Any) -> Any:
        """Return the same with rows of padding; of a group, each row has its own."""
        (i, o), landing, groups = self.computing, self.landing, self.turns.groups
        kernel, pad = self.hold.kernel[0], Const(self.pad, i.shape)
        inside = Signal(kernel)  # a table is described anew wherever it is used
        m.d.comb += [inside[tap].eq(1 if o.group > 1 else table([g.inside[tap] for g in groups], turn.number))
                     for tap in range(kernel)]
        masked = [[[Signal(i.shape, name=f"x{column}_{tap}_{channel}") for channel in range(landing.side)]
                   for tap in range(kernel)] for column in landing.columns]
        for index in range(len(landing.columns)):
            for tap in range(kernel):
                for channel in range(landing.side):
                    m.d.comb += masked[index][tap][channel].eq(
                        Mux(inside[tap], present[index][tap][channel], pad))
        return masked

    def _compute(self, m: Module, platform: object, turn: Turn, masked: Any) -> None:
        """Connect the lanes: neighbours are wires, padding is a constant."""
        (i, o), landing, window = self.computing, self.landing, self.hold
        lanes = place_lanes(
            m, platform, o.lanes, paired=self.paired, x=i.shape, weight=self.weight, sum=self.sum,
            operands=landing.side * window.taps, p_in=self.p_in, p_out=self.p_out, pipelined=o.pipelined)
        planes = [(channel, tap) for channel in range(landing.side) for tap in window.tap_rows]
        if o.group > 1:
            planes.sort(key=lambda plane: plane[1])
        columns = {column: [masked[index][tap][channel] for channel, tap in planes]
                   for index, column in enumerate(landing.columns)}
        view = in_turn(m, turn.fold, o.lanes, window.columns(i.width), columns,
                       [Const(self.pad, i.shape)] * len(planes))
        for lane, seen, total in zip(lanes, view, self.requantise.i.payload, strict=True):
            operands = [values[plane] for plane in range(len(planes)) for values in seen]
            m.d.comb += [x.eq(operand) for x, operand in zip(lane.x, operands, strict=True)]
            m.d.comb += [lane.select.eq(turn.select), lane.weight.eq(turn.weight), total.eq(lane.sum)]
            turn.steps.tell(lane)
