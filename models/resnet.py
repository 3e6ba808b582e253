"""ResNet-18: table 1 of He et al., 2015."""
from headrace.models.blocks import Blocks
from headrace.models.mobilenet_v2 import CLASSES, rounded
from headrace.models.qdq import Output

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # channels, stride of the first of two blocks


def layers(net: Blocks, width: float) -> list[Output]:
    x = net.conv("conv1", net.input(), rounded(64 * width), 7, stride=2, relu=True)
    x = net.max_pool("maxpool", x, 3, 2)
    for stage, (wide, first) in enumerate(STAGES, 1):
        channels = rounded(wide * width)
        for block in range(2):
            name, stride = f"layer{stage}_{block}", 1 if block else first
            y = net.conv(f"{name}_conv1", x, channels, 3, stride=stride, relu=True)
            y = net.conv(f"{name}_conv2", y, channels, 3, relu6=False)
            if stride > 1:
                x = net.conv(f"{name}_downsample", x, channels, stride=stride, relu6=False)
            x = net.add(f"{name}_add", y, x, relu=True)
    return [(net.classifier(x, CLASSES), (CLASSES,))]
