"""MobileNetV3-Small: table 2 of Howard et al., 2019."""
from headrace.models.blocks import Blocks
from headrace.models.mobilenet_v2 import CLASSES, rounded
from headrace.models.qdq import Activation, Output

# Kernel, expanded channels, channels, whether there is a gate, whether HardSwish, stride.
BOTTLENECKS = (
    (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1), (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1))


def layers(net: Blocks, width: float) -> list[Output]:
    def conv(name: str, x: Activation, channels: int, kernel: int = 1, *, swish: bool, stride: int = 1,
             depthwise: bool = False) -> Activation:
        x = net.conv(name, x, channels, kernel, stride=stride, depthwise=depthwise, relu=not swish,
                     relu6=False)
        return net.hard_swish(f"{name}_swish", x) if swish else x

    x = conv("stem", net.input(), rounded(16 * width), 3, swish=True, stride=2)
    for index, (kernel, expanded, channels, gated, swish, stride) in enumerate(BOTTLENECKS):
        name, narrow, wide = f"block{index}", x, rounded(expanded * width)
        if index:
            x = conv(f"{name}_expand", x, wide, swish=swish)
        x = conv(f"{name}_depthwise", x, x.values.shape[1], kernel, swish=swish, stride=stride,
                 depthwise=True)
        if gated:
            x = net.squeeze_and_excite(f"{name}_gated", x, rounded(x.values.shape[1] / 4))
        x = net.conv(f"{name}_project", x, rounded(channels * width), relu6=False)
        if stride == 1 and narrow.values.shape == x.values.shape:
            x = net.add(f"{name}_add", narrow, x)
    x = conv("last", x, rounded(576 * width), swish=True)
    x = conv("wide", net.global_pool("mean", x), rounded(1024 * max(1.0, width)), swish=True)
    return [(net.gemm("predictions", net.flatten("flatten", x), CLASSES), (CLASSES,))]
