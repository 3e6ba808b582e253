"""How many beats of a tensor each beat of another needs (:mod:`headrace.gen.planning.dependence`)."""
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Needs: TypeAlias = npt.NDArray[np.int64]
"""By beat: [rows, channels * fold]."""


def complete(needs: Needs) -> Needs:
    """Return what each beat's whole row needs."""
    return np.repeat(needs[:, -1:], needs.shape[1], axis=1)


def whole(needs: Needs, channels: int) -> Needs:
    """Return what all columns of each channel need: [rows, channels]."""
    last: Needs = needs.reshape(len(needs), channels, -1)[..., -1]
    return last


def reached(needs: Needs, last: list[int]) -> Needs:
    """Return what those rows of an image need that are the ``last`` which each output row reaches.

    One below the image is padding, which follows the whole image.
    """
    height = len(needs)
    found: Needs = needs[np.clip(last, 0, height - 1)]
    found[np.array(last) >= height] = needs[-1, -1]
    return found
