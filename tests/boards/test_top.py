# amaranth: UnusedElaboratable=no
"""A network behind a serial port, simulated, and the client at the other end."""
import re
from pathlib import Path

import numpy as np
import pytest

from headrace.boards.client import Client, image_bytes, reply, request
from headrace.boards.top import SerialTop
from headrace.gen.ir.graph import Graph
from headrace.gen.kinds import elaborate
from headrace.gen.netlist import verilog
from headrace.gen.planning.planner import plan
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.hdl.edge.frames import Status
from headrace.sim import reference
from simulated_port import SimulatedPort
from small_graphs import Network

CLOCK, BAUD = 25_000_000, 3_000_000
SILENCE = 2000 / CLOCK


def small() -> Graph:
    net = Network((2, 4, 3))
    net.pool(net.conv("x", 3, 3), 2, 2)
    return net.graph()


GRAPH = small()
IMAGES = np.random.default_rng(1).integers(-128, 128, (6, 2, 4, 3)).astype(np.int16)
EXPECTED = reference.run(GRAPH, IMAGES)[GRAPH.output]


def connected(graph: Graph, *, mismatch: float = 1) -> tuple[SimulatedPort, Client]:
    top = SerialTop(axi=elaborate.axi_top(graph, plan(graph, cycles=200)), clock=CLOCK, baud=BAUD,
                    silence=SILENCE)
    port = SimulatedPort(top, divisor=CLOCK / BAUD * mismatch, timeout=5000)
    return port, Client(port, image=graph.tensors[graph.input], result=graph.tensors[graph.output])


@pytest.mark.parametrize("mismatch", (1, 0.98, 1.02))
def test_results_equal_the_reference(mismatch: float) -> None:
    _, client = connected(GRAPH, mismatch=mismatch)
    assert (client.run(IMAGES[:3]) == EXPECTED[:3]).all() and client.repeated == 0


def test_network_of_many_channels() -> None:
    net = Network((5, 2, 3))
    net.conv("x", 2)
    graph = net.graph()
    _, client = connected(graph)
    x = np.random.default_rng(2).integers(-128, 128, (2, 5, 2, 3)).astype(np.int16)
    assert (client.run(x) == reference.run(graph, x)[graph.output]).all() and client.repeated == 0


def test_errors_on_the_line() -> None:
    """Requests damaged in turn: a byte wrong, cut off, cut off by the next one, too long."""
    port, client = connected(GRAPH)
    sent = request(200, image_bytes(IMAGES[0], GRAPH.tensors["x"]))
    wrong = {Status.CHECKSUM: sent[:12] + bytes([sent[12] ^ 1]) + sent[13:], Status.CUT_OFF: sent[:16],
             Status.TOO_LONG: sent[:-1] + b"\0\0\0" + sent[-1:], Status.LENGTH: sent[:2] + b"\xff" + sent[3:]}
    for index, (status, data) in enumerate(wrong.items()):
        port.write(data)
        said = port.read(1)
        while said.count(b"\x7e") < 2:
            said += port.read(1)
        found = reply(said.strip(b"\x7e"))
        assert found and (found.tag, found.status) == (200, status)
        assert (client.run(IMAGES[index:index + 2]) == EXPECTED[index:index + 2]).all()
    port.write(sent[:16])  # cut off by the client's, and its reply is passed over
    assert (client.run(IMAGES[:1]) == EXPECTED[:1]).all()
    assert client.repeated == 0


def test_client_repeats_what_was_damaged() -> None:
    port, client = connected(GRAPH)
    genuine = port.write

    def damaged(data: bytes) -> int:
        port.write = genuine
        return genuine(data[:9] + bytes([data[9] ^ 16]) + data[10:])

    port.write = damaged
    assert (client.run(IMAGES[:2]) == EXPECTED[:2]).all() and client.repeated == 1


def test_verilog(tmp_path: Path) -> None:
    hierarchy = Hierarchy()
    hierarchy.build(connected(GRAPH)[0].top)
    files = verilog.write(hierarchy, tmp_path / "rtl")
    assert {"top.v", "axi_top.v", "conv0.v", "pool1.v"} <= {file.name for file in files}
    ports = re.findall(r"^  (input|output) (?:reg )?(\S+);", (tmp_path / "rtl" / "top.v").read_text(), re.M)
    assert {("input", "clk"), ("input", "rst"), ("input", "rx"), ("output", "tx")} <= set(ports)


def test_silence_too_short() -> None:
    axi = elaborate.axi_top(GRAPH, plan(GRAPH))
    with pytest.raises(ValueError, match=r"^Silence must be at least two bytes, 2e-05 s, not 1e-05$"):
        SerialTop(axi=axi, clock=12e6, baud=1e6, silence=1e-5)
