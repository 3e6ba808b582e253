"""`headrace proof`: what is proved of a network's requantisers."""
from argparse import ArgumentParser, Namespace

from headrace.gen.cli import report
from headrace.gen.cli.arguments import add_json, add_model, imported
from headrace.gen.cli.command import Command, show
from headrace.gen.numerics.proof import prove


def _arguments(parser: ArgumentParser) -> None:
    add_model(parser)
    add_json(parser)


def _run(options: Namespace) -> int:
    proof = prove(imported(options))
    show(options, proof.to_json(), lambda: report.proof_table(proof))
    return 0


COMMAND = Command("proof", "Show what is proved of every layer's requantiser.", _arguments, _run)
