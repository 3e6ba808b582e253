"""Files that are no models, and data that is not where it should be."""
import os
import random
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from headrace.gen.importer.load import load
from headrace.gen.importer.source import file as onnx_file
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Conv
from onnx_models import Q, QdqModel

U8 = Q(0.5, 10)
WEIGHT = np.arange(48, dtype=np.int8).reshape(4, 3, 2, 2)


def small() -> QdqModel:
    model = QdqModel()
    x = model.conv(model.input((3, 8, 8), U8), WEIGHT, U8, name="c", bias=np.ones(4), clip=(0.0, 6.0),
                   pads=[0, 1, 1, 0])
    model.operator("MaxPool", [x], U8, name="y", kernel_shape=[2, 2])
    model.output("y_dq", (4, 7, 7))
    return model


def message(path: Path) -> str:
    with pytest.raises(HeadraceError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def test_missing_file(tmp_path: Path) -> None:
    assert message(tmp_path / "none.onnx") == "cannot be read: No such file or directory"
    assert message(tmp_path) == "is a folder and not a file"


def test_unreadable_name(tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match="cannot be read"):
        load(tmp_path / ("n" * 300))


@pytest.mark.parametrize(("content", "expected"), [
    (b"", "not an ONNX file: it has no graph of operators"),
    (b"hello, world", "not an ONNX file, or a damaged one"),
    (bytes(1000), "not an ONNX file, or a damaged one"),
    (b"\x89PNG\r\n\x1a\n" + bytes(99), "not an ONNX file, or a damaged one")])
def test_no_model(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    assert message(path) == expected


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small().save(tmp_path / "x.onnx")
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 100)
    assert message(path) == f"{path.stat().st_size} bytes; models up to 100 are supported"


def test_name_that_is_no_text(tmp_path: Path) -> None:
    path = small().save(tmp_path / "x.onnx")
    path.write_bytes(path.read_bytes().replace(b"MaxPool", b"Max\xffool"))
    assert message(path) in ("damaged: a name in it is not text",
                             "not an ONNX file, or a damaged one")  # as protobuf likes


@pytest.mark.parametrize("seed", range(4))
def test_damage_never_raises_anything_else(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = small().save(tmp_path / "x.onnx")
    sound = path.read_bytes()
    load(path)
    damaged = [sound[:size] for size in range(seed, len(sound), 12)]
    for _ in range(250):
        content = bytearray(sound)
        for _ in range(rng.choice((1, 1, 3))):
            place = rng.randrange(len(content))
            match rng.randrange(4):
                case 0:
                    content[place] ^= 1 << rng.randrange(8)
                case 1:
                    content[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
                case 2:
                    del content[place:place + rng.randrange(1, 9)]
                case 3:
                    content[place:place] = rng.randbytes(rng.randrange(1, 9))
        damaged.append(bytes(content))
    for content in damaged:
        path.write_bytes(content)
        try:
            load(path)
        except HeadraceError as error:
            assert "\n" not in str(error)


def with_external_weight(folder: Path, **entries: object) -> Path:
    """A model whose weights are in ``w.bin`` beside it, 16 bytes from its start."""
    folder.mkdir(exist_ok=True)
    model = small()
    (weight,) = (tensor for tensor in model.initialisers if tensor.name == "c_w_q")
    (folder / "w.bin").write_bytes(bytes(16) + weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "w.bin", "offset": 16, "length": 48} | entries).items():
        weight.external_data.add(key=key, value=str(value))
    return model.save(folder / "x.onnx")


@pytest.mark.parametrize("entries", [{}, {"length": -1}, {"location": "./w.bin"}])
def test_external_data(tmp_path: Path, entries: dict[str, object]) -> None:
    node = load(with_external_weight(tmp_path, **entries)).nodes[0]
    assert isinstance(node, Conv)
    np.testing.assert_array_equal(node.weight, WEIGHT)


@pytest.mark.parametrize(("entries", "expected"), [
    ({"location": "/etc/passwd"}, "'/etc/passwd' is outside the model's folder"),
    ({"location": "../w.bin"}, "'../w.bin' is outside the model's folder"),
    ({"location": "link/w.bin"}, "'link/w.bin' is outside the model's folder"),
    ({"location": "gone.bin"}, "no file 'gone.bin' in the model's folder"),
    ({"location": ""}, "no file '' in the model's folder"),
    ({"location": "w\0.bin"}, "damaged reference 'w\\x00.bin'"),
    ({"offset": 17}, "'w.bin' ends before the data does"),
    ({"offset": -1}, "'w.bin' ends before the data does"),
    ({"length": 1 << 62}, "'w.bin' ends before the data does"),
    ({"length": "many"}, "damaged reference 'w.bin'")])
def test_external_data_errors(tmp_path: Path, entries: dict[str, object], expected: str) -> None:
    folder, outside = tmp_path / "model", tmp_path / "outside"
    outside.mkdir()
    for place in (tmp_path, outside):
        (place / "w.bin").write_bytes(bytes(64))
    path = with_external_weight(folder, **entries)
    os.symlink(outside, folder / "link")
    assert message(path) == f"external data of 'c_w_q': {expected}"


def test_external_data_of_the_wrong_size(tmp_path: Path) -> None:
    assert message(with_external_weight(tmp_path, length=47)) == (
        "constant 'c_w_q': 47 values do not fill its shape [4, 3, 2, 2]")


def test_external_data_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_external_weight(tmp_path, length=9000)
    (tmp_path / "w.bin").write_bytes(bytes(9999))
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 8999)
    assert message(path) == "external data of 'c_w_q': more than 8999 bytes in all"


def test_external_data_in_a_constant_node(tmp_path: Path) -> None:
    model = small()
    value = helper.make_tensor("v", TensorProto.FLOAT, [], [0.5])
    value.data_location = TensorProto.EXTERNAL
    model.nodes.insert(0, helper.make_node("Constant", [], ["scale"], name="k", value=value))
    next(node for node in model.nodes if node.name == "x_q").input[1] = "scale"
    assert message(model.save(tmp_path / "x.onnx")) == (
        "constant 'scale': external data is supported for initialisers only")
