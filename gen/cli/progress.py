"""Bars on a terminal's standard error while something runs."""
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def of_things(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many are done while the body runs; yields what to call with done, total."""
    with _bar(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def of_a_simulation(text: str) -> Iterator[Callable[[int, int, int], None]]:
    """The same of a simulation, with cycles per second; it is made before the first call comes."""
    speed = TextColumn("{task.fields[speed]}")
    with _bar(speed, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()) as bar:
        task = bar.add_task(f"preparing: {text}", total=None, speed="")
        start: tuple[float, int] | None = None

        def update(done: int, total: int, cycle: int) -> None:
            nonlocal start
            now = time.monotonic()
            start = start or (now, cycle)
            speed = (cycle - start[1]) / max(now - start[0], 1e-3)
            bar.update(task, description=text, completed=done, total=total,
                       speed=f"cycle {cycle:,}, {speed:,.0f} per second")

        yield update


def _bar(*columns: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    return Progress(TextColumn("{task.description}"), BarColumn(), *columns, console=console,
                    transient=True, disable=not console.is_terminal)
