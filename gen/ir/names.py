"""Identifiers for generated hardware, from the names in a model."""
import re
from collections.abc import Sequence

MAX_LENGTH = 40


def identifier(text: str) -> str:
    """``text`` in [a-z0-9_], without doubled or outer underscores; perhaps empty."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def identifiers(names: Sequence[tuple[str, str]]) -> list[str]:
    """A distinct identifier of at most 40 characters for each (kind, name), in order.

    Paths such as ``MobilenetV2/Conv/Relu6`` lose the folders that all of them share, then leading
    words while they are too long. What begins with a digit gets the kind as a prefix, and so does a
    single word, which might be a keyword of Verilog.
    """
    paths = [[part for part in name.split("/") if identifier(part)] for _, name in names]
    while len({path[0] if len(path) > 1 else None for path in paths}) == 1 and len(paths[0]) > 1:
        paths = [path[1:] for path in paths]
    taken: dict[str, int] = {}
    return [_distinct(_short(kind, identifier("_".join(path))), taken)
            for (kind, _), path in zip(names, paths, strict=True)]


def _short(kind: str, name: str) -> str:
    if not name[:1].isalpha() or ("_" not in name and not name.startswith(kind)):
        name = f"{kind}_{name}".rstrip("_")
    rest = name
    while (len(rest) > MAX_LENGTH or not rest[0].isalpha()) and "_" in rest:
        rest = rest.partition("_")[2]
    return (rest if rest[0].isalpha() else name)[:MAX_LENGTH].rstrip("_")


def _distinct(name: str, taken: dict[str, int]) -> str:
    """Number what is `taken`, which counts how often each name was wanted."""
    candidate = name
    while candidate in taken:
        taken[name] += 1
        suffix = f"_{taken[name]}"
        candidate = name[:MAX_LENGTH - len(suffix)].rstrip("_") + suffix
    taken[candidate] = 1
    return candidate
