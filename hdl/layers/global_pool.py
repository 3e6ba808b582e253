# amaranth: UnusedElaboratable=no
"""Global average pooling."""
from amaranth import Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.arithmetic.requantisation import Requantisation
from headrace.hdl.base.hierarchy import Layer, place
from headrace.hdl.base.rows import RowFormat, counter
from headrace.hdl.lanes.sums import total as total_of
from headrace.hdl.requantise.scale import Requantise
from headrace.hdl.storage.ring import Ring


class GlobalPool(Layer):
    """``sum[c] = sum of x[c] over the whole image``, then :class:`Requantise`; one lane comes out.

    Each row of a channel is summed across its columns first, so that one ring of C sums is all that is kept.
    Takes a beat per cycle, except that the last row waits for the requantiser.

    Parameters
    ----------
    i, o : :class:`RowFormat`
    sum : :class:`Shape`
        Shape that holds every finished sum; unfinished ones may wrap.
    scaling : :class:`Requantisation`
    requantise_steps : :class:`int`
        Cycles the requantiser may take per output.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, o: RowFormat, sum: Shape, scaling: Requantisation,
                 requantise_steps: int) -> None:
        self.formats = i, o
        self.sum, self.scaling = sum, scaling
        self.requantise = Requantise(sum=sum, count=1, o=o, scaling=scaling,
                                     steps=requantise_steps)
        super().__init__({"i": In(i.signature), "o": Out(o.signature)})

    def model(self, x: Image) -> Image:
        """Compute a C x 1 x 1 image from a C x H x W one, bit for bit."""
        return self.scaling.model(x.sum(axis=(1, 2), keepdims=True))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, _ = self.formats
        place(m, platform, "requantise", self.requantise)
        wiring.connect(m, self.requantise.o, wiring.flipped(self.o))
        held = Ring(word=data.ArrayLayout(self.sum, 1), columns=1, depth=i.channels)
        place(m, platform, "held", held)

        across = Signal(self.sum, reset_less=True)
        present, take = Signal(), Signal()
        m.d.comb += self.i.ready.eq(~present | take)
        fold, _, fold_last = counter(m, i.fold, self.i.valid & self.i.ready, name="fold")
        earlier = Mux(fold == 0, 0, across) if i.fold > 1 else 0
        with m.If(self.i.ready if i.fold == 1 else self.i.ready & self.i.valid):
            m.d.sync += across.eq(earlier + total_of(m, [*self.i.payload], name="columns"))
        with m.If(self.i.ready):
            m.d.sync += present.eq(self.i.valid & fold_last)

        _, _, channel_last = counter(m, i.channels, take, name="channel")
        row, _, last = counter(m, i.height, take & channel_last, name="row")
        total = Signal(self.sum)
        m.d.comb += [
            total.eq(Mux(row == 0, 0, held.o[0][0]) + across),
            held.i[0][0].eq(total),
            held.shift.eq(take),
            self.requantise.i.valid.eq(present & last),
            self.requantise.i.payload[0][0].eq(total),
            take.eq(present & (~last | self.requantise.i.ready)),
        ]
        return m
