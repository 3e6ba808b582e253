"""Export networks of torchvision with random weights, and images to calibrate with; needs both packages.

Usage: export_torchvision.py FOLDER [NETWORK ...]
"""
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision

NETWORKS = ("mobilenet_v3_small", "efficientnet_b0", "squeezenet1_1", "shufflenet_v2_x0_5", "resnet18",
            "mnasnet0_5")
SHAPE = 3, 64, 64
IMAGES = 8


def main(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(0).normal(0, 1, (IMAGES, *SHAPE)).astype(np.float32)
    np.savez(folder / "images.npz", x=images)
    for name in names or NETWORKS:
        torch.manual_seed(0)
        model = getattr(torchvision.models, name)(weights=None)
        with torch.no_grad():
            for _ in range(20):  # so that the means and variances are those of the random weights
                model(torch.from_numpy(images))
        torch.onnx.export(model.eval(), (torch.zeros(1, *SHAPE),), str(folder / f"{name}.onnx"),
                          opset_version=13, dynamo=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
