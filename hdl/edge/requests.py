"""Requests of a host, taken apart: see :mod:`headrace.hdl.edge.link`."""
from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import crc, data, enum, stream, wiring  # type: ignore[attr-defined]
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.rows import table
from headrace.hdl.edge.frames import Part, Status

CHECKSUM = crc.catalog.CRC32_ISO_HDLC(data_width=8)
LENGTH_BYTES, CHECKSUM_BYTES = 4, 4

Report = data.StructLayout({"tag": 8, "status": Status, "results": 1})
"""What became of a request, and whether the network gives results for it."""


class Requests(wiring.Component):
    """Take requests apart: pixels for the network, and for each request a report.

    A pixel leaves in the cycle after its last byte came and has until the next pixel is complete to be taken.

    Parameters
    ----------
    pixels : :class:`int`
        Beats of an image.
    pixel_bytes : :class:`int`
        Bytes of each.

    Members
    -------
    i : :py:`In(stream.Signature(Part, always_ready=True))`
    o : :py:`Out(stream.Signature(StructLayout({"pixel": 8 * pixel_bytes, "last": 1})))`
    report : :py:`Out(stream.Signature(Report))`
    """

    i: stream.Interface
    o: stream.Interface
    report: stream.Interface

    class State(enum.Enum):
        TAG = 0
        LENGTH = 1
        IMAGE = 2
        CHECKSUM = 3
        COMPLETE = 4
        SKIP = 5

    def __init__(self, *, pixels: int, pixel_bytes: int) -> None:
        self.pixels, self.pixel_bytes = pixels, pixel_bytes
        super().__init__({
            "i": In(stream.Signature(Part, always_ready=True)),
            "o": Out(stream.Signature(data.StructLayout({"pixel": 8 * pixel_bytes, "last": 1}))),
            "report": Out(stream.Signature(Report)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        part, State = self.i.payload, self.State
        state, status, tag, entered = Signal(State), Signal(Status), Signal(8), Signal()
        byte, end, full = Signal(), Signal(), Signal()
        m.d.comb += [byte.eq(self.i.valid & ~part.end), end.eq(self.i.valid & part.end)]
        m.submodules.checksum = checksum = CHECKSUM.create()
        m.d.comb += [checksum.data.eq(part.byte), checksum.valid.eq(byte), checksum.start.eq(end)]

        index = Signal(range(max(LENGTH_BYTES, CHECKSUM_BYTES)))
        length = list((self.pixels * self.pixel_bytes).to_bytes(LENGTH_BYTES, "little"))
        another_length = Signal()
        complete, terminate, in_image = Signal(), Signal(), Signal()
        m.d.comb += in_image.eq(byte & (state == State.IMAGE))
        pixel = self._collect(m, in_image, complete, end)
        last, count = Signal(), Signal(range(self.pixels))
        m.d.comb += last.eq(count == self.pixels - 1)

        occupied, held = Signal(), Signal.like(self.o.payload)
        m.d.comb += [self.o.valid.eq(occupied | terminate), self.o.payload.pixel.eq(held.pixel),
                     self.o.payload.last.eq(held.last | ~occupied)]
        with m.If(self.o.ready):
            m.d.sync += occupied.eq(0)
            with m.If(~occupied):
                m.d.sync += terminate.eq(0)

        def fail(reason: Status) -> None:
            m.d.sync += [status.eq(reason), state.eq(State.SKIP)]

        with m.If(byte):
            with m.Switch(state):
                with m.Case(State.TAG):
                    m.d.sync += [tag.eq(part.byte), state.eq(State.LENGTH)]
                with m.Case(State.LENGTH):
                    m.d.sync += index.eq(index + 1)
                    wrong = another_length | (part.byte != table(length, index))
                    m.d.sync += another_length.eq(wrong)
                    with m.If(index == LENGTH_BYTES - 1):
                        m.d.sync += [index.eq(0), state.eq(State.IMAGE)]
                        with m.If(wrong):
                            fail(Status.LENGTH)
                        with m.Elif(full | self.o.valid):
                            fail(Status.OVERRUN)
                with m.Case(State.IMAGE):
                    with m.If(complete & occupied & ~self.o.ready):
                        m.d.sync += terminate.eq(1)
                        fail(Status.OVERRUN)
                    with m.Elif(complete):
                        m.d.sync += [held.pixel.eq(pixel), held.last.eq(last), occupied.eq(1),
                                     entered.eq(1), count.eq(count + 1)]
                        with m.If(last):
                            m.d.sync += state.eq(State.CHECKSUM)
                with m.Case(State.CHECKSUM):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == CHECKSUM_BYTES - 1):
                        m.d.sync += [index.eq(0), state.eq(State.COMPLETE)]
                with m.Case(State.COMPLETE):
                    fail(Status.TOO_LONG)

        report: Any = Signal(Report)
        m.d.comb += [report.tag.eq(tag), report.results.eq(entered), report.status.eq(part.status)]
        with m.If(part.status == Status.OK):
            m.d.comb += report.status.eq(status)
            with m.If(status == Status.OK):
                m.d.comb += report.status.eq(Mux(
                    state != State.COMPLETE, Status.CUT_OFF,
                    Mux(checksum.match_detected, Status.OK, Status.CHECKSUM)))
        with m.If(end):
            m.d.sync += [state.eq(State.TAG), status.eq(Status.OK), tag.eq(0), entered.eq(0), index.eq(0),
                         count.eq(0), another_length.eq(0)]
            with m.If((state == State.IMAGE) & entered):
                m.d.sync += terminate.eq(1)
        m.d.comb += full.eq(self._keep(m, report, end & (entered | ~full)))
        return m

    def _collect(self, m: Module, accept: Signal, complete: Signal, end: Signal) -> Any:
        """Return the pixel that the present byte completes."""
        if self.pixel_bytes == 1:
            m.d.comb += complete.eq(accept)
            return self.i.payload.byte
        early, count = Signal(8 * (self.pixel_bytes - 1)), Signal(range(self.pixel_bytes))
        pixel = Cat(early, self.i.payload.byte)
        m.d.comb += complete.eq(accept & (count == self.pixel_bytes - 1))
        with m.If(accept):
            m.d.sync += [early.eq(pixel[8:]), count.eq(Mux(complete, 0, count + 1))]
        with m.If(end):
            m.d.sync += count.eq(0)
        return pixel

    def _keep(self, m: Module, report: Any, push: Any) -> Any:
        """Keep up to two reports until they are taken; return whether there are two."""
        reports = [Signal(Report, name=f"report{index}") for index in range(2)]
        first, second = (Signal(name=f"report{index}_kept") for index in range(2))
        taken = self.report.valid & self.report.ready
        m.d.comb += [self.report.valid.eq(first), self.report.payload.eq(reports[0])]
        with m.If(taken):
            m.d.sync += [reports[0].eq(reports[1]), first.eq(second), second.eq(0)]
        with m.If(push & (~first | taken & ~second)):
            m.d.sync += [reports[0].eq(report), first.eq(1)]
        with m.Elif(push):
            m.d.sync += [reports[1].eq(report), second.eq(1)]
        return second
