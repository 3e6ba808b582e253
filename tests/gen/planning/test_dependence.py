"""Rows held where branches meet, against what follows from the windows by hand."""
from collections.abc import Callable

import pytest

from headrace.gen.planning.dependence import SLACK, shortcuts
from small_graphs import Network


def over_a_chain(net: Network) -> str:
    return net.concat("x", net.conv(net.conv("x", 4, 5), 4, 3))


def crossing(net: Network) -> str:
    """The sum of x and c waits for a row of the convolution of c, which needs all channels of c."""
    c = net.conv("x", 4)
    return net.add(net.add("x", c), net.conv(c, 4))


def around_a_crossing(net: Network) -> str:
    c = net.conv("x", 4, 3)
    return net.concat(net.conv(net.concat("x", c), 4, 3), c, "x")


@pytest.mark.parametrize(("make", "rows"), [
    # A row of x goes first, so that only the rows after it wait.
    (lambda net: net.concat("x", net.conv("x", 4, 3)), (1, 0)),
    (lambda net: net.concat("x", net.conv("x", 4, 5)), (2, 0)),
    (over_a_chain, (3, 0)),
    (lambda net: net.concat("x", net.conv("x", 4)), (0, 0)),
    # It goes last, and waits as well.
    (lambda net: net.concat(net.conv("x", 4, 3), "x"), (0, 2)),
    # At the bottom the last two rows of a 3x3 come with the end of the image, like the third last of a 5x5.
    (lambda net: net.concat(net.conv("x", 4, 5), net.conv("x", 2, 3), "x"), (0, 3, 3)),
    (lambda net: net.concat(net.conv("x", 4), net.conv("x", 2, 3), "x"), (0, 0, 2)),
    (lambda net: net.concat("x", "x"), (0, 1)),
    # Two rows of x make one row of the maximum, and this is two rows again.
    (lambda net: net.concat("x", net.upsample(net.pool("x", 2, 2), 2, 2)), (1, 0)),
    (lambda net: net.add(net.upsample(net.pool("x", 2, 2), 2, 2), "x"), (0, 2)),
    # One row of the maximum is the whole image.
    (lambda net: net.add(net.upsample(net.pool("x", 12, 12), 12, 12), "x"), (0, 12)),
    (crossing, (1, 0)),
    (around_a_crossing, (0, 2, 3)),
])
def test_rows_held(make: Callable[[Network], str], rows: tuple[int, ...]) -> None:
    net = Network((4, 12, 12))
    name = make(net)
    assert shortcuts(net.graph())[name] == tuple(min(count + SLACK, 12) if count else 0 for count in rows)
