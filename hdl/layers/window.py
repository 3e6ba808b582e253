# amaranth: UnusedElaboratable=no
"""The layer that passes a window by: depthwise convolution, maximum and average pooling."""
from collections.abc import Iterator, Sequence

import numpy as np
from amaranth import Const, Module, Shape, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part, rom_part
from headrace.hdl.arithmetic.geometry import Image, Window
from headrace.hdl.arithmetic.requantisation import Requantisation
from headrace.hdl.base.hierarchy import place, place_copies
from headrace.hdl.base.output import OutputRegister, output_bits, spare_bits
from headrace.hdl.base.rows import RowFormat, replayed
from headrace.hdl.lanes.area import Lanes, told_stages
from headrace.hdl.lanes.lane import MaxLane
from headrace.hdl.lanes.pair import place_lanes
from headrace.hdl.layers.layer import Layer, RomShape, State
from headrace.hdl.layers.passing import Passing
from headrace.hdl.layers.requantised import Requantised
from headrace.hdl.storage.rom import Rom, pack
from headrace.hdl.timing.channel import Channel, Process, Scheduler
from headrace.hdl.timing.pipeline import first_step, register


class Depthwise(Requantised):
    """``sum[o] = sum over kh, kw of x[o // m][kh][kw] * weight[o][kh][kw]``, then :class:`Requantise`.

    Timing as in :class:`Passing`. The depth multiplier ``m`` is the outputs per input channel. Without
    weights, every weight is 1: average pooling.

    Parameters
    ----------
    window : :class:`Window`
    pad : :class:`int`
        What stands outside the image.
    p_in : :class:`int`
        Taps used per step.
    patience : :class:`int`
        Cycles to wait for the next frame's first row, if the last output row can be made with it.
    weights : sequence of shape [C_out][taps], or None
    paired : :class:`bool`
        Not without weights.
    i, o, weight, sum, scaling, requantise_steps, readout
        As in :class:`Requantised`.
    """

    def __init__(self, *, i: RowFormat, o: RowFormat, window: Window, pad: int, p_in: int,
                 weights: Sequence[Sequence[int]] | None, sum: Shape, scaling: Requantisation,
                 requantise_steps: int, readout: int = 1, patience: int = 0, paired: bool = False,
                 weight: Shape = unsigned(1)) -> None:  # noqa: B008
        if o.channels % i.channels:
            raise ValueError(f"the {i.channels} input channels must divide the output's, not {o.channels!r}")
        super().__init__(i=i, o=o, sum=sum, scaling=scaling, requantise_steps=requantise_steps,
                         readout=readout)
        self.window, self.pad, self.p_in = window, pad, p_in
        self.passing = Passing(formats=self.computing, window=window, p_in=p_in, patience=patience,
                               pipelined=o.pipelined)
        self.weight, self.weights = weight, weights
        self.paired = paired

    def rom_words(self) -> list[int]:
        """Return the weights in the order of the steps, ``p_in`` per word."""
        if self.weights is None:
            return [pack([1] * self.p_in, self.weight.width)]
        return [pack(taps[start:start + self.p_in], self.weight.width)
                for taps in np.asarray(self.weights).tolist()
                for start in range(0, self.window.taps, self.p_in)]

    def model(self, *images: Image) -> Image:
        """Compute a C_out x H_out x W_out image from a C_in x H x W one, bit for bit."""
        (x,) = images
        i, o = self.computing
        seen = np.repeat(self.window.view(x, self.pad), o.channels // i.channels, axis=0)
        weights = np.ones(seen.shape[:3]) if self.weights is None else np.array(self.weights)
        weights = weights.astype(np.int64).reshape(seen.shape[:3])
        return self.scaling.model(np.einsum("cij,cijhw->chw", weights, seen))

    @property
    def rom(self) -> RomShape | None:
        return None if self.weights is None else self.constants

    @property
    def constants(self) -> RomShape:
        """The same where every weight is 1: a word of those."""
        depth = 1 if self.weights is None else self.computing[1].channels * self.passing.selects
        return RomShape(depth, self.p_in * self.weight.width)

    def state(self) -> State:
        return self.passing.state()

    def control(self) -> Control:
        (_, o), rom = self.computing, self.constants
        told = told_stages(rom.width, constant=rom.depth == 1) if o.pipelined else 0
        counters = () if self.weights is None else (rom.depth,)
        return self.passing.control(counters, told)

    def modules(self, rings: str) -> Iterator[Part]:
        i, o = self.computing
        yield from self.passing.modules()
        yield rom_part("rom", self.constants.depth, self.constants.width)
        yield from Lanes(count=o.lanes, x=i.shape, weight=self.weight, sum=self.sum,
                         operands=self.window.taps, p_in=self.p_in, paired=self.paired,
                         pipelined=o.pipelined).parts()
        yield from self.requantise.parts("requantise")

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        done = Channel(scheduler)
        return [*self.passing.processes(inputs[0], done, scheduler, begin=first_step(self.constants.depth)),
                *self.requantise.processes(done, o, scheduler)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.computing
        self.place_requantiser(m, platform)
        rom = Rom(width=self.p_in * self.weight.width, words=self.rom_words(), waits=o.pipelined)
        place(m, platform, "rom", rom)
        lanes = place_lanes(
            m, platform, o.lanes, paired=self.paired, x=i.shape, weight=self.weight, sum=self.sum,
            operands=self.window.taps, p_in=self.p_in, p_out=1, pipelined=o.pipelined)
        advance, again, steps = self.passing.describe(
            m, platform, self.i, pad=self.pad, lanes=lanes, may_step=rom.valid,
            finished=self.requantise.i.valid, taken=self.requantise.i.ready)
        weight = steps.weights(rom, *replayed(
            m, len(rom.words), advance, again=again, back=self.passing.selects - 1, name="address"))
        for lane, total in zip(lanes, self.requantise.i.payload, strict=True):
            m.d.comb += [lane.weight.eq(weight), total.eq(lane.sum)]
        return m


class MaxPool(Layer):
    """``y[c] = max over kh, kw of x[c][kh][kw]``, held in an :class:`OutputRegister`.

    Timing as in :class:`Passing`.

    Parameters
    ----------
    i, o : :class:`RowFormat`
    window : :class:`Window`
    p_in : :class:`int`
        Taps used per step.
    patience : :class:`int`
        Cycles to wait for the next frame's first row, if the last output row can be made with it.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, o: RowFormat, window: Window, p_in: int, patience: int = 0) -> None:
        self.formats = i, o
        self.window, self.p_in = window, p_in
        self.passing = Passing(formats=(i, o), window=window, p_in=p_in, patience=patience, pipelined=False)
        self.pad = -(1 << i.shape.width - 1) if i.shape.signed else 0  # never the greatest
        super().__init__(lambda: {"i": In(i.signature), "o": Out(o.signature)})

    def model(self, *images: Image) -> Image:
        """Compute a C x H_out x W_out image from a C x H x W one, bit for bit."""
        (x,) = images
        y: Image = self.window.view(x, self.pad).max(axis=(1, 2))
        return y

    @property
    def rom(self) -> None:
        return None

    def state(self) -> State:
        return self.passing.state()

    def control(self) -> Control:
        _, o = self.formats
        return self.passing.control((), output_bits(o), spare=spare_bits(o))

    def modules(self, rings: str) -> Iterator[Part]:
        i, o = self.formats
        yield from self.passing.modules()
        bits = self.p_in * i.shape.width
        yield Part(module="lane", kind="max", copies=o.lanes, state=i.shape.width,
                   features={"select": bits * (self.passing.selects - 1), "compare": bits})

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        done = Channel(scheduler)
        return [*self.passing.processes(inputs[0], done, scheduler, begin=0),
                register(done, o, pipelined=self.formats[1].pipelined)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.formats
        finished, output = Signal(), OutputRegister(m, self.o, format=o)
        lanes = place_copies(m, platform, "lane", lambda: MaxLane(
            x=i.shape, operands=self.window.taps, p_in=self.p_in), o.lanes)
        self.passing.describe(m, platform, self.i, pad=self.pad, lanes=lanes, may_step=Const(1),
                              finished=finished, taken=output.room)
        output.load(finished, [lane.max for lane in lanes])
        return m
