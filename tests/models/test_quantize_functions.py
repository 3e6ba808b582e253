"""`headrace quantize` of networks with functions of one activation, and QONNX with them: each one table."""
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest

from float_models import FloatModel
from functions import FUNCTIONS, Function
from headrace.gen.cli.main import main
from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Conv, GlobalAveragePool, Lookup
from headrace.sim import inputs, oracle
from onnx_forms import assert_exact
from qonnx_models import QonnxModel

NAMED = {function.name: function for function in FUNCTIONS}


def float_network(function: Function, folder: Path, *, named: bool = True) -> Path:
    model = FloatModel("torchvision", opset=function.opset)
    x = function.add(model, model.layer("x", "a", 6, 3, 3, stride=2, relu6=False), "f")
    x = model.layer(x, "b", 8, 6, relu6=False)
    x = model.node("Flatten", [model.node("GlobalAveragePool", [x], "pool")], "flat")
    model.node("Gemm", [x, model.random("fc_w", 5, 8), model.random("fc_b", 5)], "y", transB=1)
    for node in model.nodes:
        node.name = node.name if named else ""
    return model.save(folder / "float.onnx")


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("name", [
    "Softplus", "PRelu", "Pow", "SiLU", "HardSwish", "HardSwish by Clip", "Gelu", "Gelu by Erf",
    "Mish by Softplus"])
def test_one_table(tmp_path: Path, name: str, kind: str) -> None:
    """Also where the quantiser, left alone, would quantise steps of it."""
    x = np.random.default_rng(0).normal(size=(12, 3, 12, 12)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    path, out = float_network(NAMED[name], tmp_path, named=kind == "int8"), tmp_path / "q.onnx"
    assert main(["quantize", str(path), "--calibration", str(tmp_path / "x.npy"), "-o", str(out),
                 "--activations", kind]) == 0
    graph = load(out)
    assert [type(node) for node in graph.nodes] == [Conv, Lookup, Conv, GlobalAveragePool, Conv]
    judged = oracle.judge(graph, out, inputs.load([tmp_path / "x.npy"], graph))
    assert len(judged.mismatches) == 6 and not any(judged.mismatches.values())


def test_bias_of_one_output_is_no_step(tmp_path: Path) -> None:
    """Behind a MatMul a number is a bias."""
    model = FloatModel("torchvision")
    x = model.node("Flatten", [model.layer("x", "a", 2, 3, 12, relu6=False)], "flat")
    x = model.node("Reshape", [x, model.constant("shape", np.array([1, -1]))], "again")
    x = model.node("MatMul", [x, model.random("fc_w", 338, 1)], "fc")
    model.node("Add", [x, model.random("fc_b", 1)], "y")
    model.outputs = [onnx.helper.make_tensor_value_info("y", 1, (1, 1))]
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3, 3, 12, 12)).astype(np.float32))
    assert main(["quantize", str(model.save(tmp_path / "float.onnx")), "--calibration",
                 str(tmp_path / "x.npy"), "-o", str(tmp_path / "q.onnx")]) == 0
    assert [type(node) for node in load(tmp_path / "q.onnx").nodes] == [Conv, Conv]


@pytest.mark.parametrize("bits", [8, 4])
def test_qonnx(tmp_path: Path, bits: int) -> None:
    model = QonnxModel()
    x = model.quant(model.input((3, 6, 5)), 0.05, 8, "x_quant")
    weight = np.random.default_rng(0).integers(-7, 8, (4, 3, 3, 3))
    x = model.node("Conv", [x, model.weight("w", weight, 0.02, 4)], "c", pads=[1, 1, 1, 1])
    x = model.node("Sigmoid", [model.quant(x, 0.09, 8, "a")], "s")
    x = model.quant(model.node("Mul", ["a", x], "m"), 0.11, bits, "m_quant")
    model.output(model.quant(model.node("Tanh", [x], "t"), 1 / 120, 8, "y"))
    path = tmp_path / "net.onnx"
    path.write_bytes(model.proto().SerializeToString())
    graph = assert_exact(path)
    tables = [node for node in graph.nodes if isinstance(node, Lookup)]
    assert len(tables) == len(graph.nodes) - 1 == 2 and tables[0].function[:2] == ("Sigmoid", "Mul")
    assert len(set(tables[0].table.tolist())) <= 1 << bits


@pytest.mark.parametrize("style", ["torchvision", "keras"])
def test_normalisation_of_the_input(tmp_path: Path, style: Literal["torchvision", "keras"]) -> None:
    """Numbers by channel, before anything is quantised: a table for each channel."""
    model = FloatModel(style)
    sides = (3, 1, 1) if style == "torchvision" else (3,)
    mean, deviation = (model.constant(name, np.float32(values).reshape(sides)) for name, values in (
        ("mean", [124, 116, 104]), ("deviation", [58, 57, 59])))
    x = model.node("Div", [model.node("Sub", ["x", mean], "centred"), deviation], "normal")
    x = x if style == "torchvision" else model.node("Transpose", [x], "nchw", perm=[0, 3, 1, 2])
    x = model.layer(x, "a", 4, 3, 3)
    model.node("Flatten", [model.node("GlobalAveragePool", [x], "pool")], "y")
    model.outputs = [onnx.helper.make_tensor_value_info("y", 1, (1, 4))]
    shape = (3, 12, 12) if style == "torchvision" else (12, 12, 3)
    x_values = np.random.default_rng(0).integers(0, 256, (6, *shape)).astype(np.float32)
    np.save(tmp_path / "x.npy", x_values)
    out = tmp_path / "q.onnx"
    assert main(["quantize", str(model.save(tmp_path / "float.onnx")), "--calibration",
                 str(tmp_path / "x.npy"), "-o", str(out)]) == 0
    graph = load(out)
    first, *_ = graph.nodes
    assert isinstance(first, Lookup) and first.by_channel and first.function == ("Sub", "Div")
    assert graph.tensors[graph.input].quantisation.scale == 1
    judged = oracle.judge(graph, out, np.arange(432).reshape(1, 3, 12, 12) % 256)
    assert not any(judged.mismatches.values())
