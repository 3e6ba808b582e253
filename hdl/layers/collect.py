"""Several beats made one."""
from collections.abc import Sequence

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part, controlled
from headrace.hdl.arithmetic.geometry import PassingGroup
from headrace.hdl.base.rows import RowFormat, counter, table
from headrace.hdl.timing.channel import Channel, Process


class Collect(wiring.Component):
    """Bring beats together in words, while the last word is in use.

    A beat goes to its place in the word in a cycle; with a fold, those of a row go side by side. A place that
    takes no beats takes as many cycles too, and holds anything. Whether there is room for a word follows from
    its reader in the same cycle: that is the same layer, whose readiness follows from registers if pipelined.

    Parameters
    ----------
    i : :class:`RowFormat`
    takes : sequence of shape [phases][places]
        Which places of a word take a beat. The words of a frame are :py:`words` of the first phase, as many
        of the second, and so on.
    words : :class:`int`

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(stream.Signature(ArrayLayout(ArrayLayout(i.shape, places), i.width)))`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, takes: Sequence[Sequence[bool]], words: int = 1) -> None:
        self.format, self.words = i, words
        self.takes = slots(takes, i.fold)
        layout = data.ArrayLayout(data.ArrayLayout(i.shape, len(takes[0])), i.width)
        super().__init__({"i": In(i.signature), "o": Out(stream.Signature(layout))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        *earlier, _ = range(len(self.takes[0]))
        early = [Signal(self.format.layout, name=f"early{index}", reset_less=True) for index in earlier]
        held = Signal.like(self.o.payload, reset_less=True)
        step, free, takes, phase_ends = Signal(), Signal(), Signal(), Signal()
        phase, _, _ = counter(m, len(self.takes), phase_ends, name="phase")
        place, _, last = counter(m, len(self.takes[0]), step, name="place")
        _, _, word_last = counter(m, self.words, step & last, name="word")
        with m.Switch(place):
            for index in range(len(self.takes[0])):
                with m.Case(index):
                    m.d.comb += takes.eq(table([places[index] for places in self.takes], phase))
        m.d.comb += [
            self.o.payload.eq(held),
            free.eq(~last | ~self.o.valid | self.o.ready),
            self.i.ready.eq(takes & free),
            step.eq((~takes | self.i.valid) & free),
            phase_ends.eq(step & last & word_last),
        ]
        for index, register in enumerate(early):
            with m.If(step & (place == index)):
                m.d.sync += register.eq(self.i.payload)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(step & last):
            m.d.sync += self.o.valid.eq(1)
            for number, source in enumerate([*early, self.i.payload]):
                position, fold = divmod(number, self.format.fold)
                m.d.sync += [held[fold * self.format.lanes + lane][position].eq(source[lane])
                             for lane in range(self.format.lanes)]
        return m


def slots(takes: Sequence[Sequence[bool]], fold: int) -> list[list[bool]]:
    """Return which steps of a word take a beat: as many for each place as a row has beats."""
    return [[takes_beats for takes_beats in places for _ in range(fold)] for places in takes]


def collecting(i: Channel, o: Channel, format: RowFormat, takes: Sequence[Sequence[bool]],
               words: int) -> Process:
    """When beats move through :class:`Collect`."""
    takes, time = slots(takes, format.fold), 0
    while True:
        for phase in takes:
            last = len(phase) - 1
            for _ in range(words):
                for place, takes_beat in enumerate(phase):
                    if takes_beat:
                        while i.offered is None:
                            yield i
                        time = max(time, i.offered)
                    if place == last:
                        while o.offered is not None:
                            yield o
                        time = max(time, o.taken)
                    if takes_beat:
                        i.take(time)
                    time += 1
                o.offer(time)


def collect_part(x: RowFormat, places: int, words: int) -> Part:
    """What :class:`Collect` costs."""
    bits, places = x.lanes * x.shape.width, places * x.fold
    held = bits * (2 * places - 1)
    return controlled("collect", Control("collect", counters=(places, words), state=held + 1, gathers=held,
                                         features={"places": places}))


def collected(groups: Sequence[PassingGroup], x: RowFormat) -> tuple[list[tuple[bool, ...]], int]:
    """Return ``takes`` and ``words`` of what brings together the rows of each group, and their columns."""
    if x.group == 1:
        return [(True,)], 1
    return [group.arrives for group in groups if any(group.arrives)], x.channels
