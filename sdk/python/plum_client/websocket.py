"""A WebSocket from the client's side: the agent's tunnel, commands and forwarded ports. Imported on first use: wsproto
costs a few megabytes.

    connect -> WebSocket.send_text, send_bytes, drain
                        .receive -> str | bytes, or WebSocketClosedError

Pings are answered by themselves. A connection on which nothing arrives for `QUIET_SECONDS` counts as dead; the server
pings every 15.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from plum_client.errors import ApiError, ApiUnavailableError, error_of
from plum_client.http_connection import notice_dead_peers

CONNECT_SECONDS = 10.0
GOODBYE_SECONDS = 0.5
"""Waited for the last words of a connection to leave."""
QUIET_SECONDS = 45.0
MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes. A longer message closes the connection."""
HIGH_WATER = 1024 * 1024
"""Bytes that wait to be received before reading stops."""


class WebSocketClosedError(ApiUnavailableError):
    """The connection ended; `close_code` is 1006 when it just broke."""

    def __init__(self, message: str, close_code: int = 1006) -> None:
        super().__init__(message)
        self.close_code = close_code


class WebSocket(asyncio.Protocol):
    """One open connection. One task receives; any may send."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        target: str,
        headers: Mapping[str, str],
        subprotocols: Sequence[str] = (),
    ) -> None:
        self._loop = loop
        self._protocol = WSConnection(ConnectionType.CLIENT)
        extra = [(name.lower().encode(), value.encode()) for name, value in headers.items() if name.lower() != "host"]
        self._request = Request(host=host, target=target, extra_headers=extra, subprotocols=list(subprotocols))
        self._patient = bool(subprotocols)
        """The other side may not read for as long as it likes: a command that does not want its input now."""
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = loop.create_future()
        self._messages: deque[str | bytes] = deque()
        self._size = 0
        self._parts: list[str | bytes] = []
        self._parts_size = 0
        self._refusal = b""
        self._refused_with = 0
        self._receiver: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed: WebSocketClosedError | None = None
        self._gone = asyncio.Event()
        """The connection is closed on this side, with all that TLS says at its end."""
        self.subprotocol: str | None = None
        """What the server chose of the protocols that were offered."""
        self._heard = loop.time()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self._closed is None and self._protocol.state is ConnectionState.OPEN

    def send_text(self, text: str) -> None:
        """Raises `WebSocketClosedError`."""
        self._send(TextMessage(text))

    def send_bytes(self, data: bytes) -> None:
        """Raises `WebSocketClosedError`."""
        self._send(BytesMessage(data))

    async def drain(self) -> None:
        """Wait until most of what was sent is on its way."""
        await self._writable.wait()

    async def receive(self) -> str | bytes:
        """The next message. Raises `WebSocketClosedError` when the connection ended and everything was received."""
        while not self._messages:
            if self._closed is not None:
                raise self._closed
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        message = self._messages.popleft()
        before = self._size
        self._size -= len(message)
        if before > HIGH_WATER >= self._size and self._transport is not None:
            self._transport.resume_reading()
        return message

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye and close. Safe to repeat."""
        was_open = self.is_open
        if was_open:
            self._send(CloseConnection(code=code, reason=reason))
        self._end(WebSocketClosedError("closed here", code))
        if self._transport is not None:
            if was_open:
                self._transport.close()
                with suppress(TimeoutError):  # what takes longer goes on leaving without anybody who waits
                    async with asyncio.timeout(GOODBYE_SECONDS):
                        await self._gone.wait()
            else:
                self._transport.abort()  # nobody reads what still waits to be sent, and `close` would wait for that
        await asyncio.sleep(0)

    def drop_if_quiet(self, seconds: float) -> None:
        """Break it if nothing arrived for so long: there is reason to believe that it is dead."""
        if self._loop.time() - self._heard >= seconds:
            self._break(f"nothing arrived for {seconds:g} seconds, and the server is reached by other ways")

    # ---- from the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses
        notice_dead_peers(transport, 0 if self._patient else 30_000)
        self._transport.write(self._protocol.send(self._request))
        self._timer = self._loop.call_later(QUIET_SECONDS, self._check_quiet)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                self._take(event)
        except (RemoteProtocolError, LocalProtocolError) as error:
            self._break(f"the server does not speak WebSocket: {error}")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self._gone.set()
        self._end(WebSocketClosedError(f"the connection broke: {exc}" if exc else "the connection broke"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def opened(self) -> None:
        """Return when the server has agreed. Raises what it answered instead."""
        await self._opened

    # ---- inside

    def _send(self, event: Event) -> None:
        if self._closed is not None or self._transport is None:
            raise self._closed or WebSocketClosedError("not connected")
        try:
            self._transport.write(self._protocol.send(event))
        except LocalProtocolError as error:
            raise WebSocketClosedError(f"cannot send: {error}") from error

    def _take(self, event: Event) -> None:
        if isinstance(event, (TextMessage, BytesMessage)):
            self._collect(event)
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, Pong):
            return
        elif isinstance(event, AcceptConnection):
            self.subprotocol = event.subprotocol
            self._opened.set_result(None)
        elif isinstance(event, CloseConnection):
            if self._protocol.state is ConnectionState.REMOTE_CLOSING and self._transport is not None:
                self._transport.write(self._protocol.send(event.response()))
                self._transport.close()
            self._end(WebSocketClosedError(f"the server closed: {event.reason or event.code}", int(event.code)))
        elif isinstance(event, RejectConnection):
            self._refused_with = event.status_code
            if not event.has_body:
                self._refuse()
        elif isinstance(event, RejectData):
            self._refusal += bytes(event.data)
            if event.body_finished:
                self._refuse()

    def _collect(self, event: TextMessage | BytesMessage) -> None:
        data = event.data if isinstance(event.data, str) else bytes(event.data)
        if event.message_finished and not self._parts:
            message: str | bytes = data
        else:
            self._parts.append(data)
            self._parts_size += len(data)
            if self._parts_size > MAX_MESSAGE:
                self._break(f"a message is longer than {MAX_MESSAGE} bytes")
                return
            if not event.message_finished:
                return
            message = "".join(map(str, self._parts)) if isinstance(data, str) else b"".join(map(bytes, self._parts))  # type: ignore[arg-type]
            self._parts, self._parts_size = [], 0
        self._messages.append(message)
        before = self._size
        self._size += len(message)
        if before <= HIGH_WATER < self._size and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def _refuse(self) -> None:
        if not self._opened.done():
            self._opened.set_exception(error_of(self._refused_with, self._refusal, "websocket"))
        self._end(WebSocketClosedError("refused"))
        if self._transport is not None:
            self._transport.close()

    def _break(self, message: str) -> None:
        self._end(WebSocketClosedError(message))
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: WebSocketClosedError) -> None:
        if self._closed is not None:
            return
        self._closed = error
        if self._timer is not None:
            self._timer.cancel()
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # whoever opens may have given up already
        self._wake()

    def _wake(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    def _check_quiet(self) -> None:
        if self._size > HIGH_WATER:
            self._heard = self._loop.time()  # nothing is read, so nothing can be heard
        quiet = self._loop.time() - self._heard
        if quiet >= QUIET_SECONDS:
            self._break(f"nothing arrived for {QUIET_SECONDS:g} seconds")
        else:
            self._timer = self._loop.call_later(QUIET_SECONDS - quiet, self._check_quiet)


async def connect(
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None,
    target: str,
    headers: Mapping[str, str],
    subprotocols: Sequence[str] = (),
) -> WebSocket:
    """Connect and wait for the server's agreement. Raises `ApiUnavailableError`, or the error of a refusal."""
    loop = asyncio.get_running_loop()
    socket: WebSocket | None = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, socket = await loop.create_connection(
                lambda: WebSocket(loop, headers.get("Host", host), target, headers, subprotocols), host, port, ssl=ssl_context
            )
            await socket.opened()
            return socket
    except TimeoutError as error:
        await _give_up(socket)
        raise ApiUnavailableError(f"{host}:{port}: no WebSocket within {CONNECT_SECONDS:g} seconds") from error
    except OSError as error:
        raise ApiUnavailableError(f"{host}:{port}: {error.strerror or error}") from error
    except (ApiError, asyncio.CancelledError):
        await _give_up(socket)
        raise


async def _give_up(socket: WebSocket | None) -> None:
    if socket is not None:
        await socket.close()
