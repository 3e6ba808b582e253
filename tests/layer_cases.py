# amaranth: UnusedElaboratable=no
"""Layers by their shape: a case, and a builder for each kind of layer."""
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from amaranth import Shape

from headrace.hdl.arithmetic.geometry import Window, strides, whole
from headrace.hdl.arithmetic.requantisation import Requantisation
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.addressed import Addressed
from headrace.hdl.layers.global_pool import GlobalPool
from headrace.hdl.layers.input_stationary import InputStationary
from headrace.hdl.layers.layer import Layer
from headrace.hdl.layers.output_stationary import OutputStationary
from headrace.hdl.layers.window import Depthwise, MaxPool

POINT = Window()

Together = Callable[[int], Window]
"""Which rows of an image of a height go together."""


def by_rows(height: int) -> Window:
    return POINT


def by_strides(window: Window) -> Together:
    return partial(strides, window)


def by_windows(window: Window) -> Together:
    return lambda _: whole(window)


@dataclass(frozen=True, kw_only=True)
class Values:
    """What a case is filled with."""

    shape: Shape  # of an activation
    sum: Shape
    weight: Shape
    pad: int
    steps: int  # of the requantiser
    weights: Callable[[int, int], list[list[int]]]  # of outputs and taps
    scaling: Callable[[int], Requantisation]  # of channels

    def of_sums(self, channels: int) -> dict[str, Any]:
        """Return what a kind with a requantiser takes."""
        return dict(sum=self.sum, scaling=self.scaling(channels), requantise_steps=self.steps)

    def of_lanes(self, outputs: int, taps: int) -> dict[str, Any]:
        """Return what a kind with weights takes."""
        return self.of_sums(outputs) | dict(weight=self.weight, weights=self.weights(outputs, taps))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A layer between an image of ``C x H x W`` and one of so many channels, in rows.

    Columns of the input and of the output are folded by :py:`folds`; their rows come and leave together as
    :py:`arrives` and :py:`leaves` say. Options are arguments of the kind.
    """

    kind: "Builder"
    x: tuple[int, int, int]
    outputs: int
    window: Window = POINT
    folds: tuple[int, int] = (1, 1)
    arrives: Together = by_rows
    leaves: Together = by_rows
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def taps(self) -> int:
        """Of an output, over all channels."""
        return self.x[0] * self.window.taps

    def formats(self, shape: Shape, *, pipelined: bool) -> dict[str, RowFormat]:
        (channels, height, width), (i, o) = self.x, self.folds
        down, across = self.window.output_size(height, width)
        format = partial(RowFormat, shape=shape, pipelined=pipelined)
        return dict(i=format(channels, height, width // i, fold=i, together=self.arrives(height)),
                    o=format(self.outputs, down, across // o, fold=o, together=self.leaves(down)))

    def make(self, values: Values, *, pipelined: bool = False, **options: Any) -> Layer:
        """Make the layer; of options that are given here, too, these count."""
        made = self.kind(self, values)
        return made(**self.formats(values.shape, pipelined=pipelined), **self.options | options)


Builder = Callable[[Case, Values], Callable[..., Layer]]
"""Says what a kind takes of a case and its values; formats and options follow."""


def case(kind: Builder, x: tuple[int, int, int], outputs: int, window: Window = POINT, *,
         folds: tuple[int, int] = (1, 1), arrives: Together = by_rows, leaves: Together = by_rows,
         **options: Any) -> Case:
    return Case(kind=kind, x=x, outputs=outputs, window=window, folds=folds, arrives=arrives, leaves=leaves,
                options=options)


def input_stationary(case: Case, values: Values) -> Callable[..., Layer]:
    return partial(InputStationary, **values.of_lanes(case.outputs, case.taps))


def output_stationary(case: Case, values: Values) -> Callable[..., Layer]:
    return partial(OutputStationary, window=case.window, pad=values.pad,
                   **values.of_lanes(case.outputs, case.taps))


def depthwise(case: Case, values: Values) -> Callable[..., Layer]:
    return partial(Depthwise, window=case.window, pad=values.pad,
                   **values.of_lanes(case.outputs, case.window.taps))


def average_pool(case: Case, values: Values) -> Callable[..., Layer]:
    return partial(Depthwise, window=case.window, pad=values.pad, weights=None,
                   **values.of_sums(case.outputs))


def max_pool(case: Case, values: Values) -> Callable[..., Layer]:
    return partial(MaxPool, window=case.window)


def global_pool(case: Case, values: Values) -> Callable[..., Layer]:
    return partial(GlobalPool, **values.of_sums(case.outputs))


def addressed(case: Case, values: Values) -> Callable[..., Layer]:
    """Dense."""
    return partial(Addressed, window=case.window, pad=values.pad, depthwise=False,
                   **values.of_lanes(case.outputs, case.taps))


def addressed_depthwise(case: Case, values: Values) -> Callable[..., Layer]:
    return partial(Addressed, window=case.window, pad=values.pad, depthwise=True,
                   **values.of_lanes(case.outputs, case.window.taps))


PAIRED = {input_stationary, output_stationary, depthwise}
"""Whose lanes may go in pairs."""
