"""The sequencer of a layer that passes a window by, as a process: see :mod:`headrace.gen.cycles.layers`."""
from collections.abc import Sequence

from headrace.gen.cycles.channel import Channel, Process, Scheduler
from headrace.gen.cycles.parts import Pipeline, collect, first_step, register, requantise
from headrace.hdl.arithmetic.geometry import merges, passing_groups
from headrace.hdl.layers.passing import collected
from headrace.hdl.layers.window import Depthwise, MaxPool


def window(layer: Depthwise | MaxPool, inputs: Sequence[Channel], o: Channel,
           scheduler: Scheduler) -> list[Process]:
    (i,) = inputs
    x, y = layer.formats
    done, processes = Channel(scheduler), []
    if x.in_parts:
        groups = passing_groups(layer.window, x.height, x.group)
        takes, words = collected(groups, x)
        whole = Channel(scheduler)
        processes.append(collect(i, whole, x, takes, words))
        i = whole
    if isinstance(layer, MaxPool):
        return [*processes, _pass_window(layer, i, done, 0), register(done, o, y)]
    return [*processes, _pass_window(layer, i, done, first_step(layer.rom_depth)),
            *requantise(layer.requantise, done, o, scheduler)]


def _pass_window(layer: Depthwise | MaxPool, i: Channel, done: Channel, time: int) -> Process:
    """Mirror :py:`headrace.hdl.layers.passing.pass_window()` from the cycle of the first possible step"""
    x, y = layer.formats
    groups = passing_groups(layer.window, x.height, x.group)
    joins, last = merges(groups), len(groups) - 1
    selects, copies = layer.selects, y.channels // x.channels * y.fold
    number, ahead = 0, 0
    pipeline = Pipeline(done) if y.pipelined and isinstance(layer, Depthwise) else None
    while True:
        group, joined = groups[number], 0
        for channel in range(x.channels):
            waits = any(group.arrives) and channel >= ahead
            may_join = joins and number == last and joined == channel
            if waits:
                while i.offered is None:
                    yield i
                time = max(time, i.offered)
            elif may_join and layer.patience:
                if i.offered is None:
                    i.ask(time + layer.patience)
                    yield i
                waited = time + layer.patience
                time = waited if i.offered is None else min(waited, max(time, i.offered))
            if pipeline is not None:
                for _ in range(copies if group.emits else 1):
                    time = 1 + (yield from pipeline.steps(time, selects if group.emits else 1,
                                                          finish=group.emits))
            elif group.emits:
                for _ in range(copies):
                    done.offer(time + selects - 1)
                    while done.offered is not None:
                        yield done
                    time = done.taken + 1
            else:
                time += 1
            if waits:
                i.take(time - 1)
            elif may_join:
                if i.offered is None:
                    i.ask(time - 1)
                    yield i
                if i.offered is not None and i.offered < time:
                    i.take(time - 1)
                    joined += 1
            if pipeline is not None:
                yield from pipeline.settle()
        if number < last:
            number, ahead = number + 1, 0
        else:
            number, ahead = (1, 0) if joined == x.channels else (0, joined)
