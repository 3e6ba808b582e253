"""From sums to activations: the requantiser."""
from collections.abc import Mapping
from typing import Any

from amaranth import Module, Shape, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.component import Component
from headrace.hdl.base.hierarchy import place, place_copies
from headrace.hdl.base.output import OutputRegister
from headrace.hdl.base.rows import RowFormat, channel_end, counter
from headrace.hdl.lanes.steps import SCALE_STAGES, Steps
from headrace.hdl.requantise.scale_lane import TOLD, ScaleLane, Scaling, digits_of
from headrace.hdl.storage.rom import Rom, pack


class Scale(Component):
    """Requantise a stream of rows: every lane scales, shifts and saturates its operands.

    The formula is that of :class:`Requantisation` or :class:`AddRequantisation`.

    Takes :py:`digits.steps` cycles per beat, during which the input is held; the result waits in an
    :class:`OutputRegister`, where the next layer reads it. In a pipelined layer the beat is taken with the
    first step, and the result comes :data:`SCALE_STAGES` cycles later; beats follow each other all the same.

    Parameters
    ----------
    operands : :class:`dict` of :class:`Shape`
        Operands of each lane, by name.
    o : :class:`RowFormat`
        Format of the result.
    scaling : :class:`Requantisation` or :class:`AddRequantisation`
    steps : :class:`int`
        Cycles that one beat may take.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(StructLayout(operands), lanes)))`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, operands: Mapping[str, Shape], o: RowFormat, scaling: Scaling, steps: int) -> None:
        self.digits, self.format = digits_of(scaling, tuple(operands.items()), steps), o
        super().__init__(lambda: {
            "i": In(stream.Signature(data.ArrayLayout(self.digits.operand_layout, o.lanes))),
            "o": Out(o.signature),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        digits, width = self.digits, self.digits.width
        lanes = place_copies(m, platform, "lane", lambda: ScaleLane(
            digits=digits, shape=self.format.shape, pipelined=self.format.pipelined), self.format.lanes)
        offset_width, multiplier_width = digits.product_width, width * digits.steps
        rom = Rom(width=offset_width + multiplier_width * len(digits.operands), words=[
            pack([offset], offset_width) | pack(multipliers, multiplier_width) << offset_width
            for offset, multipliers in digits.constants])
        place(m, platform, "rom", rom)
        control = digits.signature.create(path=("control",))
        done, finished, first, last = Signal(), Signal(), Signal(), Signal()
        output, pipelined = OutputRegister(m, self.o, format=self.format), self.format.pipelined
        there = self.i.valid | ~first if pipelined else self.i.valid  # the beat
        steps = Steps(m, possible=there & rom.valid, finishes=last, finished=finished, taken=output.room,
                      stages=SCALE_STAGES if pipelined else 0)
        # A channel's constants serve each row of a group.
        channel, channel_next, _ = counter(m, len(digits.constants), channel_end(m, self.format, done),
                                           name="channel")
        index, _, index_last = counter(m, digits.steps, steps.step, name="index")
        m.d.comb += [
            rom.address.eq(channel_next),
            first.eq(index == 0),
            last.eq(index_last),
            control.step.eq(steps.step),
            control.last.eq(last),
            done.eq(steps.step & last),
            self.i.ready.eq(steps.step & first if pipelined else done),
        ]
        with m.Switch(index):
            for number in range(digits.steps):
                with m.Case(number):
                    self._digit(m, control, rom.data, number)
        with m.Switch(channel):
            for number, found in enumerate(digits.exceptions):
                if found:
                    with m.Case(number):
                        m.d.comb += [exception.eq(digits.exception_layout.const({
                            "active": 1, "up": delta > 0, "x": dict(zip(digits.operands, x, strict=True))}))
                            for exception, (x, delta) in zip(control.exceptions, found, strict=False)]
        operands = self.i.payload
        if pipelined:  # of the beat that is in the first stage
            operands = Signal.like(self.i.payload, name="operands", reset_less=True)
            with m.If(steps.step & first):
                m.d.sync += operands.eq(self.i.payload)
        # What never changes needs no register.
        still = ("digits", "offset", "guard") if len(digits.constants) * digits.steps == 1 else ()
        told = {name: steps.behind(getattr(control, name), 0 if name in still else stage, name=name)
                for name, stage in TOLD.items()}
        told["step"] = steps.once(control.step, TOLD["last"], name="step")
        for lane, x in zip(lanes, operands, strict=True):
            m.d.comb += [lane.x.eq(x), *(getattr(lane.control, name).eq(value)
                                         for name, value in told.items())]
            steps.tell(lane)
        output.load(finished, [lane.y for lane in lanes])
        return m

    def _digit(self, m: Module, control: Any, word: Value, number: int) -> None:
        """Describe what the lanes are told in step :py:`number`."""
        digits, width, form = self.digits, self.digits.width, self.digits.scaling
        low, high = number * width, (number + 1) * width
        if number == digits.steps - 1:
            m.d.comb += control.offset.eq(word[low:digits.product_width].as_signed())
        else:
            m.d.comb += control.offset.eq(word[low:high])
        for operand, digit in enumerate(control.digits):
            start = digits.product_width + operand * width * digits.steps
            m.d.comb += digit.eq(word[start + low:start + high])
        if form.tie is not None:
            m.d.comb += control.guard.eq(sum(1 << bit - low for bit in range(max(low, form.tie), high)))
