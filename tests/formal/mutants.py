"""Components that break one rule each, in the ways in which real ones would."""
from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

PAYLOAD = stream.Signature(unsigned(2))


class Passing(wiring.Component):
    """A register between two streams that keeps all rules; those below change a line of it."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self) -> None:
        super().__init__({"i": In(PAYLOAD), "o": Out(PAYLOAD)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self.connect(m)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(self.i.payload)]
        return m

    def connect(self, m: Module) -> None:
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)


class DropsValid(Passing):
    """A beat that has waited for three cycles is withdrawn."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        waited = Signal(2)
        m.d.sync += waited.eq(Mux(self.o.valid & ~self.o.ready, waited + 1, 0))
        with m.If(waited == 3):
            m.d.sync += self.o.valid.eq(0)
        return m


class ChangesPayload(Passing):
    """Takes the next beat although the last one waits, once in a while."""

    def connect(self, m: Module) -> None:
        turn = Signal(3)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += turn.eq(turn + 1)
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready | (turn == 5))


class ValidFollowsReady(Passing):
    """Offers only what is taken."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [self.o.valid.eq(self.i.valid & self.o.ready), self.o.payload.eq(self.i.payload),
                     self.i.ready.eq(self.o.ready)]
        return m


class PayloadFollowsReady(Passing):
    """Keeps its payload while it waits, and sends another one."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready),
                     self.o.payload.eq(self.i.payload ^ self.o.ready)]
        return m


class WaitsForReady(Passing):
    """Offers nothing before its reader is ready: no reader that waits for an offer ever gets one."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        full, asked, held = Signal(), Signal(), Signal(2)
        m.d.comb += [self.o.valid.eq(full & asked), self.o.payload.eq(held), self.i.ready.eq(~full)]
        with m.If(self.o.ready):
            m.d.sync += asked.eq(full & ~asked)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [full.eq(1), held.eq(self.i.payload)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += full.eq(0)
        return m


class Hangs(Passing):
    """Takes nothing more after some beats."""

    def connect(self, m: Module) -> None:
        taken = Signal(range(7))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += taken.eq(taken + 1)
        m.d.comb += self.i.ready.eq((~self.o.valid | self.o.ready) & (taken != 6))


class HangsAfterStall(Passing):
    """Takes nothing more once a beat has waited for five cycles: no environment that always takes sees it."""

    def connect(self, m: Module) -> None:
        waited = Signal(range(6))
        with m.If(self.o.valid & ~self.o.ready & (waited != 5)):
            m.d.sync += waited.eq(waited + 1)
        with m.Elif(waited != 5):
            m.d.sync += waited.eq(0)
        m.d.comb += self.i.ready.eq((~self.o.valid | self.o.ready) & (waited != 5))


class HangsAfterReset(Passing):
    """One of two registers that say the same has no reset."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        full, busy, held = Signal(), Signal(reset_less=True), Signal(2)
        m.d.comb += [self.o.valid.eq(full), self.o.payload.eq(held), self.i.ready.eq(~busy)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [full.eq(1), busy.eq(1), held.eq(self.i.payload)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [full.eq(0), busy.eq(0)]
        return m


class KeepsTheLast(Passing):
    """Gives a beat only when the next one has come, and so never the last."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        full, held = Signal(), Signal(2)
        m.d.comb += [self.o.valid.eq(full & self.i.valid), self.o.payload.eq(held),
                     self.i.ready.eq(~full | self.o.ready)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [full.eq(1), held.eq(self.i.payload)]
        return m
