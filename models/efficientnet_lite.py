"""EfficientNet-Lite0: EfficientNet-B0 (table 1 of Tan and Le, 2019) with ReLU6 and without gates."""
from headrace.models.blocks import Blocks
from headrace.models.mobilenet_v2 import CLASSES, rounded
from headrace.models.qdq import Output

# Expansion, channels, repetitions, stride of the first, kernel.
STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
          (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))


def layers(net: Blocks, width: float) -> list[Output]:
    x = net.conv("stem", net.input(), rounded(32 * width), 3, stride=2)
    for stage, (expansion, channels, repetitions, first, kernel) in enumerate(STAGES, 1):
        for index in range(repetitions):
            name, narrow = f"block{stage}_{index}", x
            if expansion > 1:
                x = net.conv(f"{name}_expand", x, expansion * x.values.shape[1])
            x = net.conv(f"{name}_depthwise", x, x.values.shape[1], kernel, stride=1 if index else first,
                         depthwise=True)
            x = net.conv(f"{name}_project", x, rounded(channels * width), relu6=False)
            if index:
                x = net.add(f"{name}_add", narrow, x)
    x = net.conv("head", x, rounded(1280 * max(1.0, width)))
    return [(net.classifier(x, CLASSES), (CLASSES,))]
