"""`headrace sim`: the hardware, simulated, beside the integer reference."""
from argparse import ArgumentParser, Namespace

from headrace.gen.cli import report
from headrace.gen.cli.arguments import (
    add_inputs,
    add_json,
    add_model,
    add_plan,
    imported,
    inputs,
    rate,
    rate_lines,
    request,
    score,
)
from headrace.gen.cli.command import Command, show
from headrace.gen.cli.progress import of_a_simulation
from headrace.gen.system import streams


def _arguments(parser: ArgumentParser) -> None:
    add_model(parser)
    add_json(parser)
    add_inputs(parser)
    add_plan(parser)
    parser.add_argument("--engine", choices=("cxxrtl", "amaranth"), default="cxxrtl")


def _run(options: Namespace) -> int:
    from headrace.sim import verify
    asked, graph = request(options), imported(options)
    x = inputs(options, graph)
    planned = asked.plan(graph)
    with of_a_simulation(f"simulating {len(x)} frames") as progress:
        result = verify.run(graph, planned, x, engine=options.engine, progress=progress)
    answers = score(options, graph, x, result.output)
    show(options, result.to_json() | answers.to_json() | rate(options, planned),
         lambda: report.with_lines(report.simulation_table(result, planned, answers),
                                   rate_lines(options, planned)))
    if result.first is not None:
        streams.complain(f"hardware and reference differ first in {result.first}")
    return 1 if sum(result.mismatches.values()) or answers.wrong else 0


COMMAND = Command("sim", "Run the hardware and compare every layer with the integer reference.",
                  _arguments, _run)
