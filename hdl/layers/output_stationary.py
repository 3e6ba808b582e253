# amaranth: UnusedElaboratable=no
"""The layer that holds its operands: dense convolution, expansion, fully connected."""
from collections.abc import Iterator, Sequence

import numpy as np
from amaranth import Array, Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part, ring_parts, rom_part, served, varied
from headrace.hdl.arithmetic.geometry import Image, Window, held_groups
from headrace.hdl.arithmetic.requantisation import Requantisation
from headrace.hdl.base.hierarchy import place, place_copies
from headrace.hdl.base.rows import RowFormat, counter, replayed, table
from headrace.hdl.lanes.area import Lanes, told_stages
from headrace.hdl.lanes.fold import in_turn
from headrace.hdl.lanes.pair import place_lanes
from headrace.hdl.lanes.steps import MAC_STAGES, MacSteps
from headrace.hdl.layers.layer import Layer, RomShape, State
from headrace.hdl.requantise.requantise import Requantise
from headrace.hdl.storage.ring import Ring
from headrace.hdl.storage.rom import Rom, pack
from headrace.hdl.timing.channel import Channel, Process, Queue, Scheduler
from headrace.hdl.timing.pipeline import Pipeline, first_step


class OutputStationary(Layer):
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
    i, o : :class:`RowFormat`
    window : :class:`Window`
    pad : :class:`int`
        What stands outside the image.
    weight : :class:`Shape`
        Shape of a weight.
    weights : sequence of shape [C_out][C_in * taps]
        Taps in the order channel, row, column.
    sum : :class:`Shape`
        Shape that holds every finished sum; unfinished ones may wrap.
    p_in : :class:`int`
        Operands used per step: at most the window's taps, or a multiple of them that divides ``C_in * taps``.
    p_out : :class:`int`
        Outputs computed side by side, at most ``C_out``; 1 where rows leave in groups or folded.
    banks : :class:`int`
        1 or 2: with a second bank of landing rows, a group lands even while the one before moves up.
    paired : :class:`bool`
        Neighbour lanes share multipliers (:class:`LanePair`).
    scaling : :class:`Requantisation`
    requantise_steps : :class:`int`
        Cycles the requantiser may take per output.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, o: RowFormat, window: Window, pad: int, weight: Shape,
                 weights: Sequence[Sequence[int]], sum: Shape, p_in: int, p_out: int, scaling: Requantisation,
                 requantise_steps: int, banks: int = 1, paired: bool = False) -> None:
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
        if o.fold > 1 and p_out > 1:
            raise ValueError(f"p_out must be 1 where columns are folded, not {p_out!r}")
        self.formats = i, o
        self.window, self.pad = window, pad
        self.weight, self.weights, self.sum = weight, weights, sum
        self.p_in, self.p_out, self.banks, self.paired = p_in, p_out, banks, paired
        self.kept = min(self.hold.kernel[0], self.hold.stride[0])  # rows that land side by side
        reached = (column for taps in self.hold.columns(i.width) for column in taps)
        self.used = sorted({column for column in reached if column is not None})
        self.side = max(1, p_in // window.taps)  # channels side by side in a word
        self.words = i.channels // self.side
        self.selects = max(1, -(-taps // p_in))
        self.sweeps = -(-o.channels // p_out)
        self.scaling = scaling
        self.requantise = Requantise(sum=sum, count=p_out, o=o,
                                     scaling=scaling, steps=requantise_steps)
        super().__init__({"i": In(i.signature), "o": Out(o.signature)})

    def rom_words(self) -> list[int]:
        """Return the weights in the order of the steps, ``p_out * p_in`` per word."""
        used = self.side * self.window.taps  # operands of a word
        padded = np.zeros((self.sweeps * self.p_out, self.words, self.selects * self.p_in), np.int64)
        padded[:len(self.weights), :, :used] = np.reshape(self.weights, (-1, self.words, used))
        steps = padded.reshape(self.sweeps, self.p_out, self.words * self.selects, self.p_in)
        return [pack(step.ravel(), self.weight.width) for sweep in steps for step in sweep.swapaxes(0, 1)]

    def model(self, *images: Image) -> Image:
        """Compute a C_out x H_out x W_out image from a C_in x H x W one, bit for bit."""
        (x,) = images
        seen = self.window.view(x, self.pad)
        sums = np.tensordot(np.array(self.weights), seen.reshape(-1, *seen.shape[3:]), 1)
        return self.scaling.model(sums)

    @property
    def rom(self) -> RomShape:
        return RomShape(self.words * self.selects * self.sweeps, self.p_in * self.p_out * self.weight.width)

    def state(self) -> State:
        i, _ = self.formats
        row, window = i.channels * i.width * i.shape.width, self.hold
        least = row * max(0, window.kernel[0] - window.stride[0])
        return State(row * (window.kernel[0] + self.banks * self.kept), least, least)

    def control(self) -> Control:
        (i, o), window = self.formats, self.hold
        groups, _ = held_groups(window, i.height)
        kernel, bits = window.kernel[0], len(self.used) * self.side * i.shape.width  # of one row of words
        masked = varied([group.inside for group in groups]) if o.group == 1 else 0
        counters = [i.height, self.side * i.fold, self.words, len(groups), self.selects, self.words,
                    self.sweeps, self.rom.depth, o.fold]
        if o.group > 1:
            counters.append(o.group)
        state = (self.kept * self.banks + (2 if self.banks > 1 else 0)
                 + i.lanes * i.shape.width * (self.side * i.fold - 1))
        if o.pipelined:
            state += told_stages(self.rom.width, constant=self.rom.depth == 1)
        return Control("output-stationary", counters, tables=len(groups) * masked, state=state, features={
            "enter": bits * kernel, "bank": bits * self.kept * (self.banks - 1), "mask": bits * masked,
            "served": served(o.fold, window.reached(o.lanes), kernel * self.side * i.shape.width)})

    def modules(self, rings: str) -> Iterator[Part]:
        i, o = self.formats
        word = self.side * i.shape.width
        yield from ring_parts("landing", word, len(self.used), self.words, self.kept * self.banks)
        yield from ring_parts("held", word * self.hold.kernel[0], len(self.used), self.words)
        yield rom_part("rom", self.rom.depth, self.rom.width)
        yield from Lanes(count=o.lanes, x=i.shape, weight=self.weight, sum=self.sum,
                         operands=self.side * self.hold.taps, p_in=self.p_in, p_out=self.p_out,
                         paired=self.paired, pipelined=o.pipelined).parts()
        yield from self.requantise.parts("requantise")

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        (i,) = inputs
        landed = [[Queue(scheduler) for _ in range(self.kept)] for _ in range(self.banks)]
        free = [[Queue(scheduler, [0]) for _ in range(self.kept)] for _ in range(self.banks)]
        sums = Channel(scheduler)
        return [self._lands(i, landed, free), self._sweeps(landed, free, sums),
                *self.requantise.processes(sums, o, scheduler)]

    def _lands(self, i: Channel, landed: Sequence[Sequence[Queue]],
                 free: Sequence[Sequence[Queue]]) -> Process:
        format, _ = self.formats
        _, rows = held_groups(self.hold, format.height)
        time, bank = 0, 0
        while True:
            for row in rows:
                if row.slot is not None:
                    room = free[bank][row.slot]
                    while not room.times:
                        yield room
                    time = max(time, room.times.popleft())
                for _ in range(format.row_beats):
                    while i.offered is None:
                        yield i
                    time = max(time, i.offered)
                    i.take(time)
                    time += 1
                if row.slot is not None:
                    landed[bank][row.slot].tell(time)
                if row.completes:
                    bank = (bank + 1) % self.banks

    def _sweeps(self, landed: Sequence[Sequence[Queue]], free: Sequence[Sequence[Queue]],
                sums: Channel) -> Process:
        i, o = self.formats
        groups, _ = held_groups(self.hold, i.height)
        span = self.words * self.selects
        time, bank = first_step(self.sweeps * span), 0
        pipeline = Pipeline(sums, MAC_STAGES) if o.pipelined else None
        while True:
            for group in groups:
                slots = [slot for slot, lands in enumerate(group.lands) if lands]
                for slot in slots:
                    while not landed[bank][slot].times:
                        yield landed[bank][slot]
                    time = max(time, landed[bank][slot].times.popleft())
                if not group.emits:
                    if pipeline is not None:
                        time = 1 + (yield from pipeline.steps(time, self.words, finish=False))
                    else:
                        time += self.words
                    for slot in slots:
                        free[bank][slot].tell(time)
                else:
                    for sweep in range(self.sweeps * o.fold * (sum(group.inside) if o.group > 1 else 1)):
                        if pipeline is not None:
                            time = 1 + (yield from pipeline.steps(time, span, finish=True))
                        else:
                            sums.offer(time + span - 1)
                            while sums.offered is not None:
                                yield sums
                            time = sums.taken + 1
                        if sweep == 0:
                            for slot in slots:
                                free[bank][slot].tell(time)
                        if pipeline is not None:
                            yield from pipeline.settle()
                if slots:
                    bank = (bank + 1) % self.banks

    def elaborate(self, platform: object) -> Module:
        m = Module()
        (i, o), window, kernel = self.formats, self.hold, self.hold.kernel[0]
        groups, rows_in = held_groups(window, i.height)
        reach = window.columns(i.width)  # input column under each tap of each lane
        used, kept = self.used, self.kept
        channels = data.ArrayLayout(i.shape, self.side)

        place(m, platform, "requantise", self.requantise)
        wiring.connect(m, self.requantise.o, wiring.flipped(self.o))
        rom = Rom(width=self.p_in * self.p_out * self.weight.width, words=self.rom_words(), waits=o.pipelined)
        place(m, platform, "rom", rom)

        # The landing rows: in each bank one ring per row of a group, filled in turn.
        rings = place_copies(m, platform, "landing", lambda: Ring(
            word=channels, columns=len(used), depth=self.words), kept * self.banks)
        landing = [rings[bank * kept:][:kept] for bank in range(self.banks)]
        landed = [Signal(kept, name=f"landed{bank}") for bank in range(self.banks)]
        filling, emptying = Signal(), Signal()  # banks
        accept, row_ends, taken = Signal(), Signal(), Signal()
        row, _, _ = counter(m, i.height, row_ends, name="landing_row")
        lands_now = Cat(table([each.slot == slot for each in rows_in], row) for slot in range(kept))
        m.d.comb += [self.i.ready.eq(~(lands_now & Array(landed)[filling]).any()),
                     accept.eq(self.i.valid & self.i.ready)]
        part, _, part_last = counter(m, self.side * i.fold, accept, name="part")
        _, _, word_last = counter(m, self.words, accept & part_last, name="landing_word")
        m.d.comb += row_ends.eq(accept & part_last & word_last)
        if self.banks > 1:
            with m.If(row_ends & table([each.completes for each in rows_in], row)):
                m.d.sync += filling.eq(~filling)
            with m.If(taken):
                m.d.sync += emptying.eq(~emptying)
        early = [data.View(i.layout, Signal(i.layout, name=f"early{index}", reset_less=True))
                 for index in range(self.side * i.fold - 1)]
        for index, register in enumerate(early):
            with m.If(accept & (part == index)):
                m.d.sync += register.eq(self.i.payload)

        # The turn: sweeps over the window, one for every p_out outputs, or one for each row of a group.
        turn_ends, ready, first, finishes = Signal(), Signal(), Signal(), Signal()
        turn, _, _ = counter(m, len(groups), turn_ends, name="turn")
        emits = table([g.emits for g in groups], turn)
        lands = Cat(table([g.lands[slot] for g in groups], turn) for slot in range(kept))
        steps = MacSteps(
            m, possible=ready, computes=Const(1), first=first, finishes=finishes,
            finished=self.requantise.i.valid, taken=self.requantise.i.ready, pipelined=o.pipelined)
        step = steps.step
        select, _, select_last = counter(m, self.selects, step & emits, name="select")
        word_ends = step & (~emits | select_last)
        word, _, word_last = counter(m, self.words, word_ends, name="word")
        sweep_ends = word_ends & word_last
        fold, _, fold_last = counter(m, o.fold, sweep_ends & emits, name="fold")
        swept = sweep_ends & fold_last if o.fold > 1 else sweep_ends  # by all columns
        member: Value = Const(0)
        member_last: Value = Const(1)
        if o.group > 1:
            member, member_last = Signal(range(o.group)), Signal()
            rows = [[tap for tap, inside in enumerate(g.inside) if inside] for g in groups]
            m.d.comb += member_last.eq(member == table([len(taps) - 1 for taps in rows], turn))
            with m.If(swept & emits):
                m.d.sync += member.eq(Mux(member_last, 0, member + 1))
            select = Signal(range(max(kernel, 2)))
            m.d.comb += select.eq(member + table([taps[0] for taps in rows], turn))
        sweep, _, sweep_last = counter(m, self.sweeps, swept & emits & member_last, name="sweep")
        again = sweep_ends & ~(member_last & fold_last)
        weight = steps.weights(rom, *replayed(m, len(rom.words), step & emits, again=again,
                                              back=self.words * self.selects - 1, name="address"))

        first_sweep = Signal()
        m.d.comb += [
            ready.eq(rom.valid & (~first_sweep | ~(lands & ~Array(landed)[emptying]).any())),
            first.eq((word == 0) & ((select == 0) if o.group == 1 else 1)),
            first_sweep.eq((sweep == 0) & (member == 0) & (fold == 0)),
            finishes.eq(emits & word_last & (select_last if o.group == 1 else 1)),
            turn_ends.eq(sweep_ends & (~emits | sweep_last & member_last & fold_last)),
        ]
        m.d.comb += taken.eq(sweep_ends & first_sweep & lands.any())
        for bank, flags in enumerate(landed):
            m.d.sync += flags.eq((flags | Mux(row_ends & (filling == bank), lands_now, 0))
                                 & ~Mux(taken & (emptying == bank), lands, 0))

        # The window: in the first sweep of a turn its rows move up and the landed rows enter.
        held = Ring(word=data.ArrayLayout(channels, kernel), columns=len(used), depth=self.words)
        place(m, platform, "held", held)
        for bank, rings in enumerate(landing):
            for slot, ring in enumerate(rings):
                m.d.comb += ring.shift.eq((accept & part_last & (filling == bank) & lands_now[slot])
                                          | (word_ends & first_sweep & (emptying == bank) & lands[slot]))
                for index, column in enumerate(used):
                    fold_in, lane_in = divmod(column, i.lanes)
                    for channel in range(self.side):
                        source = [*early, self.i.payload][channel * i.fold + fold_in]
                        m.d.comb += ring.i[index][channel].eq(source[lane_in])
        present = data.View(held.i.shape(), held.i.as_value())
        m.d.comb += held.shift.eq(word_ends)
        for index in range(len(used)):
            for tap in range(kernel):
                moved = tap + window.stride[0]
                newer = held.o[index][moved] if moved < kernel else Array(
                    rings[tap - kernel + kept].o[index].as_value() for rings in landing)[emptying]
                m.d.comb += present[index][tap].eq(Mux(first_sweep, newer, held.o[index][tap]))

        # The lanes: neighbours are wires, padding is a constant.
        pad = Const(self.pad, i.shape)
        inside = Signal(kernel)  # a table is described anew wherever it is used
        m.d.comb += [inside[tap].eq(1 if o.group > 1 else table([g.inside[tap] for g in groups], turn))
                     for tap in range(kernel)]
        masked = [[[Signal(i.shape, name=f"x{column}_{tap}_{channel}") for channel in range(self.side)]
                   for tap in range(kernel)] for column in used]
        for index in range(len(used)):
            for tap in range(kernel):
                for channel in range(self.side):
                    m.d.comb += masked[index][tap][channel].eq(
                        Mux(inside[tap], present[index][tap][channel], pad))
        lanes = place_lanes(
            m, platform, o.lanes, paired=self.paired, x=i.shape, weight=self.weight, sum=self.sum,
            operands=self.side * self.hold.taps, p_in=self.p_in, p_out=self.p_out, pipelined=o.pipelined)
        channels_taps = [(channel, tap) for channel in range(self.side) for tap in range(kernel)]
        if o.group > 1:
            channels_taps.sort(key=lambda pair: pair[1])
        seen = {column: [masked[index][tap][channel] for channel, tap in channels_taps]
                for index, column in enumerate(used)}
        view = in_turn(m, fold, o.lanes, reach, seen, [pad] * len(channels_taps))
        for lane, taps, total in zip(lanes, view, self.requantise.i.payload, strict=True):
            operands = [planes[plane] for plane in range(len(channels_taps)) for planes in taps]
            m.d.comb += [x.eq(operand) for x, operand in zip(lane.x, operands, strict=True)]
            m.d.comb += [lane.select.eq(select), lane.weight.eq(weight), total.eq(lane.sum)]
            steps.tell(lane)
        return m
