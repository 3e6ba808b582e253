"""The sequencers of the gateware as processes: which beats they move in which cycle.

Each public function has the control of one component of :mod:`headrace.hdl` and no data.
"""
from collections.abc import Sequence

from headrace.gen.cycles.channel import Channel, Process, Queue, Scheduler
from headrace.gen.cycles.parts import Pipeline, collect, drain, first_step, held_rows, register, requantise
from headrace.hdl.arithmetic.geometry import held_groups
from headrace.hdl.lanes.steps import SCALE_STAGES
from headrace.hdl.layers.branch import Add
from headrace.hdl.layers.concat import Concat
from headrace.hdl.layers.global_pool import GlobalPool
from headrace.hdl.layers.input_stationary import InputStationary
from headrace.hdl.layers.lookup import Lookup
from headrace.hdl.layers.output_stationary import OutputStationary
from headrace.hdl.layers.upsample import Upsample


def output_stationary(layer: OutputStationary, inputs: Sequence[Channel], o: Channel,
                      scheduler: Scheduler) -> list[Process]:
    (i,) = inputs
    kept = min(layer.hold.kernel[0], layer.hold.stride[0])
    landed = [[Queue(scheduler) for _ in range(kept)] for _ in range(layer.banks)]
    free = [[Queue(scheduler, [0]) for _ in range(kept)] for _ in range(layer.banks)]
    sums = Channel(scheduler)
    return [_landing(layer, i, landed, free), _sweeps(layer, landed, free, sums),
            *requantise(layer.requantise, sums, o, scheduler)]


def _landing(layer: OutputStationary, i: Channel, landed: Sequence[Sequence[Queue]],
             free: Sequence[Sequence[Queue]]) -> Process:
    format, _ = layer.formats
    _, rows = held_groups(layer.hold, format.height)
    time, bank = 0, 0
    while True:
        for row in rows:
            if row.slot is not None:
                room = free[bank][row.slot]
                while not room.times:
                    yield room
                time = max(time, room.times.popleft())
            for _ in range(format.row_beats):
                while i.offered is None:
                    yield i
                time = max(time, i.offered)
                i.take(time)
                time += 1
            if row.slot is not None:
                landed[bank][row.slot].tell(time)
            if row.completes:
                bank = (bank + 1) % layer.banks


def _sweeps(layer: OutputStationary, landed: Sequence[Sequence[Queue]], free: Sequence[Sequence[Queue]],
            sums: Channel) -> Process:
    i, o = layer.formats
    groups, _ = held_groups(layer.hold, i.height)
    span = layer.words * layer.selects
    time, bank = first_step(layer.sweeps * span), 0
    pipeline = Pipeline(sums) if o.pipelined else None
    while True:
        for group in groups:
            slots = [slot for slot, lands in enumerate(group.lands) if lands]
            for slot in slots:
                while not landed[bank][slot].times:
                    yield landed[bank][slot]
                time = max(time, landed[bank][slot].times.popleft())
            if not group.emits:
                if pipeline is not None:
                    time = 1 + (yield from pipeline.steps(time, layer.words, finish=False))
                else:
                    time += layer.words
                for slot in slots:
                    free[bank][slot].tell(time)
            else:
                for sweep in range(layer.sweeps * o.fold * (sum(group.inside) if o.group > 1 else 1)):
                    if pipeline is not None:
                        time = 1 + (yield from pipeline.steps(time, span, finish=True))
                    else:
                        sums.offer(time + span - 1)
                        while sums.offered is not None:
                            yield sums
                        time = sums.taken + 1
                    if sweep == 0:
                        for slot in slots:
                            free[bank][slot].tell(time)
                    if pipeline is not None:
                        yield from pipeline.settle()
            if slots:
                bank = (bank + 1) % layer.banks


def input_stationary(layer: InputStationary, inputs: Sequence[Channel], o: Channel,
                     scheduler: Scheduler) -> list[Process]:
    (i,) = inputs
    sums = Channel(scheduler)
    processes = requantise(layer.requantise, sums, o, scheduler)
    if layer.drains:
        finished = Channel(scheduler)
        processes.append(drain(finished, sums, layer.depth))
        sums = finished
    if layer.collects:
        collected = Channel(scheduler)
        processes.append(collect(i, collected, layer.formats[0], [[True] * layer.p_in], 1))
        i = collected
    return [*processes, _sums(layer, i, sums)]


def _sums(layer: InputStationary, i: Channel, sums: Channel) -> Process:
    time = first_step(layer.groups * layer.turns)
    pipeline = Pipeline(sums) if layer.formats[1].pipelined else None
    while True:
        for group in range(layer.groups):
            while i.offered is None:
                yield i
            time = max(time, i.offered)
            finish = group == layer.groups - 1
            if pipeline is not None:
                for _ in range(layer.depth):
                    time = 1 + (yield from pipeline.steps(time, 1, finish=finish))
            elif not finish:
                time += layer.depth
            else:
                for _ in range(layer.depth):
                    sums.offer(time)
                    while sums.offered is not None:
                        yield sums
                    time = sums.taken + 1
            i.take(time - 1)
            if pipeline is not None:
                yield from pipeline.settle()


def global_pool(layer: GlobalPool, inputs: Sequence[Channel], o: Channel,
                scheduler: Scheduler) -> list[Process]:
    (i,) = inputs
    sums = Channel(scheduler)
    return [_across(layer, i, sums), *requantise(layer.requantise, sums, o, scheduler)]


def _across(layer: GlobalPool, i: Channel, sums: Channel) -> Process:
    format, _ = layer.formats
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


def add(layer: Add, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
    operands, processes = held_rows(layer, inputs, scheduler)
    steps = layer.scale.digits.steps
    if not layer.scale.format.pipelined:
        return [*processes, _add(operands, o, steps)]
    scaled = Channel(scheduler)
    return [*processes, _add_in_stages(operands, scaled, steps), register(scaled, o, layer.scale.format)]


def concat(layer: Concat, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
    operands, processes = held_rows(layer, inputs, scheduler)
    return [*processes, _concat(layer, operands, o)]


def _concat(layer: Concat, operands: Sequence[Channel], o: Channel) -> Process:
    time = 0
    while True:
        for operand, format in zip(operands, layer.formats, strict=True):
            for _ in range(format.row_beats):
                while operand.offered is None:
                    yield operand
                o.offer(max(time, operand.offered))
                while o.offered is not None:
                    yield o
                operand.take(o.taken)
                time = o.taken + 1


def lookup(layer: Lookup, inputs: Sequence[Channel], o: Channel) -> list[Process]:
    (i,) = inputs
    return [register(i, o, layer.formats[1])]


def upsample(layer: Upsample, inputs: Sequence[Channel], o: Channel) -> list[Process]:
    (i,) = inputs
    return [_repeat(layer, i, o)]


def _repeat(layer: Upsample, i: Channel, o: Channel) -> Process:
    time = 0
    while True:
        for passed in range(layer.factors[0]):
            for _ in range(layer.format.row_beats):
                if passed == 0:
                    while i.offered is None:
                        yield i
                    time = max(time, i.offered)
                o.offer(time)
                while o.offered is not None:
                    yield o
                if passed == 0:
                    i.take(o.taken)
                time = o.taken + 1


def _add_in_stages(operands: Sequence[Channel], scaled: Channel, steps: int) -> Process:
    pipeline, time = Pipeline(scaled, SCALE_STAGES), 0
    while True:
        for operand in operands:
            while operand.offered is None:
                yield operand
            time = max(time, operand.offered)
        time = yield from pipeline.steps(time, 1, finish=steps == 1)
        for operand in operands:
            operand.take(time)
        time += 1
        if steps > 1:
            time = 1 + (yield from pipeline.steps(time, steps - 1, finish=True))
        yield from pipeline.settle()


def _add(operands: Sequence[Channel], o: Channel, steps: int) -> Process:
    time = 0
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
