"""`headrace synth`: what each layer takes of an FPGA, by yosys."""
from argparse import ArgumentParser, Namespace

from headrace.gen.cli import report
from headrace.gen.cli.arguments import (
    add_json,
    add_model,
    add_plan,
    imported,
    positive,
    rate,
    rate_lines,
    request,
)
from headrace.gen.cli.command import Command, show
from headrace.gen.cli.progress import of_things
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.netlist.build import netlist
from headrace.gen.netlist.jobs import BACKENDS, Workers
from headrace.gen.netlist.synthesis import synthesise


def _arguments(parser: ArgumentParser) -> None:
    add_model(parser)
    add_json(parser)
    parser.add_argument("--jobs", type=positive, metavar="N",
                        help="processes at a time (default: one per processor, with dask the cluster's)")
    parser.add_argument("--backend", choices=BACKENDS, default="threading",
                        help="of joblib: where layers are synthesised (default: %(default)s)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a dask cluster, as tcp://host:8786")
    add_plan(parser)


def _run(options: Namespace) -> int:
    asked = request(options)
    if asked.family is None:
        raise HeadraceError("synth needs --target or --fit")
    graph = imported(options)
    planned = asked.plan(graph)
    with of_things(f"synthesising for {asked.family}") as progress:
        workers = Workers(options.backend, options.jobs, options.scheduler)
        resources = synthesise(netlist(graph, planned), target=asked.family, workers=workers,
                               progress=progress)
    show(options, resources.to_json() | rate(options, planned), lambda: report.with_lines(
        report.synthesis_table(resources, asked.device), rate_lines(options, planned)))
    return 0


COMMAND = Command("synth", "Synthesise every layer with yosys and report resources.", _arguments, _run)
