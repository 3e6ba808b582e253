"""AXI4-Stream top: pixels in, values out, frames delimited by TLAST."""
from amaranth import Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import counter
from headrace.hdl.edge.adapter import PixelsToRows, RowsToValues
from headrace.hdl.network import Network
from headrace.hdl.storage.rom import pack


class FrameGuard(wiring.Component):
    """Make every frame exactly :py:`beats` long.

    A frame that ends early is completed with :py:`fill`; what a frame has too much is dropped. Either way
    ``error`` is high for one cycle, one frame goes on, and the next one is unharmed. Latency is zero.

    Members
    -------
    i_data, i_valid, i_ready, i_last
        The frames as they come.
    o_data, o_valid, o_ready
        Frames of the right length.
    error : :py:`Out(1)`
    """

    i_data: Signal
    i_valid: Signal
    i_ready: Signal
    i_last: Signal
    o_data: Signal
    o_valid: Signal
    o_ready: Signal
    error: Signal

    class State(enum.Enum):
        PASS = 0
        FILL = 1
        DROP = 2

    def __init__(self, *, width: int, beats: int, fill: int) -> None:
        self.width, self.beats, self.fill = width, beats, fill
        super().__init__({
            "i_data": In(width), "i_valid": In(1), "i_ready": Out(1), "i_last": In(1),
            "o_data": Out(width), "o_valid": Out(1), "o_ready": In(1),
            "error": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        state = Signal(self.State)
        sent = Signal()
        _, _, last = counter(m, self.beats, sent, name="beat")
        m.d.comb += [sent.eq(self.o_valid & self.o_ready),
                     self.o_data.eq(Mux(state == self.State.FILL, self.fill, self.i_data))]
        with m.Switch(state):
            with m.Case(self.State.PASS):
                m.d.comb += [self.o_valid.eq(self.i_valid), self.i_ready.eq(self.o_ready),
                             self.error.eq(sent & (last ^ self.i_last))]
                with m.If(sent & self.i_last & ~last):
                    m.d.sync += state.eq(self.State.FILL)
                with m.If(sent & last & ~self.i_last):
                    m.d.sync += state.eq(self.State.DROP)
            with m.Case(self.State.FILL):
                m.d.comb += self.o_valid.eq(1)
                with m.If(sent & last):
                    m.d.sync += state.eq(self.State.PASS)
            with m.Case(self.State.DROP):
                m.d.comb += self.i_ready.eq(1)
                with m.If(self.i_valid & self.i_last):
                    m.d.sync += state.eq(self.State.PASS)
        return m


def channels_together(channels: int) -> int:
    """Return how many channels of an image of so many come in one beat."""
    return channels if channels <= 4 else 1


class AxiTop(wiring.Component):
    """A network between two AXI4-Streams.

    An image of up to four channels comes one pixel per beat, all channels side by side, channel 0 in the
    lowest byte. Any other input comes one value per beat, row by row, channel by channel, column by column;
    so does the output. TLAST ends a frame. Every frame that ends gives exactly one frame of output.

    Parameters
    ----------
    network : :class:`Network`
    fill : :class:`int`
        Value that completes a frame that ended early.

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast
        Input, 8 bits per value.
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Output, 8 bits.
    frame_error : :py:`Out(1)`
        High for one cycle for each input frame of the wrong length.
    """

    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal
    frame_error: Signal

    def __init__(self, *, network: Network, fill: int) -> None:
        self.network = network
        i, _ = network.formats
        self.pixel = channels_together(i.channels)
        self.guard = FrameGuard(
            width=8 * self.pixel, beats=i.height * i.width * i.channels // self.pixel,
            fill=pack([fill] * self.pixel, 8))
        super().__init__({
            "s_axis_tdata": In(8 * self.pixel), "s_axis_tvalid": In(1), "s_axis_tready": Out(1),
            "s_axis_tlast": In(1),
            "m_axis_tdata": Out(8), "m_axis_tvalid": Out(1), "m_axis_tready": In(1),
            "m_axis_tlast": Out(1),
            "frame_error": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.network.formats
        guard, rows = self.guard, PixelsToRows(o=i, together=self.pixel)
        values = RowsToValues(i=o)
        place(m, platform, "frame_guard", guard, module="axi__frame_guard")
        place(m, platform, "pixels_to_rows", rows, module="axi__pixels_to_rows")
        place(m, platform, "network", self.network, module="network")
        place(m, platform, "rows_to_values", values, module="axi__rows_to_values")
        m.d.comb += [
            guard.i_data.eq(self.s_axis_tdata), guard.i_valid.eq(self.s_axis_tvalid),
            guard.i_last.eq(self.s_axis_tlast), self.s_axis_tready.eq(guard.i_ready),
            rows.i.payload.as_value().eq(guard.o_data), rows.i.valid.eq(guard.o_valid),
            guard.o_ready.eq(rows.i.ready), self.frame_error.eq(guard.error),
            self.m_axis_tdata.eq(values.o.payload.value), self.m_axis_tlast.eq(values.o.payload.last),
            self.m_axis_tvalid.eq(values.o.valid), values.o.ready.eq(self.m_axis_tready),
        ]
        wiring.connect(m, rows.o, self.network.i)
        wiring.connect(m, self.network.o, values.i)
        return m
