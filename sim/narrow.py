"""Ports cut into pieces that fit a machine word.

CXXRTL passes over a wide value as a whole wherever a few of its bits are read or written. Lanes have wide
ports, of which each multiplier uses a few bits.
"""
import re
from collections.abc import Iterator

WORD = 32
"""Bits of a piece at most, unless the module itself uses more at once."""

_PORT = re.compile(r"^ *wire width (\d+) (input|output) (\d+) +(?:signed +)?\\(\S+)$", re.MULTILINE)


def ports(text: str) -> dict[str, tuple[str, int]]:
    """Return direction and width of the ports of the first module in RTLIL text."""
    return {name: (direction, int(width)) for width, direction, _, name in _PORT.findall(_first(text))}


def core(name: str) -> str:
    """Return the name of the module inside a module with narrowed ports."""
    return f"{name}__core"


def narrow(name: str, text: str) -> str:
    """Return RTLIL of a module with the same ports, around one with the same contents and narrow ports."""
    body = _first(text)
    cuts = {port: list(_cut(body, port, width)) for port, (_, width) in ports(text).items()}
    counter = iter(range(sum(map(len, cuts.values()))))
    joints: list[str] = []

    def declare(match: re.Match[str]) -> str:
        width, direction, _, port = match.groups()
        if len(cuts[port]) == 1:
            return f"  wire width {width} {direction} {next(counter)} \\{port}\n"
        pieces = [f"  wire width {high - low} {direction} {next(counter)} \\{port}__{low}\n"
                  for low, high in cuts[port]]
        for low, high in cuts[port]:
            sides = [f"\\{port} [{high - 1}:{low}]", f"\\{port}__{low}"]
            joints.append(f"connect {' '.join(sides if direction == 'input' else sides[::-1])}\n")
        return f"  wire width {width} \\{port}\n" + "".join(pieces)

    inside = _PORT.sub(declare, body).replace(f"\nmodule \\{name}\n", f"\nmodule \\{core(name)}\n", 1)
    outside = [f"module \\{name}\n", *(match[0] + "\n" for match in _PORT.finditer(body)),
               f"  cell \\{core(name)} \\core\n"]
    for port, pieces in cuts.items():
        for low, high in pieces:
            whole = len(pieces) == 1
            outside.append(f"    connect \\{port}{'' if whole else f'__{low}'} \\{port} [{high - 1}:{low}]\n")
    return "".join([*outside, "  end\nend\n", inside, *joints, text[len(body):]])


def _first(text: str) -> str:
    """Return the text of the first module without its end."""
    return text[:re.search(r"^end$", text, re.MULTILINE).start()]  # type: ignore[union-attr]


def _cut(body: str, port: str, width: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of bits: as many of the ranges that the module uses as fit in a word."""
    used = re.findall(rf"\\{re.escape(port)} \[(\d+)(?::(\d+))?\]", body)
    edges = {0, width} | {int(low or high) for high, low in used} | {int(high) + 1 for high, _ in used}
    low = end = 0
    for edge in sorted(edges)[1:]:
        if end > low and edge - low > WORD:
            yield low, end
            low = end
        end = edge
    if width > low:
        yield low, width
