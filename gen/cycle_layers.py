"""The sequencers of the gateware as processes: which beats they take and give, and in which cycle.

Each public function has the control of one component of :mod:`headrace.hdl`, and none of its data. ``i``, ``a``,
``b`` and ``o`` are the streams of its ports.
"""
from collections.abc import Sequence

from headrace.gen.cycle_channel import Channel, Process, Queue, Scheduler
from headrace.hdl.branch import Add
from headrace.hdl.geometry import group_rows, merges, passing_groups
from headrace.hdl.global_pool import GlobalPool
from headrace.hdl.input_stationary import InputStationary
from headrace.hdl.output_stationary import OutputStationary
from headrace.hdl.rows import RowFormat
from headrace.hdl.scale import Requantise
from headrace.hdl.window import Depthwise, MaxPool

FIRST = 1  # cycle of the first step where a ROM has to be read


def source(o: Channel, beats: int) -> Process:
    """Offer beat after beat."""
    for _ in range(beats):
        while o.offered is not None:
            yield o
        o.offer(o.taken + 1)


def sink(i: Channel) -> Process:
    """Take every beat at once."""
    while True:
        while i.offered is None:
            yield i
        i.take(i.offered)


def fork(i: Channel, outputs: Sequence[Channel]) -> Process:
    """:class:`headrace.hdl.branch.Fork`"""
    while True:
        while i.offered is None:
            yield i
        for o in outputs:
            o.offer(i.offered)
        for o in outputs:
            while o.offered is not None:
                yield o
        i.take(max(o.taken for o in outputs))


def output_stationary(layer: OutputStationary, i: Channel, o: Channel, scheduler: Scheduler) -> list[Process]:
    landed, sums = Channel(scheduler), Channel(scheduler)
    return [_landing(layer, i, landed), _sweeps(layer, landed, sums), _requantise(layer.requantise, sums, o)]


def _landing(layer: OutputStationary, i: Channel, landed: Channel) -> Process:
    format, _ = layer.formats
    _, rows = group_rows(layer.hold, format.height)
    time = 0
    while True:
        for row in rows:
            for _ in range(format.channels):
                while i.offered is None:
                    yield i
                time = max(time, i.offered)
                i.take(time)
                time += 1
            if row.completes:
                landed.offer(time)
                while landed.offered is not None:
                    yield landed
                time = landed.taken + 1


def _sweeps(layer: OutputStationary, landed: Channel, sums: Channel) -> Process:
    i, o = layer.formats
    groups, _ = group_rows(layer.hold, i.height)
    span = layer.words * layer.selects
    time = FIRST
    while True:
        for group in groups:
            if group.lands:
                while landed.offered is None:
                    yield landed
                time = max(time, landed.offered)
            if not group.emits:
                time += layer.words if group.enters else 1
                if group.lands:
                    landed.take(time - 1)
                continue
            for sweep in range(layer.sweeps * (sum(group.inside) if o.group > 1 else 1)):
                sums.offer(time + span - 1)
                while sums.offered is not None:
                    yield sums
                time = sums.taken + 1
                if sweep == 0 and group.lands:
                    landed.take(time - 1)


def input_stationary(layer: InputStationary, i: Channel, o: Channel, scheduler: Scheduler) -> list[Process]:
    sums = Channel(scheduler)
    processes = [_requantise(layer.requantise, sums, o)]
    if layer.drains:
        finished = Channel(scheduler)
        processes.append(_drain(finished, sums, layer.turns))
        sums = finished
    if layer.p_in > 1:
        collected = Channel(scheduler)
        processes.append(_collect(i, collected, layer.p_in))
        i = collected
    return [*processes, _sums(layer, i, sums)]


def _collect(i: Channel, o: Channel, count: int) -> Process:
    time = 0
    while True:
        for index in range(count):
            while i.offered is None:
                yield i
            time = max(time, i.offered)
            if index == count - 1:
                while o.offered is not None:
                    yield o
                time = max(time, o.taken)
            i.take(time)
            time += 1
        o.offer(time)


def _sums(layer: InputStationary, i: Channel, sums: Channel) -> Process:
    time = FIRST
    while True:
        for group in range(layer.groups):
            while i.offered is None:
                yield i
            time = max(time, i.offered)
            if group < layer.groups - 1:
                time += layer.turns
            else:
                for _ in range(layer.turns):
                    sums.offer(time)
                    while sums.offered is not None:
                        yield sums
                    time = sums.taken + 1
            i.take(time - 1)


def _drain(i: Channel, o: Channel, depth: int) -> Process:
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


def window(layer: Depthwise | MaxPool, i: Channel, o: Channel, scheduler: Scheduler) -> list[Process]:
    done = Channel(scheduler)
    if isinstance(layer, MaxPool):
        return [_pass_window(layer, i, done, 0), _register(done, o)]
    return [_pass_window(layer, i, done, FIRST), _requantise(layer.requantise, done, o)]


def _pass_window(layer: Depthwise | MaxPool, i: Channel, done: Channel, first: int) -> Process:
    """Mirror :py:`headrace.hdl.window.pass_window()`"""
    x, y = layer.formats
    groups = passing_groups(layer.window, x.height, x.group)
    joins, last = merges(groups), len(groups) - 1
    selects, copies = layer.window.taps // layer.p_in, y.channels // x.channels
    time, number, ahead = 0, 0, 0
    while True:
        group = groups[number]
        joined = 0
        for channel in range(x.channels):
            for arrives in group.arrives[:-1]:
                if arrives:
                    while i.offered is None:
                        yield i
                    time = max(time, i.offered)
                    i.take(time)
                time += 1
            waits = group.arrives[-1] and channel >= ahead
            time = max(time, first)
            if waits:
                while i.offered is None:
                    yield i
                time = max(time, i.offered)
            for _ in range(copies if group.emits else 0):
                done.offer(time + selects - 1)
                while done.offered is not None:
                    yield done
                time = done.taken + 1
            if not group.emits:
                time += 1
            if waits:
                i.take(time - 1)
            elif joins and number == last and joined == channel:
                if i.offered is None:
                    i.ask(time - 1)
                    yield i
                if i.offered is not None and i.offered < time:
                    i.take(time - 1)
                    joined += 1
        if number < last:
            number, ahead = number + 1, 0
        else:
            number, ahead = (1, 0) if joined == x.channels else (0, joined)


def _register(i: Channel, o: Channel) -> Process:
    while True:
        while i.offered is None:
            yield i
        while o.offered is not None:
            yield o
        i.take(max(i.offered, o.taken))
        o.offer(i.taken + 1)


def global_pool(layer: GlobalPool, i: Channel, o: Channel, scheduler: Scheduler) -> list[Process]:
    sums = Channel(scheduler)
    return [_across(layer, i, sums), _requantise(layer.requantise, sums, o)]


def _across(layer: GlobalPool, i: Channel, sums: Channel) -> Process:
    format, _ = layer.formats
    time = 0
    while True:
        for row in range(format.height):
            for _ in range(format.channels):
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


def add(layer: Add, a: Channel, b: Channel, o: Channel, scheduler: Scheduler) -> list[Process]:
    processes, operands = [], []
    for operand, rows, format in zip((a, b), layer.rows, layer.formats, strict=True):
        if rows:
            full, free, held = Queue(scheduler), Queue(scheduler, [0] * rows), Channel(scheduler)
            processes += [_enter(operand, full, free, format), _leave(held, full, free, format)]
            operand = held
        operands.append(operand)
    return [*processes, _add(operands, o, layer.scale.digits.steps)]


def _enter(i: Channel, full: Queue, free: Queue, format: RowFormat) -> Process:
    time = 0
    while True:
        while not free.times:
            yield free
        time = max(time, free.times.popleft())
        for _ in range(format.channels):
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
        for _ in range(format.channels):
            o.offer(time)
            while o.offered is not None:
                yield o
            time = o.taken + 1
        free.tell(time)


def _add(operands: Sequence[Channel], o: Channel, steps: int) -> Process:
    time = FIRST
    while True:
        for operand in operands:
            while operand.offered is None:
                yield operand
            time = max(time, operand.offered)
        while o.offered is not None:
            yield o
        time = max(time + steps - 1, o.taken)
        for operand in operands:
            operand.take(time)
        time += 1
        o.offer(time)


def _requantise(layer: Requantise, i: Channel, o: Channel) -> Process:
    count, steps = layer.serialise.count, layer.scale.digits.steps
    done = 0  # cycle in which the last sum was taken to be scaled
    while True:
        while i.offered is None:
            yield i
        time = max(i.offered, done)
        i.take(time)
        for _ in range(count):
            while o.offered is not None:
                yield o
            time = done = max(time + steps, o.taken)
            o.offer(done + 1)
