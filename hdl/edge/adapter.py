"""Between one pixel after another and rows."""
from amaranth import Cat, Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.component import Portable
from headrace.hdl.base.rows import RowFormat, counter


class PixelsToRows(Portable):
    """Collect pixels, column by column, and pass them on as rows while the next row comes in.

    A pixel is :py:`together` channels of one image point. The pixels that come in are a shift register of W
    of them; when it is full it moves at once into a second one, from which the channels leave one by one.

    Parameters
    ----------
    o : :class:`RowFormat`
    together : :class:`int`
        Channels per pixel: all, or 1; then channel after channel comes row by row.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(shape, together)))`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, o: RowFormat, together: int) -> None:
        if together not in (1, o.channels):
            raise ValueError(f"Channels per pixel must be 1 or {o.channels}, not {together!r}")
        self.format, self.together = o, together
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(o.shape, together))),
                          "o": Out(o.signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        channels, width = self.together, self.format.width
        pixel = len(self.i.payload.as_value())
        early = Signal(pixel * max(width - 1, 1), reset_less=True)
        leaving = Signal(data.ArrayLayout(self.i.payload.shape(), width), reset_less=True)
        occupied, sent, accept = Signal(), Signal(), Signal()
        _, _, last = counter(m, width, accept, name="column")
        _, _, channel_last = counter(m, channels, sent, name="channel")
        m.d.comb += [
            self.i.ready.eq(~last | ~occupied | sent & channel_last),
            accept.eq(self.i.valid & self.i.ready),
            self.o.valid.eq(occupied),
            sent.eq(occupied & self.o.ready),
        ]
        m.d.comb += [column.eq(pixels[0]) for column, pixels
                     in zip(self.o.payload, leaving, strict=True)]
        with m.If(sent):
            m.d.sync += [pixels[channel].eq(pixels[channel + 1])
                         for pixels in leaving for channel in range(channels - 1)]
            with m.If(channel_last):
                m.d.sync += occupied.eq(0)
        arrived = Cat(early, self.i.payload) if width > 1 else self.i.payload.as_value()
        with m.If(accept):
            if width > 1:
                m.d.sync += early.eq(arrived[pixel:])
            with m.If(last):
                m.d.sync += [occupied.eq(1), Value.cast(leaving).eq(arrived)]
        return m


class RowsToValues(Portable):
    """Pass on the values of each beat one by one: row by row, channel by channel, column by column.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(stream.Signature(StructLayout({"value": shape, "last": 1})))`
        ``last`` marks the last value of a frame.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat) -> None:
        self.format = i
        super().__init__({"i": In(i.signature), "o": Out(stream.Signature(
            data.StructLayout({"value": i.shape, "last": 1})))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal(self.format.layout, reset_less=True)
        sent = Signal()
        _, _, column_last = counter(m, self.format.lanes, sent, name="column")
        beat_sent = sent & column_last
        _, _, frame_last = counter(m, self.format.beats, beat_sent, name="beat")
        m.d.comb += [
            self.o.payload.value.eq(held[0]),
            self.o.payload.last.eq(column_last & frame_last),
            sent.eq(self.o.valid & self.o.ready),
            self.i.ready.eq(~self.o.valid | beat_sent),
        ]
        with m.If(sent):
            m.d.sync += [held[index].eq(held[index + 1]) for index in range(self.format.lanes - 1)]
            with m.If(column_last):
                m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.o.valid.eq(1), held.eq(self.i.payload)]
        return m
