"""YOLOv3-tiny (Redmon and Farhadi, 2018): boxes on two scales, each an output of its own."""
from headrace.models.blocks import Blocks
from headrace.models.mobilenet_v2 import rounded
from headrace.models.qdq import Activation, Output

BACKBONE = (16, 32, 64, 128, 256)  # channels of convolutions with a MaxPool behind each
BOXES = 3 * (4 + 1 + 80)  # of a position: three, each with its place, whether it is one, and 80 classes


def layers(net: Blocks, width: float) -> list[Output]:
    def conv(name: str, x: Activation, channels: int, kernel: int) -> Activation:
        return net.leaky(f"{name}_leaky", net.conv(name, x, rounded(channels * width), kernel, relu6=False))

    x = fine = net.input()
    for index, channels in enumerate(BACKBONE):
        fine = conv(f"conv{index}", x, channels, 3)
        x = net.max_pool(f"pool{index}", fine, 2, 2)
    x = conv("conv6", conv("conv5", x, 512, 3), 1024, 3)
    x = conv("neck", x, 256, 1)
    coarse = net.conv("boxes_coarse", conv("head_coarse", x, 512, 3), BOXES, relu6=False)
    x = net.concat("concat", net.upsample("upsample", conv("route", x, 128, 1), 2), fine)
    fine = net.conv("boxes_fine", conv("head_fine", x, 256, 3), BOXES, relu6=False)
    return [(y, y.values.shape[1:]) for y in (coarse, fine)]
