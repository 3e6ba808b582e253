# amaranth: UnusedElaboratable=no
"""The bundled network behind a serial port, compiled: bytes in, bits on the line, bytes out."""
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.boards.client import framed, image_bytes, request
from headrace.boards.top import SerialTop
from headrace.gen.estimate.price import Prices
from headrace.gen.importer.load import load
from headrace.gen.ir.means import Means
from headrace.gen.kinds import elaborate
from headrace.gen.netlist.target import ICE40
from headrace.gen.planning.planner import plan
from headrace.hdl.base.hierarchy import Hierarchy, place
from headrace.hdl.edge.frames import Status
from headrace.hdl.edge.uart import UartReceiver, UartTransmitter
from headrace.sim import compiled, inputs, reference

CLOCK, BAUD = 25e6, 3e6


class Host(wiring.Component):
    """A board and, at the other end of its serial line, a port."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, board: SerialTop, divisor: float) -> None:
        self.board, self.divisor = board, divisor
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place(m, platform, "board", self.board, module="board")
        m.submodules.transmitter = transmitter = UartTransmitter(divisor=self.divisor)
        m.submodules.receiver = receiver = UartReceiver(divisor=self.divisor)
        wiring.connect(m, wiring.flipped(self.i), transmitter.i)
        m.d.comb += [self.board.rx.eq(transmitter.tx), receiver.rx.eq(self.board.tx),
                     self.o.valid.eq(receiver.o.valid), self.o.payload.eq(receiver.o.payload.byte)]
        return m


@pytest.mark.full  # half a minute of C++ compiler
@pytest.mark.parametrize("means, clock, baud", (
    ({}, CLOCK, BAUD),
    (dict(cycles=100_000, prices=Prices(ICE40), means=Means(rings="blockram", serial=True)), 12e6, 28_800)),
    ids=("ulx3s", "hx8k"))
def test_digits(digits: Path, digits_images: Path, means: Any, clock: float, baud: float) -> None:
    """20 images, and between them requests with a wrong byte, cut off, and too long."""
    graph = load(digits)
    image, result = graph.tensors[graph.input], graph.tensors[graph.output]
    x = inputs.load([digits_images], graph)[:20]
    hierarchy = Hierarchy(fast_rings=True)
    axi = elaborate.axi_top(graph, plan(graph, **means))
    hierarchy.build(Host(SerialTop(axi=axi, clock=clock, baud=baud), clock / baud))

    def reply(tag: int, entered: np.ndarray, status: Status = Status.OK) -> bytes:
        y = reference.run(graph, entered.reshape(1, *image.shape))[graph.output].astype(np.uint8)
        return framed(y.tobytes() + bytes([tag, status.value]))

    wrong, cut_off = x[0].ravel().copy(), x[0].ravel().copy()
    wrong[11] ^= 1
    cut_off[30], cut_off[31:] = cut_off[29], image.quantisation.zero_point  # what the network is given
    sent, expected = b"", b""
    for number, frame in enumerate(x):
        content = image_bytes(frame, image)
        sent += request(number, content)
        expected += reply(number, frame)
        match number:
            case 4:
                good, bad = image_bytes(x[0], image), wrong.astype(np.uint8).tobytes()
                sent += request(100, good).replace(good, bad)
                expected += reply(100, wrong, Status.CHECKSUM)
            case 9:
                sent += request(101, image_bytes(x[0], image)[:64])[:1 + 5 + 30]
                expected += reply(101, cut_off, Status.CUT_OFF)
            case 14:
                sent += request(102, image_bytes(x[0], image))[:-1] + b"\0\0\x7e"
                expected += reply(102, x[0], Status.TOO_LONG)
    beats = compiled.compile(hierarchy).run(
        inputs={"i": np.frombuffer(sent, np.uint8)[:, None]}, outputs={"o": len(expected)}, deadline=500_000)
    assert beats["o"].payload.tobytes() == expected
    labels = np.load(digits_images)["labels"][:20]
    assert (reference.run(graph, x)[graph.output].reshape(20, result.channels).argmax(1) == labels).all()
