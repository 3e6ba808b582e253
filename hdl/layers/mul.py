# amaranth: UnusedElaboratable=no
"""The product of two streams."""
from collections.abc import Iterator, Sequence

from amaranth import Module, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.area.part import Control, Part
from headrace.hdl.arithmetic.geometry import Image
from headrace.hdl.arithmetic.requantisation import Requantisation, signed_width
from headrace.hdl.base.hierarchy import place, place_copies
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.elementwise import Elementwise, meet
from headrace.hdl.layers.shortcut import shortcut_parts
from headrace.hdl.requantise.requantise import Requantise
from headrace.hdl.timing.channel import Channel, Process, Scheduler


class MulLane(wiring.Component):
    """``y = (a - zero_points[0]) * (b - zero_points[1])``. Combinational.

    Members
    -------
    a, b : :py:`In(shape)`
    y : :py:`Out(sum)`
        The lower bits of the product, where it is wider.
    """

    a: Signal
    b: Signal
    y: Signal

    def __init__(self, *, a: Shape, b: Shape, zero_points: Sequence[int], sum: Shape) -> None:
        self.zero_points = zero_points
        super().__init__({"a": In(a), "b": In(b), "y": Out(sum)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        factors = []
        for name, x, zero_point in zip("ab", (self.a, self.b), self.zero_points, strict=True):
            factor = Signal(signed(factor_width(x.shape(), zero_point)), name=f"factor_{name}")
            m.d.comb += factor.eq(x - zero_point)
            factors.append(factor)
        m.d.comb += self.y.eq(factors[0] * factors[1])
        return m


def factor_width(shape: Shape, zero_point: int) -> int:
    """Return the bits of a signed number that holds every activation without its zero point."""
    least = -(1 << shape.width - 1) if shape.signed else 0
    return signed_width(least - zero_point, least + (1 << shape.width) - 1 - zero_point)


class Mul(Elementwise):
    """``s = (a - a_zp) * (b - b_zp)``, then :class:`Requantise`: multiplies two streams beat by beat.

    Parameters
    ----------
    zero_points : sequence of two :class:`int`
        Those of the operands.
    sum : :class:`Shape`
        Shape that holds every product.
    scaling : :class:`Requantisation`
        Of one channel, which stands for all.
    steps : :class:`int`
        Cycles that one beat may take.
    a, b, o, rows
        As in :class:`Elementwise`.
    """

    def __init__(self, *, a: RowFormat, b: RowFormat, o: RowFormat, zero_points: Sequence[int], sum: Shape,
                 scaling: Requantisation, steps: int, rows: Sequence[int]) -> None:
        self.zero_points, self.sum, self.scaling = tuple(zero_points), sum, scaling
        self.requantise = Requantise(sum=sum, count=1, o=o, scaling=scaling, steps=steps)
        super().__init__(a=a, b=b, o=o, rows=rows)

    def model(self, *images: Image) -> Image:
        """Compute the product of two images, bit for bit."""
        a, b = (image - zero_point for image, zero_point in zip(images, self.zero_points, strict=True))
        return self.scaling.model(a * b)

    def control(self) -> Control:
        return Control("mul")

    def modules(self, rings: str) -> Iterator[Part]:
        yield from shortcut_parts(("a", "b"), self.formats[:-1], self.rows, rings)
        widths = [factor_width(format_.shape, zero_point)
                  for format_, zero_point in zip(self.formats[:-1], self.zero_points, strict=True)]
        shifted = sum(width for width, zero_point in zip(widths, self.zero_points, strict=True) if zero_point)
        yield Part(module="lane", kind="product", copies=self.formats[-1].lanes,
                   products=((widths[0], widths[1]),), features={"zero_points": shifted})
        yield from self.requantise.parts("requantise")

    def processes(self, inputs: Sequence[Channel], o: Channel, scheduler: Scheduler) -> list[Process]:
        operands, processes = self.operands(inputs, scheduler)
        products = Channel(scheduler)
        return [*processes, _meet(operands, products), *self.requantise.processes(products, o, scheduler)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, j, o = self.formats
        place(m, platform, "requantise", self.requantise)
        wiring.connect(m, self.requantise.o, wiring.flipped(self.o))
        a, b = self.place_operands(m, platform)
        lanes = place_copies(m, platform, "lane", lambda: MulLane(
            a=i.shape, b=j.shape, zero_points=self.zero_points, sum=self.sum), o.lanes)
        products = self.requantise.i
        m.d.comb += [products.valid.eq(a.valid & b.valid),
                     a.ready.eq(products.ready & b.valid), b.ready.eq(products.ready & a.valid)]
        for lane, x, y, product in zip(lanes, a.payload, b.payload, products.payload, strict=True):
            m.d.comb += [lane.a.eq(x), lane.b.eq(y), product[0].eq(lane.y)]
        return m


def _meet(operands: Sequence[Channel], products: Channel) -> Process:
    """Take a beat of each operand, when all are there and their product is taken."""
    time = 0
    while True:
        time = yield from meet(operands, time)
        products.offer(time)
        while products.offered is not None:
            yield products
        for operand in operands:
            operand.take(products.taken)
        time = products.taken + 1
