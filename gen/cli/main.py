"""The command line."""
import contextlib
import io
import json
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from headrace.boards.client import Client, open_port, seconds_on_line
from headrace.gen.cli import report
from headrace.gen.cli.arguments import parser
from headrace.gen.cli.progress import of_a_simulation, of_things
from headrace.gen.estimate.estimate import estimate
from headrace.gen.estimate.fit import fit, usage
from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.info import info
from headrace.gen.ir.means import Means
from headrace.gen.netlist import target as targets
from headrace.gen.netlist.build import build
from headrace.gen.netlist.jobs import Workers
from headrace.gen.numerics.proof import prove
from headrace.gen.planning.planner import plan, unrolled
from headrace.gen.planning.table import plan_table
from headrace.gen.system import processes, streams


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0, or 1 after one line on standard error.

    SIGINT, SIGTERM and SIGHUP end it without a trace, by 128 and the number of the signal.
    """
    log = logging.getLogger("headrace")
    log.addHandler(notices := _Notices())
    try:
        streams.prepare()
        with processes.interruptible():
            return _carry_out(arguments)
    except HeadraceError as error:
        streams.complain(str(error))
    except OSError as error:  # of a place that nobody foresaw
        streams.complain(f"{error.filename or 'cannot go on'}: {error.strerror or error}")
    except processes.Interrupted as error:
        streams.complain(f"ended by {signal.Signals(error.number).name}")
        return 128 + error.number
    finally:
        log.removeHandler(notices)
    return 1


def _carry_out(arguments: Sequence[str] | None) -> int:
    said = io.StringIO()  # argparse does not look whether it can be written
    try:
        with contextlib.redirect_stdout(said):
            options = parser(_RUNS).parse_args(arguments)
    except SystemExit:  # of --help, for example
        if text := said.getvalue().rstrip("\n"):
            streams.say(text)
        raise
    code: int = options.run(options)
    return code


class _Notices(logging.Handler):
    """Warnings of the library as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        streams.complain(record.getMessage())


def _show(options: Any, content: dict[str, Any], table: Callable[[], Any]) -> None:
    streams.say(json.dumps(content) if options.json else table())


def _info(options: Any) -> int:
    network = info(load(options.model, options.cut))
    _show(options, network.to_json(), lambda: report.info_table(network))
    return 0


def _target(options: Any) -> targets.Target | None:
    if options.fit and options.target not in (None, options.fit.target.name):
        raise HeadraceError(f"--fit {options.fit.name} is of target {options.fit.target}, "
                            f"not of --target {options.target}")
    if options.fit:
        target: targets.Target = options.fit.target
        return target
    return targets.find(options.target) if options.target else None


def _planned(options: Any, graph: Any) -> Any:
    target = _target(options)
    if options.unroll:
        given = {"--fold": options.fold is not None, "--keep narrow": options.keep == "narrow"}
        for name in filter(given.get, given):
            raise HeadraceError("--unroll full gives each column a lane and each layer its own rows; it does "
                                f"not go with {name}")
        return unrolled(graph, paired=target is not None and target.pairs, pipelined=options.pipeline,
                        rings=options.rings)
    return _fitted(options, graph, options.fit, target)


def _fitted(options: Any, graph: Any, device: Any, target: targets.Target | None) -> Any:
    """Plan for a device, or for a number of cycles."""
    means = Means(fold=options.fold, keep=options.keep, rings=options.rings, pipelined=options.pipeline,
                  serial=target is not None and target.serial)
    if device:
        return fit(graph, device, means)
    return plan(graph, cycles=options.cycles, paired=target is not None and target.pairs, means=means)


def _plan(options: Any) -> int:
    graph, target = load(options.model, options.cut), _target(options)
    layout = _planned(options, graph)
    if options.picture:
        from headrace.gen.planning.picture import draw
        draw(graph, layout, options.picture)
    table = plan_table(graph, layout)
    costs = None
    if target is not None and target.primitives is not None:
        costs = estimate(graph, layout, target=target)
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
    streams.say("\n".join([f"{options.output}: {len(files)} Verilog files, plan.json, proof.json",
                           report.proof_summary(proof), *report.host_line(graph.host),
                           *_rate_lines(options, layout)]))
    return 0


def _inputs(options: Any, graph: Any) -> Any:
    from headrace.sim import inputs
    return inputs.load(options.inputs, graph)[:options.frames]


def _check(options: Any) -> int:
    from headrace.sim import oracle
    graph = load(options.model, options.cut)
    x = _inputs(options, graph)
    found = oracle.judge(graph, options.model, x, cut=options.cut)
    mismatches = sum(found.mismatches.values())
    content = {"frames": len(x), "mismatches": mismatches, "tensors": found.mismatches,
               "ties": {name: count for name, count in found.ties.items() if count}}
    _show(options, content, lambda: report.check_table(graph, found, len(x)))
    return 1 if mismatches else 0


def _score(options: Any, graph: Any, x: Any, outputs: Any) -> Any:
    """Compare outputs with what the inputs' file says of the whole network's."""
    from headrace.sim.score import score
    return score(graph, [] if options.cut else options.inputs, x, outputs, model=options.model)


def _sim(options: Any) -> int:
    from headrace.sim import verify
    graph = load(options.model, options.cut)
    x = _inputs(options, graph)
    layout = _planned(options, graph)
    with of_a_simulation(f"simulating {len(x)} frames") as progress:
        result = verify.run(graph, layout, x, engine=options.engine, progress=progress)
    answers = _score(options, graph, x, result.output)
    _show(options, result.to_json() | answers.to_json() | _rate(options, layout),
          lambda: report.with_lines(report.simulation_table(result, layout, answers),
                                    _rate_lines(options, layout)))
    if result.first is not None:
        streams.complain(f"hardware and reference differ first in {result.first}")
    return 1 if sum(result.mismatches.values()) or answers.wrong else 0


def _run(options: Any) -> int:
    from headrace.sim import reference
    graph = load(options.model, options.cut)
    x = _inputs(options, graph)
    image, result = graph.tensors[graph.input], graph.tensors[graph.output]
    timeout = options.timeout + seconds_on_line(image, result, baud=options.baud)
    with (open_port(options.port, baud=options.baud, timeout=timeout) as port,
          of_things(f"running {len(x)} frames") as progress):
        client = Client(port, image=image, result=result, attempts=options.attempts)
        outputs = client.run(x, progress=progress)
    answers = _score(options, graph, x, outputs)
    content = {"frames": len(x), "repeated": client.repeated, "results": outputs.tolist()} | answers.to_json()
    if options.check:
        content["mismatches"] = int((outputs != reference.run(graph, x)[graph.output]).sum())
    _show(options, content, lambda: report.board_table(outputs, content))
    return 1 if content.get("mismatches") or answers.wrong else 0


def _quantize(options: Any) -> int:
    from headrace.models.quantize import FloatModel, Options
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
    streams.say(f"{options.output}: {report.info_summary(info(load(options.output)))}")
    return 0


def _synth(options: Any) -> int:
    from headrace.gen.netlist.build import netlist
    from headrace.gen.netlist.synthesis import synthesise
    target = _target(options)
    if target is None:
        raise HeadraceError("synth needs --target or --fit")
    graph = load(options.model, options.cut)
    layout = _planned(options, graph)
    with of_things(f"synthesising for {target}") as progress:
        workers = Workers(options.backend, options.jobs, options.scheduler)
        resources = synthesise(netlist(graph, layout), target=target, workers=workers,
                               progress=progress)
    _show(options, resources.to_json() | _rate(options, layout), lambda: report.with_lines(
        report.synthesis_table(resources, options.fit), _rate_lines(options, layout)))
    return 0


def _bitstream(options: Any) -> int:
    from headrace.boards.bitstream import Settings, bitstream
    graph, board = load(options.model, options.cut), options.board
    device = board.room if options.fit else None
    layout = _fitted(options, graph, device, board.device.target)
    settings = Settings(clock=options.clock, baud=options.baud, seed=options.seed,
                        nextpnr=tuple(options.nextpnr_args))
    with of_things(f"making a bitstream for {board.title}") as progress:
        made = bitstream(graph, layout, board, options.output, settings=settings, progress=progress)
    _show(options, made.to_json(), lambda: report.bitstream_table(made))
    return 0


_RUNS = {"info": _info, "plan": _plan, "proof": _proof, "build": _build, "check": _check, "sim": _sim,
         "run": _run, "quantize": _quantize, "model": _model, "synth": _synth,
         "bitstream": _bitstream}
