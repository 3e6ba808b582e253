"""`headrace run`: images to a network on a board, and its results."""
from argparse import ArgumentParser, Namespace
from pathlib import Path

from headrace.boards.client import ATTEMPTS, Client, open_port, seconds_on_line
from headrace.gen.cli import report
from headrace.gen.cli.arguments import (
    add_baud,
    add_frames,
    add_json,
    add_model,
    imported,
    inputs,
    positive,
    positive_real,
    score,
)
from headrace.gen.cli.command import Command, show
from headrace.gen.cli.progress import of_things


def _arguments(parser: ArgumentParser) -> None:
    add_model(parser)
    add_json(parser)
    parser.add_argument("inputs", type=Path, nargs="+", metavar="IMAGE",
                        help="one .npz (array x) or .npy file, or images")
    parser.add_argument("--port", required=True, metavar="DEV", help="serial port, as /dev/ttyUSB0")
    add_baud(parser, "rate that the board's design was made for")
    parser.add_argument("--timeout", type=positive_real, default=2, metavar="S",
                        help="seconds that the network may take for an image (default: %(default)s)")
    parser.add_argument("--attempts", type=positive, default=ATTEMPTS, metavar="N",
                        help="how often to send an image that is answered with an error or not at all "
                             "(default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="compare the results with the integer reference")
    add_frames(parser)


def _run(options: Namespace) -> int:
    from headrace.sim import reference
    graph = imported(options)
    x = inputs(options, graph)
    image, result = graph.tensors[graph.input], graph.tensors[graph.output]
    timeout = options.timeout + seconds_on_line(image, result, baud=options.baud)
    with (open_port(options.port, baud=options.baud, timeout=timeout) as port,
          of_things(f"running {len(x)} frames") as progress):
        client = Client(port, image=image, result=result, attempts=options.attempts)
        outputs = client.run(x, progress=progress)
    answers = score(options, graph, x, outputs)
    content = {"frames": len(x), "repeated": client.repeated, "results": outputs.tolist()} | answers.to_json()
    if options.check:
        content["mismatches"] = int((outputs != reference.run(graph, x)[graph.output]).sum())
    show(options, content, lambda: report.board_table(outputs, content))
    return 1 if content.get("mismatches") or answers.wrong else 0


COMMAND = Command("run", "Send images to a network on a board and show what it says.", _arguments, _run)
