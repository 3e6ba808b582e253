"""The command line."""
import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from headrace.boards.client import ATTEMPTS, Client, open_port, seconds_on_line
from headrace.boards.devices import find as device_named
from headrace.boards.top import BAUD
from headrace.gen import report
from headrace.gen.build import build
from headrace.gen.errors import HeadraceError
from headrace.gen.estimate import estimate
from headrace.gen.families import FAMILIES
from headrace.gen.fit import fit, usage
from headrace.gen.info import info
from headrace.gen.onnx_import import load
from headrace.gen.plan_table import plan_table
from headrace.gen.planner import plan, unrolled
from headrace.gen.proof import prove
from headrace.gen.synthesis import PAIRS, TARGETS
from headrace.gen.synthesis_jobs import BACKENDS, Workers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0, or 1 after one line on standard error."""
    try:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
    except HeadraceError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("headrace: interrupted", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headrace", description="Verilog for quantised ONNX image networks: streaming, weights in ROM.")
    parser.add_argument("--version", action="version", version=f"headrace {version('headrace')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Any], int], text: str, *, as_json: bool = True,
                real: bool = False) -> Any:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("model", type=Path, metavar="MODEL",
                           help=f"{'float' if real else 'quantised'} ONNX file")
        if not real:
            added.add_argument("--cut", metavar="TENSOR",
                               help="build only up to this tensor of the ONNX file")
        if as_json:
            added.add_argument("--json", action="store_true", help="print one JSON object")
        added.set_defaults(run=run)
        return added

    def with_plan(added: Any) -> None:
        added.add_argument("--target", choices=sorted(TARGETS),
                           help="FPGA family whose DSPs to use (default: that of --fit, or any)")
        speed = added.add_mutually_exclusive_group()
        speed.add_argument("--cycles", type=_positive, metavar="N",
                           help="cycles between frames at most (default: about one pixel per clock, or four "
                                "cycles per beat of the busiest stream if that is more)")
        speed.add_argument("--unroll", choices=("full",),
                           help="full: every weight its own multiplier, where streams can feed them")
        speed.add_argument("--fit", type=device_named, metavar="DEVICE",
                           help="the fastest plan that this FPGA holds, by estimate")
        added.add_argument("--clock", type=_positive_real, metavar="MHZ",
                           help="say how many frames per second that makes")

    def with_inputs(added: Any) -> None:
        added.add_argument("--inputs", type=Path, nargs="+", required=True, metavar="FILE",
                           help="one .npz (array x) or .npy file, or images")
        added.add_argument("--frames", type=_positive, metavar="N", help="use only the first N frames")

    added = command("plan", _plan, "Show how each layer is unrolled, how busy it is and what it keeps.")
    with_plan(added)
    added.add_argument("--picture", type=Path, metavar="FILE.svg",
                       help="draw which layer gives which row when, for three frames")
    command("info", _info, "Show layers, shapes, weights, multiplications, quantisation.")
    command("proof", _proof, "Show what is proved of every layer's requantiser.")
    added = command("build", _build, "Write Verilog, a file list, the plan and the proof.", as_json=False)
    added.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    with_plan(added)
    added = command("check", _check, "Compare the integer reference with ONNX Runtime on every tensor.")
    with_inputs(added)
    added = command("sim", _sim, "Run the hardware and compare every layer with the integer reference.")
    with_inputs(added)
    with_plan(added)
    added.add_argument("--engine", choices=("cxxrtl", "amaranth"), default="cxxrtl")
    added = command("run", _run, "Send images to a network on a board and show what it says.")
    added.add_argument("inputs", type=Path, nargs="+", metavar="IMAGE",
                       help="one .npz (array x) or .npy file, or images")
    added.add_argument("--port", required=True, metavar="DEV", help="serial port, as /dev/ttyUSB0")
    added.add_argument("--baud", type=_positive, default=BAUD, metavar="N",
                       help="rate that the board's design was made for (default: %(default)s)")
    added.add_argument("--timeout", type=_positive_real, default=2, metavar="S",
                       help="seconds that the network may take for an image (default: %(default)s)")
    added.add_argument("--attempts", type=_positive, default=ATTEMPTS, metavar="N",
                       help="how often to send an image that is answered with an error or not at all "
                            "(default: %(default)s)")
    added.add_argument("--check", action="store_true", help="compare the results with the integer reference")
    added.add_argument("--frames", type=_positive, metavar="N", help="use only the first N frames")
    added = command("quantize", _quantize, "Quantise a float network with ONNX Runtime's quantiser.",
                    real=True)
    added.add_argument("--calibration", type=Path, nargs="+", required=True, metavar="FILE",
                       help="one .npz (array x) or .npy file of real numbers, or images or folders of images")
    added.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    added.add_argument("--samples", type=_positive, default=200, metavar="N",
                       help="use only the first N samples (default: %(default)s)")
    added.add_argument("--activations", choices=("uint8", "int8"), default="uint8")
    added.add_argument("--weights", choices=("int8", "uint8"), default="int8")
    added.add_argument("--per-tensor", action="store_true", help="one weight scale per layer")
    added.add_argument("--method", choices=("minmax", "entropy", "percentile"), default="minmax",
                       help="how activations' ranges follow from the samples; entropy and percentile keep "
                            "all activations of all samples in memory")
    added.add_argument("--scale", type=float, default=1 / 255, metavar="X",
                       help="of an image: (pixel * scale - mean) / std (default: 1/255)")
    added.add_argument("--mean", type=float, nargs="+", default=[0.0], metavar="X",
                       help="one, or one per channel")
    added.add_argument("--std", type=_positive_real, nargs="+", default=[1.0], metavar="X",
                       help="one, or one per channel")
    _add_model(commands)
    added = command("synth", _synth, "Synthesise every layer with yosys and report resources.")
    added.add_argument("--jobs", type=_positive, metavar="N",
                       help="processes at a time (default: one per processor, with dask the cluster's)")
    added.add_argument("--backend", choices=BACKENDS, default="threading",
                       help="of joblib: where layers are synthesised (default: %(default)s)")
    added.add_argument("--scheduler", metavar="ADDRESS", help="of a dask cluster, as tcp://host:8786")
    with_plan(added)
    return parser


def _add_model(commands: Any) -> None:
    text = "Write a standard network with random weights, quantised, for whoever has no weights at hand."
    added = commands.add_parser("model", help=text, description=text)
    added.add_argument("network", choices=("mobilenet_v2",), metavar="NETWORK", help="mobilenet_v2")
    added.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    added.add_argument("--width", type=float, default=1.0, metavar="X",
                       help="what the channels of every layer are multiplied by (default: %(default)s)")
    added.add_argument("--size", type=_positive, default=224, metavar="N",
                       help="height and width of the input (default: %(default)s)")
    added.add_argument("--classifier", action="store_true",
                       help="go on behind the last bottleneck, to 1000 classes")
    added.add_argument("--seed", type=int, default=0, metavar="N",
                       help="of the weights (default: %(default)s)")
    added.add_argument("--images", type=Path, metavar="FILE",
                       help="write random images, too, as an .npz that --inputs takes")
    added.set_defaults(run=_model)


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text}")
    return value


def _positive_real(text: str) -> float:
    if not 0 < (value := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be positive, not {text}")
    return value


def _show(options: Any, content: dict[str, Any], table: Callable[[], Any]) -> None:
    if options.json:
        print(json.dumps(content))
    else:
        Console(width=None if sys.stdout.isatty() else 240).print(table())  # no line is cut in a file


@contextmanager
def _progress(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal's standard error while the body runs; yields what to call with done, total."""
    with _bar(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _cycles(text: str) -> Iterator[Callable[[int, int, int], None]]:
    """The same for a simulation, with cycles per second; it is made before the first call comes."""
    speed = TextColumn("{task.fields[speed]}")
    with _bar(speed, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()) as bar:
        task = bar.add_task(f"preparing: {text}", total=None, speed="")
        start: tuple[float, int] | None = None

        def update(done: int, total: int, cycle: int) -> None:
            nonlocal start
            now = time.monotonic()
            start = start or (now, cycle)
            speed = (cycle - start[1]) / max(now - start[0], 1e-3)
            bar.update(task, description=text, completed=done, total=total,
                       speed=f"cycle {cycle:,}, {speed:,.0f} per second")

        yield update


def _bar(*columns: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    return Progress(TextColumn("{task.description}"), BarColumn(), *columns, console=console,
                    transient=True, disable=not console.is_terminal)


def _info(options: Any) -> int:
    network = info(load(options.model, options.cut))
    _show(options, network.to_json(), lambda: report.info_table(network))
    return 0


def _target(options: Any) -> str | None:
    if options.fit and options.target not in (None, options.fit.target):
        raise HeadraceError(f"--fit {options.fit.name} is of target {options.fit.target}, "
                            f"not of --target {options.target}")
    target: str | None = options.fit.target if options.fit else options.target
    return target


def _planned(options: Any, graph: Any) -> Any:
    target = _target(options)
    if options.fit:
        return fit(graph, options.fit)
    paired = target in PAIRS
    if options.unroll:
        return unrolled(graph, paired=paired)
    return plan(graph, cycles=options.cycles, paired=paired)


def _plan(options: Any) -> int:
    graph, target = load(options.model, options.cut), _target(options)
    layout = _planned(options, graph)
    if options.picture:
        from headrace.gen.picture import draw
        draw(graph, layout, options.picture)
    table = plan_table(graph, layout)
    costs = estimate(graph, layout, target=target) if target in FAMILIES else None
    content = table.to_json() | _rate(options, layout)
    if costs is not None:
        content["estimate"] = costs.to_json()
    if costs is not None and options.fit:
        content["device"] = {"name": options.fit.name, "source": options.fit.source,
                             "use": [asdict(use) for use in usage(costs.total, options.fit)]}
    _show(options, content, lambda: report.with_estimate(
        report.plan_table(table), costs, options.fit, _rate_lines(options, layout)))
    return 0


def _rate(options: Any, planned: Any) -> dict[str, Any]:
    if not options.clock:
        return {}
    return {"clock_mhz": options.clock, "frames_per_second": options.clock * 1e6 / planned.cycles_per_frame}


def _rate_lines(options: Any, planned: Any) -> Iterator[str]:
    for value in [_rate(options, planned).get("frames_per_second")]:
        if value is not None:
            yield f"{value:,.1f} frames per second at {options.clock:g} MHz"


def _proof(options: Any) -> int:
    proof = prove(load(options.model, options.cut))
    _show(options, proof.to_json(), lambda: report.proof_table(proof))
    return 0


def _build(options: Any) -> int:
    graph = load(options.model, options.cut)
    layout = _planned(options, graph)
    files, proof = build(graph, layout, options.output)
    print(f"{options.output}: {len(files)} Verilog files, plan.json, proof.json")
    print(report.proof_summary(proof))
    for line in (*report.host_line(graph.host), *_rate_lines(options, layout)):
        print(line)
    return 0


def _inputs(options: Any, graph: Any) -> Any:
    from headrace.sim import inputs
    return inputs.load(options.inputs, graph)[:options.frames]


def _check(options: Any) -> int:
    from headrace.sim import oracle
    graph = load(options.model, options.cut)
    x = _inputs(options, graph)
    counts = oracle.compare(graph, options.model, x, cut=options.cut)
    mismatches = sum(counts.values())
    content = {"frames": len(x), "mismatches": mismatches, "tensors": counts}
    _show(options, content, lambda: report.check_table(graph, counts, len(x)))
    return 1 if mismatches else 0


def _sim(options: Any) -> int:
    from headrace.sim import verify
    from headrace.sim.score import score
    graph = load(options.model, options.cut)
    x = _inputs(options, graph)
    layout = _planned(options, graph)
    with _cycles(f"simulating {len(x)} frames") as progress:
        result = verify.run(graph, layout, x, engine=options.engine, progress=progress)
    answers = score(graph, [] if options.cut else options.inputs, result.output)  # those of the whole network
    _show(options, result.to_json() | answers.to_json() | _rate(options, layout),
          lambda: report.with_lines(report.simulation_table(result, layout, answers),
                                    _rate_lines(options, layout)))
    if result.first is not None:
        print(f"headrace: hardware and reference differ first in {result.first}", file=sys.stderr)
    return 1 if sum(result.mismatches.values()) or answers.differing else 0


def _run(options: Any) -> int:
    from headrace.sim import reference
    from headrace.sim.score import score
    graph = load(options.model, options.cut)
    x = _inputs(options, graph)
    image, result = graph.tensors[graph.input], graph.tensors[graph.output]
    timeout = options.timeout + seconds_on_line(image, result, baud=options.baud)
    with (open_port(options.port, baud=options.baud, timeout=timeout) as port,
          _progress(f"running {len(x)} frames") as progress):
        client = Client(port, image=image, result=result, attempts=options.attempts)
        outputs = client.run(x, progress=progress)
    answers = score(graph, [] if options.cut else options.inputs, outputs)
    content = {"frames": len(x), "repeated": client.repeated, "results": outputs.tolist()} | answers.to_json()
    if options.check:
        content["mismatches"] = int((outputs != reference.run(graph, x)[graph.output]).sum())
    _show(options, content, lambda: report.board_table(outputs, content))
    return 1 if content.get("mismatches") or answers.differing else 0


def _quantize(options: Any) -> int:
    from headrace.gen.quantize import FloatModel, Options
    from headrace.sim import calibration
    model = FloatModel(options.model)
    preprocessing = calibration.Preprocessing(options.scale, options.mean, options.std)
    samples = calibration.load(options.calibration, model.shape, limit=options.samples,
                               preprocessing=preprocessing)
    settings = Options(options.activations, options.weights, not options.per_tensor, options.method)
    summary = model.quantise(samples, settings, options.output)
    _show(options, summary.to_json(), lambda: report.quantisation(summary))
    return 0


def _model(options: Any) -> int:
    from headrace.models.mobilenet_v2 import MobileNetV2
    from headrace.models.qdq import save
    model, images = MobileNetV2(options.width, options.size, options.classifier, options.seed).build()
    save(model, options.output, images, options.images)
    print(f"{options.output}: {report.info_summary(info(load(options.output)))}")
    return 0


def _synth(options: Any) -> int:
    from headrace.gen.build import netlist
    from headrace.gen.synthesis import synthesise
    target = _target(options)
    if target is None:
        raise HeadraceError("synth needs --target or --fit")
    graph = load(options.model, options.cut)
    layout = _planned(options, graph)
    with _progress(f"synthesising for {target}") as progress:
        workers = Workers(options.backend, options.jobs, options.scheduler)
        resources = synthesise(netlist(graph, layout), target=target, workers=workers, progress=progress)
    _show(options, resources.to_json() | _rate(options, layout), lambda: report.with_lines(
        report.synthesis_table(resources, options.fit), _rate_lines(options, layout)))
    return 0
