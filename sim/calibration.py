"""Calibration data: real numbers as a float network takes them, from arrays and images."""
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from headrace.gen.ir.errors import HeadraceError
from headrace.sim import inputs

Samples = npt.NDArray[np.float32]

MAX_ELEMENTS = 1 << 28  # of all samples
_CHANNELS = (1, 3)  # of an image


@dataclass(frozen=True)
class Preprocessing:
    """``(pixel * scale - mean) / std``, with one mean and std, or one for each channel."""

    scale: float = 1 / 255
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Samples:
        """``pixels`` is (C, H, W)."""
        mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (self.mean, self.std))
        normalised: Samples = (pixels.astype(np.float32) * np.float32(self.scale) - mean) / std
        return normalised


def load(paths: Iterable[str | PathLike[str]], shape: tuple[int, ...], *, limit: int,
         preprocessing: Preprocessing) -> Samples:
    """Read up to `limit` samples of a network whose input has `shape`, without the batch; (N, *shape).

    ``.npz``, ``.npy``
        Real numbers, (N, *shape) or `shape`, as the network takes them: nothing is applied to them. Channels
        may be first or last.
    anything else
        Images and folders of images, for inputs of 1 (grey) or 3 (RGB) channels: (C, H, W), or
        (H, W, C) where only the last size can be channels. They are resized as :py:`inputs.load` says.

    Raises
    ------
    :exc:`HeadraceError`
        If a file cannot be read, its values or shape do not fit, or the data is too large.
    """
    last = len(shape) == 3 and shape[2] in _CHANNELS and shape[0] not in _CHANNELS
    size = prod(shape)
    most = min(limit, MAX_ELEMENTS // size)

    def read(path: Path) -> Samples:
        values = inputs.array(path)
        return _image(path) if values is None else _real(values, shape, path, last=last)[:most]

    def _image(path: Path) -> Samples:
        channels, height, width = (*shape[-1:], *shape[:2]) if last else (*shape, 0, 0)[:3]
        if len({1, channels, len(preprocessing.mean)}) > 2 or len({1, channels, len(preprocessing.std)}) > 2:
            raise HeadraceError(f"{len(preprocessing.mean)} means and {len(preprocessing.std)} standard "
                                f"deviations for images of {channels} channels")
        pixels = inputs.pixels(path, channels, height, width) if len(shape) == 3 else None
        if pixels is None:
            raise HeadraceError(f"{path}: an image cannot be the network's input of shape "
                                f"{shape}; .npz and .npy are supported")
        sample = preprocessing(pixels)
        return (sample.transpose(1, 2, 0) if last else sample)[None]

    if most < 1:
        raise HeadraceError(f"inputs of {size} values; up to {MAX_ELEMENTS} are supported")
    files = [file for _, file in zip(range(most), _files(paths), strict=False)]
    return inputs.gather(files, read)[:most]


def _files(paths: Iterable[str | PathLike[str]]) -> Iterator[Path]:
    known = Image.registered_extensions()
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        try:
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in known)
        except OSError as error:
            raise HeadraceError(f"{path}: cannot be read: {error.strerror}") from error
        if not found:
            raise HeadraceError(f"{path}: no images in this folder")
        yield from found


def _real(values: npt.NDArray[np.generic], shape: tuple[int, ...], path: Path, *, last: bool) -> Samples:
    if values.dtype.kind != "f":
        raise HeadraceError(f"{path}: an array of {values.dtype}; real numbers are supported, "
                            "scaled as the float network takes them")
    if len(shape) == 3 and values.ndim in (3, 4) and values.shape[-3:] != shape:
        other = np.moveaxis(values, -3, -1) if last else np.moveaxis(values, -1, -3)
        values = other if other.shape[-3:] == shape else values
    if values.shape == shape:
        values = values[None]
    if values.shape[1:] != shape or not len(values):
        raise HeadraceError(f"{path}: shape {values.shape}; (N, {', '.join(map(str, shape))}) is supported")
    with np.errstate(over="ignore"):
        samples = values.astype(np.float32)
    if not np.isfinite(samples).all():
        raise HeadraceError(f"{path}: holds NaN or infinity, which cannot be quantised")
    return samples
