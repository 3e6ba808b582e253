"""What the layers' sequencers have in common, as processes: see :mod:`headrace.gen.cycles.layers`."""
from collections import deque
from collections.abc import Generator, Sequence
from itertools import count, cycle
from typing import TypeAlias

from headrace.gen.cycles.channel import Channel, Process, Queue, Scheduler
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.lanes.steps import MAC_STAGES, SCALE_STAGES
from headrace.hdl.layers.branch import Add
from headrace.hdl.layers.collect import slots
from headrace.hdl.layers.concat import Concat
from headrace.hdl.requantise.scale import Requantise

Steps: TypeAlias = "Generator[Channel | Queue, None, int]"
"""A process within one, that returns a cycle."""


class Pipeline:
    """What lanes with stages have finished and not yet given: see :class:`headrace.hdl.lanes.steps.Steps`.

    What waits stops the pipeline, so all that comes later in it comes as much later.
    """

    def __init__(self, finished: Channel, stages: int = MAC_STAGES) -> None:
        self._finished, self._stages = finished, stages
        self._due: deque[int] = deque()  # when what is finished is there; the first is offered
        self._rests: deque[tuple[int, int]] = deque()  # from when to when all stands still

    def steps(self, time: int, count: int, *, finish: bool) -> Steps:
        """Return the cycle of the last of some steps, none of which waits for more than the pipeline."""
        last = time + count - 1
        while self._rests or self._due:
            if (self._rests[0][0] if self._rests else self._due[0]) > last:
                break
            begin, end = self._rests.popleft() if self._rests else (yield from self._leave())
            if time >= begin:
                late = max(0, end - time)
                time += late
            else:
                late = end - begin
            last += late
        if finish:
            self._due.append(last + self._stages + sum(end - begin for begin, end in self._rests))
            if len(self._due) == 1:
                self._finished.offer(self._due[0])
        return last

    def settle(self) -> Process:
        """Offer what is finished, but for the last: no step will change when that leaves."""
        while len(self._due) > 1:
            self._rests.append((yield from self._leave()))

    def _leave(self) -> Generator[Channel | Queue, None, tuple[int, int]]:
        due = self._due.popleft()
        while self._finished.offered is not None:
            yield self._finished
        late = self._finished.taken - due
        self._due = deque(each + late for each in self._due)
        if self._due:
            self._finished.offer(self._due[0])
        return due, due + late


def first_step(words: int) -> int:
    """Return the cycle of the first step where a ROM of so many words has to be read; one is a constant."""
    return 0 if words == 1 else 1


def source(o: Channel, beats: int | None) -> Process:
    """Offer so many beats, each at once; None is no end of them."""
    for _ in count() if beats is None else range(beats):
        while o.offered is not None:
            yield o
        o.offer(o.taken + 1)


def sink(i: Channel, beats: int) -> Process:
    """Take so many beats, each at once."""
    for _ in range(beats):
        while i.offered is None:
            yield i
        i.take(i.offered)


def fork(i: Channel, outputs: Sequence[Channel]) -> Process:
    """:class:`headrace.hdl.layers.branch.Fork`"""
    while True:
        while i.offered is None:
            yield i
        for o in outputs:
            o.offer(i.offered)
        for o in outputs:
            while o.offered is not None:
                yield o
        i.take(max(o.taken for o in outputs))


def collect(i: Channel, o: Channel, format: RowFormat, takes: Sequence[Sequence[bool]],
            words: int) -> Process:
    """Mirror :class:`headrace.hdl.layers.collect.Collect`"""
    takes, room, time = slots(takes, format.fold), int(format.pipelined), 0
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
                        time = max(time, o.taken + room)
                    if takes_beat:
                        i.take(time)
                    time += 1
                o.offer(time)


def drain(i: Channel, o: Channel, depth: int) -> Process:
    time = 0
    while True:
        for _ in range(depth):
            while i.offered is None:
                yield i
            time = max(time, i.offered)
            i.take(time)
            time += 1
        for _ in range(depth):
            o.offer(time)
            while o.offered is not None:
                yield o
            time = o.taken + 1


def register(i: Channel, o: Channel, format: RowFormat) -> Process:
    room = int(format.pipelined)
    while True:
        while i.offered is None:
            yield i
        while o.offered is not None:
            yield o
        i.take(max(i.offered, o.taken + room))
        o.offer(i.taken + 1)


def requantise(layer: Requantise, i: Channel, o: Channel, scheduler: Scheduler) -> list[Process]:
    if not layer.scale.format.pipelined:
        return [_requantise(layer, i, o)]
    scaled = Channel(scheduler)
    return [_requantise_in_stages(layer, i, scaled), register(scaled, o, layer.scale.format)]


def _requantise_in_stages(layer: Requantise, i: Channel, scaled: Channel) -> Process:
    words, steps = cycle(layer.serialise.counts), layer.scale.digits.steps
    pipeline, time, room = Pipeline(scaled, SCALE_STAGES), 0, 0
    while True:
        while i.offered is None:
            yield i
        i.take(max(i.offered, room))
        time = max(time, i.taken + 1)
        for _ in range(next(words)):
            time = 1 + (yield from pipeline.steps(time, 1, finish=steps == 1))
            room = time
            if steps > 1:
                time = 1 + (yield from pipeline.steps(time, steps - 1, finish=True))
            yield from pipeline.settle()


def _requantise(layer: Requantise, i: Channel, o: Channel) -> Process:
    words, steps = cycle(layer.serialise.counts), layer.scale.digits.steps
    done = 0  # cycle in which the last sum was taken to be scaled
    while True:
        while i.offered is None:
            yield i
        time = max(i.offered, done)
        i.take(time)
        for _ in range(next(words)):
            while o.offered is not None:
                yield o
            time = done = max(time + steps, o.taken)
            o.offer(done + 1)


def held_rows(layer: Add | Concat, inputs: Sequence[Channel],
              scheduler: Scheduler) -> tuple[list[Channel], list[Process]]:
    """Mirror :py:`headrace.hdl.layers.branch.held_rows()`"""
    operands, processes = [], []
    for operand, rows, format in zip(inputs, layer.rows, layer.formats, strict=True):
        if rows:
            full, free, held = Queue(scheduler), Queue(scheduler, [0] * rows), Channel(scheduler)
            processes += [_enter(operand, full, free, format), _leave(held, full, free, format)]
            operand = held
        operands.append(operand)
    return operands, processes


def _enter(i: Channel, full: Queue, free: Queue, format: RowFormat) -> Process:
    time = 0
    while True:
        while not free.times:
            yield free
        time = max(time, free.times.popleft())
        for _ in range(format.row_beats):
            while i.offered is None:
                yield i
            time = max(time, i.offered)
            i.take(time)
            time += 1
        full.tell(time)


def _leave(o: Channel, full: Queue, free: Queue, format: RowFormat) -> Process:
    time = 0
    while True:
        while not full.times:
            yield full
        time = max(time, full.times.popleft())
        for _ in range(format.row_beats):
            o.offer(time)
            while o.offered is not None:
                yield o
            time = o.taken + 1
        free.tell(time)
