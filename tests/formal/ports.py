# amaranth: UnusedElaboratable=no
"""Components whose ports are not all streams that may be held up, with ports that are."""
from typing import Any

from amaranth import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.hierarchy import place
from headrace.hdl.edge.axi import AxiTop, FrameGuard
from headrace.hdl.network import Network


class Guarded(wiring.Component):
    """A :class:`FrameGuard` with streams as ports."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, beats: int) -> None:
        self.guard = FrameGuard(width=1, beats=beats, fill=1)
        super().__init__({"i": In(stream.Signature(data.StructLayout({"data": 1, "last": 1}))),
                          "o": Out(stream.Signature(1))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.guard = guard = self.guard
        m.d.comb += [
            guard.i_data.eq(self.i.payload.data), guard.i_last.eq(self.i.payload.last),
            guard.i_valid.eq(self.i.valid), self.i.ready.eq(guard.i_ready),
            self.o.payload.eq(guard.o_data), self.o.valid.eq(guard.o_valid), guard.o_ready.eq(self.o.ready),
        ]
        return m


class AlwaysTaken(wiring.Component):
    """A component with inputs that are always ready, which are streams as any others here."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        shapes = {name: getattr(dut, name).payload.shape() for name in dut.signature.members}
        super().__init__({name: wiring.Member(member.flow, stream.Signature(shapes[name]))
                          for name, member in dut.signature.members.items()})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = self.dut
        for name, member in self.dut.signature.members.items():
            inner, outer = getattr(self.dut, name), getattr(self, name)
            if member.flow is In:
                m.d.comb += [inner.payload.eq(outer.payload), inner.valid.eq(outer.valid),
                             outer.ready.eq(inner.ready)]
            else:
                m.d.comb += [outer.payload.eq(inner.payload), outer.valid.eq(inner.valid)]
                if not member.signature.always_ready:
                    m.d.comb += inner.ready.eq(outer.ready)
        return m


class Axi(wiring.Component):
    """An :class:`AxiTop` with streams as ports."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, network: Network) -> None:
        self.top = AxiTop(network=network, fill=1)
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"data": 8 * self.top.pixel, "last": 1}))),
            "o": Out(stream.Signature(data.StructLayout({"data": 8, "last": 1})))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        top = self.top
        place(m, platform, "axi", top)
        m.d.comb += [
            top.s_axis_tdata.eq(self.i.payload.data), top.s_axis_tlast.eq(self.i.payload.last),
            top.s_axis_tvalid.eq(self.i.valid), self.i.ready.eq(top.s_axis_tready),
            self.o.payload.data.eq(top.m_axis_tdata), self.o.payload.last.eq(top.m_axis_tlast),
            self.o.valid.eq(top.m_axis_tvalid), top.m_axis_tready.eq(self.o.ready),
        ]
        return m
