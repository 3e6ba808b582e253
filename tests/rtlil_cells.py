"""The cells of a module as elaborated, from its RTLIL."""
import re

_CELL = re.compile(r"^  cell \$(\w+) [^\n]*\n(.*?)^  end$", re.MULTILINE | re.DOTALL)
_PARAMETER = re.compile(r"parameter (?:signed )?\\(\w+) (\d+)$", re.MULTILINE)


def cells(text: str, kind: str) -> list[dict[str, int]]:
    """Return the parameters of a module's cells of a kind."""
    return [{name: int(value) for name, value in _PARAMETER.findall(body)}
            for found, body in _CELL.findall(text) if found == kind]


def registers(text: str) -> int:
    """Return the bits of a module's registers."""
    return sum(cell["WIDTH"] for cell in cells(text, "dff"))


def has_cells(text: str) -> bool:
    """Return whether a module is more than connections."""
    return bool(_CELL.search(text))
