"""A network between two programs that a test can cut: a TCP proxy in a thread of its own.

    agent -> Proxy -> controller
    cut("silent")   bytes stay where they are and new connections hang, as behind a pulled cable
    cut("reset")    connections break and new ones are refused at once, as behind a firewall or a dead host
    heal()          what waits goes on; what was broken may connect again

It has its own thread, so nothing a test does on its event loop can delay a heartbeat that passes through here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

Way = Literal["silent", "reset"]
PIECE = 65536


class Proxy:
    """Forwards to one address. All methods may be called from any thread; they return when the change has taken effect."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
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
            up_reader, up_writer = await asyncio.open_connection(*self._target)
            self._writers.add(up_writer)
            try:
                await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))
            finally:
                self._writers.discard(up_writer)
                up_writer.transport.abort()
        self._writers.discard(writer)
        self._tasks.discard(task)
        writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._open is not None
        while data := await reader.read(PIECE):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        await self._open.wait()  # not even the end of a connection passes a cut cable
        raise ConnectionResetError("one side has closed")


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, so that the other side knows at once."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """A proxy for one test."""
    made = Proxy(target)
    made.start()
    try:
        yield made
    finally:
        made.stop()
