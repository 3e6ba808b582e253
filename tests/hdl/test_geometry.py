import numpy as np
import pytest
from amaranth import unsigned

from headrace.hdl.arithmetic.geometry import Window, held_groups, passing_groups
from headrace.hdl.base.rows import RowFormat

WINDOWS = [Window((k, 1), (s, 1), (top, 0, bottom, 0))
           for k in (1, 2, 3, 5, 10) for s in (1, 2, 3) for top in (0, 1, 4) for bottom in (0, 1, 5)]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("height", (1, 2, 7, 8))
def test_every_window_is_complete_when_its_row_leaves(window: Window, height: int) -> None:
    """Carry out the schedules on row numbers and compare with what the window covers."""
    rows, _ = window.output_size(height, 1 << 30)
    if rows < 1:
        return
    kernel, stride = window.kernel[0], window.stride[0]
    image = np.arange(1, height + 1).reshape(1, height, 1)
    expected = window.view(image, 0)[0, :, 0, :, 0].T.tolist()

    for size in {1, stride if kernel >= stride else 1}:
        passing, held = [], [-1] * kernel
        rows_in = iter(range(1, height + 1))
        for group in passing_groups(window, height, size):
            held = [*held, *(next(rows_in) if arrives else -1 for arrives in group.arrives)][-kernel:]
            if group.emits:
                passing.append([value if inside else 0
                                for value, inside in zip(held, group.inside, strict=True)])
        assert passing == expected and next(rows_in, None) is None

    held_turns, rows_in = held_groups(window, height)
    arriving = [[row for row, landing in enumerate(rows_in, 1) if landing.slot == index]
                for index in range(min(kernel, stride))]
    assert sum(row.completes for row in rows_in) == sum(any(turn.lands) for turn in held_turns)
    held, turns = [-1] * kernel, []
    for turn in held_turns:
        landed = [arriving[slot].pop(0) if lands else -1 for slot, lands in enumerate(turn.lands)]
        held = [*held[stride:], *landed][-kernel:]
        if turn.emits:
            turns.append([value if inside else 0 for value, inside in zip(held, turn.inside, strict=True)])
    assert turns == expected and not any(arriving)


def test_columns_are_those_of_the_window() -> None:
    window = Window((1, 4), (1, 2), (0, 1, 0, 2))
    image = np.arange(1, 8).reshape(1, 1, 7)
    expected = window.view(image, 0)[0, 0, :, 0, :].T
    columns = window.columns(7)
    assert [[0 if c is None else c + 1 for c in taps] for taps in columns] == expected.tolist()


def test_fold_wrong() -> None:
    with pytest.raises(ValueError, match=r"^Fold must be a positive integer, not 0$"):
        RowFormat(channels=1, height=1, lanes=1, shape=unsigned(8), fold=0)


@pytest.mark.parametrize("dilation", (1, 2, 3))
@pytest.mark.parametrize("stride", (1, 2, 3, 4))
@pytest.mark.parametrize("taps", (1, 2, 4))
def test_rows_that_stay(taps: int, stride: int, dilation: int) -> None:
    """Of the rows that came until a window is complete, those that windows after it see."""
    window = Window(((taps - 1) * dilation + 1, 1), (stride, 1), dilation=(dilation, 1))
    seen = {row for later in range(1, 20) for row in np.add(window.tap_rows, later * stride)}
    assert window.stays == len(seen.intersection(range(window.kernel[0])))
