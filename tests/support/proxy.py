"""A network between two programs that a test can cut: a TCP proxy in a thread of its own.

    agent -> Proxy -> controller
    cut("silent")   bytes stay where they are and new connections hang, as behind a pulled cable
    cut("reset")    connections break and new ones are refused at once, as behind a firewall or a dead host
    heal()          what waits goes on; what was broken may connect again
    proxy(url, round_trip=0.3, loss=0.05)     a bad link: what TCP makes of distance and of lost packets

It has its own thread, so nothing a test does on its event loop can delay a heartbeat that passes through here.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from random import Random
from typing import Any, Literal
from urllib.parse import urlsplit

Way = Literal["silent", "reset"]
PIECE = 65536
SEGMENT = 1400
"""Bytes of one packet, each of which may be lost."""
WINDOW = 256
"""Pieces under way in one direction before the sender is held back."""
_REQUEST = re.compile(rb"(?:GET|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r\n")


class Proxy:
    """Forwards to one address. All methods may be called from any thread; they return when the change has taken effect."""

    def __init__(self, target: str, round_trip: float = 0.0, loss: float = 0.0, seed: int = 1) -> None:
        """`round_trip` in seconds; `loss` is the share of packets that are lost, and sent again by TCP after a while."""
        parts = urlsplit(target)
        self._round_trip = round_trip
        self._loss = loss
        self._random = Random(seed)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._open: asyncio.Event | None = None
        self._way: Way | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""
        self.accepted = 0
        """Connections so far."""
        self.requests: list[str] = []
        """Request lines so far: method, path and query. Only without TLS."""

    def start(self) -> None:
        self._thread.start()
        self._call(self._start())

    def cut(self, way: Way = "silent") -> None:
        self._call(self._cut(way))

    def heal(self) -> None:
        self._call(self._heal())

    def stop(self) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _cut(self, way: Way) -> None:
        assert self._open is not None
        self._way = way
        self._open.clear()
        if way == "reset":
            for writer in list(self._writers):
                _reset(writer)

    async def _heal(self) -> None:
        assert self._open is not None
        self._way = None
        self._open.set()

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._open is not None
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.accepted += 1
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if self._way == "reset":
                _reset(writer)
                return
            await self._open.wait()
            await asyncio.sleep(self._round_trip + self._again(1, first=1.0))  # the handshake
            up_reader, up_writer = await asyncio.open_connection(*self._target)
            self._writers.add(up_writer)
            try:
                await asyncio.gather(self._pump(reader, up_writer, upwards=True), self._pump(up_reader, writer))
            finally:
                self._writers.discard(up_writer)
                up_writer.transport.abort()
        self._writers.discard(writer)
        self._tasks.discard(task)
        writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upwards: bool = False) -> None:
        assert self._open is not None
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WINDOW)
        delivering = asyncio.create_task(self._deliver(under_way, writer))
        try:
            arrives = 0.0
            while data := await reader.read(PIECE):
                if upwards:
                    self.requests += [found[0][:-11].decode() for found in _REQUEST.finditer(data)]
                # In order: what is behind a lost packet waits for it.
                late = self._round_trip / 2 + self._again(1 + len(data) // SEGMENT)
                arrives = max(arrives, self._loop.time() + late)
                await under_way.put((arrives, data))
            await under_way.join()
            await self._open.wait()  # not even the end of a connection passes a cut cable
        finally:
            delivering.cancel()
        raise ConnectionResetError("one side has closed")

    async def _deliver(self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        assert self._open is not None
        while True:
            arrives, data = await under_way.get()
            if arrives > self._loop.time():
                await asyncio.sleep(arrives - self._loop.time())
            await self._open.wait()
            with contextlib.suppress(OSError):  # whoever reads from there is told, too, and ends both
                writer.write(data)
                await writer.drain()
            under_way.task_done()

    def _again(self, packets: int, first: float = 0.2) -> float:
        """Seconds that lost packets of a piece cost: the timeout after which TCP sends again, doubled each time."""
        cost = 0.0
        for _ in range(packets):
            wait, spent = first + self._round_trip, 0.0
            while self._random.random() < self._loss:
                spent, wait = spent + wait, wait * 2
            cost = max(cost, spent)
        return cost


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, so that the other side knows at once."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def proxy(target: str, round_trip: float = 0.0, loss: float = 0.0) -> Iterator[Proxy]:
    """A proxy for one test."""
    made = Proxy(target, round_trip, loss)
    made.start()
    try:
        yield made
    finally:
        made.stop()
