"""How the last rows of a frame pass a window together with the first of the next."""
from collections.abc import Sequence
from dataclasses import dataclass

from amaranth import Module, Signal, Value

from headrace.hdl.arithmetic.geometry import PassingGroup, merges


@dataclass(frozen=True)
class Merge:
    """What a sequencer is told of the next frame.

    Where the bottom padding makes a group of its own, the next frame's first group passes with it, as long as
    it is there: its channels enter the ring as those of the last output leave. The first channel that is not
    there after so many cycles of patience ends this, the outputs go on alone, and afterwards the ring turns
    past the channels that are in already. So a frame that has come is finished whether or not another
    follows.

    Attributes
    ----------
    joins : :class:`Signal`
        The next frame's channel may enter as one of the last output leaves.
    takes_next : :class:`Signal`
        It does.
    passed : :class:`Signal`
        The channel is in the ring already.
    hesitates : :class:`Signal`
        The last output waits for the next frame.
    """

    joins: Signal
    takes_next: Signal
    passed: Signal
    hesitates: Signal


def merge(m: Module, valid: Value, groups: Sequence[PassingGroup], channels: int, patience: int, *,
          group: Value, channel: Value, ends: Value, group_ends: Value) -> Merge:
    """Add the gateware to a layer.

    Parameters
    ----------
    valid : :class:`Value`
        Of the input.
    groups, channels, patience
        As in :class:`Passing`.
    group, channel : :class:`Value`
        Which of them passes.
    ends, group_ends : :class:`Value`
        High in the last step of a channel and of a group.
    """
    joins, takes_next, passed, hesitates = Signal(), Signal(), Signal(), Signal()
    if merges([*groups]):
        ahead = Signal(range(channels + 1))  # channels of the next frame that are in the ring
        m.d.comb += [
            joins.eq((group == len(groups) - 1) & (ahead == channel)),
            takes_next.eq(joins & ends & valid),
            passed.eq((group == 0) & (channel < ahead)),
        ]
        with m.If(group_ends & (takes_next | (group == 0))):
            m.d.sync += ahead.eq(0)
        with m.Elif(takes_next):
            m.d.sync += ahead.eq(ahead + 1)
        if patience:
            waited = Signal(range(patience + 1))
            m.d.comb += hesitates.eq(joins & ~valid & (waited != patience))
            with m.If(takes_next | group_ends):
                m.d.sync += waited.eq(0)
            with m.Elif(hesitates):
                m.d.sync += waited.eq(waited + 1)
    return Merge(joins, takes_next, passed, hesitates)
