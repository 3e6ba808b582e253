"""Files as real exporters and quantisers write them: each comes in, or one true line says why not."""
from pathlib import Path

import pytest

from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.models.quantize import FloatModel, Options
from headrace.sim import calibration, inputs, oracle

# Which inputs a file shares with others.
_INPUTS = {"mlp": "mlp_in", "res": "res_in", "resN": "res_in", "yolo": "yolo_two_outputs_in"}

ONE = "1 operator that hardware does not have: "


@pytest.fixture(scope="session")
def exports(shared: Path) -> Path:
    if not (shared / "exports").is_dir():
        pytest.skip(f"needs {shared / 'exports'}")
    return shared / "exports"


def judged(path: Path, data: Path) -> int:
    """The mismatches that `headrace check` counts, in at least one frame."""
    graph = load(path, shape=lambda: inputs.frame_shape([data]))
    x = inputs.load([data], graph)[:3]
    assert len(x)
    return sum(oracle.judge(graph, path, x).mismatches.values())


QUANTISED = [
    "adaptavg2", "mlp_QDQ_S8S8_pc1_pre1", "resN_QDQ_S8S8_pc1_pre0", "resN_QOperator_U8S8_pc1_pre1",
    "res_QDQ_addqdqpair", "res_QDQ_dedicated", "res_QDQ_quantbias_false", "res_performance", "res_trt",
    "s_int8_dq0", "w4_pt_qcdq", "w8_pc_qcdq"]

TWO_OUTPUTS = "yolo_two_outputs_QDQ_S8S8_pc1_pre1"


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised(exports: Path, name: str) -> None:
    data = exports / "quantised" / f"{name}_in.npz"
    if not data.exists():
        data = exports / "quantised" / f"{_INPUTS[name.split('_')[0]]}.npz"
    assert judged(exports / "quantised" / f"{name}.onnx", data) == 0


def test_quantised_refused(exports: Path) -> None:
    path = exports / "quantised" / f"{TWO_OUTPUTS}.onnx"
    with pytest.raises(HeadraceError, match="2 graph outputs; networks with one are supported, and --cut "
                                            "TENSOR builds up to one of them"):
        load(path)
    for tensor in ("23_QuantizeLinear_Output", "24_QuantizeLinear_Output"):
        assert load(path, cut=tensor).output == tensor


def quantised(exports: Path, name: str, target: Path, cut: str | None = None) -> Path:
    data = exports / "float" / f"{name}_cal.npz"
    model = FloatModel(exports / "float" / f"{name}.onnx", lambda: inputs.frame_shape([data]), cut)
    samples = calibration.load([data], model.shape, limit=4, preprocessing=calibration.Preprocessing())
    model.quantise(samples, Options(), target)
    return data


FLOAT = [
    "act_elu", "act_hardswish", "act_prelu1", "act_silu", "act_tanh", "avgpool3s2", "conv1d", "dilated",
    "focus", "mlp", "norm_subdiv", "res_dynN", "res_dynNHW", "res_dynN_dynamo", "se", "shuffle", "split"]


@pytest.mark.parametrize("name", FLOAT)
def test_float(exports: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "quantised.onnx"
    assert judged(target, quantised(exports, name, target)) == 0


REFUSED = [
    ("batch4", ("input 'input.1' has shape (4, 3, 16, 16); a batch of 1, or one of any size, is supported: "
               "hardware takes frames one by one, so export the network with such a batch")),
    ("refpad", f"{ONE}Pad '/s/s.0/Pad': mode 'reflect' is not supported; 'constant' is; none of the "),
    ("unet_convtranspose", (f"{ONE}ConvTranspose '/up/ConvTranspose': not supported; --cut "
                            "'/e2/e2.2/Relu_output_0' quantises the 5 of 10 ")),
    ("yolo_two_outputs", ("2 graph outputs ('23', '24'); networks with one are supported, and --cut TENSOR "
                          "quantises up to one of them"))]


@pytest.mark.parametrize(("name", "expected"), REFUSED)
def test_float_refused(exports: Path, tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        quantised(exports, name, tmp_path / "quantised.onnx")
    message = str(caught.value)
    assert message.startswith(f"{exports / 'float' / name}.onnx: {expected}")
    assert "\n" not in message
    assert not (tmp_path / "quantised.onnx").exists()


@pytest.mark.parametrize(("name", "cut"), [
    ("dilated", "/s/s.0/s.0.2/Relu_output_0"), ("split", "/a/a.2/Relu_output_0"),
    ("unet_convtranspose", "/e2/e2.2/Relu_output_0"), ("yolo_two_outputs", "23"), ("yolo_two_outputs", "24")])
def test_float_cut(exports: Path, tmp_path: Path, name: str, cut: str) -> None:
    """The way out that a refusal names."""
    target = tmp_path / "quantised.onnx"
    assert judged(target, quantised(exports, name, target, cut)) == 0


def test_no_file_is_without_a_test(exports: Path) -> None:
    found = {str(path.relative_to(exports).with_suffix("")) for path in exports.rglob("*.onnx")}
    assert found == {*(f"quantised/{name}" for name in (*QUANTISED, TWO_OUTPUTS)),
                     *(f"float/{name}" for name in (*FLOAT, *(name for name, _ in REFUSED)))}
