"""What a command of the command line is."""
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.gen.system import streams


@dataclass(frozen=True)
class Command:
    """A command: ``arguments`` adds those that it takes, ``run`` carries it out and returns the exit code."""

    name: str
    text: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


def show(options: Namespace, content: Mapping[str, Any], table: Callable[[], Any]) -> None:
    """Print a result as JSON if that was asked for, and otherwise as a table."""
    streams.say(json.dumps(content) if options.json else table())
