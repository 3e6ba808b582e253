"""`headrace quantize`: from a float network to one that headrace takes."""
from argparse import ArgumentParser, Namespace
from pathlib import Path

from headrace.gen.cli import report
from headrace.gen.cli.arguments import add_json, add_model, add_output, positive, positive_real
from headrace.gen.cli.command import Command, show


def _arguments(parser: ArgumentParser) -> None:
    add_model(parser, real=True)
    add_json(parser)
    parser.add_argument("--calibration", type=Path, nargs="+", required=True, metavar="FILE",
                        help="one .npz (array x) or .npy file of real numbers, or images or folders of "
                             "images")
    add_output(parser, "OUT")
    parser.add_argument("--samples", type=positive, default=200, metavar="N",
                        help="use only the first N samples (default: %(default)s)")
    parser.add_argument("--activations", choices=("uint8", "int8"), default="uint8")
    parser.add_argument("--weights", choices=("int8", "uint8"), default="int8")
    parser.add_argument("--per-tensor", action="store_true", help="one weight scale per layer")
    parser.add_argument("--method", choices=("minmax", "entropy", "percentile"), default="minmax",
                        help="how activations' ranges follow from the samples; entropy and percentile keep "
                             "all activations of all samples in memory")
    parser.add_argument("--scale", type=float, default=1 / 255, metavar="X",
                        help="of an image: (pixel * scale - mean) / std (default: 1/255)")
    parser.add_argument("--mean", type=float, nargs="+", default=[0.0], metavar="X",
                        help="one, or one per channel")
    parser.add_argument("--std", type=positive_real, nargs="+", default=[1.0], metavar="X",
                        help="one, or one per channel")


def _run(options: Namespace) -> int:
    from headrace.models.quantize import FloatModel, Options
    from headrace.sim import calibration
    from headrace.sim.inputs import frame_shape
    model = FloatModel(options.model, options.shape or (lambda: frame_shape(options.calibration)),
                       options.cut)
    preprocessing = calibration.Preprocessing(options.scale, options.mean, options.std)
    samples = calibration.load(options.calibration, model.shape, limit=options.samples,
                               preprocessing=preprocessing)
    settings = Options(options.activations, options.weights, not options.per_tensor, options.method)
    summary = model.quantise(samples, settings, options.output)
    show(options, summary.to_json(), lambda: report.quantisation(summary))
    return 0


COMMAND = Command("quantize", "Quantise a float network with ONNX Runtime's quantiser.", _arguments, _run)
