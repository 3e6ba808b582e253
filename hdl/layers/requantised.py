# amaranth: UnusedElaboratable=no
"""What layers have in common that end with a requantiser."""
from amaranth import Module, Shape
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from headrace.hdl.arithmetic.requantisation import Requantisation
from headrace.hdl.base.hierarchy import place
from headrace.hdl.base.rows import RowFormat
from headrace.hdl.layers.layer import Layer
from headrace.hdl.requantise.requantise import Requantise


class Requantised(Layer):
    """A layer of one input whose sums go through :class:`Requantise`.

    Parameters
    ----------
    i, o : :class:`RowFormat`
    weight : :class:`Shape`
        Shape of a weight, of kinds that have weights.
    sum : :class:`Shape`
        Shape that holds every finished sum; unfinished ones may wrap.
    p_out : :class:`int`
        Sums that are finished side by side.
    paired : :class:`bool`
        Neighbour lanes share multipliers (:class:`LanePair`), of kinds whose lanes may.
    scaling : :class:`Requantisation`
    requantise_steps : :class:`int`
        Cycles the requantiser may take per output.
    readout : :class:`int`
        Columns that a requantiser serves in turn: the output has so many times as many beats as lanes finish.

    Attributes
    ----------
    computing : tuple of two :class:`RowFormat`
        What lanes take, and what they finish: the output before it is read out.

    Members
    -------
    i : :py:`In(i.signature)`
    o : :py:`Out(o.signature)`
    """

    i: stream.Interface
    o: stream.Interface
    formats: tuple[RowFormat, RowFormat]

    def __init__(self, *, i: RowFormat, o: RowFormat, sum: Shape, scaling: Requantisation,
                 requantise_steps: int, readout: int = 1, p_out: int = 1) -> None:
        self.formats = i, o
        self.computing = i, o.gathered(readout)
        self.sum, self.scaling = sum, scaling
        self.requantise = Requantise(sum=sum, count=p_out, o=o, scaling=scaling, steps=requantise_steps,
                                     readout=readout)
        super().__init__(lambda: {"i": In(i.signature), "o": Out(o.signature)})

    def place_requantiser(self, m: Module, platform: object) -> None:
        place(m, platform, "requantise", self.requantise)
        wiring.connect(m, self.requantise.o, wiring.flipped(self.o))
