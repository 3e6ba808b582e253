"""Standard networks with random weights, by name."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from headrace.gen.ir.errors import HeadraceError
from headrace.models import efficientnet_lite, mobilenet_v3, resnet, yolo
from headrace.models.blocks import Blocks
from headrace.models.mobilenet_v2 import SIZES, WIDTHS
from headrace.models.qdq import Output, images

NETWORKS: dict[str, Callable[[Blocks, float], list[Output]]] = {
    "efficientnet_lite0": efficientnet_lite.layers, "mobilenet_v3_small": mobilenet_v3.layers,
    "resnet18": resnet.layers, "yolov3_tiny": yolo.layers}
"""What adds the layers, of a width, and returns the outputs."""

_POSITIONS = 256  # of the last images that statistics are made of, at least
_STRIDE = 32  # of all of them


@dataclass(frozen=True)
class Standard:
    """Which network.

    Parameters
    ----------
    name : of :data:`NETWORKS`
    width : what the channels of every layer are multiplied by, before they are rounded to multiples of 8
    size : height and width of the input

    Raises
    ------
    :exc:`HeadraceError`
        If width or size are none that the network can have.
    """

    name: str
    width: float = 1.0
    size: int = 224
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = WIDTHS
        if not low <= self.width <= high:
            raise HeadraceError(f"{self.name} of width {self.width}; {low} to {high} are supported")
        if self.size not in SIZES or self.size % _STRIDE:
            raise HeadraceError(f"{self.name} of size {self.size}; multiples of {_STRIDE} from {SIZES[0]} to "
                                f"{SIZES[-1]} are supported")
        if self.seed < 0:
            raise HeadraceError(f"a seed of {self.seed}; 0 and more are supported")

    def build(self) -> tuple[onnx.ModelProto, npt.NDArray[np.uint8]]:
        """Return the quantised network, and the random images (N, C, H, W) that its scales were chosen by."""
        count = max(4, -(-_POSITIONS // (self.size // _STRIDE)**2))
        x_images = images(count, self.size, seed=self.seed)
        net = Blocks(x_images, seed=self.seed)
        name = f"{self.name}_{self.width}_{self.size}"
        return net.model(name, *NETWORKS[self.name](net, self.width)), x_images
