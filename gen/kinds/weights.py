"""The weights of a convolution, as its lanes take them."""
from functools import lru_cache
from typing import Any

import numpy.typing as npt
from amaranth import Shape, signed

from headrace.gen.ir.graph import Conv
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds.kind import Site
from headrace.gen.numerics.constants import Constants
from headrace.hdl.arithmetic.requantisation import signed_width


def weight_shape(weights: npt.NDArray[Any]) -> Shape:
    """Return the narrowest signed shape that holds every weight."""
    return signed(signed_width(int(weights.min()), int(weights.max())))


def of_layer(site: Site[Conv], plan: LayerPlan) -> dict[str, Any]:
    """Return what every layer with weights is made with; channels whose sum has no effect have none."""
    return dict(i=site.i, o=site.o, requantise_steps=plan.requantise_steps,
                **_constants(site.node, site.constants))


@lru_cache(maxsize=1 << 10)  # planners ask often
def _constants(node: Conv, constants: Constants) -> dict[str, Any]:
    weights = node.weight.reshape(len(node.weight), -1) * constants.alive(node.name)[:, None]
    return dict(weights=weights, weight=weight_shape(weights), sum=constants.sum_shape(node.name),
                scaling=constants.sums[node.name])


def of_lanes(site: Site[Conv], plan: LayerPlan) -> dict[str, Any]:
    """Return what every layer with lanes side by side is made with."""
    return of_layer(site, plan) | dict(p_in=plan.p_in, readout=plan.readout, paired=plan.paired)
