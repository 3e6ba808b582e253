"""Standard output and error of a command: what they do not take ends it in one line."""
import io
import os
import sys
from typing import Any

from rich.console import Console

from headrace.gen.ir.errors import HeadraceError

_WIDTH = 240  # of a file, where no line is cut


def prepare() -> None:
    """Make standard output and error fit to be written to.

    Characters that their encoding lacks are written as escapes. Descriptors that are closed are opened on
    nothing, so that no file that is opened later takes their numbers, and with them what somebody prints.

    Raises
    ------
    :exc:`HeadraceError`
        If standard output is closed.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:
        raise HeadraceError("cannot write standard output: it is closed")


def say(what: Any) -> None:
    """Write text, or what rich can render, on standard output.

    Raises
    ------
    :exc:`HeadraceError`
        If that cannot be written.
    """
    try:
        if not isinstance(what, str):
            console = Console(width=None if sys.stdout.isatty() else _WIDTH)
            with console.capture() as captured:  # by itself, rich ends the process where a pipe is broken
                console.print(what)
            what = captured.get().removesuffix("\n")
        print(f"{what}\n", end="", flush=True)  # at once, for who goes after the first line
    except OSError as error:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())  # where Python would try again when it ends
        os.close(nothing)
        raise HeadraceError(f"cannot write standard output: {error.strerror}") from error


def complain(text: str) -> None:
    """Write a line on standard error, if that takes one."""
    if sys.stderr is not None:  # for print() that would mean standard output
        try:
            print(f"headrace: {text}", file=sys.stderr, flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
