"""The link between a host and a network: images in, results out, over a byte stream.

Both directions carry frames of :mod:`headrace.hdl.edge.frames`; integers are little endian:

    request   tag 1    length 4    image, `length` bytes    checksum 4
    reply     results, all or none    tag 1    status 1    checksum 4

The checksum is the CRC-32 of Ethernet and zlib, over all before it. Image and results are in the order of
:class:`headrace.hdl.edge.axi.AxiTop`. The tag is the host's; the reply repeats it.

**Pixels go on before the checksum is known.** A network has no memory for an image, so pixels enter it as
they come. What enters it is made a whole frame in any case: the last pixel of a request that ended early
comes once more with TLAST, and :class:`headrace.hdl.edge.axi.FrameGuard` adds zero points until the image is
complete; what is too much never leaves the link. The network then gives results that mean nothing, and the
reply says so: **its status, behind the results, is that of the request**, and results of any status but
:py:`OK` are void. A request of which no pixel went on is answered without results. Results come first
because those of the upper rows leave a network while the lower rows still enter.

Nothing of one request is left when the next one begins, which a flag marks, so none can harm another.

A host waits for a reply before it sends the next request. If it does not, replies keep the order of requests,
as long as no more than two that have ended wait for theirs; what comes then is answered :py:`OVERRUN`, or not
at all if it ends while both still wait.
"""
from amaranth import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.edge.frames import FLAG, Raw, Stuff, Unstuff
from headrace.hdl.edge.requests import CHECKSUM, CHECKSUM_BYTES, Report, Requests
from headrace.hdl.edge.uart import Received

Result = data.StructLayout({"value": 8, "last": 1})


class Replies(wiring.Component):
    """Make replies of results and reports.

    Members
    -------
    i : :py:`In(stream.Signature(Result))`
    report : :py:`In(stream.Signature(Report))`
    o : :py:`Out(stream.Signature(Raw))`
    """

    i: stream.Interface
    report: stream.Interface
    o: stream.Interface

    class State(enum.Enum):
        IDLE = 0
        RESULTS = 1
        TAG = 2
        STATUS = 3
        CHECKSUM = 4
        CLOSE = 5

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(Result)), "report": In(stream.Signature(Report)),
                          "o": Out(stream.Signature(Raw))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        State, raw, report = self.State, self.o.payload, self.report.payload
        state, index, sent, void = Signal(State), Signal(range(CHECKSUM_BYTES)), Signal(), Signal()
        m.submodules.checksum = checksum = CHECKSUM.create()
        m.d.comb += [
            sent.eq(self.o.valid & self.o.ready),
            void.eq(self.report.valid & ~report.results),
            checksum.data.eq(raw.byte),
            checksum.valid.eq(sent & ~raw.flag & (state != State.CHECKSUM)),
            checksum.start.eq(state == State.IDLE),
        ]
        with m.Switch(state):
            with m.Case(State.IDLE):
                # The oldest report comes first; results without one are those of the request that comes in.
                m.d.comb += [self.o.valid.eq(void | self.i.valid), raw.byte.eq(FLAG), raw.flag.eq(1)]
                with m.If(sent):
                    m.d.sync += state.eq(Mux(void, State.TAG, State.RESULTS))
            with m.Case(State.RESULTS):
                m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready),
                             raw.byte.eq(self.i.payload.value)]
                with m.If(sent & self.i.payload.last):
                    m.d.sync += state.eq(State.TAG)
            with m.Case(State.TAG):
                m.d.comb += [self.o.valid.eq(self.report.valid), raw.byte.eq(report.tag)]
                with m.If(sent):
                    m.d.sync += state.eq(State.STATUS)
            with m.Case(State.STATUS):
                m.d.comb += [self.o.valid.eq(self.report.valid), self.report.ready.eq(self.o.ready),
                             raw.byte.eq(report.status)]
                with m.If(sent):
                    m.d.sync += state.eq(State.CHECKSUM)
            with m.Case(State.CHECKSUM):
                m.d.comb += [self.o.valid.eq(1), raw.byte.eq(checksum.crc.word_select(index, 8))]
                with m.If(sent):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == CHECKSUM_BYTES - 1):
                        m.d.sync += [index.eq(0), state.eq(State.CLOSE)]
            with m.Case(State.CLOSE):
                m.d.comb += [self.o.valid.eq(1), raw.byte.eq(FLAG), raw.flag.eq(1)]
                with m.If(sent):
                    m.d.sync += state.eq(State.IDLE)
        return m


class Link(wiring.Component):
    """Requests in, replies out, and a network in between.

    Parameters
    ----------
    pixels, pixel_bytes : :class:`int`
        Beats of an image, and bytes of each.
    timeout : :class:`int`
        Cycles of silence after which a request is cut off: more than a byte takes.

    Members
    -------
    i : :py:`In(stream.Signature(Received, always_ready=True))`
    o : :py:`Out(stream.Signature(8))`
    image : :py:`Out(stream.Signature(StructLayout({"pixel": 8 * pixel_bytes, "last": 1})))`
        To the network: images, each of them whole or ended early by ``last``.
    result : :py:`In(stream.Signature(Result))`
        From the network: as many frames of results.
    """

    i: stream.Interface
    o: stream.Interface
    image: stream.Interface
    result: stream.Interface

    def __init__(self, *, pixels: int, pixel_bytes: int, timeout: int) -> None:
        self.timeout = timeout
        self.requests = Requests(pixels=pixels, pixel_bytes=pixel_bytes)
        super().__init__({
            "i": In(stream.Signature(Received, always_ready=True)), "o": Out(stream.Signature(8)),
            "image": Out(stream.Signature(self.requests.o.payload.shape())),
            "result": In(stream.Signature(Result)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unstuff = unstuff = Unstuff(timeout=self.timeout)
        m.submodules.requests = requests = self.requests
        m.submodules.replies = replies = Replies()
        m.submodules.stuff = stuff = Stuff()
        wiring.connect(m, wiring.flipped(self.i), unstuff.i)
        wiring.connect(m, unstuff.o, requests.i)
        wiring.connect(m, requests.o, wiring.flipped(self.image))
        wiring.connect(m, requests.report, replies.report)
        wiring.connect(m, wiring.flipped(self.result), replies.i)
        wiring.connect(m, replies.o, stuff.i)
        wiring.connect(m, stuff.o, wiring.flipped(self.o))
        return m
