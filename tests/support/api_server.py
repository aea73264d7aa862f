"""A little HTTP server whose answers a test writes byte by byte, to see what the client makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Call:
    """One request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int
    """Number of the connection it came over."""
    writer: asyncio.StreamWriter

    def answer(self, status: int = 200, body: bytes = b"{}", headers: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.writer.write(head.encode() + body)

    def begin(self, status: int = 200) -> None:
        self.writer.write(f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n".encode())

    def chunk(self, data: bytes) -> None:
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def hang_up(self) -> None:
        self.writer.close()


@dataclass
class Scripted:
    """What arrived, and where to reach it."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    """Connections that are open now."""


@asynccontextmanager
async def scripted_server(script: Callable[[Call], Awaitable[None] | None]) -> AsyncGenerator[Scripted, None]:
    """Serve on a free port; `script` answers each request."""
    seen = Scripted()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        seen.open += 1
        number = seen.connections
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                call = Call(head[0], headers, body, number, writer)
                seen.calls.append(call)
                answering = script(call)
                if answering is not None:
                    await answering
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            seen.open -= 1
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    seen.url = f"http://{host}:{port}"
    try:
        yield seen
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
