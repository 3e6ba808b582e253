# amaranth: UnusedElaboratable=no
from amaranth import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from headrace.gen.netlist import yosys
from headrace.hdl.base.hierarchy import Hierarchy
from headrace.sim import narrow


class Product(wiring.Component):
    """Twelve products with elements that do not fill words."""

    def __init__(self) -> None:
        super().__init__({"x": In(data.ArrayLayout(signed(7), 12)), "w": In(data.ArrayLayout(signed(7), 12)),
                          "bit": In(1), "o": Out(data.ArrayLayout(signed(23), 12))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for x, w, o in zip(self.x, self.w, self.o, strict=True):
            m.d.sync += o.eq(x * w + self.bit)
        return m


def texts() -> tuple[str, str]:
    hierarchy = Hierarchy()
    hierarchy.build(Product(), name="product")
    return hierarchy.modules["product"], narrow.narrow("product", hierarchy.modules["product"])


def test_same_ports_outside_and_narrow_ports_inside() -> None:
    whole, both = texts()
    outside, inside = both.split("\nend\n", 1)
    assert narrow.ports(f"{outside}\nend\n") == narrow.ports(whole)
    pieces = narrow.ports(inside)
    assert all(width <= narrow.WORD for _, width in pieces.values())
    for port, (direction, width) in narrow.ports(whole).items():
        parts = [part for name, part in pieces.items() if name.split("__")[0] == port]
        assert {part[0] for part in parts} == {direction} and sum(part[1] for part in parts) == width
    assert pieces["x__0"] == ("input", 28) and pieces["x__28"] == ("input", 28)  # no element is cut
    assert pieces["o__0"] == pieces["o__23"] == ("output", 23)


def test_same_behaviour() -> None:
    whole, both = texts()
    whole = whole.replace("\\product", "\\gold")
    yosys.run("""
        read_rtlil both.il
        read_rtlil gold.il
        proc
        flatten
        delete product__core
        clean -purge
        equiv_make gold product equiv
        hierarchy -top equiv
        equiv_simple
        equiv_status -assert
    """, files={name: text.replace("attribute \\top 1\n", "")
                for name, text in {"both.il": both, "gold.il": whole}.items()})
