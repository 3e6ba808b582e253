"""Column fold: fewer lanes than columns, each of which serves several in turn."""
from collections.abc import Mapping, Sequence

from amaranth import Array, Module, Signal, Value

View = list[list[list[Value]]]  # by lane, horizontal tap, plane


def in_turn(m: Module, turn: Value, lanes: int, reach: Sequence[Sequence[int | None]],
            columns: Mapping[int, Sequence[Value]], pad: Sequence[Value]) -> View:
    """Return what each lane sees of the columns under its window.

    Lane ``l`` serves the columns ``l``, ``l + lanes``, ``l + 2 * lanes``, ... one after another. Neighbours
    that reach the same columns share what chooses among them. Where each column has a lane, this is wiring.

    Parameters
    ----------
    turn : :class:`Value`
        Which of its columns each lane serves.
    reach : sequence of shape [outputs][taps]
        Column under each tap of the window of each output column; None is padding.
    columns : mapping to a sequence of shape [planes]
        Values of each column: of the rows of a window, of channels side by side.
    pad : sequence of shape [planes]
        What stands outside the image.
    """
    shared: dict[tuple[int | None, ...], list[Value]] = {}
    view: View = []
    for lane in range(lanes):
        view.append([])
        for served in zip(*reach[lane::lanes], strict=True):
            values = [pad if column is None else columns[column] for column in served]
            if len(served) == 1:
                view[-1].append([*values[0]])
                continue
            if served not in shared:
                number = len(shared)
                shared[served] = []
                for plane, choices in enumerate(zip(*values, strict=True)):
                    chosen = Signal(pad[plane].shape(), name=f"served{number}_{plane}")
                    m.d.comb += chosen.eq(Array(choices)[turn])
                    shared[served].append(chosen)
            view[-1].append(shared[served])
    return view
