"""A serial port whose other end is simulated hardware."""
from collections import deque
from typing import Any

from amaranth.sim import Simulator

CYCLE = 1e-6


class SimulatedPort:
    """What :class:`headrace.boards.client.Port` asks for, at the pins of a :class:`SerialTop`.

    Time passes only while a read waits.

    Parameters
    ----------
    divisor : cycles per bit of the host, which may differ a little from the hardware's
    timeout : cycles of silence after which a read returns
    """

    def __init__(self, top: Any, *, divisor: float, timeout: int) -> None:
        self.top, self._bit, self._timeout = top, divisor * CYCLE, timeout
        self.to_send: deque[int] = deque()
        self.received: deque[int] = deque()
        self.cycles = 0
        self._simulator = Simulator(top)
        self._simulator.add_clock(CYCLE)
        self._simulator.add_testbench(self._send, background=True)
        self._simulator.add_testbench(self._receive, background=True)

    @property
    def in_waiting(self) -> int:
        return len(self.received)

    def write(self, data: bytes) -> int:
        self.to_send.extend(data)
        return len(data)

    def read(self, size: int) -> bytes:
        waited = 0
        while not self.received and waited < self._timeout:
            waited = 0 if self.to_send else waited + 100
            self.cycles += 100
            self._simulator.run_until(self.cycles * CYCLE)
        return bytes(self.received.popleft() for _ in range(min(size, len(self.received))))

    async def _send(self, ctx: Any) -> None:
        ctx.set(self.top.rx, 1)
        while True:
            if not self.to_send:
                await ctx.delay(self._bit)
                continue
            byte = self.to_send.popleft()
            for level in (0, *(byte >> index & 1 for index in range(8)), 1):
                ctx.set(self.top.rx, level)
                await ctx.delay(self._bit)

    async def _receive(self, ctx: Any) -> None:
        while True:
            await ctx.negedge(self.top.tx)
            await ctx.delay(self._bit / 2)
            byte = 0
            for index in range(8):
                await ctx.delay(self._bit)
                byte |= ctx.get(self.top.tx) << index
            await ctx.delay(self._bit)
            assert ctx.get(self.top.tx), "no stop bit"
            self.received.append(byte)
