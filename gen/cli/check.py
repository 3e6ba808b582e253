"""`headrace check`: the integer reference beside ONNX Runtime."""
from argparse import ArgumentParser, Namespace

from headrace.gen.cli import report
from headrace.gen.cli.arguments import add_inputs, add_json, add_model, imported, inputs
from headrace.gen.cli.command import Command, show


def _arguments(parser: ArgumentParser) -> None:
    add_model(parser)
    add_json(parser)
    add_inputs(parser)


def _run(options: Namespace) -> int:
    from headrace.sim import oracle
    graph = imported(options)
    x = inputs(options, graph)
    found = oracle.judge(graph, options.model, x, cut=options.cut)
    mismatches = sum(found.mismatches.values())
    content = {"frames": len(x), "mismatches": mismatches, "tensors": found.mismatches,
               "ties": {name: count for name, count in found.ties.items() if count}}
    show(options, content, lambda: report.check_table(graph, found, len(x)))
    return 1 if mismatches else 0


COMMAND = Command("check", "Compare the integer reference with ONNX Runtime on every tensor.",
                  _arguments, _run)
