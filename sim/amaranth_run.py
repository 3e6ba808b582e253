"""Amaranth's own simulator behind the interface of :mod:`headrace.sim.compiled`."""
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth import Value
from amaranth.sim import Simulator

from headrace.sim.beats import Beats, Pattern, Progress, hang, pattern, row_bytes


def run(component: Any, *, inputs: Mapping[str, npt.NDArray[np.uint8]], outputs: Mapping[str, int],
        probes: Mapping[str, Any] | None = None, valid: Mapping[str, Pattern] | None = None,
        ready: Mapping[str, Pattern] | None = None, deadline: int = 100_000,
        progress: Progress | None = None) -> dict[str, Beats]:
    """Run until every output has its beats; see :mod:`headrace.sim.beats` for the rules.

    Parameters are those of :meth:`headrace.sim.compiled.Simulation.run`, except:

    Parameters
    ----------
    component
        With a stream interface for a member by each name in :py:`inputs` and :py:`outputs`.
    probes : mapping from :class:`str` to stream interface
        Streams inside the component to record.

    Raises
    ------
    :exc:`HeadraceError`
        If nothing moves for :py:`deadline` cycles.
    """
    ports = [name for name in (*inputs, *outputs) if name not in (probes or {})]
    streams = {name: getattr(component, name) for name in ports} | dict(probes or {})
    sampled = [Value.cast(part) for stream in streams.values()
               for part in (stream.valid, stream.ready, stream.payload)]
    willing = {name: pattern(valid, name) for name in inputs}
    willing |= {name: pattern(ready, name) for name in outputs if name in ports}
    cycles: dict[str, list[int]] = {name: [] for name in streams}
    payloads: dict[str, list[int]] = {name: [] for name in streams}
    beats = {name: [int.from_bytes(row.tobytes(), "little") for row in rows]
             for name, rows in inputs.items()}
    total = sum(outputs.values())

    async def bench(ctx: Any) -> None:
        sent = dict.fromkeys(inputs, 0)
        pending = dict.fromkeys(inputs, False)
        now, moved = 0, -1
        while any(len(cycles[name]) < count for name, count in outputs.items()):
            if now - moved > deadline:
                raise hang(now, deadline, {
                    name: str(len(seen)) + (f" of {len(beats[name])}" if name in inputs else
                                            f" of {outputs[name]}" if name in outputs else "")
                    for name, seen in cycles.items()})
            for name in inputs:
                starts = willing[name][now % len(willing[name])]
                if not pending[name] and starts and sent[name] < len(beats[name]):
                    pending[name] = True
                    ctx.set(Value.cast(streams[name].payload), beats[name][sent[name]])
                    sent[name] += 1
                ctx.set(streams[name].valid, pending[name])
            for name in willing.keys() - inputs.keys():
                ctx.set(streams[name].ready, int(willing[name][now % len(willing[name])]))
            _, _, *values = await ctx.tick().sample(*sampled)
            for index, name in enumerate(streams):
                is_valid, is_ready, payload = values[3 * index:3 * index + 3]
                if is_valid and is_ready:
                    moved = now
                    pending[name] = False
                    if len(cycles[name]) < outputs.get(name, now + 1):
                        cycles[name].append(now)
                        payloads[name].append(payload)
                        if progress is not None and name in outputs:
                            progress(sum(len(cycles[output]) for output in outputs), total, now)
            now += 1

    sim = Simulator(component)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return {name: Beats(np.array(cycles[name], np.int64),
                        _unpack(payloads[name], len(Value.cast(stream.payload))))
            for name, stream in streams.items()}


def _unpack(payloads: list[int], width: int) -> npt.NDArray[np.uint8]:
    count, mask = row_bytes(width), (1 << width) - 1
    data = b"".join((payload & mask).to_bytes(count, "little") for payload in payloads)
    return np.frombuffer(data, np.uint8).reshape(len(payloads), count)
