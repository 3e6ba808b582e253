"""Where a network ends: --cut, and what is left to the host."""
import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from headrace.gen.cli.main import main
from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Conv, Lookup
from onnx_forms import assert_exact, finish
from onnx_models import Q, QdqModel

X, Y = Q(0.03, 120), Q(0.4, 100)
ONES = np.ones((4, 4, 1, 1), np.int8)


def network() -> QdqModel:
    """Convolutions a and b, of which only the first is supported, and a second output."""
    model = QdqModel()
    a = model.conv(model.input((4, 6, 5), X), ONES, Y, name="net/a", clip="Relu")
    model.operator("LRN", [a], Y, name="net/b", size=3)
    model.output("net/b_dq", (4, 6, 5))
    model.output("net/a_dq", (4, 6, 5))
    return model


@pytest.mark.parametrize("tensor", ["net/a_q", "net/a_dq", "net/a_raw_act"])
def test_cut(tmp_path: Path, tensor: str) -> None:
    path = network().save(tmp_path / "net.onnx")
    graph = assert_exact(path, cut=tensor)
    assert graph.output == "net/a_q" and len(graph.nodes) == 1 and graph.nodes[0].lo == 100
    assert graph.host == ("DequantizeLinear", "LRN", "QuantizeLinear")


def message(path: Path, cut: str | None = None) -> str:
    with pytest.raises(HeadraceError) as caught:
        load(path, cut)
    return str(caught.value).removeprefix(f"{path}: ")


def test_refused(tmp_path: Path) -> None:
    model = network()
    path = model.save(tmp_path / "net.onnx")
    assert message(path, "net/a") == (
        "no node makes a tensor 'net/a'; like it are 'net/a_w', 'net/a_q', 'net/a_dq'")
    assert message(path, "?") == "no node makes a tensor '?'"
    assert message(path, "x") == "no node makes a tensor 'x'; like it are 'x_q', 'x_dq'"
    assert message(path, "net/a_raw") == (
        "output 'net/a_raw' is the unquantised result of Conv; "
        "a quantised or dequantised tensor is supported")
    assert message(path, "x_dq") == "no operators between input and output"
    assert message(path).endswith("and --cut TENSOR builds up to one of them")
    assert message(path, "net/b_q").startswith("LRN 'net/b': operator not supported; ")
    assert message(path, "net/b_q").endswith("; --cut TENSOR builds up to a tensor")


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "ArgMax"])
def test_last_operators(tmp_path: Path, operator: str, quantised: bool) -> None:
    model = QdqModel()
    flat = model.node("Flatten", [model.conv(model.input((4, 1, 1), X), ONES, Y, name="y")], "f")
    last = model.node(operator, [flat], "last")
    if quantised and operator != "ArgMax":
        last = model.quantise(last, Q(1 / 256, 0))
    graph = finish(model, tmp_path / "net.onnx", last)
    assert graph.output == "y_q" and len(graph.nodes) == 1
    assert graph.host[:3] == ("DequantizeLinear", "Flatten", operator)


def test_sigmoid(tmp_path: Path) -> None:
    """In real numbers it is the host's; before a QuantizeLinear it would be the hardware's."""
    model = QdqModel()
    model.node("Sigmoid", [model.conv(model.input((4, 1, 1), X), ONES, Y, name="y")], "s")
    assert finish(model, tmp_path / "net.onnx", "s").host == ("DequantizeLinear", "Sigmoid")
    del model.outputs[:]
    model.outputs.append(helper.ValueInfoProto(name=model.quantise("s", Y)))
    path = model.save(tmp_path / "net.onnx")
    assert [type(node) for node in load(path).nodes] == [Conv, Lookup]
    assert load(path, "y_q").output == "y_q"


def test_softmax_of_what_is_not_quantised(tmp_path: Path) -> None:
    model = QdqModel()
    model.conv(model.input((4, 1, 1), X), ONES, Y, name="y")
    model.node("Softmax", ["y_raw"], "s")
    model.nodes = [node for node in model.nodes if node.name not in ("y_q", "y_dq")]
    model.outputs.append(helper.ValueInfoProto(name="s"))
    assert message(model.save(tmp_path / "net.onnx")) == (
        "output 'y_raw' is the unquantised result of Conv; a quantised or dequantised tensor is supported")


def test_circle(tmp_path: Path) -> None:
    model = QdqModel()
    x = model.input((4, 1, 1), X)
    model.node("Softmax", ["b"], "a")
    model.node("Identity", ["a"], "b")
    model.conv(x, ONES, Y, name="y")
    model.outputs.append(helper.ValueInfoProto(name="a"))
    assert message(model.save(tmp_path / "net.onnx"))


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(network().save(tmp_path / "net.onnx"))
    assert main(["info", path, "--cut", "net/a_q"]) == 0
    assert "left to the host: DequantizeLinear, LRN, QuantizeLinear\n" in capsys.readouterr().out
    assert main(["info", path, "--cut", "net/a_q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["host"] == ["DequantizeLinear", "LRN", "QuantizeLinear"]
    assert main(["build", path, "--cut", "net/a_q", "-o", str(tmp_path / "out")]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "left to the host: DequantizeLinear, LRN, QuantizeLinear"
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 4, 6, 5), np.float32), y=np.zeros((1, 9)))
    inputs = ["--cut", "net/a_q", "--inputs", str(tmp_path / "x.npz")]
    for command in (["check", path, *inputs], ["sim", path, *inputs, "--engine", "amaranth"]):
        assert main(command) == 0
        assert "0 mismatches" in capsys.readouterr().out


def test_inputs_that_the_part_does_not_need(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "data" / "two_inputs.onnx"
    graph = assert_exact(path, cut="t_5_q")
    assert graph.input == "t_1_q" and len(graph.nodes) == 1
    assert message(path) == "2 graph inputs; networks with one are supported"
    model = network()
    model.input((9, 9), X, name="unused")
    model.nodes = model.nodes[:-2]  # its QuantizeLinear and DequantizeLinear
    assert_exact(model.save(tmp_path / "net.onnx"), cut="net/a_q")
