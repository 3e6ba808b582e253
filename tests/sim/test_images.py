"""Images as inputs: every pixel as its mode says, or one line that says why not."""
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph, Quantisation, Tensor
from headrace.sim import calibration, inputs

HEIGHT, WIDTH = 4, 6
RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
WORDS = RNG.integers(0, 1 << 16, (HEIGHT, WIDTH)).astype(np.uint16)
WORDS[0, :4] = 0, 65535, 255, 256  # white became 255 and all from 255 on did
COLOURS = RNG.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def load(path: Path, channels: int = 1, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[Any]:
    """An image as two commands take it, which agree; (height, width, channels)."""
    q = Quantisation(1.0, 0, signed=False)
    graph = Graph("net", "x", "x", {"x": Tensor("x", channels, height, width, q)}, ())
    (simulated,) = inputs.load([path], graph)
    (calibrating,) = calibration.load([path], (channels, height, width), limit=1,
                                      preprocessing=calibration.Preprocessing(scale=1.0))
    np.testing.assert_array_equal(simulated, calibrating)
    return simulated.transpose(1, 2, 0)


def message(path: Path, channels: int = 1) -> str:
    with pytest.raises(HeadraceError) as caught:
        load(path, channels)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def grey(values: npt.NDArray[Any]) -> Image.Image:
    return Image.fromarray(values)


@pytest.mark.parametrize("name", ("x.png", "x.tif", "x.pgm"))
@pytest.mark.parametrize("channels", (1, 3))
def test_16_bits(tmp_path: Path, name: str, channels: int) -> None:
    grey(WORDS).save(tmp_path / name)
    np.testing.assert_array_equal(load(tmp_path / name, channels), np.stack([WORDS >> 8] * channels, axis=-1))


def test_16_bits_of_the_case(shared_cases: Path) -> None:
    """16-bit grey and 8-bit grey of the same picture."""
    with Image.open(shared_cases / "034-16bit-image" / "i16.png") as image:
        values, (width, height) = np.asarray(image).astype(int), image.size
    np.testing.assert_array_equal(
        load(shared_cases / "034-16bit-image" / "i16.png", 1, height, width)[:, :, 0], values >> 8)


def test_16_bits_of_mode_i(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow before 11 gives a PNG of 16 bits the mode of 32."""
    grey(WORDS).save(tmp_path / "x.png")
    real = Image.open

    def older(file: Any) -> Image.Image:
        image = real(file).convert("I")
        image.format = "PNG"
        return image

    monkeypatch.setattr(Image, "open", older)
    np.testing.assert_array_equal(load(tmp_path / "x.png")[:, :, 0], WORDS >> 8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(path: Path, depth: int, colour: int, rows: npt.NDArray[Any], *more: bytes) -> Path:
    """Write a PNG of any depth and chunks; ``rows`` are bytes without the filter's."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, 0)
    content = b"".join(b"\0" + row.tobytes() for row in rows)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more)
                     + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b""))
    return path


def test_16_bits_in_colour(tmp_path: Path) -> None:
    deep = RNG.integers(0, 1 << 16, (HEIGHT, WIDTH, 3)).astype(">u2")
    np.testing.assert_array_equal(load(png(tmp_path / "x.png", 16, 2, deep), 3), deep >> 8)


@pytest.mark.parametrize("bits, photometric", ((16, 1), (16, 0), (12, 1)))
def test_tiff_of_many_bits(tmp_path: Path, bits: int, photometric: int) -> None:
    values = WORDS >> (16 - bits)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = photometric
    grey(values).save(tmp_path / "x.tif", tiffinfo=tags)
    if bits == 12:  # packed, two pixels in three bytes
        pairs = values.reshape(-1, 2).astype(int)
        packed = np.stack([pairs[:, 0] >> 4, pairs[:, 0] << 4 & 255 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1)
        (tmp_path / "x.tif").write_bytes(tiff(packed.astype(np.uint8).tobytes(), 12))
    white = (1 << bits) - 1
    expected = values if photometric else white - values
    np.testing.assert_array_equal(load(tmp_path / "x.tif")[:, :, 0], expected >> (bits - 8))


def tiff(content: bytes, bits: int) -> bytes:
    """A grey TIFF of so many bits: black is 0."""
    tags = ((256, WIDTH), (257, HEIGHT), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, HEIGHT),
            (279, len(content)))
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag == 279 else 3, 1, value) for tag, value in tags)
    return (b"II*\0" + struct.pack("<I", 8 + len(content)) + content
            + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0))


@pytest.mark.parametrize("values, what", [
    (WORDS.astype(np.int32) * 1000, "pixels of 32 bits"),
    (WORDS.astype(np.float32), "pixels are real numbers")])
def test_without_a_range(tmp_path: Path, values: npt.NDArray[Any], what: str) -> None:
    grey(values).save(tmp_path / "x.tif")
    assert message(tmp_path / "x.tif") == (f"{what}; images of 1, 8 or 16 bits, grey, RGB, CMYK or YCbCr, "
                                           "are supported")


def test_lab_is_refused_by_name(tmp_path: Path) -> None:
    Image.new("LAB", (WIDTH, HEIGHT)).save(tmp_path / "x.tif")
    assert message(tmp_path / "x.tif", 3).startswith("pixels of mode LAB; images of")


def test_one_bit(tmp_path: Path) -> None:
    grey(BYTES > 127).save(tmp_path / "x.png")
    np.testing.assert_array_equal(load(tmp_path / "x.png")[:, :, 0], np.where(BYTES > 127, 255, 0))


@pytest.mark.parametrize("mode, name", [
    ("RGB", "x.png"), ("CMYK", "x.tif"), ("YCbCr", "x.tif"), ("P", "x.png")])
def test_colours(tmp_path: Path, mode: str, name: str) -> None:
    """As Pillow makes RGB of them; a palette of all the colours changes none."""
    image = grey(COLOURS).quantize(256) if mode == "P" else grey(COLOURS).convert(mode)
    image.save(tmp_path / name)
    np.testing.assert_array_equal(load(tmp_path / name, 3), np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(load(tmp_path / name)[:, :, 0], np.asarray(image.convert("L")))
    if mode == "P":
        np.testing.assert_array_equal(load(tmp_path / name, 3), COLOURS)


def with_alpha(path: Path, mode: str, alpha: int) -> None:
    image = grey(COLOURS).convert(mode)
    channel = Image.new("L", image.size, 255)
    channel.putpixel((2, 1), alpha)
    image.putalpha(channel)
    image.save(path)


def palette(path: Path, _: str, alpha: int) -> None:
    image = grey(COLOURS).quantize(32)
    used = image.getpixel((2, 1))
    image.save(path, transparency=bytes(alpha if index == used else 255 for index in range(256)))


def colour_key(path: Path, mode: str, alpha: int) -> None:
    """A colour that stands for transparent, in the picture or not."""
    if mode == "I;16":
        key = int(WORDS[1, 2]) if alpha != 255 else 12345
        assert alpha != 255 or 12345 not in WORDS
        png(path, 16, 0, WORDS.astype(">u2"), chunk(b"tRNS", struct.pack(">H", key)))
    else:
        value = int(BYTES[1, 2]) if alpha != 255 else next(each for each in range(256) if each not in BYTES)
        grey(BYTES).save(path, transparency=value)


@pytest.mark.parametrize("save, mode", [
    (with_alpha, "RGBA"), (with_alpha, "LA"), (palette, "P"), (colour_key, "L"), (colour_key, "I;16")])
def test_transparency(tmp_path: Path, save: Callable[[Path, str, int], None], mode: str) -> None:
    for channels in (1, 3):
        save(tmp_path / "x.png", mode, 255)
        load(tmp_path / "x.png", channels)
        for alpha in (0, 254):
            save(tmp_path / "x.png", mode, alpha)
            assert message(tmp_path / "x.png", channels) == (
                "has transparent pixels; images on a background are supported")


def test_opaque_alpha_changes_nothing(tmp_path: Path) -> None:
    with_alpha(tmp_path / "x.png", "RGBA", 255)
    np.testing.assert_array_equal(load(tmp_path / "x.png", 3), COLOURS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name, values", [
    ("x.jpg", COLOURS), ("x.png", COLOURS), ("x.tif", BYTES), ("x.png", WORDS), ("x.webp", COLOURS)])
def test_orientation(tmp_path: Path, name: str, values: npt.NDArray[Any], orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    grey(values).save(tmp_path / name, exif=exif)
    # By its name, Pillow 13 maps a TIFF as if it were upright before it turns it.
    with (tmp_path / name).open("rb") as file, Image.open(file) as image:
        upright = ImageOps.exif_transpose(image)
        expected = np.asarray(upright).reshape(upright.height, upright.width, -1)
    assert (upright.size == (WIDTH, HEIGHT)) == (orientation < 5)
    loaded = load(tmp_path / name, expected.shape[2], upright.height, upright.width)
    np.testing.assert_array_equal(loaded, expected >> 8 if values is WORDS else expected)


@pytest.mark.parametrize("name", ("x.gif", "x.png", "x.tif", "x.webp"))
def test_several_images_in_a_file(tmp_path: Path, name: str) -> None:
    first, second = grey(COLOURS), grey(255 - COLOURS)
    first.save(tmp_path / name, save_all=True, append_images=[second])
    assert message(tmp_path / name, 3) == "holds 2 images; files of one are supported"


def test_preview_of_a_camera(tmp_path: Path) -> None:
    grey(COLOURS).save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[grey(255 - COLOURS)])
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.format == "MPO"
        np.testing.assert_array_equal(load(tmp_path / "x.jpg", 3), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("name", ("x.png", "x.jpg", "x.tif", "x.gif"))
def test_truncated(tmp_path: Path, name: str) -> None:
    grey(RNG.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    for part in range(len(content) // 10, len(content) * 8 // 10, 7):
        (tmp_path / name).write_bytes(content[:part])
        assert message(tmp_path / name, 3).startswith(("cannot be read: ", "damaged, "))
    (tmp_path / "x.png").write_bytes(png(tmp_path / "y.png", 8, 0, BYTES).read_bytes()[:60])
    assert "not an image" not in message(tmp_path / "x.png")
