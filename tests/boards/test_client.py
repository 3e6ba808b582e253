"""The client against ports that say what they are told to; `headrace run` as a user meets it."""
import json
import os
import sys
import threading
import tty
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from headrace.boards.client import Client, framed, image_bytes, unframed
from headrace.gen.cli.main import main
from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.ir.graph import Quantisation, Tensor
from headrace.sim import inputs, reference

IMAGE = Tensor("x", 3, 2, 2, Quantisation(1.0, 0, False))
RESULT = Tensor("y", 2, 1, 1, Quantisation(1.0, 0, True))
X = np.arange(12).reshape(1, 3, 2, 2)


class ScriptedPort:
    """Says, to each request, what the script has next; silence where it has nothing."""

    def __init__(self, script: Sequence[bytes]) -> None:
        self.script, self.waiting, self.requests = list(script), b"", []

    @property
    def in_waiting(self) -> int:
        return len(self.waiting)

    def write(self, data: bytes) -> int:
        self.requests.append(data)
        self.waiting += self.script.pop(0) if self.script else b""
        return len(data)

    def read(self, size: int) -> bytes:
        data, self.waiting = self.waiting[:size], self.waiting[size:]
        return data


def run(*script: bytes) -> tuple[list[int], int, list[bytes]]:
    port = ScriptedPort(script)
    client = Client(port, image=IMAGE, result=RESULT)
    return client.run(X).ravel().tolist(), client.repeated, port.requests


def said(tag: int, status: int = 0, results: bytes = b"\xff\x7e") -> bytes:
    return framed(results + bytes([tag, status]))


def test_request_and_reply() -> None:
    values, repeated, requests = run(said(1))
    assert (values, repeated) == ([-1, 126], 0)
    pixels = bytes([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])
    assert requests == [framed(b"\x01\x0c\0\0\0" + pixels)]


def test_images_of_many_channels_go_row_by_row_channel_by_channel() -> None:
    x = np.arange(20).reshape(5, 2, 2)
    sent = image_bytes(x, Tensor("x", 5, 2, 2, Quantisation(1.0, 0, False)))
    assert list(sent) == [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19]


GOOD = said(2)


@pytest.mark.parametrize("first", (
    said(1, status=3), said(1, status=1, results=b""), said(1)[:3] + b"\x55" + said(1)[4:], said(1)[:-1], b"",
    said(1)[:3], said(0), b"\x7e\x01\x02\x03\x7e", said(1, status=7), b"\x55" * 200))
def test_sent_again(first: bytes) -> None:
    values, repeated, requests = run(first, GOOD)
    assert (values, repeated) == ([-1, 126], 1)
    assert [each[1] for each in requests] == [1, 2]  # their tags


def test_late_reply_is_passed_over() -> None:
    assert run(b"", said(1, results=b"\0\0") + GOOD)[:2] == ([-1, 126], 1)


@pytest.mark.parametrize("script, reason", (
    ((), "no reply came"),
    ([said(tag, status=6) for tag in (1, 2, 3)], "the hardware said: overrun"),
    ([b"\x7e\0\0\0\0\0\0\0\x7e"] * 3, "the reply was damaged")))
def test_given_up(script: Sequence[bytes], reason: str) -> None:
    with pytest.raises(HeadraceError, match=f"^no results in 3 attempts, at last because {reason}$"):
        run(*script)


def test_another_network() -> None:
    with pytest.raises(HeadraceError, match=r"^the hardware gave 3 results, the model gives 2: is another "
                                            r"network on the board\?$"):
        run(said(1, results=b"abc"))


def test_port_fails() -> None:
    class Failing(ScriptedPort):
        def read(self, size: int) -> bytes:
            raise OSError("device reports readiness to read but returned no data")

    with pytest.raises(HeadraceError, match="^the port failed: device reports readiness"):
        Client(Failing([]), image=IMAGE, result=RESULT).run(X)


@pytest.fixture
def board(digits: Path) -> Iterator[str]:
    """A pseudo terminal behind which the integer reference answers; its second reply is damaged."""
    graph = load(digits)
    host, device = os.openpty()
    tty.setraw(device)

    def serve() -> None:
        pending, count = b"", 0
        while (data := os.read(host, 4096)) != b"end":
            *frames, pending = (pending + data).split(b"\x7e")
            for frame in filter(None, frames):
                content, count = unframed(frame), count + 1
                assert content is not None
                image = np.frombuffer(content[5:], np.uint8).reshape(1, 1, 8, 8).astype(np.int16)
                y = reference.run(graph, image)[graph.output].astype(np.uint8).tobytes()
                answer = bytearray(framed(y + bytes([content[0], 0])))
                answer[4] ^= count == 2
                os.write(host, answer)

    server = threading.Thread(target=serve)
    server.start()
    yield os.ttyname(device)
    os.write(device, b"end")
    server.join()
    os.close(host)
    os.close(device)


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_run(capsys: pytest.CaptureFixture[str], digits: Path, digits_images: Path, board: str) -> None:
    options = ["--port", board, "--baud", 115200, "--frames", 4, digits_images]
    code, out, err = command(capsys, "run", digits, *options, "--check")
    assert (code, err) == (0, "")
    labels = np.load(digits_images)["labels"]
    assert [line.split()[:2] for line in out.splitlines()[1:5]] == [
        [str(frame), str(labels[frame])] for frame in range(4)]
    assert out.splitlines()[5:] == [
        "4 frames, 1 sent again", "0 mismatches between the board and the integer reference",
        "accuracy: 4 of 4, 100.0%"]
    code, out, err = command(capsys, "run", digits, *options, "--json")
    graph, found = load(digits), json.loads(out)
    x = inputs.load([digits_images], graph)[:4]
    assert (code, err) == (0, "") and found["repeated"] == 0 and found["correct"] == 4
    assert found["results"] == reference.run(graph, x)[graph.output].tolist()


def test_run_without_a_board(capsys: pytest.CaptureFixture[str], digits: Path, digits_images: Path,
                             monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arguments = "run", digits, "--port", tmp_path / "none", digits_images
    code, out, err = command(capsys, *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"headrace: cannot open {tmp_path / 'none'} at 1000000 baud: ")
    monkeypatch.setitem(sys.modules, "serial", None)
    assert command(capsys, *arguments) == (1, "", "headrace: pyserial is missing: install `headrace[run]`\n")
