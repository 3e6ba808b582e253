"""`headrace build`: a network's Verilog."""
from argparse import ArgumentParser, Namespace

from headrace.gen.cli import report
from headrace.gen.cli.arguments import add_model, add_output, add_plan, imported, rate_lines, request
from headrace.gen.cli.command import Command
from headrace.gen.netlist.build import build
from headrace.gen.system import streams


def _arguments(parser: ArgumentParser) -> None:
    add_model(parser)
    add_output(parser, "DIR")
    add_plan(parser)


def _run(options: Namespace) -> int:
    asked, graph = request(options), imported(options)
    planned = asked.plan(graph)
    files, proof = build(graph, planned, options.output)
    streams.say("\n".join([f"{options.output}: {len(files)} Verilog files, plan.json, proof.json",
                           report.proof_summary(proof), *report.host_line(graph.host),
                           *rate_lines(options, planned)]))
    return 0


COMMAND = Command("build", "Write Verilog, a file list, the plan and the proof.", _arguments, _run)
