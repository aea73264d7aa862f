"""Short words for requests below `/kv`, and a reader of server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.support.server import HttpAnswer, RunningServer


class Kv:
    """One namespace of a running controller."""

    def __init__(self, server: RunningServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace

    async def call(
        self, method: str, key: str = "", query: str = "", body: Any = b"", content_type: str = "text/plain", **headers: str
    ) -> HttpAnswer:
        path = f"/kv/{self.namespace}" + (f"/{quote(key, safe='')}" if key else "") + (f"?{query}" if query else "")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.server.request(method, path, body, headers=named, content_type=content_type)

    async def put(self, key: str, value: Any, query: str = "", **headers: str) -> HttpAnswer:
        body = value if isinstance(value, bytes) else str(value).encode()
        return await self.call("PUT", key, query, body, **headers)

    async def get(self, key: str, query: str = "", **headers: str) -> HttpAnswer:
        return await self.call("GET", key, query, **headers)

    async def delete(self, key: str, **headers: str) -> HttpAnswer:
        return await self.call("DELETE", key, **headers)

    async def post(self, query: str, body: Any = b"", key: str = "", **headers: str) -> HttpAnswer:
        return await self.call("POST", key, query, body, "application/json", **headers)

    async def keys(self, query: str = "") -> list[str]:
        return [entry["key"] for entry in (await self.call("GET", query=query)).json()["entries"]]

    @contextlib.asynccontextmanager
    async def watch(self, query: str = "", last_event_id: str = "", key: str = "") -> AsyncIterator[Events]:
        """Server-sent events, as they arrive."""
        server = self.server
        reader, writer = await asyncio.open_connection(server.host, server.port)
        path = f"/kv/{self.namespace}" + (f"/{quote(key, safe='')}" if key else "")
        resume = f"Last-Event-ID: {last_event_id}\r\n" if last_event_id else ""
        writer.write(f"GET {path}?watch=true&{query} HTTP/1.1\r\nHost: {server.host}\r\n{resume}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        events = Events(int(head.split(b" ", 2)[1]), head)
        task = asyncio.create_task(_read(reader, events.queue))
        try:
            yield events
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    id: str
    name: str
    data: Any


class Events:
    """What a watch has told, in order."""

    def __init__(self, status: int, head: bytes) -> None:
        self.status = status
        self.head = head
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue()

    async def next(self, seconds: float = 40.0) -> Event:
        """The next event about an entry, or the mark after those from before."""
        async with asyncio.timeout(seconds):
            while True:
                event = await self.queue.get()
                assert event is not None, "the stream ended"
                if event.name != "progress":
                    return event

    async def until_sync(self) -> list[Event]:
        found = []
        while (event := await self.next()).name != "sync":
            found.append(event)
        return found


async def _read(reader: asyncio.StreamReader, queue: asyncio.Queue[Event | None]) -> None:
    buffer = b""
    try:
        while True:
            size = int((await reader.readuntil(b"\r\n")).strip(), 16)
            buffer += (await reader.readexactly(size + 2))[:size]
            *whole, buffer = buffer.split(b"\n\n")
            for text in whole:
                fields = dict(line.split(": ", 1) for line in text.decode().splitlines())
                queue.put_nowait(Event(fields.get("id", ""), fields["event"], json.loads(fields["data"])))
            if not size:
                break
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        pass
    finally:
        queue.put_nowait(None)
