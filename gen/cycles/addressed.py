"""The sequencers of a layer with an address, as processes: see :mod:`headrace.gen.cycles.layers`."""
from collections.abc import Sequence

from headrace.gen.cycles.channel import Channel, Process, Queue, Scheduler
from headrace.gen.cycles.parts import Pipeline, first_step, requantise
from headrace.hdl.lanes.steps import MAC_STAGES
from headrace.hdl.layers.addressed import Addressed


def addressed(layer: Addressed, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
    (i,) = inputs
    landed, free, sums = Queue(scheduler), Queue(scheduler, [0] * layer.places), Channel(scheduler)
    return [_landing(layer, i, landed, free), _outputs(layer, landed, free, sums),
            *requantise(layer.requantise, sums, o, scheduler)]


def _landing(layer: Addressed, i: Channel, landed: Queue, free: Queue) -> Process:
    format, _ = layer.formats
    time = 0
    while True:
        room: int | None = None
        for _ in range(format.row_beats):
            while i.offered is None:
                yield i
            if format.lanes > 1:  # taken at once, then written column by column
                i.take(max(time, i.offered))
                time = i.taken + 1
            if room is None:
                while not free.times:
                    yield free
                room = free.times.popleft()
            if format.lanes > 1:
                time = max(time, room) + format.lanes
            else:
                i.take(max(time, room, i.offered))
                time = i.taken + 1
        landed.tell(time)


def _outputs(layer: Addressed, landed: Queue, free: Queue, sums: Channel) -> Process:
    _, o = layer.formats
    time, held = first_step(layer.rom_depth), 0
    pipeline = Pipeline(sums, 1 + (MAC_STAGES if layer.lane_pipelined else 0))
    while True:
        for needs, frees in zip(layer.needs, layer.frees, strict=True):
            while held < needs:
                while not landed.times:
                    yield landed
                time = max(time, landed.times.popleft())
                held += 1
            for _ in range(o.channels * o.fold):
                time = 1 + (yield from pipeline.steps(time, layer.span, finish=True))
                yield from pipeline.settle()
            held -= frees
            for _ in range(frees):
                free.tell(time)
