"""What the sequencers of layers have in common, as processes."""
from collections import deque
from collections.abc import Generator
from itertools import count
from typing import TypeAlias

from headrace.hdl.timing.channel import Channel, Process, Queue

Steps: TypeAlias = "Generator[Channel | Queue, None, int]"
"""A process within one, that returns a cycle."""


class Pipeline:
    """What lanes with stages have finished and not yet given: see ``Steps`` of the gateware.

    What waits stops the pipeline, so all that comes later in it comes as much later.
    """

    def __init__(self, finished: Channel, stages: int) -> None:
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


def register(i: Channel, o: Channel, *, pipelined: bool) -> Process:
    """An output register: see ``OutputRegister`` of the gateware. Pipelined, it has two places."""
    free = 0  # a place for the next beat
    while True:
        while i.offered is None:
            yield i
        if pipelined:
            i.take(max(i.offered, free))
        while o.offered is not None:
            yield o
        if not pipelined:
            i.take(max(i.offered, o.taken))
        free = o.taken + 1
        o.offer(max(i.taken + 1, free))
