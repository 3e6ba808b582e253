"""What the command line takes."""
import argparse
import shlex
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from headrace.boards.boards import BOARDS
from headrace.boards.boards import find as board_named
from headrace.boards.client import ATTEMPTS
from headrace.boards.top import BAUD
from headrace.gen.estimate.devices import find as device_named
from headrace.gen.ir.means import Keep
from headrace.gen.netlist.jobs import BACKENDS
from headrace.gen.netlist.target import TARGETS
from headrace.hdl.base.platform import BLOCKRAM, LUTRAM, REGISTERS


def parser(runs: Mapping[str, Callable[[Any], int]]) -> argparse.ArgumentParser:
    """Return the parser of the command line, whose result's `run` is what carries a command out.

    ``runs`` are those functions, by command.
    """
    made = argparse.ArgumentParser(
        prog="headrace", description="Verilog for quantised ONNX image networks: streaming, weights in ROM.")
    made.add_argument("--version", action="version", version=f"headrace {version('headrace')}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, *, as_json: bool = True,
                real: bool = False) -> Any:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("model", type=Path, metavar="MODEL",
                           help=f"{'float' if real else 'quantised'} ONNX file")
        if not real:
            added.add_argument("--cut", metavar="TENSOR",
                               help="build only up to this tensor of the ONNX file")
        if as_json:
            added.add_argument("--json", action="store_true", help="print one JSON object")
        added.set_defaults(run=runs[name])
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
        _add_means(added, pipeline=False)
        added.add_argument("--clock", type=_positive_real, metavar="MHZ",
                           help="say how many frames per second that makes")

    def with_inputs(added: Any) -> None:
        added.add_argument("--inputs", type=Path, nargs="+", required=True, metavar="FILE",
                           help="one .npz (array x) or .npy file, or images")
        added.add_argument("--frames", type=_positive, metavar="N", help="use only the first N frames")

    added = command("plan", "Show how each layer is unrolled, how busy it is and what it keeps.")
    with_plan(added)
    added.add_argument("--picture", type=Path, metavar="FILE.svg",
                       help="draw which layer gives which row when, for three frames")
    command("info", "Show layers, shapes, weights, multiplications, quantisation.")
    command("proof", "Show what is proved of every layer's requantiser.")
    added = command("build", "Write Verilog, a file list, the plan and the proof.", as_json=False)
    added.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    with_plan(added)
    added = command("check", "Compare the integer reference with ONNX Runtime on every tensor.")
    with_inputs(added)
    added = command("sim", "Run the hardware and compare every layer with the integer reference.")
    with_inputs(added)
    with_plan(added)
    added.add_argument("--engine", choices=("cxxrtl", "amaranth"), default="cxxrtl")
    added = command("run", "Send images to a network on a board and show what it says.")
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
    added = command("quantize", "Quantise a float network with ONNX Runtime's quantiser.", real=True)
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
    _add_model(commands, runs["model"])
    added = command("synth", "Synthesise every layer with yosys and report resources.")
    added.add_argument("--jobs", type=_positive, metavar="N",
                       help="processes at a time (default: one per processor, with dask the cluster's)")
    added.add_argument("--backend", choices=BACKENDS, default="threading",
                       help="of joblib: where layers are synthesised (default: %(default)s)")
    added.add_argument("--scheduler", metavar="ADDRESS", help="of a dask cluster, as tcp://host:8786")
    with_plan(added)
    _add_bitstream(command("bitstream", "Make a bitstream for a board: the network behind a serial port."))
    return made


def _add_means(added: Any, *, pipeline: bool) -> None:
    """What makes a design small, or its clock fast."""
    added.add_argument("--fold", type=_positive, metavar="N",
                       help="the most columns that a lane may serve in turn (default: as many as it has time "
                            "for if --cycles or --fit ask for less than a pixel per clock, else 1)")
    added.add_argument("--keep", choices=get_args(Keep), default="wide",
                       help="rows of depthwise windows: wide, at their input (default), or narrow, at the "
                            "input of the layer before, which computes them anew for each window")
    added.add_argument("--pipeline", action=argparse.BooleanOptionalAction, default=pipeline,
                       help="registers inside lanes and between layers, for a faster clock (default: "
                            f"{'on' if pipeline else 'off'})")
    added.add_argument("--rings", choices=(REGISTERS, LUTRAM, BLOCKRAM), default=REGISTERS,
                       help="what layers keep rows in (default: registers; lutram: memories of LUTs; "
                            "blockram: block RAM, where a layer of one lane finds its operands by address)")


def _add_bitstream(added: Any) -> None:
    added.add_argument("--board", type=board_named, required=True, metavar="NAME",
                       help=", ".join(board.name for board in BOARDS))
    added.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    speed = added.add_mutually_exclusive_group()
    speed.add_argument("--cycles", type=_positive, metavar="N",
                       help="cycles between frames at most (default: as for `plan`)")
    speed.add_argument("--fit", action="store_true",
                       help="the fastest plan that the board's FPGA holds, by estimate")
    _add_means(added, pipeline=True)
    added.add_argument("--clock", type=_positive_real, metavar="MHZ",
                       help="of the design, by a PLL (ECP5 only; default: that of the board's oscillator)")
    added.add_argument("--baud", type=_positive, default=BAUD, metavar="N",
                       help="rate of the serial port (default: %(default)s)")
    added.add_argument("--seed", type=int, default=1, metavar="N", help="of nextpnr (default: %(default)s)")
    added.add_argument("--nextpnr-args", type=shlex.split, default=[], metavar="ARGS",
                       help="further arguments of nextpnr, as one: --nextpnr-args='--router router2'")


def _add_model(commands: Any, run: Callable[[Any], int]) -> None:
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
    added.set_defaults(run=run)


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text}")
    return value


def _positive_real(text: str) -> float:
    if not 0 < (value := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be positive, not {text}")
    return value
