"""Arguments that several commands take, and what is made of them."""
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

from headrace.boards.top import BAUD
from headrace.gen.estimate.devices import find as device_named
from headrace.gen.estimate.price import LATENCY
from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph
from headrace.gen.ir.means import Keep, Means
from headrace.gen.ir.plan import Plan
from headrace.gen.netlist.target import TARGETS
from headrace.gen.netlist.target import find as target_named
from headrace.gen.request import Request
from headrace.hdl.base.platform import BLOCKRAM, LUTRAM, REGISTERS


def add_model(parser: ArgumentParser, *, real: bool = False) -> None:
    """The ONNX file; if it is quantised, up to which tensor."""
    parser.add_argument("model", type=Path, metavar="MODEL",
                        help=f"{'float' if real else 'quantised'} ONNX file")
    parser.add_argument("--cut", metavar="TENSOR", help=(
        f"{'quantise' if real else 'build'} only up to this tensor of the ONNX file"))
    parser.add_argument("--shape", type=positive, nargs="+", metavar="N",
                        help="C H W of an input whose sizes the file leaves open (default: as the data is)")


def imported(options: Namespace) -> Graph:
    """Import the model. Sizes that it leaves open are those of --shape, or else of the arrays of --inputs."""
    if options.shape is None and (paths := getattr(options, "inputs", None)):
        from headrace.sim.inputs import frame_shape
        return load(options.model, options.cut, lambda: frame_shape(paths))
    return load(options.model, options.cut, options.shape)


def add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_output(parser: ArgumentParser, metavar: str) -> None:
    """Where the result is written to."""
    parser.add_argument("-o", "--output", type=written("-o"), required=True, metavar=metavar)


def add_plan(parser: ArgumentParser) -> None:
    """What :func:`request` takes, and the clock of :func:`rate`."""
    parser.add_argument("--target", choices=sorted(TARGETS),
                        help="FPGA family whose DSPs to use (default: that of --fit, or any)")
    speed = parser.add_mutually_exclusive_group()
    speed.add_argument("--cycles", type=positive, metavar="N",
                       help="cycles between frames at most (default: about one pixel per clock, or four "
                            "cycles per beat of the busiest stream if that is more)")
    speed.add_argument("--unroll", choices=("full",),
                       help="full: every weight its own multiplier, where streams can feed them")
    speed.add_argument("--fit", type=device_named, metavar="DEVICE",
                       help="the fastest plan that this FPGA holds, by estimate")
    add_means(parser, pipeline=False)
    parser.add_argument("--clock", type=positive_real, metavar="MHZ",
                        help="say how many frames per second that makes")


def add_means(parser: ArgumentParser, *, pipeline: bool) -> None:
    """What makes a design small, or its clock fast."""
    parser.add_argument("--fold", type=positive, metavar="N",
                        help="the most columns that a lane may serve in turn (default: as many as it has "
                             "time for if --cycles or --fit ask for less than a pixel per clock, else 1)")
    parser.add_argument("--keep", choices=get_args(Keep), default="wide",
                        help="rows of depthwise windows: wide, at their input (default), or narrow, at the "
                             "input of the layer before, which computes them anew for each window")
    parser.add_argument("--pipeline", action=BooleanOptionalAction, default=pipeline,
                        help="registers inside lanes and between layers, for a faster clock (default: "
                             f"{'on' if pipeline else 'off'})")
    parser.add_argument("--latency-weight", type=weight, default=LATENCY, metavar="X",
                        help="what it is worth if the first result comes a frame's time earlier, as a part "
                             "of the whole design's price (default: %(default)s)")
    parser.add_argument("--rings", choices=(REGISTERS, LUTRAM, BLOCKRAM), default=REGISTERS,
                        help="what layers keep rows in (default: registers; lutram: memories of LUTs; "
                             "blockram: block RAM, where a layer of one lane finds its operands by address)")


def means(options: Namespace) -> Means:
    return Means(fold=options.fold, keep=options.keep, rings=options.rings, pipelined=options.pipeline)


def request(options: Namespace) -> Request:
    """Return what the arguments of :func:`add_plan` ask for.

    Raises
    ------
    :exc:`HeadraceError`
        If they do not go together.
    """
    return Request(cycles=options.cycles, unroll=options.unroll == "full", device=options.fit,
                   target=target_named(options.target) if options.target else None, means=means(options),
                   latency=options.latency_weight)


def rate(options: Namespace, plan: Plan) -> dict[str, Any]:
    """Frames per second, if there is a clock."""
    if not options.clock:
        return {}
    return {"clock_mhz": options.clock, "frames_per_second": options.clock * 1e6 / plan.cycles_per_frame}


def rate_lines(options: Namespace, plan: Plan) -> Iterator[str]:
    """A line about it, or none."""
    if value := rate(options, plan).get("frames_per_second"):
        yield f"{value:,.1f} frames per second at {options.clock:g} MHz"


def add_inputs(parser: ArgumentParser) -> None:
    parser.add_argument("--inputs", type=Path, nargs="+", required=True, metavar="FILE",
                        help="one .npz (array x) or .npy file, or images")
    add_frames(parser)


def add_frames(parser: ArgumentParser) -> None:
    parser.add_argument("--frames", type=positive, metavar="N", help="use only the first N frames")


def inputs(options: Namespace, graph: Graph) -> Any:
    """Return the frames of the files `inputs`, up to `frames` of them."""
    from headrace.sim import inputs
    return inputs.load(options.inputs, graph)[:options.frames]


def score(options: Namespace, graph: Graph, x: Any, outputs: Any) -> Any:
    """Compare outputs with what the inputs' file says of the whole network's."""
    from headrace.sim.score import score
    return score(graph, [] if options.cut else options.inputs, x, outputs, model=options.model)


def add_baud(parser: ArgumentParser, text: str) -> None:
    parser.add_argument("--baud", type=positive, default=BAUD, metavar="N",
                        help=f"{text} (default: %(default)s)")


def weight(text: str) -> float:
    if not 0 <= (value := float(text)) < float("inf"):
        raise ArgumentTypeError(f"must be 0 or more, not {text}")
    return value


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ArgumentTypeError(f"must be a positive integer, not {text}")
    return value


def positive_real(text: str) -> float:
    if not 0 < (value := float(text)) < float("inf"):
        raise ArgumentTypeError(f"must be positive, not {text}")
    return value


def written(option: str) -> Any:
    """Return the type of an option that names what is written. An empty name would be the current folder."""
    return partial(_written, option)


def _written(option: str, text: str) -> Path:
    if not text:
        raise HeadraceError(f"{option} must be the name of what is to be written, not {text!r}")
    return Path(text)
