# amaranth: UnusedElaboratable=no
"""QONNX networks: hardware, reference, ONNX Runtime and the `qonnx` package."""
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph
from headrace.gen.planning.planner import plan
from headrace.sim import oracle, reference, verify
from qonnx_models import QonnxModel

X_SCALE = np.float32(0.0217)


class Brevitas(QonnxModel):
    """Layers as Brevitas exports them: convolution, BatchNormalization, activation, Quant."""

    def __init__(self, bits: int, *, on_grid: bool) -> None:
        super().__init__()
        self.bits = bits
        self.on_grid = on_grid  # no bias has to be rounded
        self.rng = np.random.default_rng([bits, on_grid])

    def layer(self, x: str, x_scale: np.float32, shape: tuple[int, ...], name: str, y_scale: float,
              y_bits: int, *, signed: int = 1, relu: bool = False,
              **attributes: object) -> tuple[str, np.float32]:
        rng, outputs, top = self.rng, shape[0], (1 << self.bits - 1) - 1
        scale = np.float32(rng.uniform(0.5, 1.5, (outputs, 1, 1, 1)) / top / np.sqrt(np.prod(shape[1:])))
        weight = self.weight(f"{name}_w", rng.integers(-top, top + 1, shape), scale, self.bits, narrow=1)
        unit = x_scale * scale.ravel()
        mean = rng.integers(-99, 99, outputs) * unit if self.on_grid else rng.normal(size=outputs)
        y = self.batch_normalisation(
            self.node("Conv", [x, weight], f"{name}_c", **attributes), f"{name}_bn",
            gamma=rng.choice((-1, 1), outputs) * rng.uniform(0.5, 2, outputs),
            beta=np.zeros(outputs) if self.on_grid else rng.normal(size=outputs),
            mean=mean, variance=rng.uniform(0.5, 2, outputs), epsilon=1e-5)
        y = self.node("Relu", [y], f"{name}_r") if relu else y
        return self.quant(y, y_scale, y_bits, f"{name}_q", signed=signed), np.float32(y_scale)


def network(folder: Path, bits: int, *, on_grid: bool = True, size: int = 8) -> tuple[Path, Graph]:
    """An inverted residual, pools and a classifier; inside, activations have as few bits as the weights."""
    model = Brevitas(bits, on_grid=on_grid)
    x, s = model.quant(model.input((3, size, size)), X_SCALE, 8, "xq"), X_SCALE
    x, s = model.layer(x, s, (4, 3, 3, 3), "stem", 0.0433, 8, pads=[1, 1, 1, 1], strides=[2, 2])
    y, t = model.layer(x, s, (8, 4, 1, 1), "expand", 2.03 / (1 << bits), bits, signed=0, relu=True)
    y, t = model.layer(y, t, (8, 1, 3, 3), "deep", 1.07 / (1 << bits), bits, signed=0, relu=True, group=8,
                       pads=[1, 1, 1, 1])
    y, t = model.layer(y, t, (4, 8, 1, 1), "project", 0.0391, 8)
    x = model.quant(model.node("Add", [x, y], "add"), 0.0517, 8, "addq")
    x = model.node("MaxPool", [x], "max", kernel_shape=[2, 2], strides=[2, 2])
    x = model.quant(model.node("GlobalAveragePool", [x], "average"), 0.0213, 8, "averageq")
    top = (1 << bits - 1) - 1
    weight = model.weight("fc_w", model.rng.integers(-top, top + 1, (5, 4)), 0.613 / top, bits, narrow=1)
    x = model.node("Gemm", [model.node("Flatten", [x], "flat"), weight], "fc", transB=1)
    model.output(model.quant(x, 0.0177, 8, "y"))
    path = model.save(folder / "net.onnx")
    return path, load(path)


def images(graph: Graph, count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(-128, 128, (count, *graph.tensors[graph.input].shape))


def carried_out(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor of a QONNX model, real numbers, as the `qonnx` package computes it."""
    model = ModelWrapper(str(path)).transform(InferShapes())
    runs = [execute_onnx(model, {"x": image[None] * X_SCALE}, return_full_exec_context=True) for image in x]
    names = [name for node in model.graph.node for name in node.output]
    return {name: np.concatenate([run[name] for run in runs]) for name in names}


@pytest.mark.parametrize("bits", (2, 3, 4, 8))
def test_onnx_runtime_agrees(tmp_path: Path, bits: int) -> None:
    path, graph = network(tmp_path, bits, on_grid=False)
    counts = oracle.compare(graph, path, images(graph, 20))
    assert len(counts) == 9 and not any(counts.values())


@pytest.mark.parametrize("bits", (2, 3, 4, 8))
def test_qonnx_agrees(tmp_path: Path, bits: int) -> None:
    """Where no bias has to be rounded, and no sum lies at a tie, every integer is QONNX's."""
    path, graph = network(tmp_path, bits)
    x = images(graph, 4)
    ours, theirs = reference.run(graph, x), carried_out(path, x)
    for tensor in graph.tensors.values():
        q = tensor.quantisation
        values = theirs[tensor.name.removesuffix("/integers")].reshape(len(x), *tensor.shape)
        integers = np.rint(values / np.float32(q.scale)) + q.zero_point
        np.testing.assert_array_equal(ours[tensor.name], integers, tensor.name)
    assert len(np.unique(ours[graph.output])) > 10


def test_rounded_biases_matter_next_to_ties_only(tmp_path: Path) -> None:
    path, graph = network(tmp_path, 4, on_grid=False)
    x = images(graph, 4)
    stem = graph.nodes[0]
    q = graph.tensors[stem.output].quantisation
    ours, theirs = reference.run(graph, x)[stem.output], carried_out(path, x)
    different = ours != np.rint(theirs["stem_q"] / np.float32(q.scale))
    steps = theirs["stem_bn"].astype(np.float64) / q.scale
    from_tie = abs(steps - np.floor(steps) - 0.5)
    limit = 0.5 * stem.multiplier[:, None, None] + 1e-4  # half a unit of the bias, in steps of the output
    assert different.any() and (from_tie < limit)[different].all()


@pytest.mark.parametrize("bits", (2, 4))
def test_hardware_agrees(tmp_path: Path, bits: int) -> None:
    _, graph = network(tmp_path, bits, size=4)
    result = verify.run(graph, plan(graph), images(graph, 2), engine="amaranth")
    assert len(result.mismatches) == 8 and not any(result.mismatches.values())
