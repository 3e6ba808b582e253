# amaranth: UnusedElaboratable=no
"""Components whose ports are made when they are first asked for."""
import functools
from typing import Any

from amaranth.lib import wiring


class Component(wiring.Component):
    """As Amaranth's, but that its signals are made on first access.

    Who asks a layer what it costs or when it moves needs none, and a planner asks thousands of them.
    """

    _pending: Any

    def __init__(self, signature: Any) -> None:
        self._pending = signature

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or (signature := self.__dict__.pop("_pending", None)) is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        wiring.Component.__init__(self, signature)
        return getattr(self, name)


class Portable(Component):
    """A component that can be elaborated in another process: pickled, it is the arguments that made it."""

    _arguments: dict[str, Any]

    def __new__(cls, **arguments: Any) -> "Portable":
        self = super().__new__(cls)
        self._arguments = arguments
        return self

    def __reduce__(self) -> Any:
        return functools.partial(type(self), **self._arguments), ()
