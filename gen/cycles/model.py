"""When every beat of a network moves, without simulating a single value.

Each sequencer of the gateware is a process here that knows the same rules: which beats it takes and gives,
and how many cycles lie between. Tests hold the result against the simulated hardware, beat by beat.
"""
from dataclasses import dataclass

from headrace.hdl.layers.fork import Fork
from headrace.hdl.network import Network
from headrace.hdl.timing.channel import Channel, Process, Scheduler
from headrace.hdl.timing.pipeline import sink, source


@dataclass(frozen=True)
class Timing:
    """Frames back to back, from a source that always has a beat to a sink that always takes one.

    Cycle 0 is the first after reset.

    Attributes
    ----------
    cycles : dict from layer name to the cycles in which the beats of its output stream move
    waits : dict from layer name to the part of the time that its output is there and not taken
    frame_ends : cycle of the last output beat of each frame
    """

    cycles: dict[str, list[int]]
    waits: dict[str, float]
    frame_ends: tuple[int, ...]

    @property
    def first_frame_latency(self) -> int:
        """Cycles from the first input beat to the last output beat of the first frame."""
        return self.frame_ends[0] + 1

    @property
    def cycles_per_frame(self) -> float:
        """Cycles between frames, the mean of the last two times: while the pipeline fills they differ."""
        begin, _, end = self.frame_ends[-3:]
        return (end - begin) / 2


def predict(network: Network, frames: int, *, endless: bool = False) -> Timing:
    """Predict when each beat of a number of frames moves, to the cycle.

    ``endless`` lets more frames follow; the streams then hold part of them.
    """
    scheduler = Scheduler()
    makers, last, processes = build(network, scheduler)
    processes += [
        source(makers[None], None if endless else frames * network.formats[0].beats),
        sink(last, frames * network.formats[1].beats)]
    scheduler.run(processes)
    per_frame = network.formats[1].beats
    assert len(last.times) == frames * per_frame, "the network hangs"
    return Timing({name: makers[name].times for name in network.layers},
                  {name: makers[name].waited / makers[name].taken for name in network.layers},
                  tuple(last.times[per_frame - 1::per_frame]))


def build(network: Network,
          scheduler: Scheduler) -> tuple[dict[str | None, Channel], Channel, list[Process]]:
    """Return the streams by what makes them, None for the network's input, its output, and the processes."""
    makers: dict[str | None, Channel] = {name: Channel(scheduler) for name in (None, *network.layers)}
    processes: list[Process] = []
    ports: dict[tuple[str, str], Channel] = {}
    for maker, places in network.readers().items():
        channel = makers[maker]
        copies = [Channel(scheduler) for _ in places] if len(places) > 1 else [channel]
        if len(places) > 1:
            processes.append(Fork.process(channel, copies))
        ports |= dict(zip(places, copies, strict=True))
    for name, (layer, inputs) in network.layers.items():
        streams = [ports[name, port] for port in inputs]
        processes += layer.processes(streams, makers[name], scheduler)
    return makers, ports["", "o"], processes
