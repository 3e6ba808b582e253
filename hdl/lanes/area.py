"""What lanes that multiply cost."""
from collections.abc import Iterator
from dataclasses import dataclass

from amaranth import Shape

from headrace.hdl.area.part import Part
from headrace.hdl.lanes.packed import LOW, PACKED, PRODUCT
from headrace.hdl.lanes.steps import MAC_STAGES


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The lanes of a layer; parameters as of :class:`headrace.hdl.lanes.lane.MacLane`."""

    count: int
    x: Shape
    weight: Shape
    sum: Shape
    operands: int
    p_in: int
    p_out: int = 1
    depth: int = 1
    paired: bool = False
    pipelined: bool = False

    def parts(self) -> Iterator[Part]:
        """Yield the lanes, in pairs or one by one, and their rings of sums."""
        pairs = self.count // 2 if self.paired else 0
        for module, copies, columns in (("pair", pairs, 2), ("lane", self.count - 2 * pairs, 1)):
            if copies:
                yield self._lane(module, copies, columns)
                if self.depth > 1:
                    yield Part(module=f"{module}__held", kind="ring", copies=copies,
                               ring=(columns * self.p_out * self.sum.width, self.depth))

    def _lane(self, module: str, copies: int, columns: int) -> Part:
        p_in, p_out, x, weight, total = self.p_in, self.p_out, self.x, self.weight, self.sum.width
        shared = p_out if columns > 1 else p_out // 2 if self.paired else 0  # products for two
        groups, single = -(-self.operands // p_in), columns * p_out - 2 * shared
        factor = x.width + (weight.signed and not x.signed)
        multiplier = weight.width + (x.signed and not weight.signed)
        packed = x if columns > 1 else weight
        amounts = {"select": columns * p_in * x.width * (groups - 1), "accumulate": columns * p_out * total,
                   "add": (p_in - 1) * (single * min(factor + multiplier + 1, total)
                                        + shared * PRODUCT.width),
                   "borrow": shared * p_in, "high": shared * (PRODUCT.width - LOW),
                   "pack": p_in * packed.width * packed.signed * (1 if columns > 1 else shared)}
        products = (((PACKED.width, multiplier if columns > 1 else factor),) * (p_in * shared)
                    + ((factor, multiplier),) * (p_in * single))
        stages = 0
        if self.pipelined:
            product = min(factor + multiplier + (p_in - 1).bit_length(), total)
            stages = columns * (2 * p_in * x.width + p_out * product)
        return Part(module=module, kind="pair" if shared else "mac", copies=copies, features=amounts,
                    products=products if weight.width > 1 else (),
                    state=stages + (columns * p_out * total if self.depth == 1 else 0))


def told_stages(weights: int, *, constant: bool) -> int:
    """Return the bits that registers hold of what pipelined lanes are told, of ``weights`` bits per step."""
    return 3 * MAC_STAGES + (0 if constant else weights)
