"""A link that breaks: forwards so many bytes of each connection, in either direction, then resets it.

async with breaking_link(url, 100_000) as link: ...  link.url, link.broken
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Link:
    """Forwards to one address. `limit` may be changed at any time; 0 lets nothing break."""

    target: tuple[str, int]
    limit: int
    bytes_per_second: int = 0
    url: str = ""
    broken: int = 0
    passed: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            there, back = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            self.tasks.discard(task)
            return
        try:
            await asyncio.wait(
                {asyncio.ensure_future(self._pump(reader, back)), asyncio.ensure_future(self._pump(there, writer))},
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self.tasks.discard(task)
            for one in (writer, back):
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(one.drain(), 0.5)
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(16_384):
                count += len(data)
                self.passed += len(data)
                writer.write(data)
                await writer.drain()
                if self.bytes_per_second:
                    await asyncio.sleep(len(data) / self.bytes_per_second)
                if self.limit and count > self.limit:
                    self.broken += 1
                    return


@contextlib.asynccontextmanager
async def breaking_link(url: str, limit: int) -> AsyncIterator[Link]:
    parts = urlsplit(url)
    link = Link((parts.hostname or "127.0.0.1", parts.port or 80), limit)
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    link.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield link
    finally:
        server.close()
        for task in list(link.tasks):
            task.cancel()
        await asyncio.gather(*link.tasks, return_exceptions=True)
