"""Small networks that use every operator."""
from functools import partial
from pathlib import Path

import numpy as np
from onnx import helper

from onnx_models import Q, QdqModel

SHAPE = (3, 8, 6)


def _weight(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-100, 100, shape).astype(np.int8)


def every_operator(path: Path) -> Path:
    """Save a network of dense, depthwise and pointwise convolutions, pools, a residual and a classifier.

    What moves values or looks them up is in :func:`branches`.
    """
    rng = np.random.default_rng(7)
    weight = partial(_weight, rng)
    model = QdqModel()
    x = model.input(SHAPE, Q(0.02, 120))
    x = model.conv(x, weight(4, 3, 3, 3), Q(0.05, 0), name="stem", pads=[1, 1, 1, 1], clip="Relu",
                   bias=rng.integers(-500, 500, 4))
    wide = model.conv(x, weight(8, 4, 1, 1), Q(0.04, 3), name="expand")
    deep = model.conv(wide, weight(8, 1, 3, 3), Q(0.03, 100), name="depthwise", group=8, pads=[1, 1, 1, 1])
    thin = model.conv(deep, weight(4, 8, 1, 1), Q(0.05, 130), name="project",
                      scale=np.array([0.01, 0.02, 0.005, 0.011], np.float32))
    x = model.operator("Add", [thin, x], Q(0.07, 111), name="add")
    x = model.operator("MaxPool", [x], Q(0.07, 111), name="max", kernel_shape=[2, 2], strides=[2, 2])
    x = model.conv(x, weight(6, 4, 3, 3), Q(0.09, 90), name="halve", pads=[0, 0, 1, 1], strides=[2, 2])
    x = model.operator("AveragePool", [x], Q(0.09, 90), name="average", kernel_shape=[2, 1])
    x = model.operator("GlobalAveragePool", [x], Q(0.08, 80), name="global")
    x = model.node("Flatten", [x], "flat")
    x = model.operator("Gemm", [model.quantise(x, Q(0.08, 80), name="flat_same"),
                                model.weight("fc_w", weight(5, 6), 0.02, 0, 0)], Q(0.1, 128), name="fc",
                       transB=1)
    model.output(x, (5,))
    return model.save(path)


def branches(path: Path) -> Path:
    """Save a network whose branches meet in concatenations, one of them enlarged, with tables in between."""
    weight = partial(_weight, np.random.default_rng(8))
    model = QdqModel()
    x = model.input(SHAPE, Q(0.02, 120))
    a = model.conv(x, weight(4, 3, 3, 3), Q(0.05, 100), name="stem", pads=[1, 1, 1, 1])
    leaky = model.operator("LeakyRelu", [a], Q(0.04, 90), name="leaky", alpha=0.1)
    half = model.operator("MaxPool", [leaky], Q(0.03, 80), name="half", kernel_shape=[2, 2], strides=[2, 2])
    wide = model.conv(half, weight(3, 4, 3, 3), Q(0.06, 70), name="wide", pads=[1, 1, 1, 1])
    thin = model.conv(half, weight(2, 4, 1, 1), Q(0.06, 70), name="thin", clip="Relu")
    both = model.operator("Concat", [wide, half, thin], Q(0.06, 70), name="both", axis=1)
    large = model.operator(
        "Resize", [both, model.constant("roi", np.zeros(0, np.float32)),
                   model.constant("factors", np.array([1, 1, 2, 2], np.float32))], Q(0.06, 70), name="large",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    y = model.operator("Concat", [large, a], Q(0.07, 128), name="y", axis=1)
    model.output(y, (13, *SHAPE[1:]))
    return model.save(path)


def products(path: Path) -> Path:
    """Save a network of a gate, which is a table times what it is made of, and a product with rows held.

    Between them is a difference, before them a function by channel, behind them squeeze and excite.
    """
    weight = partial(_weight, np.random.default_rng(9))
    model = QdqModel()
    x = model.input(SHAPE, Q(0.02, 120))
    slopes = model.constant("slopes", np.float32([0.1, -0.2, 0.3]).reshape(3, 1, 1))
    x = model.operator("PRelu", [x, slopes], Q(0.015, 60), name="bent")
    a = model.conv(x, weight(4, 3, 3, 3), Q(0.05, 100), name="stem", pads=[1, 1, 1, 1])
    gate = model.operator("HardSigmoid", [a], Q(1 / 256, 0), name="gate", alpha=1 / 6)
    gated = model.operator("Mul", [a, gate], Q(0.04, 20), name="gated")
    deep = model.conv(gated, weight(4, 1, 3, 3), Q(0.06, 0), name="deep", group=4, pads=[1, 1, 1, 1],
                      clip="Relu")
    deep = model.operator("Sub", [deep, a], Q(0.09, 60), name="apart")
    product = model.operator("Mul", [deep, gated], Q(0.1, 128), name="product", clip=(-9.0, 9.0))
    pooled = model.operator("GlobalAveragePool", [product], Q(0.03, 128), name="pooled")
    squeezed = model.conv(pooled, weight(2, 4, 1, 1), Q(0.02, 0), name="squeezed", clip="Relu")
    excited = model.conv(squeezed, weight(4, 2, 1, 1), Q(0.03, 100), name="excited")
    y = model.operator("Mul", [product, excited], Q(0.15, 90), name="y")
    model.output(y, (4, *SHAPE[1:]))
    return model.save(path)


def rearranged(path: Path) -> Path:
    """Save a network of space to depth, parts of channels, a shuffle of channels and parts of an image."""
    weight = partial(_weight, np.random.default_rng(10))
    model = QdqModel()
    x = model.operator("SpaceToDepth", [model.input(SHAPE, Q(0.02, 120))], Q(0.02, 120), name="deep",
                       blocksize=2)
    x = model.conv(x, weight(8, 12, 3, 3), Q(0.05, 100), name="stem", pads=[1, 1, 1, 1])
    sizes = model.constant("sizes", np.array([4, 4]))
    model.nodes.append(helper.make_node("Split", [x, sizes], ["a", "b"], name="split", axis=1))
    a, b = (model.quantise(name, Q(0.05, 100)) for name in "ab")
    a = model.conv(a, weight(4, 1, 3, 3), Q(0.05, 100), name="part", group=4, pads=[1, 1, 1, 1])
    x = model.operator("Concat", [a, b], Q(0.05, 100), name="both", axis=1)
    for name, dims in (("grouped", (1, 2, 4, 4, 3)), ("swapped", ()), ("shuffled", (1, 8, 4, 3))):
        x = model.node("Reshape", [x, model.constant(f"{name}_dims", np.array(dims))], name) if dims else (
            model.node("Transpose", [x], name, perm=[0, 2, 1, 3, 4]))
        x = model.quantise(x, Q(0.05, 100))
    places = [model.constant(name, np.array(values)) for name, values in (
        ("starts", (1, 0, 1)), ("ends", (8, 3, 3)), ("axes", (1, 2, 3)), ("steps", (3, 2, 1)))]
    y = model.operator("Slice", [x, *places], Q(0.05, 100), name="y")
    model.output(y, (3, 2, 2))
    return model.save(path)
