"""`headrace bitstream`: a network on a board."""
import shlex
from argparse import ArgumentParser, Namespace

from headrace.boards.boards import BOARDS
from headrace.boards.boards import find as board_named
from headrace.gen.cli import report
from headrace.gen.cli.arguments import (
    add_baud,
    add_json,
    add_means,
    add_model,
    add_output,
    imported,
    means,
    positive,
    positive_real,
)
from headrace.gen.cli.command import Command, show
from headrace.gen.cli.progress import of_things
from headrace.gen.request import Request


def _arguments(parser: ArgumentParser) -> None:
    add_model(parser)
    add_json(parser)
    parser.add_argument("--board", type=board_named, required=True, metavar="NAME",
                        help=", ".join(board.name for board in BOARDS))
    add_output(parser, "DIR")
    speed = parser.add_mutually_exclusive_group()
    speed.add_argument("--cycles", type=positive, metavar="N",
                       help="cycles between frames at most (default: as for `plan`)")
    speed.add_argument("--fit", action="store_true",
                       help="the fastest plan that the board's FPGA holds, by estimate")
    add_means(parser, pipeline=True)
    parser.add_argument("--clock", type=positive_real, metavar="MHZ",
                        help="of the design, by a PLL (ECP5 only; default: that of the board's oscillator)")
    add_baud(parser, "rate of the serial port")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of nextpnr (default: %(default)s)")
    parser.add_argument("--nextpnr-args", type=shlex.split, default=[], metavar="ARGS",
                        help="further arguments of nextpnr, as one: --nextpnr-args='--router router2'")


def _run(options: Namespace) -> int:
    from headrace.boards.bitstream import Settings, bitstream
    graph, board = imported(options), options.board
    planned = Request(cycles=options.cycles, device=board.room if options.fit else None,
                      target=board.device.target, means=means(options),
                      latency=options.latency_weight).plan(graph)
    settings = Settings(clock=options.clock, baud=options.baud, seed=options.seed,
                        nextpnr=tuple(options.nextpnr_args))
    with of_things(f"making a bitstream for {board.title}") as progress:
        made = bitstream(graph, planned, board, options.output, settings=settings, progress=progress)
    show(options, made.to_json(), lambda: report.bitstream_table(made))
    return 0


COMMAND = Command("bitstream", "Make a bitstream for a board: the network behind a serial port.",
                  _arguments, _run)
