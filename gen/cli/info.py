"""`headrace info`: what a network is."""
from argparse import ArgumentParser, Namespace

from headrace.gen.cli import report
from headrace.gen.cli.arguments import add_json, add_model, imported
from headrace.gen.cli.command import Command, show
from headrace.gen.ir.info import info


def _arguments(parser: ArgumentParser) -> None:
    add_model(parser)
    add_json(parser)


def _run(options: Namespace) -> int:
    network = info(imported(options))
    show(options, network.to_json(), lambda: report.info_table(network))
    return 0


COMMAND = Command("info", "Show layers, shapes, weights, multiplications, quantisation.", _arguments, _run)
