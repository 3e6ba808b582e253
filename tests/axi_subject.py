"""A network as `headrace build` writes it: driven between two AXI4-Streams, and judged."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from axi_trace import Beat, Judge, Violation, predicted, transfers, waits
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.gen.netlist.build import build
from headrace.sim.beats import Pattern, always
from verilator_bench import Design, Phase

FRAMES = 3
PERIOD = 997


@dataclass(frozen=True)
class Subject:
    """A network as `headrace build` writes it, and what it must do."""

    judge: Judge
    layout: Plan
    sources: list[Path]

    def design(self, folder: Path, sources: Sequence[Path] = (), *, options: Sequence[str] = ()) -> Design:
        return Design(sources or self.sources, serial_bits=8 * self.judge.together, folder=folder,
                      options=options)


def subject(graph: Graph, layout: Plan, folder: Path) -> Subject:
    return Subject(Judge(graph), layout, build(graph, layout, folder)[0])


def closed(beats: list[Beat]) -> list[Beat]:
    """Let a frame end where these beats end, and nowhere else."""
    return [(data, int(index == len(beats) - 1)) for index, (data, _) in enumerate(beats)]


class Drive:
    """What is sent to a design, drawn from a seed."""

    def __init__(self, judge: Judge, number: int) -> None:
        self.judge, self.rng = judge, np.random.default_rng(number)

    def right(self) -> list[Beat]:
        q = self.judge.input.quantisation
        return self.judge.frame(self.rng.integers(q.lo, q.hi + 1, self.judge.input.shape))

    def wrong(self) -> list[Beat]:
        """Frames too short, too long, without TLAST, one after the other or before a right one."""
        length = self.judge.length
        lengths = [1, length - 1, length + 1, 2 * length + length // 2, *self.rng.integers(2, length - 1, 2)]
        frames = [closed((self.right() * 3)[:each]) for each in lengths]
        frames += [[(data, 0) for data, _ in self.right()] + self.right()]
        beats = self.right()
        for index in self.rng.permutation(len(frames)):
            beats += frames[index] + (self.right() if self.rng.random() < 0.6 else [])
        return beats + self.right() + self.right()

    def pattern(self) -> Pattern:
        """Return a random density, or bursts."""
        if self.rng.random() < 0.7:
            return self.rng.random(PERIOD) < self.rng.choice((0.1, 0.4, 0.8))
        return np.repeat(self.rng.random(PERIOD) < 0.5, self.rng.integers(2, 60))

    def phase(self, beats: list[Beat], *, cycles: int = 0, reset: int = 1) -> Phase:
        return Phase(beats=beats, wanted=len(self.judge.answer(beats)[0]), cycles=cycles, reset=reset)

    def cut_short(self, latency: int) -> Iterator[Phase]:
        """Reset in mid-frame, and soon again; then all is well."""
        for _ in range(6):
            yield self.phase(self.wrong(), cycles=int(self.rng.integers(1, 2 * latency)),
                             reset=int(self.rng.integers(1, 4)))
        yield self.phase(self.right() + self.right())


def calm(subject: Subject, design: Design, number: int, *, reset: int = 1,
         arguments: Sequence[str] = ()) -> int:
    """Run right frames at full rate; return the cycles until the first has come out.

    Values move in the very cycles that the cycle model says.
    """
    judge, drive = subject.judge, Drive(subject.judge, number)
    phase = drive.phase([beat for _ in range(FRAMES) for beat in drive.right()], reset=reset)
    trace = design.run([phase], seed=number, arguments=arguments)
    judge.check(trace, [phase])
    network = elaborate.network(judge.graph, subject.layout)
    seen, expected = transfers(trace), predicted(network, FRAMES, together=judge.together)
    if seen != expected:
        raise Violation(f"values in cycles {seen}, not {expected}")
    return seen[phase.wanted // FRAMES - 1] + 1


def hostile(subject: Subject, design: Design, number: int, latency: int, *,
            arguments: Sequence[str] = ()) -> None:
    """Send wrong frames and resets, at full rate, with gaps, with backpressure, with both."""
    judge, drive = subject.judge, Drive(subject.judge, number)
    for valid, ready in ((always, always), (drive.pattern(), always), (always, drive.pattern()),
                         (drive.pattern(), drive.pattern())):
        phases = [drive.phase(drive.wrong()), *drive.cut_short(latency)]
        trace = design.run(phases, valid=valid, ready=ready, seed=number, arguments=arguments)
        judge.check(trace, phases)
        assert valid is always or ready is always or waits(trace)
