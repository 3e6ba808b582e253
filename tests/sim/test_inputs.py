"""Inputs from arrays and images."""
import csv
import random
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headrace.gen.importer.load import load as load_graph
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph, Quantisation, Tensor
from headrace.sim import inputs, reference

U8, S8 = Quantisation(0.5, 10, signed=False), Quantisation(0.25, -3, signed=True)


def network(shape: tuple[int, int, int], q: Quantisation) -> Graph:
    return Graph("net", "x", "x", {"x": Tensor("x", *shape, q)}, ())


def save(path: Path, array: object) -> Path:
    np.save(path, np.asarray(array))
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64, ">i4"])
def test_integers_pass(tmp_path: Path, dtype: object) -> None:
    x = np.arange(24).reshape(2, 3, 2, 2)
    path = save(tmp_path / "x.npy", x.astype(dtype))
    loaded = inputs.load([path], network((3, 2, 2), U8))
    assert loaded.dtype == np.int16
    np.testing.assert_array_equal(loaded, x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_real_numbers_are_quantised(tmp_path: Path, dtype: type) -> None:
    x = np.array([0.0, 0.25, 0.75, -5.25, 122.5, 1e4, -np.inf, np.inf], dtype).reshape(1, 8, 1, 1)
    loaded = inputs.load([save(tmp_path / "x.npy", x)], network((8, 1, 1), U8))
    assert loaded.ravel().tolist() == [10, 10, 12, 0, 255, 255, 0, 255]
    loaded = inputs.load([save(tmp_path / "x.npy", x)], network((8, 1, 1), S8))
    assert loaded.ravel().tolist() == [-3, -2, 0, -24, 127, 127, -128, 127]


@pytest.mark.parametrize(("shape", "target", "count"), [
    ((3, 4, 5), (3, 4, 5), 1), ((2, 3, 4, 5), (3, 4, 5), 2), ((6,), (6, 1, 1), 1),
    ((2, 6), (6, 1, 1), 2), ((6, 1, 1), (6, 1, 1), 1), ((2, 6, 1, 1), (6, 1, 1), 2)])
def test_shapes(tmp_path: Path, shape: tuple[int, ...], target: tuple[int, int, int],
                count: int) -> None:
    x = np.arange(np.prod(shape)).reshape(shape)
    loaded = inputs.load([save(tmp_path / "x.npy", x)], network(target, U8))
    np.testing.assert_array_equal(loaded, x.reshape(count, *target))


@pytest.mark.parametrize(("shape", "turned"), [
    ((2, 4, 5, 3), (3, 4, 5)), ((4, 5, 3), (3, 4, 5)), ((2, 4, 4, 4), None), ((2, 3, 5, 3), (3, 3, 5))])
def test_channels_last(tmp_path: Path, shape: tuple[int, ...], turned: tuple[int, int, int] | None) -> None:
    """Arrays in the order of TensorFlow are turned, but where they could be in the order of all others."""
    x = np.arange(np.prod(shape)).reshape(shape) % 251
    loaded = inputs.load([save(tmp_path / "x.npy", x)], network(turned or (4, 4, 4), U8))
    np.testing.assert_array_equal(loaded, np.moveaxis(x.reshape(-1, *shape[-3:]), 3, 1) if turned else x)


@pytest.mark.parametrize(("shape", "frame"), [
    ((2, 3, 4, 5), (3, 4, 5)), ((3, 4, 5), (3, 4, 5)), ((2, 6), (6,)), ((6,), (6,))])
def test_frame_shape(tmp_path: Path, shape: tuple[int, ...], frame: tuple[int, ...]) -> None:
    assert inputs.frame_shape([save(tmp_path / "x.npy", np.zeros(shape)), tmp_path / "none.npy"]) == frame
    assert inputs.frame_shape([tmp_path / "x.png"]) is None
    with pytest.raises(HeadraceError, match="none.npy: cannot be read"):
        inputs.frame_shape([tmp_path / "none.npy"])


def test_several_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=np.ones((9, 9)), x=np.full((2, 1, 2, 2), 5))
    np.savez_compressed(tmp_path / "b.npz", only=np.full((1, 2, 2), 6))
    save(tmp_path / "c.npy", np.asfortranarray(np.arange(4).reshape(1, 1, 2, 2)))
    Image.fromarray(np.full((2, 2), 8, np.uint8)).save(tmp_path / "d.png")
    paths = [tmp_path / name for name in ("a.npz", "b.npz", "c.npy", "d.png")]
    loaded = inputs.load(map(str, paths), network((1, 2, 2), U8))
    assert loaded.reshape(5, 4).tolist() == [[5] * 4, [5] * 4, [6] * 4, [0, 1, 2, 3], [8] * 4]


@pytest.mark.parametrize("q", [U8, S8])
def test_image_of_the_right_size(tmp_path: Path, q: Quantisation) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    loaded = inputs.load([tmp_path / "x.png"], network((3, 4, 6), q))
    np.testing.assert_array_equal(loaded[0], pixels.transpose(2, 0, 1).astype(int) - 128 * q.signed)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK", "LA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_image_modes(tmp_path: Path, mode: str, channels: int) -> None:
    path = tmp_path / ("x.tiff" if mode == "CMYK" else "x.png")
    Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode).save(path)
    assert (inputs.load([path], network((channels, 4, 5), U8)) == 255).all()


def test_image_sizes(tmp_path: Path) -> None:
    """A gradient tells where the crop lies: the middle of the image stays the middle."""
    for size in ((448, 224), (300, 500), (100, 30), (225, 224)):
        ramp = np.linspace(0, 255, size[0]).astype(np.uint8)
        Image.fromarray(np.tile(ramp, (size[1], 1))).save(tmp_path / "x.png")
        (image,) = inputs.load([tmp_path / "x.png"], network((1, 224, 224), U8))[:, 0]
        assert abs(float(image.mean()) - 127.5) < 1.5
        seen = 1 if min(size) < 224 else 224 / (max(size[0], 224) * 256 / min(size))
        assert abs((int(image[0, -1]) - int(image[0, 0])) / 255 - seen) < 0.02


def test_photos_classify_as_in_onnx_runtime(shared: Path) -> None:
    graph = load_graph(shared / "models" / "mobilenet_v2_1.0_224_qdq.onnx")
    with (shared / "images" / "predictions_ort.csv").open() as file:
        rows = list(csv.DictReader(file))[:2]
    x = inputs.load([shared / "images" / row["file"] for row in rows], graph)
    y = reference.run(graph, x)[graph.output].reshape(2, -1)
    top = np.argsort(-y, kind="stable")[:, :5] - 1  # class 0 is the background
    expected = [row["mobilenet_v2_1.0_224_top5"].split() for row in rows]
    assert top.tolist() == [[int(number) for number in row] for row in expected]


def test_no_files() -> None:
    with pytest.raises(HeadraceError, match=r"^no input files; \.npz, \.npy and images are supported$"):
        inputs.load([], network((1, 2, 2), U8))


def message(path: Path, shape: tuple[int, int, int] = (3, 4, 4), q: Quantisation = U8) -> str:
    with pytest.raises(HeadraceError) as caught:
        inputs.load([path], network(shape, q))
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(("array", "expected"), [
    (np.zeros((4, 4, 2)), "shape (4, 4, 2); (N, 3, 4, 4) is supported"),
    (np.zeros((0, 3, 4, 4)), "shape (0, 3, 4, 4); (N, 3, 4, 4) is supported"),
    (np.float32(1), "shape (); (N, 3, 4, 4) is supported"),
    (np.full((3, 4, 4), 256), "values 256 to 256; integers of 0 to 255 or real numbers are supported"),
    (np.full((3, 4, 4), -1), "values -1 to -1; integers of 0 to 255 or real numbers are supported"),
    (np.full((3, 4, 4), np.nan), "holds NaN, which cannot be quantised"),
    (np.zeros((3, 4, 4), complex), "an array of complex128; integers and real numbers are supported"),
    (np.zeros((3, 4, 4), bool), "an array of bool; integers and real numbers are supported"),
    (np.array(["text"]), "an array of <U4; integers and real numbers are supported"),
    (np.array([None]), "an array of object; integers and real numbers are supported")])
def test_array_errors(tmp_path: Path, array: np.ndarray, expected: str) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    assert message(tmp_path / "x.npy") == expected


def test_vector_shapes(tmp_path: Path) -> None:
    assert message(save(tmp_path / "x.npy", np.zeros((2, 5))), (6, 1, 1)) == (
        "shape (2, 5); (N, 6, 1, 1) or (N, 6) is supported")


def test_range_of_int8(tmp_path: Path) -> None:
    assert message(save(tmp_path / "x.npy", np.full((3, 4, 4), 128)), q=S8) == (
        "values 128 to 128; integers of -128 to 127 or real numbers are supported")


def test_npz_errors(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=1, b=2)
    assert message(path) == "holds 'a', 'b'; one array, or one called 'x', is supported"
    np.savez(path)
    assert message(path) == "holds none; one array, or one called 'x', is supported"


def test_file_errors(tmp_path: Path) -> None:
    for name in ("x.npy", "x.npz", "x.png"):
        path = tmp_path / name
        assert message(path) == "cannot be read: No such file or directory"
        path.write_bytes(b"hello")
        assert message(path) == ("cannot be read: not an image that Pillow knows" if name == "x.png"
                                 else "damaged, or not what its suffix says")


def test_image_for_another_kind_of_network(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    for shape in ((2, 4, 4), (3, 1, 1)):
        assert message(tmp_path / "x.png", shape) == (
            f"an image cannot be the network's input of shape {shape}; .npz and .npy are supported")


def test_array_that_claims_to_be_huge(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3, 1099511627776, 1048576), }\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (tmp_path / "x.npy").write_bytes(content)
    expected = "its array is larger than the file or than 1073741824 bytes"
    assert message(tmp_path / "x.npy") == expected
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", content)
    assert message(tmp_path / "x.npz") == expected


def test_image_that_claims_to_be_huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "x.png")
    for limit in (300, 100):  # Pillow warns first, and refuses at twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert message(tmp_path / "x.png") == f"claims more than the {limit} pixels that are supported"


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.png", "x.jpg", "x.gif"])
def test_damage_never_raises_anything_else(tmp_path: Path, name: str) -> None:
    rng, path = random.Random(name), tmp_path / name
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    if name == "x.npy":
        np.save(path, pixels.transpose(2, 0, 1))
    elif name == "x.npz":
        np.savez_compressed(path, x=pixels.transpose(2, 0, 1))
    else:
        Image.fromarray(pixels).save(path)
    sound = path.read_bytes()
    for _ in range(300):
        content = bytearray(sound[:rng.choice((len(sound), rng.randrange(len(sound))))])
        for _ in range(rng.randrange(4)):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                inputs.load([path], network((3, 4, 4), U8))
            except HeadraceError as error:
                assert "\n" not in str(error)
