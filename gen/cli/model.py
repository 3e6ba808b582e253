"""`headrace model`: a standard network."""
from argparse import ArgumentParser, Namespace

from headrace.gen.cli import report
from headrace.gen.cli.arguments import add_output, positive, written
from headrace.gen.cli.command import Command
from headrace.gen.importer.load import load
from headrace.gen.ir.info import info
from headrace.gen.system import streams


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", choices=("mobilenet_v2",), metavar="NETWORK", help="mobilenet_v2")
    add_output(parser, "FILE")
    parser.add_argument("--width", type=float, default=1.0, metavar="X",
                        help="what the channels of every layer are multiplied by (default: %(default)s)")
    parser.add_argument("--size", type=positive, default=224, metavar="N",
                        help="height and width of the input (default: %(default)s)")
    parser.add_argument("--classifier", action="store_true",
                        help="go on behind the last bottleneck, to 1000 classes")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of the weights (default: %(default)s)")
    parser.add_argument("--images", type=written("--images"), metavar="FILE",
                        help="write random images, too, as an .npz that --inputs takes")


def _run(options: Namespace) -> int:
    from headrace.models.mobilenet_v2 import MobileNetV2
    from headrace.models.qdq import save
    model, images = MobileNetV2(options.width, options.size, options.classifier, options.seed).build()
    save(model, options.output, images, options.images)
    streams.say(f"{options.output}: {report.info_summary(info(load(options.output)))}")
    return 0


COMMAND = Command(
    "model", "Write a standard network with random weights, quantised, for whoever has no weights at hand.",
    _arguments, _run)
