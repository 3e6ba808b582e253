"""A component with streams between an environment that may do whatever the rules allow, and their judge."""
from collections.abc import Iterator, Mapping
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import counter

RULES = "breaks_keeps", "breaks_moves", "breaks_ends"
"""Outputs that are high in a cycle in which a rule is broken."""


class Harness(wiring.Component):
    """Drives every stream of a component, and says when the component breaks a rule.

    What drives the streams is free in each cycle, and so is the reset. A source offers a beat or does not,
    but keeps what it has offered until it is taken; a reader takes or does not. So whatever an environment
    can do that keeps the rules is some sequence of these inputs, and nothing else is.

    Parameters
    ----------
    dut : :class:`wiring.Component`
        With members that are streams.
    silence : :class:`int`
        Cycles after which something must have moved.
    frames : mapping from :class:`str` to :class:`int`
        Beats of a frame on each stream, where streams carry frames.

    Members
    -------
    offers_NAME, fresh_NAME
        What the source of an input does: whether it offers a beat, if none waits, and which.
    takes_NAME
        Whether the reader of an output takes.
    valid_NAME, payload_NAME, ready_NAME
        What the component answers.
    breaks_keeps : :py:`Out(1)`
        An output was valid and not taken in the cycle before; now it is not valid or has another payload.
    breaks_moves : :py:`Out(1)`
        Nothing has moved for :py:`silence` cycles in each of which all sources offered and readers took what
        was valid.
    breaks_ends : :py:`Out(1)`
        The same where sources did not need to offer: a whole frame has come on each input and has not left as
        a whole on each output. It shall leave whether or not another one follows.
    """

    breaks_keeps: Signal
    breaks_moves: Signal
    breaks_ends: Signal

    def __init__(self, *, dut: Any, silence: int, frames: Mapping[str, int]) -> None:
        self.dut, self.silence, self.frames = dut, silence, frames
        members: dict[str, wiring.Member] = dict.fromkeys(RULES, Out(1))
        for name, port, is_input in streams(dut):
            width = len(Value.cast(port.payload))
            if is_input:
                members |= {f"offers_{name}": In(1), f"fresh_{name}": In(width), f"ready_{name}": Out(1)}
            else:
                members |= {f"takes_{name}": In(1), f"valid_{name}": Out(1), f"payload_{name}": Out(width)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place(m, platform, "dut", self.dut)
        offered, taken, moved, breaks = [], [], {}, []
        for name, port, is_input in streams(self.dut):
            payload = Value.cast(port.payload)
            waits, kept = Signal(name=f"waits_{name}"), Signal(len(payload), name=f"kept_{name}")
            m.d.sync += [waits.eq(port.valid & ~port.ready), kept.eq(payload)]
            if is_input:
                m.d.comb += [
                    port.valid.eq(waits | getattr(self, f"offers_{name}")),
                    payload.eq(Mux(waits, kept, getattr(self, f"fresh_{name}"))),
                    getattr(self, f"ready_{name}").eq(port.ready),
                ]
                offered.append(port.valid)
            else:
                m.d.comb += [
                    port.ready.eq(getattr(self, f"takes_{name}")),
                    getattr(self, f"valid_{name}").eq(port.valid),
                    getattr(self, f"payload_{name}").eq(payload),
                ]
                taken.append(port.ready | ~port.valid)
                breaks.append(waits & (~port.valid | (payload != kept)))
            moved[name] = port.valid & port.ready
        takes, rests = Cat(taken).all(), ~Cat(moved.values()).any()
        m.d.comb += [
            self.breaks_keeps.eq(Cat(breaks).any()),
            self.breaks_moves.eq(self._lasts(m, rests & takes & Cat(offered).all(), name="silent")),
            self.breaks_ends.eq(self._lasts(m, rests & takes & self._owes(m, moved), name="owing")),
        ]
        return m

    def _lasts(self, m: Module, value: Value, *, name: str) -> Value:
        """Return whether a value was high in each of the last :py:`silence` cycles."""
        cycles = Signal(range(self.silence + 1), name=name)
        with m.If(~value):
            m.d.sync += cycles.eq(0)
        with m.Elif(cycles != self.silence):
            m.d.sync += cycles.eq(cycles + 1)
        return cycles == self.silence

    def _owes(self, m: Module, moved: Mapping[str, Value]) -> Value:
        """Return whether a frame has come as a whole on all inputs and not left as a whole on all outputs."""
        if not self.frames:
            return Const(0)
        ends = {name: moved[name] & counter(m, beats, moved[name], name=f"beat_{name}")[2]
                for name, beats in self.frames.items()}
        inputs = [name for name, _, is_input in streams(self.dut) if is_input]
        owes = []
        for i in inputs:
            for o in self.frames.keys() - {*inputs}:
                ahead = Signal(signed(4), name=f"ahead_{i}_{o}")
                m.d.sync += ahead.eq(ahead + ends[i] - ends[o])
                owes.append(ahead > 0)
        return Cat(owes).all()


def streams(dut: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yield name, interface and whether it is an input of each stream of a component."""
    for name, member in dut.signature.members.items():
        if member.is_signature and isinstance(member.signature, stream.Signature):
            yield name, getattr(dut, name), member.flow is In

