# amaranth: UnusedElaboratable=no
"""Global average pooling."""
from collections.abc import Iterator, Sequence

from amaranth import Module, Mux, Signal
from amaranth.lib import data

from headrace.hdl.area.part import Control, Part, ring_parts
from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import counter
from headrace.hdl.lanes.sums import total as total_of
from headrace.hdl.layers.layer import State
from headrace.hdl.layers.requantised import Requantised
from headrace.hdl.storage.ring import Ring
from headrace.hdl.timing.channel import Channel, Process, Scheduler


class GlobalPool(Requantised):
    """``sum[c] = sum of x[c] over the whole image``, then :class:`Requantise`; one lane comes out.

    Each row of a channel is summed across its columns first, so that one ring of C sums is all that is kept.
    Takes a beat per cycle, except that the last row waits for the requantiser. Parameters as in
    :class:`Requantised`.
    """

    def model(self, *images: Image) -> Image:
        """Compute a C x 1 x 1 image from a C x H x W one, bit for bit."""
        (x,) = images
        return self.scaling.model(x.sum(axis=(1, 2), keepdims=True))

    @property
    def rom(self) -> None:
        return None

    def state(self) -> State:
        held = self.formats[0].channels * self.sum.width * (self.formats[0].height > 1)
        return State(held, 0, held)

    def control(self) -> Control:
        i, width = self.formats[0], self.sum.width
        adders = i.lanes * i.shape.width if i.width > 1 else 0
        return Control("global-pool", (i.channels, i.height, i.fold), state=width + 1,
                       features={"across": adders, "sum": width if i.height > 1 else 0})

    def modules(self, rings: str) -> Iterator[Part]:
        if self.formats[0].height > 1:
            yield from ring_parts("held", self.sum.width, 1, self.formats[0].channels)
        yield from self.requantise.parts("requantise")

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        sums = Channel(scheduler)
        return [self._across(inputs[0], sums), *self.requantise.processes(sums, o, scheduler)]

    def _across(self, i: Channel, sums: Channel) -> Process:
        format, _ = self.formats
        time = 0
        while True:
            for row in range(format.height):
                for _ in range(format.channels):
                    for _ in range(format.fold):
                        while i.offered is None:
                            yield i
                        time = max(time, i.offered)
                        i.take(time)
                        time += 1
                    if row == format.height - 1:
                        sums.offer(time)
                        while sums.offered is not None:
                            yield sums
                        time = sums.taken

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, _ = self.formats
        self.place_requantiser(m, platform)
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
        if i.height > 1:
            held = Ring(word=data.ArrayLayout(self.sum, 1), columns=1, depth=i.channels)
            place(m, platform, "held", held)
            m.d.comb += [total.eq(Mux(row == 0, 0, held.o[0][0]) + across),
                         held.i[0][0].eq(total), held.shift.eq(take)]
        else:
            m.d.comb += total.eq(across)
        m.d.comb += [
            self.requantise.i.valid.eq(present & last),
            self.requantise.i.payload[0][0].eq(total),
            take.eq(present & (~last | self.requantise.i.ready)),
        ]
        return m
