"""Image files as 8-bit pixels, by what their modes say; what leaves a choice is refused by name.

=====================  ==================================================================================
grey, colour, palette  as they are; CMYK and YCbCr as Pillow makes RGB of them; colour becomes grey by its
                       luma
1 bit                  0 and 255
16 bits                the upper 8, as Pillow itself reads colour images of 16 bits
transparency           dropped where every pixel is opaque; refused otherwise, as nothing says what is
                       behind it
32 bits, real numbers  refused, as nothing says which values are black and white
several images         refused, but for the previews that cameras put behind a photo (MPO)
orientation            turned upright, as the camera's EXIF says
=====================  ==================================================================================
"""
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.system.files import opened

MODES = {1: "L", 3: "RGB"}
"""Pillow's name of the pixels of a network's input, by its channels."""

_PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_DEEP_FORMATS = ("PNG", "PPM")  # whose images of mode I are of 16 bits: Pillow before 11 has them so
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF
_CAMERA = "MPO"
_NAMES = {"F": "pixels are real numbers", "I": "pixels of 32 bits"}

_UPRIGHT = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270,
            7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90}


def read(path: Path, channels: int) -> Image.Image:
    """Return an image file, upright, as Pillow's image of a mode of :data:`MODES`.

    Raises
    ------
    :exc:`HeadraceError`
        If it cannot be read, or its values or colours do not say which pixels are meant.
    """
    with opened(path) as file:
        try:
            with Image.open(file) as source:
                if (frames := getattr(source, "n_frames", 1)) != 1 and source.format != _CAMERA:
                    raise HeadraceError(f"{path}: holds {frames} images; files of one are supported")
                image = _plain(source, path).convert(MODES[channels])
                turn = _UPRIGHT.get(source.getexif().get(ExifTags.Base.Orientation, 1))
                return image if turn is None else image.transpose(turn)
        except UnidentifiedImageError as error:
            raise HeadraceError(f"{path}: cannot be read: not an image that Pillow knows") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise HeadraceError(f"{path}: claims more than the {Image.MAX_IMAGE_PIXELS} pixels that are "
                                "supported") from error
        except OSError as error:
            reason = error.strerror or " ".join(str(error).split())[:200]
            raise HeadraceError(f"{path}: cannot be read: {reason}") from error


def _plain(source: Image.Image, path: Path) -> Image.Image:
    """Return an image of 8 bits or fewer without transparency."""
    source.load()
    image = source
    if source.mode in _DEEP or source.mode == "I" and source.format in _DEEP_FORMATS:
        image = _eight_bits(source, path)
    elif source.mode in _ALPHA or source.mode in _PLAIN and "transparency" in source.info:
        image = source.convert("RGBA")
        lowest, _ = image.getchannel("A").getextrema()
        if lowest != 255:
            raise HeadraceError(f"{path}: has transparent pixels; images on a background are supported")
        image = image.convert("RGB")
    elif source.mode not in _PLAIN:
        raise HeadraceError(f"{path}: {_NAMES.get(source.mode, f'pixels of mode {source.mode}')}; images of "
                            "1, 8 or 16 bits, grey, RGB, CMYK or YCbCr, are supported")
    return image


def _eight_bits(source: Image.Image, path: Path) -> Image.Image:
    values = np.asarray(source).astype(np.int64)
    if (transparent := source.info.get("transparency")) is not None and (values == transparent).any():
        raise HeadraceError(f"{path}: has transparent pixels; images on a background are supported")
    tags = getattr(source, "tag_v2", {})
    (bits,) = tags.get(_BITS_PER_SAMPLE, (16,))
    if not 8 <= bits <= 16 or values.min() < 0 or values.max() >> bits:
        raise HeadraceError(f"{path}: pixels are not the {bits} bits that the file says")
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = (1 << bits) - 1 - values
    pixels: npt.NDArray[np.uint8] = (values >> (bits - 8)).astype(np.uint8)
    return Image.fromarray(pixels)
