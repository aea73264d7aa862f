"""How long a write takes to reach its watchers: 10 writes per second to 100 and to 1,000 watchers of one kind."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tests.bench.load import request_bytes
from tests.bench.objects import PREFIX, define_machines, machine, name
from tests.bench.programs import controller
from tests.bench.table import Row

WRITES = 50
WRITES_PER_SECOND = 10
GOALS = {100: 5.0, 1000: 40.0}
"""Watchers and the p99 to reach, in milliseconds."""


class _Watcher(asyncio.Protocol):
    """Notes when each event arrives. The write's own time travels in the object, so only the last bytes are looked at."""

    def __init__(self, arrivals: list[float], connected: asyncio.Future[None], since: str) -> None:
        self._since = since
        self._arrivals = arrivals
        self._connected = connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(request_bytes("GET", f"{PREFIX}?watch=true&resourceVersion={self._since}"))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if not self._connected.done():
            self._connected.set_result(None)
        for part in data.split(b'"note":"at ')[1:]:  # several events may arrive at once
            self._arrivals.append(now - float(part[: part.index(b'"')]))


def hold_watchers(host: str, port: int, watchers: int, pipe: Connection, since: str = "") -> None:
    """A process of its own that holds all watchers, as clients elsewhere would. `since`: the revision they watch from."""
    arrivals: list[float] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(watchers):
            connected = loop.create_future()
            await loop.create_connection(lambda connected=connected: _Watcher(arrivals, connected, since), host, port)  # type: ignore[misc]
            await connected
        pipe.send("ready")
        await loop.run_in_executor(None, pipe.recv)

    asyncio.run(run())
    pipe.send(arrivals)


async def measure_one(data_dir: Path, watchers: int) -> Row:
    """The p99 over all watchers and writes."""
    async with controller(data_dir) as program:
        await define_machines(program)
        here, there = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=hold_watchers, args=(program.host, program.port, watchers, there)
        )
        process.start()
        try:
            await asyncio.to_thread(here.recv)
            reader, writer = await asyncio.open_connection(program.host, program.port)
            next_at = time.monotonic()
            for index in range(WRITES):
                body = json.dumps(machine(index, f"at {time.monotonic():.6f}")).encode()
                writer.write(request_bytes("POST", PREFIX, body))
                head = await reader.readuntil(b"\r\n\r\n")
                if b" 201 " not in head:
                    raise RuntimeError(f"{name(index)} was not created: {head!r}")
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r")[0]))
                next_at += 1 / WRITES_PER_SECOND
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            await asyncio.sleep(1)
            here.send("stop")
            arrivals: list[float] = await asyncio.to_thread(here.recv)
            writer.close()
        finally:
            process.kill()
            process.join()
    if len(arrivals) != WRITES * watchers:
        raise RuntimeError(f"{len(arrivals)} events arrived, expected {WRITES * watchers}")
    arrivals.sort()
    p99 = arrivals[int(len(arrivals) * 0.99)] * 1000
    return Row(
        f"write to watcher, p99, {watchers:,} watchers",
        p99,
        "ms",
        GOALS[watchers],
        False,
        "16 ms" if watchers == 100 else "28 to 84 ms",
    )


async def measure(data_dir: Path) -> list[Row]:
    """Both sizes, each on a fresh controller."""
    rows = []
    for watchers in GOALS:
        folder = data_dir / str(watchers)
        folder.mkdir(parents=True)
        rows.append(await measure_one(folder, watchers))
    return rows
