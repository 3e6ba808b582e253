"""The command line."""
import contextlib
import io
import logging
import signal
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib.metadata import version

from headrace.gen.cli import (
    bitstream,
    build,
    check,
    info,
    model,
    plan,
    proof,
    quantize,
    run,
    sim,
    synth,
)
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.system import processes, streams

COMMANDS = tuple(module.COMMAND for module in (
    plan, info, proof, build, check, sim, run, quantize, model, synth, bitstream))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0, or 1 after one line on standard error.

    SIGINT, SIGTERM and SIGHUP end it without a trace, by 128 and the number of the signal.
    """
    log = logging.getLogger("headrace")
    log.addHandler(notices := _Notices())
    try:
        streams.prepare()
        with processes.interruptible():
            return _carry_out(arguments)
    except HeadraceError as error:
        streams.complain(str(error))
    except OSError as error:  # of a place that nobody foresaw
        streams.complain(f"{error.filename or 'cannot go on'}: {error.strerror or error}")
    except processes.Interrupted as error:
        streams.complain(f"ended by {signal.Signals(error.number).name}")
        return 128 + error.number
    finally:
        log.removeHandler(notices)
    return 1


def parser() -> ArgumentParser:
    """Return the parser of the command line, whose result's `run` carries a command out."""
    made = ArgumentParser(
        prog="headrace", description="Verilog for quantised ONNX image networks: streaming, weights in ROM.")
    made.add_argument("--version", action="version", version=f"headrace {version('headrace')}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        added = commands.add_parser(command.name, help=command.text, description=command.text)
        command.arguments(added)
        added.set_defaults(run=command.run)
    return made


def _carry_out(arguments: Sequence[str] | None) -> int:
    said = io.StringIO()  # argparse does not look whether it can be written
    try:
        with contextlib.redirect_stdout(said):
            options = parser().parse_args(arguments)
    except SystemExit:  # of --help, for example
        if text := said.getvalue().rstrip("\n"):
            streams.say(text)
        raise
    code: int = options.run(options)
    return code


class _Notices(logging.Handler):
    """Warnings of the library as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        streams.complain(record.getMessage())
