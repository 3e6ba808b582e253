"""The host's end of the link: images out, results back. :mod:`headrace.hdl.edge.link` is the protocol."""
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Tensor
from headrace.hdl.edge.axi import channels_together
from headrace.hdl.edge.frames import ESCAPE, FLAG, INVERTED, Status
from headrace.hdl.edge.requests import CHECKSUM_BYTES, LENGTH_BYTES
from headrace.hdl.edge.uart import BITS

Integers = npt.NDArray[np.integer]

ATTEMPTS = 3
_FLAG, _ESCAPE = bytes([FLAG]), bytes([ESCAPE])
_NOISE = 10  # times the length of a reply: what may come before it


class Port(Protocol):
    """What is used of pyserial's ports."""

    @property
    def in_waiting(self) -> int:
        """Number of bytes that can be read at once."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes; less, or none, if silence lasts as long as the port's timeout."""

    def write(self, data: bytes, /) -> int | None:
        """Send bytes."""


def open_port(device: str, *, baud: int, timeout: float) -> Any:
    """Open a serial port, 8N1, with a timeout in seconds.

    Raises
    ------
    :exc:`HeadraceError`
        If pyserial is missing or the port cannot be opened.
    """
    try:
        import serial
    except ImportError as error:
        raise HeadraceError("pyserial is missing: install `headrace[run]`") from error
    try:
        return serial.Serial(device, baud, timeout=timeout)
    except (OSError, ValueError) as error:
        raise HeadraceError(f"cannot open {device} at {baud} baud: {error}") from error


@dataclass(frozen=True)
class Reply:
    """A reply whose checksum is right."""

    results: bytes
    tag: int
    status: Status


def framed(content: bytes) -> bytes:
    """Return the frame of this content: checksum, escapes and flags added."""
    content += zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "little")
    for special in (_ESCAPE, _FLAG):
        content = content.replace(special, bytes([ESCAPE, special[0] ^ INVERTED]))
    return _FLAG + content + _FLAG


def request(tag: int, image: bytes) -> bytes:
    """Return the frame of a request."""
    return framed(bytes([tag]) + len(image).to_bytes(LENGTH_BYTES, "little") + image)


def unframed(frame: bytes) -> bytes | None:
    """Return the content of what stood between two flags; None if it is damaged."""
    content = re.sub(re.escape(_ESCAPE) + b"(.)", lambda match: bytes([match[1][0] ^ INVERTED]), frame,
                     flags=re.DOTALL)
    content, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    return content if zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "little") == checksum else None


def reply(frame: bytes) -> Reply | None:
    """Return the reply that stood between two flags; None if it is damaged."""
    content = unframed(frame)
    if content is None or len(content) < 2 or content[-1] >= len(Status):
        return None
    return Reply(content[:-2], content[-2], Status(content[-1]))


class Client:
    """A network behind a serial port.

    Each image is sent until its results come: after an error reply, a damaged reply or silence again, up to
    :py:`attempts` times. Every attempt has a tag of its own; replies with another one are those of attempts
    that were given up, and are passed over.

    Parameters
    ----------
    port : :class:`Port`
        Its timeout is how long a reply may take.
    image, result : :class:`Tensor`
        Input and output of the network.

    Attributes
    ----------
    repeated : :class:`int`
        How often an image was sent again.
    """

    def __init__(self, port: Port, *, image: Tensor, result: Tensor, attempts: int = ATTEMPTS) -> None:
        self._port, self._image, self._result, self._attempts = port, image, result, attempts
        self._tag, self._received = 0, b""
        self.repeated = 0

    def run(self, x: Integers, *,
            progress: Callable[[int, int], None] | None = None) -> npt.NDArray[np.int16]:
        """Return the results of images, (frames, channels, height, width) both.

        Raises
        ------
        :exc:`HeadraceError`
            If an image got no results, results have another size, or the port fails.
        """
        results = []
        for image in x:
            results.append(self._frame(image))
            if progress is not None:
                progress(len(results), len(x))
        return np.stack(results)

    def _frame(self, image: Integers) -> npt.NDArray[np.int16]:
        content = image_bytes(image, self._image)
        for attempt in range(self._attempts):
            self.repeated += attempt > 0
            self._tag = (self._tag + 1) % 256
            try:
                self._port.write(request(self._tag, content))
                failure = found = self._reply()
            except OSError as error:
                raise HeadraceError(f"the port failed: {error}") from error
            if isinstance(found, Reply):
                return self._values(found.results)
        raise HeadraceError(f"no results in {self._attempts} attempts, at last because {failure}")

    def _reply(self) -> Reply | str:
        """Return the reply with the present tag, or why there is none."""
        for frame in self._frames():
            found = reply(frame)
            if found is None:
                return "the reply was damaged"
            if found.tag == self._tag:
                reason = found.status.name.lower().replace("_", " ")
                return found if found.status == Status.OK else f"the hardware said: {reason}"
        return "no reply came"

    def _frames(self) -> Iterator[bytes]:
        """Yield what comes between flags, until silence or too much of it."""
        limit = _NOISE * (int(np.prod(self._result.shape)) + 2 + CHECKSUM_BYTES)
        while limit > 0:
            *frames, self._received = self._received.split(_FLAG)
            yield from filter(None, frames)
            chunk = self._port.read(max(1, self._port.in_waiting))
            self._received += chunk
            limit = limit - len(chunk) if chunk else 0
        self._received = b""

    def _values(self, content: bytes) -> npt.NDArray[np.int16]:
        channels, height, width = self._result.shape
        if len(content) != channels * height * width:
            raise HeadraceError(f"the hardware gave {len(content)} results, the model gives "
                                f"{channels * height * width}: is another network on the board?")
        kind = np.int8 if self._result.quantisation.signed else np.uint8
        values = np.frombuffer(content, kind).reshape(height, channels, width).transpose(1, 0, 2)
        return values.astype(np.int16)


def seconds_on_line(image: Tensor, result: Tensor, *, baud: int) -> float:
    """Return how long a request and its reply take at most: every byte may have to be escaped."""
    content = sum(int(np.prod(tensor.shape)) + LENGTH_BYTES + CHECKSUM_BYTES for tensor in (image, result))
    return (2 * content + 4) * BITS / baud


def image_bytes(image: Integers, tensor: Tensor) -> bytes:
    """Return an image, (channels, height, width), in the order that :class:`AxiTop` takes."""
    together = channels_together(tensor.channels) == tensor.channels
    return image.transpose((1, 2, 0) if together else (1, 0, 2)).astype(np.uint8).tobytes()
