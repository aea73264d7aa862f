"""One HTTP/1.1 connection: bytes to the server, parsed answers back.

    ask(request bytes)          -> Answer, when all of it is there
    ask(..., streaming=True)    -> Answer as soon as its headers are there; its body follows piece by piece

One request at a time. A connection that failed once is closed and never used again. Reading stops while nobody takes the
pieces of a stream, so a slow reader costs a bounded buffer and TCP holds back the server.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any, cast

import httptools

from plum_client.errors import AnswerTimeoutError, ApiUnavailableError
from plum_client.link import TCP_INFO_BYTES, Link, Segments, unacknowledged

WHOLE_SECONDS = 600.0
"""For one whole answer. Silence ends it much earlier; a slow link that delivers is let be."""
HIGH_WATER = 262_144
"""Bytes of a stream that wait to be taken before reading stops."""
_KEPT_HEADERS = frozenset(
    {b"x-plum-revision", b"content-encoding", b"content-length", b"transfer-encoding", b"content-range", b"etag", b"location"}
)


class ClosedWhileIdleError(ApiUnavailableError):
    """The server had closed the connection before it saw the request, as far as one can tell."""


class Answer:
    """Status and body of one answer."""

    __slots__ = ("body", "complete", "error", "headers", "pieces", "size", "status", "waiter", "warnings")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.warnings: list[str] = []
        self.body = b""
        """The whole body, once `complete`, unless it is streamed."""
        self.pieces: deque[bytes] = deque()
        self.size = 0
        """Bytes in `pieces`."""
        self.complete = False
        self.error: ApiUnavailableError | None = None
        self.waiter: asyncio.Future[None] | None = None
        """Set while somebody waits for the next piece."""

    @property
    def revision(self) -> int:
        text = self.headers.get(b"x-plum-revision", b"")
        return int(text) if text.isdigit() else 0

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class HttpConnection(asyncio.Protocol):
    """A connection, before, during and after its requests."""

    __slots__ = (
        "_answer",
        "_asked",
        "_deadline",
        "_headers_done",
        "_latest",
        "_link",
        "_longest",
        "_loop",
        "_parser",
        "_paused",
        "_segments",
        "_sent_at",
        "_streaming",
        "_timeout",
        "_timer",
        "_transport",
        "heard_at",
        "idle_since",
        "is_open",
        "reusable",
        "served",
        "ssl_context",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, link: Link | None = None) -> None:
        self._loop = loop
        self._link = link
        self._segments = Segments()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer()
        self._asked: asyncio.Future[Answer] | None = None
        self._headers_done = False
        self._streaming = False
        self._paused = False
        self._deadline = 0.0
        self._latest = 0.0
        self._timeout = 0.0
        self._longest = 0.0
        self._sent_at = 0.0
        self.heard_at = 0.0
        """When bytes came last, in seconds of the event loop."""
        self._timer: asyncio.TimerHandle | None = None
        self.is_open = False
        self.reusable = True
        """The server will take another request."""
        self.served = 0
        """Answers that came over this connection."""
        self.idle_since = 0.0
        self.ssl_context: object = None
        """What it was made with; None for plain HTTP."""

    # ---- for the transport

    @property
    def is_usable(self) -> bool:
        """Open, as far as we know."""
        return self.is_open and self._transport is not None and not self._transport.is_closing()

    def ask(self, data: bytes, timeout: float, streaming: bool = False, longest: float = 0.0) -> asyncio.Future[Answer]:
        """Send one request. The future fails with `ApiUnavailableError`; give up on it by `abort`.

        `timeout` is how many seconds of silence are too long; an answer that comes slowly is awaited. `longest` is the same
        for a server whose kernel has taken all that was sent: it is busy, and asking again would make it busier.
        """
        asked = self._asked = self._loop.create_future()
        if self._transport is None or not self.is_usable:
            asked.set_exception(ClosedWhileIdleError("the connection was closed"))
            return asked
        self._answer = Answer()
        self._headers_done = False
        self._streaming = streaming
        self._sent_at = now = self._loop.time()
        self._timeout, self._deadline, self._latest = timeout, now + timeout, now + WHOLE_SECONDS
        self._longest = max(timeout, longest)
        if self._link is not None:
            self._link.counters.bytes_sent += len(data)
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)
        elif self._timer.when() > self._deadline:  # armed by a request that might take longer
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)
        self._transport.write(data)
        return asked

    async def next_piece(self, answer: Answer) -> bytes:
        """The next piece of a streamed body, empty at its end. Raises `ApiUnavailableError`."""
        while not answer.pieces:
            if answer.error is not None:
                raise answer.error
            if answer.complete:
                return b""
            answer.waiter = self._loop.create_future()
            try:
                await answer.waiter
            finally:
                answer.waiter = None
        piece = answer.pieces.popleft() if len(answer.pieces) == 1 else b"".join(answer.pieces)
        answer.pieces.clear()
        answer.size = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return piece

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    # ---- from the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses
        self.is_open = True
        self.heard_at = self._loop.time()
        notice_dead_peers(transport)

    def data_received(self, data: bytes) -> None:
        self.heard_at = now = self._loop.time()
        if self._asked is not None:
            self._deadline = min(self._latest, now + self._timeout)
        if self._link is not None:
            self._link.counters.bytes_received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ApiUnavailableError(f"the server does not speak HTTP: {error}"))
            self.abort()

    def eof_received(self) -> bool:
        answer = self._answer
        if self._headers_done and not answer.complete:
            sized = b"content-length" in answer.headers or b"transfer-encoding" in answer.headers
            if not sized:
                self.on_message_complete()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        reason = f": {exc}" if exc else ""
        if self.served and not self._headers_done:
            self._fail(ClosedWhileIdleError(f"the server closed the connection{reason}"))
        else:
            self._fail(ApiUnavailableError(f"the server closed the connection in the middle of an answer{reason}"))
        self._transport = None

    # ---- from the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _KEPT_HEADERS:
            self._answer.headers[name] = value
        elif name == b"warning":
            self._answer.warnings.append(_warning_text(value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._headers_done = True
        if self._link is not None:
            self._link.answered(self._loop.time() - self._sent_at)
            self._measure(self._link)
        self._answer.status = self._parser.get_status_code()
        self.reusable = self._parser.should_keep_alive()
        if self._streaming:
            self._deadline = float("inf")
            self._resolve()

    def on_body(self, body: bytes) -> None:
        answer = self._answer
        answer.pieces.append(body)
        if self._streaming:
            answer.size += len(body)
            if answer.size > HIGH_WATER and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
            answer.wake()

    def on_message_complete(self) -> None:
        answer = self._answer
        answer.complete = True
        self.served += 1
        if self._streaming:
            answer.wake()
            return
        pieces = answer.pieces
        answer.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._resolve()

    # ---- inside

    def _measure(self, link: Link) -> None:
        link.measure(self._tcp_info(), self._segments)

    def _is_acknowledged(self) -> bool:
        """Whether all that was sent has arrived, as far as the kernel knows."""
        return unacknowledged(self._tcp_info()) == 0

    def _tcp_info(self) -> bytes:
        """How this connection does, by the kernel; empty where it does not say."""
        sock: Any = self._transport.get_extra_info("socket") if self._transport is not None else None
        option = getattr(socket, "TCP_INFO", None)
        if sock is None or option is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return b""
        info: bytes = sock.getsockopt(socket.IPPROTO_TCP, option, TCP_INFO_BYTES)
        return info

    def _resolve(self) -> None:
        asked = self._asked
        self._asked = None
        if asked is not None and not asked.done():
            asked.set_result(self._answer)

    def _fail(self, error: ApiUnavailableError) -> None:
        answer = self._answer
        if not answer.complete:
            answer.error = error
            answer.wake()
        asked = self._asked
        self._asked = None
        if asked is not None and not asked.done():
            asked.set_exception(error)

    def _check_deadline(self) -> None:
        """One timer serves all requests of the connection: it looks whether the present one is late."""
        self._timer = None
        if self._asked is None:
            return
        if self._loop.time() >= self._deadline and self._timeout < self._longest and self._is_acknowledged():
            self._deadline += self._longest - self._timeout
            self._timeout = self._longest
        if self._loop.time() >= self._deadline:
            text = f"the server did not answer in time: silent for {self._timeout:.3g} s; the request may have happened"
            self._fail(AnswerTimeoutError(text))
            self.abort()
        else:
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)


def notice_dead_peers(transport: asyncio.BaseTransport, unsent_milliseconds: int = 30_000) -> None:
    """Have the kernel ask the other side after 15 quiet seconds: a watch on a dead machine ends within half a minute.

    `unsent_milliseconds` is how long sent bytes may wait, also for a peer that is there and does not read; 0: as the kernel
    likes.
    """
    sock: Any = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 15),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", unsent_milliseconds),
    ):
        number = getattr(socket, option, None)
        if number is not None:
            sock.setsockopt(socket.IPPROTO_TCP, number, value)


def _warning_text(header: str) -> str:
    """`299 - "unknown field \\"spec.zz\\""` without its number and quotes."""
    _, quote, rest = header.partition('"')
    if not quote:
        return header
    return rest.rstrip().removesuffix('"').replace('\\"', '"').replace("\\\\", "\\")
