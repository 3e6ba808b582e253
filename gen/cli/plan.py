"""`headrace plan`: how a network is unrolled, and what that costs."""
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from headrace.gen.cli import report
from headrace.gen.cli.arguments import (
    add_json,
    add_model,
    add_plan,
    imported,
    rate,
    rate_lines,
    request,
    written,
)
from headrace.gen.cli.command import Command, show
from headrace.gen.estimate.estimate import estimate
from headrace.gen.planning.fit import usage
from headrace.gen.planning.table import plan_table


def _arguments(parser: ArgumentParser) -> None:
    add_model(parser)
    add_json(parser)
    add_plan(parser)
    parser.add_argument("--picture", type=written("--picture"), metavar="FILE.svg",
                        help="draw which layer gives which row when, for three frames")


def _run(options: Namespace) -> int:
    asked, graph = request(options), imported(options)
    planned = asked.plan(graph)
    if options.picture:
        from headrace.gen.planning.picture import draw
        draw(graph, planned, options.picture)
    table, costs = plan_table(graph, planned), None
    content = table.to_json() | rate(options, planned)
    if asked.family is not None and asked.family.primitives is not None:
        costs = estimate(graph, planned, target=asked.family)
        content["estimate"] = costs.to_json()
    if costs is not None and asked.device is not None:
        content["device"] = {"name": asked.device.name, "source": asked.device.source,
                             "use": [asdict(use) for use in usage(costs.total, asked.device)]}
    show(options, content, lambda: report.with_estimate(
        report.plan_table(table), costs, asked.device, rate_lines(options, planned)))
    return 0


COMMAND = Command("plan", "Show how each layer is unrolled, how busy it is and what it keeps.",
                  _arguments, _run)
