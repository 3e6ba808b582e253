"""Layers chained by their streams."""
from collections.abc import Mapping

from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.fork import Fork
from headrace.hdl.layers.layer import Layer


class Network(wiring.Component):
    """A network as a chain of layers: rows in, rows out, valid/ready throughout, nothing in between.

    A stream with several consumers goes through a :class:`Fork`.

    Parameters
    ----------
    i, o : :class:`RowFormat`
    layers : :class:`dict`
        By name, in topological order: the component and, by the name of its input port, the layer whose
        output it reads; None stands for the network's input. Output ports are called ``o``. The last
        layer's output is the network's.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, i: RowFormat, o: RowFormat,
                 layers: Mapping[str, tuple[Layer, Mapping[str, str | None]]]) -> None:
        self.formats = i, o
        self.layers = dict(layers)
        super().__init__({"i": In(i.signature), "o": Out(o.signature)})

    def streams(self) -> dict[str, stream.Interface]:
        """Return every layer's output stream by the layer's name."""
        return {name: component.o for name, (component, _) in self.layers.items()}

    def readers(self) -> dict[str | None, list[tuple[str, str]]]:
        """Return, by layer (None is the input), who reads its output: layer ("" is the output) and port."""
        result: dict[str | None, list[tuple[str, str]]] = {None: [], **{name: [] for name in self.layers}}
        for name, (_, inputs) in self.layers.items():
            for port, source in inputs.items():
                result[source].append((name, port))
        result[next(reversed(self.layers))].append(("", "o"))
        return result

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, (component, _) in self.layers.items():
            place(m, platform, name, component, module=name)
        for maker, places in self.readers().items():
            stream_ = wiring.flipped(self.i) if maker is None else self.layers[maker][0].o
            ports = [getattr(self.layers[name][0], port) if name else wiring.flipped(self.o)
                     for name, port in places]
            if len(ports) > 1:
                fork = Fork(shape=stream_.payload.shape(), count=len(ports))
                name = f"{maker or 'input'}__fork"
                place(m, platform, name, fork, module=name)
                wiring.connect(m, stream_, fork.i)
                for index, port in enumerate(ports):
                    wiring.connect(m, fork.output(index), port)
            else:
                wiring.connect(m, stream_, ports[0])
        return m
