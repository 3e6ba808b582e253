"""`headrace model`: a standard network."""
from argparse import ArgumentParser, Namespace

from headrace.gen.cli import report
from headrace.gen.cli.arguments import add_output, positive, written
from headrace.gen.cli.command import Command
from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.info import info
from headrace.gen.system import streams

_NETWORKS = ("mobilenet_v2", "efficientnet_lite0", "mobilenet_v3_small", "resnet18", "yolov3_tiny")


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", choices=_NETWORKS, metavar="NETWORK",
                        help=", ".join(_NETWORKS))
    add_output(parser, "FILE")
    parser.add_argument("--width", type=float, default=1.0, metavar="X",
                        help="what the channels of every layer are multiplied by (default: %(default)s)")
    parser.add_argument("--size", type=positive, default=224, metavar="N",
                        help="height and width of the input (default: %(default)s)")
    parser.add_argument("--classifier", action="store_true",
                        help="of mobilenet_v2: go on behind the last bottleneck, to 1000 classes")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of the weights (default: %(default)s)")
    parser.add_argument("--images", type=written("--images"), metavar="FILE",
                        help="write random images, too, as an .npz that --inputs takes")


def _run(options: Namespace) -> int:
    from headrace.models.mobilenet_v2 import MobileNetV2
    from headrace.models.qdq import save
    from headrace.models.standard import Standard
    if options.network == "mobilenet_v2":
        network = MobileNetV2(options.width, options.size, options.classifier, options.seed).build()
    elif options.classifier:
        raise HeadraceError(f"--classifier is for mobilenet_v2; {options.network} ends as it was published")
    else:
        network = Standard(options.network, options.width, options.size, options.seed).build()
    model, images = network
    save(model, options.output, images, options.images)
    try:
        streams.say(f"{options.output}: {report.info_summary(info(load(options.output)))}")
    except HeadraceError as error:
        streams.say(f"{error} (it is written all the same)")
    return 0


COMMAND = Command(
    "model", "Write a standard network with random weights, quantised, for whoever has no weights at hand.",
    _arguments, _run)
