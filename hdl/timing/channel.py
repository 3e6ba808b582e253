"""Processes that exchange beats and the cycles in which they move."""
from collections import deque
from collections.abc import Generator, Iterable
from heapq import heappop, heappush
from typing import TypeAlias

Process: TypeAlias = "Generator[Channel | Queue, None, None]"


class Channel:
    """A stream from one process to another.

    The producer calls :py:`offer()` with the first cycle of ``valid``, once its last beat has been taken
    (:py:`offered` is None again); the consumer calls :py:`take()` with the cycle of the transfer. A process
    that has to wait yields the channel.
    """

    __slots__ = ("offered", "taken", "times", "waited", "_scheduler", "_waiting", "_asked")

    def __init__(self, scheduler: "Scheduler") -> None:
        self.offered: int | None = None
        self.taken = -1  # cycle of the last transfer
        self.times: list[int] = []  # of all transfers
        self.waited = 0  # cycles in all that beats were offered and not taken
        self._scheduler = scheduler
        self._waiting: Process | None = None
        self._asked: int | None = None

    def offer(self, time: int) -> None:
        self.offered = time
        if self._waiting is not None:
            self._scheduler.wake(self)

    def take(self, time: int) -> None:
        assert self.offered is not None
        self.waited += time - self.offered
        self.offered = None
        self.taken = time
        self.times.append(time)
        if self._waiting is not None:
            self._scheduler.wake(self)

    def ask(self, time: int) -> None:
        """Before a consumer yields: it only wants to know whether a beat is offered by then."""
        self._asked = time
        self._scheduler.ask(time, self)


class Queue:
    """Times that one process tells another; they wait as long as need be."""

    __slots__ = ("times", "_scheduler", "_waiting")

    def __init__(self, scheduler: "Scheduler", times: Iterable[int] = ()) -> None:
        self.times = deque(times)
        self._scheduler = scheduler
        self._waiting: Process | None = None

    def tell(self, time: int) -> None:
        self.times.append(time)
        if self._waiting is not None:
            self._scheduler.wake(self)


class Scheduler:
    """Runs processes until none can go on.

    The order in which they run does not matter, as they tell each other cycles, with one exception: a
    question whether a beat is there by a cycle. It is answered when the beat is offered, or else when
    everything waits: then nothing can happen any more before the earliest cycle that was asked about.
    """

    def __init__(self) -> None:
        self._runnable: list[Process] = []
        self._questions: list[tuple[int, int, Channel]] = []
        self._serial = 0

    def wake(self, channel: Channel | Queue) -> None:
        assert channel._waiting is not None
        self._runnable.append(channel._waiting)
        channel._waiting = None

    def ask(self, time: int, channel: Channel) -> None:
        self._serial += 1
        heappush(self._questions, (time, self._serial, channel))

    def run(self, processes: Iterable[Process]) -> None:
        runnable = self._runnable
        runnable += processes
        while runnable:
            while runnable:
                process = runnable.pop()
                channel = next(process, None)
                if channel is not None:
                    channel._waiting = process
            while self._questions and not runnable:
                time, _, asked = heappop(self._questions)
                if asked._waiting is not None and asked._asked == time:
                    self.wake(asked)
