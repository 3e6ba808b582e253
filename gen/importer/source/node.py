"""One ONNX node: its attributes, checked, and the window they describe."""
from collections.abc import Sequence
from math import ceil

import onnx
from onnx import AttributeProto

from headrace.gen.importer.source.file import quote
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Window

Shape = tuple[int, ...]  # without the batch, which is 1

CALLED = "headrace.operator"
"""In a node's metadata: the operator of the file for which it stands."""

MAX_KERNEL = 1 << 9  # a side of a kernel, a stride or a pad


class OnnxNode:
    """A node whose attributes are taken one by one; what is left over is not supported.

    ``where`` names file, operator and node for messages, each as the user's file has it: a node that stands
    for one with another operator says so (:data:`CALLED`). A node without a name is called after its first
    output.
    """

    def __init__(self, proto: onnx.NodeProto, *, file: str) -> None:
        domain = "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}."
        self.operator = domain + proto.op_type
        self.inputs = list(proto.input)
        while self.inputs and not self.inputs[-1]:
            self.inputs.pop()
        self.outputs = list(proto.output)
        self.name = proto.name or (self.outputs[0] if self.outputs else "")
        self.called = next((entry.value for entry in proto.metadata_props if entry.key == CALLED),
                           self.operator)
        self.where = f"{file}: {quote(self.called)[1:-1]} {quote(self.name)}"
        self._attributes: dict[str, AttributeProto] = {
            attribute.name: attribute for attribute in proto.attribute}

    def error(self, what: str) -> HeadraceError:
        return HeadraceError(f"{self.where}: {what}")

    def expect_inputs(self, least: int, most: int) -> None:
        if not least <= len(self.inputs) <= most or not all(self.inputs[:least]):
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise self.error(f"has {len(self.inputs)} inputs, not {wanted}")
        if len(self.outputs) != 1:
            raise self.error(f"has {len(self.outputs)} outputs; 1 is supported")

    def integer(self, name: str, default: int) -> int:
        attribute = self._take(name, AttributeProto.INT)
        return default if attribute is None else attribute.i

    def real(self, name: str, default: float) -> float:
        attribute = self._take(name, AttributeProto.FLOAT)
        return default if attribute is None else attribute.f

    def text(self, name: str, default: str) -> str:
        attribute = self._take(name, AttributeProto.STRING)
        return default if attribute is None else attribute.s.decode(errors="replace")

    def integers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        attribute = self._take(name, AttributeProto.INTS)
        values = tuple(default if attribute is None else attribute.ints)
        if len(values) != len(default):
            raise self.error(f"{name} {list(values)[:9]} is not supported; {len(default)} numbers are")
        return values

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """As `integers`, however many; None without the attribute."""
        attribute = self._take(name, AttributeProto.INTS)
        return None if attribute is None else tuple(attribute.ints)

    def only(self, name: str, value: float, default: float) -> None:
        """Insist that a numeric attribute has the one value that is supported."""
        attribute = self._attributes.pop(name, None)
        found = default if attribute is None else (
            attribute.f if attribute.type == AttributeProto.FLOAT else attribute.i)
        if found != value:
            raise self.error(f"{name} {found:g} is not supported; {value:g} is")

    def finish(self) -> None:
        """Insist that every attribute was understood."""
        if self._attributes:
            raise self.error(f"attribute {quote(min(self._attributes))} is not supported")

    def _take(self, name: str, kind: int) -> AttributeProto | None:
        attribute: AttributeProto | None = self._attributes.pop(name, None)
        if attribute is not None and attribute.type != kind:
            raise self.error(f"attribute {name} has the wrong type")
        return attribute


def window(node: OnnxNode, image: Shape, *, kernel: Shape | None = None) -> Window:
    """Take the attributes of a convolution or pooling over an image [C, H, W], or a row [C, W] of height 1.

    ``kernel`` is the size of the weights, where there are some. ``auto_pad`` becomes plain pads.
    """
    check_image(node, image)
    once = (1,) * (len(image) - 1)  # for each side
    taps = node.integers("kernel_shape", kernel or (0,) * len(once))
    if kernel is not None and taps != kernel:
        raise node.error(f"kernel_shape {list(taps)} but weights of {list(kernel)}")
    strides = node.integers("strides", once)
    dilations = node.integers("dilations", once)
    pads = node.integers("pads", (0, 0) * len(once))
    for name, values, least in (("kernel_shape", taps, 1), ("strides", strides, 1),
                                ("dilations", dilations, 1), ("pads", pads, 0)):
        if not all(least <= value <= MAX_KERNEL for value in values):
            raise node.error(
                f"{name} {list(values)} is not supported; {least} to {MAX_KERNEL} is")
    spans = tuple((count - 1) * dilation + 1 for count, dilation in zip(taps, dilations, strict=True))
    if max(spans) > MAX_KERNEL:
        raise node.error(f"kernel_shape {list(taps)} with dilations {list(dilations)} is not supported; "
                         f"{MAX_KERNEL} from the first to the last is")
    match node.text("auto_pad", "NOTSET"):
        case "NOTSET":
            pass
        case "VALID":
            pads = (0, 0) * len(once)
        case "SAME_UPPER" | "SAME_LOWER" as mode:
            pads = _same_pads(image[1:], spans, strides, lower=mode == "SAME_LOWER")
        case mode:
            raise node.error(f"auto_pad {quote(mode)} is not supported; "
                             "NOTSET, VALID, SAME_UPPER and SAME_LOWER are")
    before, after = _two(pads[:len(once)], 0), _two(pads[len(once):], 0)
    apart = tuple(dilation if count > 1 else 1 for count, dilation in zip(taps, dilations, strict=True))
    result = Window(kernel=_two(spans), stride=_two(strides), pads=(*before, *after), dilation=_two(apart))
    if min(result.output_size(*_two(image[1:]))) < 1:
        raise node.error(f"kernel {list(spans)} does not fit into {describe(image)}")
    return result


def check_image(node: OnnxNode, shape: Shape) -> None:
    """Insist that what a node reads is an image or a row."""
    if len(shape) not in (2, 3):
        raise node.error(f"reads {describe(shape)}; an image (1, C, H, W) and a row (1, C, W) are supported")


def like(shape: Shape, image: Shape) -> Shape:
    """The shape of an image [C, H, W] that was made of what has ``shape``: of a row, a row."""
    return image if len(shape) == 3 else (image[0], image[2])


def _two(sides: Shape, above: int = 1) -> tuple[int, int]:
    """What an attribute says vertically and horizontally; of a row, ``above`` vertically."""
    vertical, horizontal = (above, *sides)[-2:]
    return vertical, horizontal


def describe(shape: Shape) -> str:
    """A shape for a message, with its batch."""
    return f"shape ({', '.join(map(str, (1, *shape)))})"


def _same_pads(image: Shape, kernel: Shape, strides: Shape, *, lower: bool) -> Shape:
    starts, ends = [], []
    for size, taps, stride in zip(image, kernel, strides, strict=True):
        total = max((ceil(size / stride) - 1) * stride + taps - size, 0)
        starts.append((total + lower) // 2)
        ends.append(total - starts[-1])
    return (*starts, *ends)
