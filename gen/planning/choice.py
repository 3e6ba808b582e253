"""The choice among the options of each layer, by price."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from headrace.gen.estimate.price import Amounts, Coin, Prices
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Conv, Graph, Node, Tensor, Window
from headrace.gen.ir.means import Means
from headrace.gen.ir.plan import LayerPlan
from headrace.gen.kinds import elaborate, registry
from headrace.gen.kinds.kind import Site
from headrace.gen.kinds.place import Option, Place
from headrace.gen.numerics import constants
from headrace.gen.planning.dependence import shortcut_rows
from headrace.gen.planning.folding import Alike, Folding
from headrace.gen.planning.waiting import held_meanwhile
from headrace.hdl.base.rows import RowFormat

Chosen = dict[str, Option]
"""By the tensor that the layer makes."""

PORTS = 1 << 16
"""Bits that come into a module: Amaranth's netlist counts no further."""

WEIGHT, SUM = 9, 32
"""Bits of the widest."""

PRICED = 8
"""Ways to unroll the lanes of a layer that are priced, those with the fewest multipliers."""


HURRIED = 0.5
"""Of the cycles allowed, the fewest for which a layer is planned so that the next can keep up."""


class TooFast(HeadraceError):
    """A number of cycles that cannot be met; no fewer than `least` can be, and they may not suffice either.

    ``reason`` is the message up to the number that suffices.
    """

    def __init__(self, reason: str, least: int) -> None:
        super().__init__(f"{reason}: allow at least {least}")
        self.reason, self.least = reason, least


class Choice:
    """Chooses how every layer of a network is unrolled, for a number of cycles per frame.

    Parameters
    ----------
    graph : :class:`Graph`
    means : :class:`Means`
        What plans may be made of.
    prices : :class:`Prices`
    most : :class:`int` or None
        The most columns that a lane may serve; None for any number.
    """

    def __init__(self, graph: Graph, means: Means, prices: Prices, most: int | None) -> None:
        self.graph, self.means, self.prices, self.most = graph, means, prices, most
        self.folding = Folding(graph)
        self._held: dict[tuple[Any, ...], tuple[int, ...]] = {}
        self._amounts: dict[tuple[Any, ...], Amounts] = {}
        self._held_meanwhile = held_meanwhile(graph, prices)
        self._pairs = {node.name: prices.pairs and pairs(graph, node) for node in graph.nodes}

    def fewest(self, each: int) -> Chosen:
        """Return the options with the fewest multipliers.

        Raises
        ------
        :exc:`TooFast`
        """
        return self.choose(each, lambda place, fast: min(fast, key=_multipliers))

    def cheapest(self, each: int) -> Chosen:
        """Return the options with the lowest price."""
        return self.bargain(each)[0]

    def bargain(self, each: int) -> tuple[Chosen, float]:
        """Return the options with the lowest price, and that.

        Resources have their price by how scarce they are in the network that is cheapest if all are worth
        what they are of the device; the price of that network says what latency is worth.

        Raises
        ------
        :exc:`TooFast`
        """
        first = self.prices.coin()
        draft = self.choose(each, lambda place, fast: self._cheapest(place, fast, first, 0))
        total = sum((self._amounts[self._key(self.graph, node, draft)] for node in self.graph.nodes),
                    np.zeros(4))
        coin = self.prices.coin(total)
        cycle = self.prices.latency * float(total @ coin) / each
        made = self.choose(each, lambda place, fast: self._cheapest(place, fast, coin, cycle))
        return made, sum(float(self._amounts[self._key(self.graph, node, made)] @ coin)
                         + cycle * made[node.output].delay for node in self.graph.nodes)

    def _cheapest(self, place: Place[Node], fast: Sequence[Option], coin: Coin, cycle: float) -> Option:
        """Return the option of the lowest price, if a cycle of delay is worth so much."""
        if place.node.name in self._held_meanwhile:
            cycle += float(self._held_meanwhile[place.node.name] @ coin) / place.budget
        return min(self.priced(place, fast), key=lambda option: (
            float(self._amount(place, option) @ coin) + cycle * option.delay, option.layer.multipliers))

    def priced(self, place: Place[Node], fast: Sequence[Option]) -> Iterator[Option]:
        """Yield the options of a few ways to unroll lanes, as pairs, too."""
        lanes: set[Any] = set()
        for option in sorted(fast, key=_multipliers):
            layer = option.layer
            lanes.add((layer.kind, layer.fold, layer.p_in, layer.p_out, layer.serial, layer.together))
            if len(lanes) > PRICED:
                return
            yield option
            if self._pairs[layer.name]:
                yield replace(option, layer=replace(layer, paired=True))

    def _amount(self, place: Place[Node], option: Option) -> Amounts:
        key = self._key(self.graph, place.node, {**place.made, place.node.output: option})
        if key not in self._amounts:
            layer = option.layer
            formats = self._formats(place, layer)
            kind = registry.named(layer.kind)
            made = kind.make(Site(self.graph, place.node, formats, constants.find(self.graph)), layer)
            self._amounts[key] = self.prices.amounts(made.parts(self.means.rings))
        return self._amounts[key]

    def _formats(self, place: Place[Node], layer: LayerPlan) -> dict[str, RowFormat]:
        def format_of(tensor: Tensor, layer: LayerPlan | None) -> RowFormat:
            if layer is None:
                return elaborate.row_format(tensor, pipelined=self.means.pipelined)
            return elaborate.row_format(tensor, together=layer.together, fold=layer.beats,
                                        pipelined=self.means.pipelined)

        before = {name: place.made[name].layer if name in place.made else None for name in place.node.inputs}
        return {place.node.output: format_of(place.y, layer), **{
            name: format_of(self.graph.tensors[name], each) for name, each in before.items()}}

    @staticmethod
    def _key(graph: Graph, node: Node, made: Mapping[str, Option]) -> tuple[Any, ...]:
        """Return what a layer's amounts depend on."""
        before = ((made[name].layer.beats, made[name].layer.together) if name in made else None
                  for name in node.inputs)
        return replace(made[node.output].layer, cycles=0), *before

    def choose(self, each: int, choose: Any) -> Chosen:
        """Return an option for each tensor; ``choose`` takes a place and the options that are fast enough.

        Where the pace of its rows makes a layer too slow, those before it hurry.
        """
        least_beats: dict[Alike, int] = {}  # rows of these come in fewer beats than that
        limits: dict[str, int] = {}  # cycles per frame of those that hurry
        reasons: dict[str, TooFast] = {}  # why they do
        while True:
            made: Chosen = {}
            held: dict[str, tuple[int, ...]] = {}
            for node in self.graph.nodes:
                alike = self.folding.alike(node.output)
                folds = self._folds(node, made, least_beats.get(alike))
                held[node.name] = self._rows(node, made, held)
                place = Place(self.graph, node, each, made, held[node.name], folds, self.most, self.means)
                possible = [option for option in options(place) if ports(place, option.layer) < PORTS]
                if not possible:
                    raise HeadraceError(f"layer {node.name} has too large a window: its modules would have "
                                        f"{PORTS:,} bits of inputs or more, which netlists cannot")
                fast = [option for option in possible
                        if option.layer.cycles <= limits.get(node.output, each)]
                if not fast:
                    least = min(option.layer.cycles for option in possible)
                    reason = reasons.get(node.output) or TooFast(
                        f"layer {node.name} needs {least} cycles per frame however far it is unrolled, "
                        f"more than the {each} allowed", least)
                    if hurried := self._hurried(place, least, limits):
                        limits |= hurried
                        reasons |= dict.fromkeys(hurried, reason)
                    elif max(folds) > 1:
                        least_beats[alike] = max(folds)
                    else:
                        raise reason
                    break
                together = max(option.layer.together.kernel[0] for option in fast)
                made[node.output] = choose(place, [
                    option for option in fast if option.layer.together.kernel[0] == together])
            else:
                return made

    @staticmethod
    def _hurried(place: Place[Node], least: int, limits: Mapping[str, int]) -> dict[str, int]:
        """Return lower limits for the layers before one that takes at least so many cycles; none if that
        cannot help."""
        each, made = place.budget, place.made
        limit = limits.get(place.node.output, each)
        at_once = {name: replace(option, pace=(0,) * len(option.pace)) for name, option in made.items()}
        if not any(option.layer.cycles <= limit for option in options(replace(place, made=at_once))):
            return {}
        hurried = {name: min(limits.get(name, each), made[name].layer.cycles) * limit // least
                   for name in place.node.inputs if name in made}
        return hurried if min(hurried.values(), default=0) > each * HURRIED else {}

    def _folds(self, node: Node, made: Chosen, below: int | None) -> tuple[int, ...]:
        """Return the beats that a row may come in."""
        for name in self.folding.alike(node.output):
            if name in made:
                return (made[name].layer.beats,)
        return tuple(beats for beats in self.folding.possible(node.output) if below is None or beats < below)

    def _rows(self, node: Node, made: Chosen, held: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """Return the rows that a node must hold of its inputs, as those before it are folded."""
        folds = {name: option.layer.beats for name, option in made.items() if option.layer.beats > 1}
        kinds = {name: option.layer.kind for name, option in made.items()}
        key = node.name, *kinds.items(), *folds.items()
        if key not in self._held:
            self._held[key] = shortcut_rows(self.graph, node, held, folds, {
                name: registry.named(kind) for name, kind in kinds.items()})
        return self._held[key]


def options(place: Place[Any]) -> Iterator[Option]:
    """Yield the options of every kind that a node can be."""
    for kind in registry.serving(place.node, place.graph, place.means):
        yield from kind.options(place)


def ports(place: Place[Any], layer: LayerPlan) -> int:
    """Return a bound of the bits that come into any module of a layer, where that may be many."""
    if not layer.multiplies:
        return 0
    window: Window = place.node.window
    side = max(1, layer.p_in // window.taps)  # channels of a word
    lane = 2 * 8 * side * window.taps + WEIGHT * layer.p_in * layer.p_out
    columns = place.x.width if side == place.x.channels else 1  # of a module of the window
    return max(lane, columns * side * window.kernel[0] * 8, layer.lanes * layer.p_out * SUM)


def _multipliers(option: Option) -> tuple[int, ...]:
    layer = option.layer
    return layer.multipliers, layer.p_in * layer.p_out, layer.p_in, option.delay


def pairs(graph: Graph, node: Node) -> bool:
    """Whether lanes of a layer can share multipliers: there are two, which multiply by two bits or more."""
    return (isinstance(node, Conv) and graph.tensors[node.output].width > 1
            and not np.isin(node.weight, (-1, 0)).all())
