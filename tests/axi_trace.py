"""What AXI4-Streams, and the top of a design, owe: rules for every cycle, frames, errors, values, cycles."""
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headrace.gen.cycles import model as cycle_model
from headrace.gen.ir.graph import Graph, Tensor
from headrace.hdl.network import Network
from headrace.hdl.timing.channel import Channel, Process, Scheduler
from headrace.sim import reference
from verilator_bench import Phase, Trace

Beat = tuple[int, int]
"""TDATA and TLAST."""


class Violation(AssertionError):
    """What a design must not do."""


def require(kept: npt.NDArray[np.bool_], what: str) -> None:
    if not kept.all():
        raise Violation(f"{what} in {np.count_nonzero(~kept)} cycles, first in cycle {np.argmin(kept)}")


def protocol(trace: Trace) -> None:
    """Check the rules of a stream that need no knowledge of what it carries.

    Raises
    ------
    :exc:`Violation`
    """
    now, then = trace[:-1], trace[1:]
    free = (now["m_valid"] == 0) | (now["m_ready"] == 1) | (now["rst"] == 1) | (then["rst"] == 1)
    require(free | (then["m_valid"] == 1), "TVALID dropped before TREADY")
    require(free | (then["m_data"] == now["m_data"]), "TDATA changed before TREADY")
    require(free | (then["m_last"] == now["m_last"]), "TLAST changed before TREADY")
    require(trace["follows"] == 0, "the stream follows TREADY within the cycle")
    require((now["rst"] == 0) | (then["m_valid"] == 0), "TVALID after reset")


def guarded(beats: Sequence[Beat], *, length: int, fill: int) -> tuple[list[list[int]], list[int]]:
    """Return the frames of so many beats that become of these, and the beats that reveal an error."""
    frames, errors, frame, dropping = [], [], [], False
    for index, (data, last) in enumerate(beats):
        if dropping:
            dropping = not last
            continue
        frame.append(data)
        if bool(last) != (len(frame) == length):
            errors.append(index)
        dropping = len(frame) == length and not last
        if last or dropping:
            frames.append(frame + [fill] * (length - len(frame)))
            frame = []
    return frames, errors


class Judge:
    """What the AXI4-Stream top of a network must give, by the integer reference.

    Attributes
    ----------
    together : :class:`int`
        Channels in a beat of the input.
    length : :class:`int`
        Beats of a frame of the input.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.input, self.output = graph.tensors[graph.input], graph.tensors[graph.output]
        channels, height, width = self.input.shape
        self.together = channels if channels <= 4 else 1
        self.length = channels * height * width // self.together

    def frame(self, image: npt.NDArray[np.integer]) -> list[Beat]:
        """Return the beats of a C x H x W image."""
        together = self.together
        order = image.transpose(1, 2, 0) if together == self.input.channels else image.transpose(1, 0, 2)
        beats = (order.reshape(-1, together).astype(np.int64) & 255) << 8 * np.arange(together)
        return [(int(beat), int(index == len(beats) - 1)) for index, beat in enumerate(beats.sum(1))]

    def _image(self, frame: Sequence[int]) -> npt.NDArray[np.integer]:
        together, (channels, height, width) = self.together, self.input.shape
        values = (np.array(frame, np.int64)[:, None] >> 8 * np.arange(together) & 255).astype(np.uint8)
        values = values.view(np.int8) if self.input.quantisation.signed else values
        if together == channels:
            return values.reshape(height, width, channels).transpose(2, 0, 1).astype(np.int16)
        return values.reshape(height, channels, width).transpose(1, 0, 2).astype(np.int16)

    def answer(self, beats: Sequence[Beat]) -> tuple[list[Beat], list[int]]:
        """Return the beats that these are answered with, and those that reveal an error."""
        fill = sum((self.input.quantisation.zero_point & 255) << 8 * index for index in range(self.together))
        frames, errors = guarded(beats, length=self.length, fill=fill)
        if not frames:
            return [], errors
        images = np.stack([self._image(frame) for frame in frames])
        values = _values(reference.run(self.graph, images)[self.graph.output], self.output)
        last = [0] * (values.shape[1] - 1) + [1]
        return [beat for frame in values.tolist() for beat in zip(frame, last, strict=True)], errors

    def check(self, trace: Trace, phases: Sequence[Phase]) -> None:
        """Check everything but cycles.

        Raises
        ------
        :exc:`Violation`
        """
        protocol(trace)
        for number, phase in enumerate(phases):
            seen = trace[trace["phase"] == number]
            live = seen["rst"] == 0
            sent = np.flatnonzero(live & (seen["s_valid"] == 1) & (seen["s_ready"] == 1))
            got = seen[live & (seen["m_valid"] == 1) & (seen["m_ready"] == 1)]
            received = list(zip(got["m_data"].tolist(), got["m_last"].tolist(), strict=True))
            expected, errors = self.answer(phase.beats)
            if phase.cycles:
                expected = expected[:len(received)]
            else:
                assert len(sent) == len(phase.beats)
            if received != expected:
                raise Violation(f"phase {number}: {difference(received, expected)}")
            cycles = [int(sent[index]) for index in errors if index < len(sent)]
            if (found := np.flatnonzero(seen["error"]).tolist()) != cycles:
                raise Violation(f"phase {number}: frame_error in cycles {found}, not {cycles}")


def difference(received: Sequence[Beat], expected: Sequence[Beat]) -> str:
    for index, (one, other) in enumerate(zip(received, expected, strict=False)):
        if one != other:
            return f"beat {index} is TDATA, TLAST = {one}, not {other}"
    return f"{len(received)} beats, not {len(expected)}"


def _values(frames: npt.NDArray[np.integer], tensor: Tensor) -> npt.NDArray[np.uint8]:
    """Return values in the order of the output: row by row, channel by channel, column by column."""
    return frames.astype(np.int16).transpose(0, 2, 1, 3).astype(np.uint8).reshape(len(frames), -1)


def transfers(trace: Trace) -> list[int]:
    """Return the cycles in which the master's beats move, from the end of the reset on."""
    live = trace[trace["rst"] == 0]
    return np.flatnonzero((live["m_valid"] == 1) & (live["m_ready"] == 1)).tolist()


def predicted(network: Network, frames: int, *, together: int) -> list[int]:
    """Return the cycles in which they move by the cycle model, at full rate on both sides."""
    scheduler = Scheduler()
    streams, o, processes = cycle_model.build(network, scheduler)
    values: list[int] = []
    image, result = network.formats
    rows = frames * image.height * image.channels // together
    scheduler.run([*processes, _pixels_to_rows(streams[None], rows, image.width, together),
                   _rows_to_values(o, result.lanes, values)])
    return values


def _pixels_to_rows(o: Channel, rows: int, width: int, together: int) -> Process:
    """:class:`headrace.hdl.edge.adapter.PixelsToRows`, to which a pixel comes in every cycle."""
    last_pixel = -1
    for _ in range(rows):
        while o.offered is not None:
            yield o
        last_pixel = max(last_pixel + width, o.taken)
        for channel in range(together):
            while o.offered is not None:
                yield o
            o.offer(o.taken + 1 if channel else last_pixel + 1)


def _rows_to_values(i: Channel, lanes: int, values: list[int]) -> Process:
    """:class:`headrace.hdl.edge.adapter.RowsToValues`, of which a value is taken in every cycle."""
    while True:
        while i.offered is None:
            yield i
        i.take(max([i.offered, *values[-1:]]))
        values += range(i.taken + 1, i.taken + 1 + lanes)


def waits(trace: Trace) -> bool:
    """Return whether a beat has waited for TREADY, and TREADY for a beat, on both sides."""
    return all(((trace[f"{side}_valid"] == valid) & (trace[f"{side}_ready"] == 1 - valid)).any()
               for side in "sm" for valid in (0, 1))

