"""Where watch lines and answers go: straight to uvicorn's connection, or into a queue that a task sends from.

    WatchStream.write -> Connection -> the transport's buffer      (uvicorn with httptools)
                      -> QueueSink  -> `send` of any ASGI server, a WebSocket, or a reader in this process

`Connection` touches the insides of uvicorn's request cycle, whose version is locked; `connection_of` finds out whether
they are there, and without them everything goes the ordinary way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from plum_controller.api import wire
from plum_controller.api.requests import Answer
from plum_controller.api.watch import WatchStream

if TYPE_CHECKING:
    import ssl

    from plum_controller.store.cache import WatchEvent

CUT_SECONDS = 15.0
"""How long a client may take to read what is left after its watch has ended; then the connection is dropped."""


def connection_of(send: Any) -> Connection | None:
    """The connection behind an ASGI `send`, if it is uvicorn's and its insides are what we know."""
    cycle = getattr(send, "__self__", None)
    if cycle is None or type(cycle).__name__ != "RequestResponseCycle" or not hasattr(cycle, "chunked_encoding"):
        return None
    return Connection(cycle)


def ssl_object_of(receive: Any) -> ssl.SSLObject | None:
    """The TLS side of the connection behind the `receive` of one of uvicorn's WebSockets."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    return None if transport is None else transport.get_extra_info("ssl_object")


def common_headers(default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """uvicorn's default headers (the date) as lines; made again once per second, when uvicorn replaces the list."""
    global _common
    if _common[0] is not default_headers:
        _common = (default_headers, b"".join([b"%b: %b\r\n" % header for header in default_headers]))
    return _common[1]


_common: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")


class Connection:
    """One request under way on one of uvicorn's connections. Also the sink of a watch."""

    __slots__ = ("_cycle", "_transport")
    framed = True

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._transport = cycle.transport

    @property
    def disconnected(self) -> bool:
        return bool(self._cycle.disconnected)

    @property
    def cycle(self) -> Any:
        """uvicorn's own, for whoever takes the connection over."""
        return self._cycle

    async def write_answer(self, answer: Answer, *, with_body: bool = True) -> bool:
        """Write a whole answer. False when something has been sent already."""
        cycle = self._cycle
        if cycle.response_started:
            return False
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if not cycle.disconnected:
            write_answer(cycle, answer, with_body=with_body)
        return True

    def start_chunked(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Write the head of an answer that goes on."""
        cycle = self._cycle
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        cycle.chunked_encoding = True
        common = common_headers(cycle.default_headers)
        self._transport.write(wire.head(status, [*headers, *wire.CHUNKED], common, cycle.keep_alive))

    def write(self, data: bytes) -> None:
        if not self._cycle.disconnected:
            self._transport.write(data)

    def buffered(self) -> int:
        return int(self._transport.get_write_buffer_size())

    def wake(self) -> None:
        self._cycle.message_event.set()

    async def serve(self, stream: WatchStream) -> None:
        """Wait for the end of a watch, or for the client to go, then finish the answer."""
        cycle = self._cycle
        while not stream.ended and not cycle.disconnected:
            await cycle.message_event.wait()
            cycle.message_event.clear()
        stream.close()
        if cycle.disconnected:
            return
        try:
            async with asyncio.timeout(CUT_SECONDS):
                await cycle.send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            self._transport.abort()
            cycle.disconnected = True


def write_answer(cycle: Any, answer: Answer, *, with_body: bool = True) -> None:
    """Write a whole answer to a connection that takes it, and tell uvicorn that the request is done."""
    cycle.response_started = True
    cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    if (b"connection", b"close") in answer.headers:
        cycle.keep_alive = False
        answer.headers = tuple(header for header in answer.headers if header[0] != b"connection")
    for piece in wire.encode(answer, common_headers(cycle.default_headers), cycle.keep_alive, with_body=with_body):
        cycle.transport.write(piece)
    cycle.message_event.set()
    if not cycle.keep_alive:
        finish = getattr(cycle.transport.get_protocol(), "finish", cycle.transport.close)
        finish()
    cycle.on_response()


def write_plain(transport: Any, answer: Answer, default_headers: list[tuple[bytes, bytes]], *, keep_alive: bool) -> bool:
    """Write a whole answer where there is no request cycle. False when it is the last one of its connection."""
    if (b"connection", b"close") in answer.headers:
        keep_alive = False
        answer.headers = tuple(header for header in answer.headers if header[0] != b"connection")
    for piece in wire.encode(answer, common_headers(default_headers), keep_alive):
        transport.write(piece)
    return keep_alive


class QueueSink:
    """Lines, or what makes lines, in memory until a task takes them."""

    framed = False

    def __init__(self) -> None:
        self._items: deque[bytes | WatchEvent] = deque()
        self._size = 0
        self._event = asyncio.Event()

    def write(self, data: bytes) -> None:
        self._items.append(data)
        self._size += len(data)
        self._event.set()

    def buffered(self) -> int:
        return self._size

    def wake(self) -> None:
        self._event.set()

    async def lines(self, stream: WatchStream) -> AsyncIterator[bytes]:
        """The lines, without their newline, until the watch ends and everything has been taken."""
        async for item in self.items(stream):
            yield item if isinstance(item, bytes) else item.line()[:-1]

    async def items(self, stream: WatchStream) -> AsyncIterator[bytes | WatchEvent]:
        """The same, and events as they are."""
        while True:
            while self._items:
                item = self._items.popleft()
                if isinstance(item, bytes):
                    self._size -= len(item)
                    yield item[:-1]
                else:
                    self._size -= len(item.entry.value)
                    yield item
            if stream.ended:
                return
            self._event.clear()
            await self._event.wait()
