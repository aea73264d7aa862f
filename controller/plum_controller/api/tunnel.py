"""Tunnels to agents: each agent opens one WebSocket; logs, commands and forwarded connections are streams inside it.

    user --GET .../log--> TunnelHub.open_log --{"stream":7,"open":"log",...}--> agent
                          TunnelStream       <--{"stream":7,"opened":true}-----
                                             <--binary: 4 bytes stream id + payload
                                             --{"stream":7,"credit":65536}---> as the user reads
                                             <--{"stream":7,"close":true,"code":200,"result":{...}}

Payload, credit and `{"stream":7,"eof":true}` (no more payload) also flow towards the agent. An agent may be behind NAT,
so it dials. Credit bounds what a side may send unread, so a slow reader of one stream holds neither memory nor the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

import msgspec

from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError, unavailable

logger = logging.getLogger(__name__)

INITIAL_CREDIT = 256 * 1024
"""Bytes that each side may send on a new stream before it is given more."""
PIECE = 64 * 1024
"""Bytes of one message to an agent: other streams get their turn between two of them."""
CREDIT_STEP = 64 * 1024
"""Bytes after which read bytes are given back. Small steps keep the agent sending; each costs a message."""
OPEN_SECONDS = 10.0
"""Seconds an agent may take to answer an open. Its own work takes milliseconds; the rest is the network."""
MAX_MESSAGE = 1024 * 1024
"""Bytes of one message from an agent. They send 64 KiB; more is a mistake or an attack."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class TunnelStream:
    """One stream through a tunnel: opening, open, closed. Read it with `chunks`; one task at a time may `send`."""

    def __init__(self, tunnel: Tunnel, number: int) -> None:
        self.number = number
        self._tunnel = tunnel
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._given = INITIAL_CREDIT
        self._returned = 0
        self._credit = INITIAL_CREDIT
        self._more = asyncio.Event()
        self._over = asyncio.Event()
        self.error: ApiStatusError | None = None
        self.result: Mapping[str, Any] = {}
        """What the agent said at the end, such as the exit code of a command."""

    async def opened(self) -> None:
        """Wait for the agent to accept. Raises `ApiStatusError`: what the agent said, or 503 when it says nothing."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._opened
        except TimeoutError:
            raise unavailable(f"the agent of node {self._tunnel.node} does not answer") from None

    async def chunks(self) -> AsyncIterator[bytes]:
        """What the agent sends, until it closes the stream."""
        while (data := await self._queue.get()) is not None:
            self._returned += len(data)
            if self._returned >= CREDIT_STEP:
                returned, self._returned = self._returned, 0
                self._given += returned
                await self._tunnel.send_json({"stream": self.number, "credit": returned})
            yield data

    async def send(self, data: bytes, head: bytes = b"") -> None:
        """Send payload in messages that each begin with `head`, as the agent has room for it. Dropped once it is closed."""
        view = memoryview(data)
        while view and not self.closed:
            if self._credit <= len(head):
                self._more.clear()
                await self._more.wait()
                continue
            part = view[: min(PIECE, self._credit - len(head))]
            view = view[len(part) :]
            self._credit -= len(head) + len(part)
            await self._tunnel.send_bytes(b"".join((struct.pack(">I", self.number), head, part)))

    async def end_sending(self) -> None:
        """Nothing more comes from here; the agent may go on."""
        if not self.closed:
            await self._tunnel.send_json({"stream": self.number, "eof": True})

    @property
    def closed(self) -> bool:
        return self._over.is_set()

    async def ended(self) -> None:
        """Return when it is closed; `error` and `result` are known then."""
        await self._over.wait()

    def give(self, credit: int) -> None:
        """The agent used some payload."""
        self._credit += credit
        self._more.set()

    def end_receiving(self) -> None:
        """The agent sends no more payload; its last word may still come."""
        self._queue.put_nowait(None)

    def accept(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def feed(self, data: bytes) -> bool:
        """Take what the agent sent. False: it sent more than it had credit for."""
        if len(data) > self._given:
            return False
        self._given -= len(data)
        self._queue.put_nowait(data)
        return True

    def finish(self, code: int, message: str, result: Mapping[str, Any] | None = None) -> None:
        """The stream is over, well or not. Safe to repeat."""
        self._over.set()
        self._more.set()
        if result:
            self.result = result
        if code >= 400:
            self.error = _error(code, message)
            if not self._opened.done():
                self._opened.set_exception(self.error)
                self._opened.exception()  # nobody may be waiting any more
        self.accept()
        self._queue.put_nowait(None)


class Tunnel:
    """The connection of one agent."""

    def __init__(self, node: str, send: Send) -> None:
        self.node = node
        self._send = send
        self._streams: dict[int, TunnelStream] = {}
        self._next = 0

    async def send_json(self, message: dict[str, Any]) -> None:
        """Say something to the agent. A tunnel that is gone is noticed by its reader, so that is no error here."""
        with contextlib.suppress(RuntimeError, OSError):
            await self._send({"type": "websocket.send", "text": msgspec.json.encode(message).decode()})

    async def send_bytes(self, message: bytes) -> None:
        """Payload for the agent; waits while the connection is full."""
        with contextlib.suppress(RuntimeError, OSError):
            await self._send({"type": "websocket.send", "bytes": message})

    @contextlib.asynccontextmanager
    async def open(self, kind: str, params: dict[str, Any]) -> AsyncIterator[TunnelStream]:
        """A new stream; leaving the context closes it. Raises `ApiStatusError`."""
        self._next += 1
        stream = self._streams[self._next] = TunnelStream(self, self._next)
        try:
            await self.send_json({"stream": stream.number, "open": kind, "params": params})
            await stream.opened()
            yield stream
        finally:
            if self._streams.pop(stream.number, None) is not None:
                await self.send_json({"stream": stream.number, "close": True})

    def take_text(self, text: str) -> None:
        """A message of the agent. Raises `ValueError` for one that cannot be read."""
        message = msgspec.json.decode(text, type=dict[str, Any])
        number = message.get("stream")
        stream = self._streams.get(number) if isinstance(number, int) else None
        if stream is None:
            return  # closed by us in the meantime
        if message.get("opened"):
            stream.accept()
        credit, result = message.get("credit"), message.get("result")
        if isinstance(credit, int):
            stream.give(credit)
        if message.get("eof"):
            stream.end_receiving()
        if message.get("close"):
            del self._streams[stream.number]
            code = message.get("code", 200)
            known = result if isinstance(result, dict) else None
            stream.finish(code if isinstance(code, int) else 500, str(message.get("message", "")), known)

    def take_bytes(self, data: bytes) -> None:
        """Payload of a stream. Raises `ValueError` when it is too short to name one, or more than was allowed."""
        if len(data) < 4:
            raise ValueError("a binary message is shorter than its stream id")
        stream = self._streams.get(struct.unpack_from(">I", data)[0])
        if stream is not None and not stream.feed(data[4:]):
            raise ValueError(f"stream {stream.number} sent more than it had credit for")

    def close(self) -> None:
        """The agent is gone: every stream ends."""
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.finish(503, f"the connection to the agent of node {self.node} broke")


class RevokedError(Exception):
    """The credential that something was opened with is not worth anything any more."""


class TunnelHub:
    """The tunnels of all agents, by node."""

    def __init__(self) -> None:
        self._sessions: dict[asyncio.Task[Any], str] = {}
        self._revoked: set[asyncio.Task[Any]] = set()
        self._tunnels: dict[str, Tunnel] = {}
        self._last_seen: dict[str, float] = {}

    def get(self, node: str) -> Tunnel:
        """The tunnel to a node. Raises `ApiStatusError` 503 that says when it was last there."""
        tunnel = self._tunnels.get(node)
        if tunnel is None:
            seen = self._last_seen.get(node)
            when = (
                f"it was last connected {int(time.monotonic() - seen)} s ago"
                if seen is not None
                else "it has not connected to this controller"
            )
            raise unavailable(f"the agent of node {node} is not connected; {when}. Try again when it is back")
        return tunnel

    def close(self) -> None:
        """End all streams: the server stops."""
        for tunnel in list(self._tunnels.values()):
            tunnel.close()

    @contextlib.contextmanager
    def revocable(self, credential: str) -> Iterator[None]:
        """What this task does inside ends with `RevokedError` when the token of that name is revoked."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- called from coroutines
        if credential:
            self._sessions[task] = credential
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._revoked:
                raise
            task.uncancel()
            raise RevokedError from None
        finally:
            self._sessions.pop(task, None)
            self._revoked.discard(task)

    def revoke(self, credential: str) -> None:
        """End what people opened with a token."""
        for task, name in list(self._sessions.items()):
            if name == credential:
                self._revoked.add(task)
                task.cancel()

    def nodes(self) -> list[str]:
        """Nodes whose agent is connected."""
        return sorted(self._tunnels)

    async def serve(self, node: str, receive: Receive, send: Send) -> None:
        """Speak with one agent until it goes. A newer connection of the same node takes the place of an older one."""
        tunnel = Tunnel(node, send)
        older = self._tunnels.get(node)
        self._tunnels[node] = tunnel
        if older is not None:
            older.close()
        await send({"type": "websocket.accept"})
        logger.debug("agent connected", extra=fields(node=node))
        try:
            await self._read(tunnel, receive, send)
        finally:
            tunnel.close()
            self._last_seen[node] = time.monotonic()
            if self._tunnels.get(node) is tunnel:
                del self._tunnels[node]
            logger.debug("agent disconnected", extra=fields(node=node))

    async def _read(self, tunnel: Tunnel, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if message["type"] != "websocket.receive":
                continue
            text, data = message.get("text"), message.get("bytes")
            try:
                if text is not None:
                    tunnel.take_text(text)
                elif data is not None:
                    tunnel.take_bytes(data)
            except ValueError as error:
                logger.warning("agent sent a message that cannot be read", extra=fields(node=tunnel.node, error=str(error)))
                await send({"type": "websocket.close", "code": 1002, "reason": str(error)[:100]})
                return


def _error(code: int, message: str) -> ApiStatusError:
    reasons = {
        400: "BadRequest",
        403: "Forbidden",
        404: "NotFound",
        409: "Conflict",
        410: "Expired",
        429: "TooManyRequests",
        503: "ServiceUnavailable",
    }
    return ApiStatusError(code, reasons.get(code, "InternalError"), message or "the agent refused")
