"""MobileNetV2 as it was published, with random weights: for whoever has none at hand."""
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from headrace.gen.ir.errors import HeadraceError
from headrace.models.qdq import QdqBuilder, images

# Expansion, channels, repetitions, stride of the first: table 2 of Sandler et al., 2018.
BOTTLENECKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
               (6, 320, 1, 1))
CLASSES = 1000

SIZES = range(32, 513)
WIDTHS = 0.05, 2.0
_POSITIONS = 256  # of the last images that statistics are made of, at least


@dataclass(frozen=True)
class MobileNetV2:
    """Which network; names of layers are those of Keras.

    The stride of a bottleneck is in its depthwise layer. The network ends with the last bottleneck.

    Parameters
    ----------
    width : what the channels of every layer are multiplied by, before they are rounded to multiples of 8
    size : height and width of the input
    classifier : add the last convolution, the pooling and the fully connected layer

    Raises
    ------
    :exc:`HeadraceError`
        If width or size are none that MobileNetV2 can have.
    """

    width: float = 1.0
    size: int = 224
    classifier: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = WIDTHS
        if not low <= self.width <= high:
            raise HeadraceError(f"mobilenet_v2 of width {self.width}; {low} to {high} are supported")
        if self.size not in SIZES:
            raise HeadraceError(f"mobilenet_v2 of size {self.size}; {SIZES[0]} to {SIZES[-1]} are supported")
        if self.seed < 0:
            raise HeadraceError(f"a seed of {self.seed}; 0 and more are supported")

    def build(self) -> tuple[onnx.ModelProto, npt.NDArray[np.uint8]]:
        """Return the quantised network, and the random images (N, C, H, W) that its scales were chosen by."""
        last = -(-self.size // 32)
        x_images = images(max(4, -(-_POSITIONS // last**2)), self.size, seed=self.seed)
        net = QdqBuilder(x_images, seed=self.seed)
        x = net.conv("Conv1", net.input(), rounded(32 * self.width), 3, stride=2)
        block = 0
        for expansion, channels, repetitions, first in BOTTLENECKS:
            for index in range(repetitions):
                name = f"block_{block}" if block else "expanded_conv"
                narrow, depth, stride = x, x.values.shape[1], 1 if index else first
                if expansion > 1:
                    x = net.conv(f"{name}_expand", x, expansion * depth)
                x = net.conv(f"{name}_depthwise", x, x.values.shape[1], 3, stride=stride, depthwise=True)
                x = net.conv(f"{name}_project", x, rounded(channels * self.width), relu6=False)
                if index:
                    x = net.add(f"{name}_add", narrow, x)
                block += 1
        shape = x.values.shape[1:]
        if self.classifier:
            x = net.conv("Conv_1", x, rounded(1280 * max(1.0, self.width)))
            x = net.gemm("predictions", net.flatten("flatten", net.global_pool("pool", x)), CLASSES)
            shape = (CLASSES,)
        return net.model(f"mobilenet_v2_{self.width}_{self.size}", (x, shape)), x_images


def rounded(channels: float) -> int:
    """Return the multiple of 8 next to a number of channels, but no less than nine tenths of it."""
    multiple = max(8, int(channels + 4) // 8 * 8)
    return multiple + 8 if multiple < 0.9 * channels else multiple
