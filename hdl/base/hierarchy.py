# amaranth: UnusedElaboratable=no
"""Modules that are elaborated once and instantiated many times.

In Amaranth's own simulator every component is an ordinary submodule. For a netlist that would elaborate
each of a layer's W identical lanes W times and flatten names into `top.layer.lane17`; there, components are
placed through a :class:`Hierarchy` instead, which turns them into instances of separately written modules.
"""
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from amaranth import ClockDomain, ClockSignal, Elaboratable, Instance, Module, ResetSignal, Value
from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.hdl import Fragment
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from joblib import Parallel, delayed

from headrace.hdl.base.component import Portable
from headrace.hdl.base.platform import REGISTERS, Platform

WORTH_PROCESSES = 10_000
"""Bits of ports of layers that wait, from which on they are elaborated side by side."""


class Hierarchy(Platform):
    """A netlist in the making: RTLIL text per module, each distinct module once.

    Pass it as the platform of the elaboration; its parameters are those of :class:`Platform`.

    Attributes
    ----------
    modules : :class:`dict` from :class:`str` to :class:`str`
        RTLIL text by module name, in order of first instantiation, the top module first.
    children : :class:`dict` from :class:`str` to :class:`list`
        Names of the modules each module instantiates, once per instance.
    signatures : :class:`dict` from :class:`str` to :class:`wiring.Signature`
        Ports by module name.
    """

    def __init__(self, *, fast_rings: bool = False, rings: str = REGISTERS) -> None:
        super().__init__(fast_rings=fast_rings, rings=rings)
        self.modules: dict[str, str] = {}
        self.children: dict[str, list[str]] = {}
        self.signatures: dict[str, Any] = {}
        self._pending: deque[tuple[str, Elaboratable]] = deque()
        self._current = ""

    def build(self, top: wiring.Component, *, name: str = "top",
              probes: dict[str, Value] | None = None) -> None:
        """Elaborate :py:`top` and all it instantiates; :py:`probes` become outputs of the top module.

        As soon as :class:`Portable` components wait that are large enough, they are elaborated side by side.
        """
        self._define(name, top, probes or {})
        while self._pending:
            layers = [item for item in self._pending if isinstance(item[1], Portable)]
            if sum(map(_bits, layers)) > WORTH_PROCESSES:
                self._build_side_by_side(layers)
            else:
                self._define(*self._pending.popleft(), {})

    def _build_side_by_side(self, layers: Sequence[tuple[str, Any]]) -> None:
        order = sorted(layers, key=_bits, reverse=True)  # so that none is left over for the end
        made = dict(zip((name for name, _ in order), Parallel(n_jobs=-1, batch_size=1)(
            delayed(_built)(name, layer, self.fast_rings, self.rings) for name, layer in order), strict=True))
        for name, _ in layers:
            for module, text in made[name].modules.items():
                assert self.modules.setdefault(module, text) == text, f"two modules are called {module}"
            self.children |= made[name].children
            self.signatures |= made[name].signatures
        self._pending = deque(item for item in self._pending if item[0] not in made)

    def _define(self, name: str, component: Any, probes: dict[str, Value]) -> None:
        self._current, self.children[name] = name, []
        sync: Any = ClockDomain("sync")  # here, so that every module has the same two ports for it
        fragment = Fragment.get(component, self)
        fragment.add_domains(sync)
        made = {"clk": (sync.clk, None), "rst": (sync.rst, None)}
        made |= {port: (value, None) for port, value, _ in ports(component.signature, component)}
        made |= {probe: (Value.cast(value), None) for probe, value in probes.items()}
        text = rtlil.convert(fragment, name=name, ports=made, platform=self, emit_src=False)
        self.modules[name] = text.replace("cell \\$", "cell $")  # Amaranth takes them for modules

    def add(self, name: str, component: Any) -> None:
        """Have :py:`component` elaborated as module :py:`name`."""
        assert name not in self.signatures, f"two modules are called {name}"
        self.signatures[name] = component.signature
        self._pending.append((name, component))

    def instance(self, name: str, interface: Any) -> Instance:
        """Return an instance of module :py:`name`, connected to the signals of :py:`interface`."""
        self.children[self._current].append(name)
        return instance(name, self.signatures[name], interface)

    def scoped(self, name: str) -> str:
        """Return the default name of a module below the present one; layers' names have no double `_`."""
        return name if self._current == "top" else f"{self._current}__{name}"


def _built(name: str, layer: Portable, fast_rings: bool, rings: str) -> Hierarchy:
    hierarchy = Hierarchy(fast_rings=fast_rings, rings=rings)
    hierarchy.add(name, layer)
    while hierarchy._pending:
        hierarchy._define(*hierarchy._pending.popleft(), {})
    return hierarchy


def _bits(pending: tuple[str, Any]) -> int:
    """Return the bits of a component's ports, by which the work that it makes can be guessed."""
    return sum(len(value) for _, value, _ in ports(pending[1].signature, pending[1]))


def instance(name: str, signature: Any, interface: Any) -> Instance:
    """Return an instance of a module with these ports, connected to the signals of :py:`interface`."""
    return Instance(name, i_clk=ClockSignal(), i_rst=ResetSignal(), **{
        f"{'i' if flow is In else 'o'}_{port}": value for port, value, flow in ports(signature, interface)})


def ports(signature: Any, interface: Any) -> Iterator[tuple[str, Value, Any]]:
    """Yield name, signal and direction of each port of a module with this signature.

    Verilog has no ports of no bits.
    """
    for path, member, value in signature.flatten(interface):
        if len(bits := Value.cast(value)):
            yield "__".join(map(str, path)), bits, member.flow


def place(m: Module, platform: object, name: str, component: Any, *, module: str = "") -> None:
    """Add :py:`component` as :py:`name`, by default a module called after its parent and itself."""
    if isinstance(platform, Hierarchy):
        module = module or platform.scoped(name)
        platform.add(module, component)
        component = platform.instance(module, component)
    m.submodules[name] = component


def place_copies(m: Module, platform: object, name: str, make: Callable[[], Any], count: int, *,
                 module: str = "") -> list[Any]:
    """Add :py:`count` identical components and return their interfaces.

    :py:`module` names a module that several parents share.
    """
    if not isinstance(platform, Hierarchy):
        components = [make() for _ in range(count)]
        for index, component in enumerate(components):
            m.submodules[f"{name}{index}"] = component
        return components
    module = module or platform.scoped(name)
    if count and module not in platform.signatures:
        platform.add(module, make())
    interfaces = [platform.signatures[module].create(path=(f"{name}{index}",)) for index in range(count)]
    for index, interface in enumerate(interfaces):
        m.submodules[f"{name}{index}"] = platform.instance(module, interface)
    return interfaces
