"""Network inputs from files: arrays and images, as the integers that the network takes."""
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from math import prod
from os import PathLike
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Graph, Tensor
from headrace.gen.system import files
from headrace.sim import images
from headrace.sim.reference import Activations

Number = TypeVar("Number", np.int16, np.float32)
Made = TypeVar("Made")

MAX_BYTES = 1 << 30  # of one array
_SHORTER_SIDE = 256 / 224  # of an image before the centre crop, in heights of the network's input

# What damaged files raise besides OSError, in numpy, zipfile and Pillow.
_DAMAGE = (ValueError, SyntaxError, EOFError, IndexError, KeyError, MemoryError, RuntimeError,
           TypeError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error)


def load(paths: Iterable[str | PathLike[str]], graph: Graph) -> Activations:
    """Read inputs for `graph` from one or more files, (N, C, H, W).

    That is the order of the arrays for every network, also if its ONNX file takes N x H x W x C; arrays of
    that order are turned where only it fits.

    ``.npz``
        The array ``x``, or the only array.
    ``.npy``
        An array of shape (N, C, H, W) or (C, H, W); of (N, C, W) or (C, W) for networks that take rows, of
        (N, C) or (C) for those that take vectors.
        Integers are taken as they are; real numbers go through the model's QuantizeLinear.
    anything else
        An image, for networks of 1 (grey) or 3 (RGB) channels. One of the right size is taken as it
        is, a smaller one is stretched to it; a larger one is resized until its shorter side is 256/224
        of the network's height, then cropped in the centre. A pixel is the uint8 input itself, or
        the int8 input plus 128. What :mod:`images` makes of each kind of image is said there.

    Raises
    ------
    :exc:`HeadraceError`
        If a file cannot be read, or its values or shape do not fit.
    """
    target = graph.tensors[graph.input]

    def read(path: Path) -> Activations:
        values = array(path)
        return _image(path, target) if values is None else _integers(values, target, path)

    return gather(paths, read)


def gather(paths: Iterable[str | PathLike[str]],
           read: Callable[[Path], npt.NDArray[Number]]) -> npt.NDArray[Number]:
    """Concatenate what ``read`` makes of each file; what damaged files raise becomes one line.

    Raises
    ------
    :exc:`HeadraceError`
        If there is no file, or one cannot be read.
    """
    arrays = [_guarded(path, read) for path in map(Path, paths)]
    if not arrays:
        raise HeadraceError("no input files; .npz, .npy and images are supported")
    return np.concatenate(arrays)


def frame_shape(paths: Iterable[str | PathLike[str]]) -> tuple[int, ...] | None:
    """The shape of a frame of the first file, without a batch; None if it is neither .npz nor .npy.

    Raises
    ------
    :exc:`HeadraceError`
        If the file cannot be read.
    """
    values = next((_guarded(path, array) for path in map(Path, paths)), None)
    return None if values is None else values.shape[1 - values.ndim % 2:]


def _guarded(path: Path, read: Callable[[Path], Made]) -> Made:
    """Return ``read(path)``; what a damaged file raises becomes one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return read(path)
    except OSError as error:
        raise HeadraceError(f"{path}: cannot be read: {error.strerror or 'it is damaged'}") from error
    except _DAMAGE as error:
        raise HeadraceError(f"{path}: damaged, or not what its suffix says") from error


def array(path: Path) -> npt.NDArray[np.generic] | None:
    """Return the array in a file; None if it is neither .npz nor .npy."""
    match path.suffix.lower():
        case ".npz":
            return _npz(path)
        case ".npy":
            with files.opened(path) as file:
                return _npy(file, os.fstat(file.fileno()).st_size, path)
        case _:
            return None


def pixels(path: Path, channels: int, height: int, width: int) -> npt.NDArray[np.uint8] | None:
    """Return an image file as (channels, height, width), resized as `load` says; None if it cannot be."""
    if channels not in images.MODES or height * width == 1:
        return None
    image = _fit(images.read(path, channels), height, width)
    return np.asarray(image, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)


def _npz(path: Path) -> npt.NDArray[np.generic]:
    with files.opened(path) as content, zipfile.ZipFile(content) as archive:
        members = {Path(info.filename).stem: info for info in archive.infolist()
                   if info.filename.endswith(".npy")}
        if "x" not in members and len(members) != 1:
            names = ", ".join(repr(name)[:40] for name in sorted(members)[:9]) or "none"
            raise HeadraceError(f"{path}: holds {names}; one array, or one called 'x', is supported")
        info = members["x"] if "x" in members else next(iter(members.values()))
        with archive.open(info) as file:
            return _npy(file, info.file_size, path)


def _npy(file: IO[bytes], size: int, path: Path) -> npt.NDArray[np.generic]:
    """Read an array after its header has been checked against the file's size."""
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0,
                   (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, _, dtype = read_header(file)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise HeadraceError(f"{path}: an array of {dtype}; integers and real numbers are supported")
    if min(shape, default=1) < 0 or prod(shape) * dtype.itemsize > min(size, MAX_BYTES):
        raise HeadraceError(f"{path}: its array is larger than the file or than {MAX_BYTES} bytes")
    file.seek(0)
    array: npt.NDArray[np.generic] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _integers(array: npt.NDArray[np.generic], target: Tensor, path: Path) -> Activations:
    shapes: list[tuple[int, ...]] = [target.shape]
    if target.height == 1:  # a row or a vector
        shapes.append((target.channels, target.width) if target.width > 1 else target.shape[:1])
    if array.shape in shapes:
        array = array[None]
    elif array.shape[1:] not in shapes and array.shape[-3:] == (*target.shape[1:], target.channels):
        array = np.moveaxis(array.reshape(-1, *array.shape[-3:]), 3, 1) if array.ndim in (3, 4) else array
    if array.shape[1:] not in shapes or not len(array):
        wanted = " or ".join(f"(N, {', '.join(map(str, shape))})" for shape in shapes)
        raise HeadraceError(f"{path}: shape {array.shape}; {wanted} is supported")
    q = target.quantisation
    if array.dtype.kind == "f":
        if np.isnan(array).any():
            raise HeadraceError(f"{path}: holds NaN, which cannot be quantised")
        with np.errstate(over="ignore", under="ignore"):
            steps = np.rint(array.astype(np.float32) / np.float32(q.scale))
        array = np.clip(steps + np.float32(q.zero_point), q.lo, q.hi)
    elif array.min() < q.lo or array.max() > q.hi:
        raise HeadraceError(f"{path}: values {array.min()} to {array.max()}; "
                            f"integers of {q.lo} to {q.hi} or real numbers are supported")
    return array.reshape(-1, *target.shape).astype(np.int16)


def _image(path: Path, target: Tensor) -> Activations:
    image = pixels(path, *target.shape)
    if image is None:
        raise HeadraceError(f"{path}: an image cannot be the network's input of shape "
                            f"{target.shape}; .npz and .npy are supported")
    return image[None].astype(np.int16) + np.int16(target.quantisation.lo)


def _fit(image: Image.Image, height: int, width: int) -> Image.Image:
    if image.size == (width, height):
        return image
    if image.width < width or image.height < height:
        return image.resize((width, height), Image.Resampling.BILINEAR)
    factor = max(height * _SHORTER_SIDE / image.height, width * _SHORTER_SIDE / image.width)
    image = image.resize((round(image.width * factor), round(image.height * factor)),
                         Image.Resampling.BILINEAR)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
