"""Requests over HTTP/1.1: a small pool of connections on the standard event loop, parsed by httptools.

    send    Request -> idle connection, or a new one -> Response
    stream  Request -> a connection of its own -> lines of a watch, pieces of a log

Written for programs that must stay small: no dependency but httptools, nothing imported that is not used (docs/adr/0003).
An idempotent request whose kept-alive connection turns out to be closed is sent once more; every other failure is
`ApiUnavailableError`, after which the request may or may not have happened.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from plum_client.errors import AnswerTimeoutError, ApiUnavailableError, NotConnectedError
from plum_client.http_connection import Answer, ClosedWhileIdleError, HttpConnection
from plum_client.link import Link
from plum_client.transport import Request, Response, Stream

if TYPE_CHECKING:
    import ssl

    from plum_client.websocket import WebSocket

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
IDLE_SECONDS = 30.0
"""A connection that was idle for longer is not used again, and closed: servers and middleboxes forget them, and with TLS each
takes a quarter of a megabyte."""
STALE_SECONDS = 0.02
"""Idle time after which the server may have closed a connection without our having noticed."""
PACKED_FROM = 1024
"""Bytes of a body from which it is compressed where data is to be saved. A shorter one fits into a packet as it is."""
UNSUPPORTED_MEDIA_TYPE = 415
_GZIP = 31
"""`wbits` of zlib for the gzip format."""
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_PLAIN = re.compile(r"[A-Za-z0-9._~/\-]*\Z").match


class HttpTransport:
    """Connections to one server. Used from one event loop."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        ssl_context: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
        *,
        user_agent: str = "plum",
        max_connections: int = 64,
        timeout: float = ANSWER_SECONDS,
        gzip: bool = False,
        saves_data: bool = False,
        link: Link | None = None,
    ) -> None:
        """`url` is `http://HOST:PORT` or `https://...`, with a path before that of the API if there is a proxy.

        `ssl_context` may be a function: then it is asked for each new connection, and those made with an earlier answer take no
        more requests. So certificates are changed under way.
        `max_connections` bounds requests at the same time; streams do not count. `timeout` in seconds is for one answer.
        `gzip`: long answers may come compressed. `saves_data`: shorter ones too, and bodies of requests go compressed.
        `link` measures the way to the server, shortens `timeout` by what it measured, and refuses while nobody answers.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no server address; use http://HOST:PORT or https://HOST:PORT")
        self.url = url.rstrip("/")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._base = parts.path.rstrip("/")
        self._ssl = _ssl_source(ssl_context) if parts.scheme == "https" else _no_ssl
        self._timeout = timeout
        self.link = link
        self._max_connections = max_connections
        self._idle: list[HttpConnection] = []
        """The one that was used last is at the end, and is used next: the others grow old."""
        self._pruning: asyncio.TimerHandle | None = None
        self._open = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._streams: dict[HttpConnection, None] = {}
        self._closed = False
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._headers = {"Host": host if parts.port is None else f"{host}:{parts.port}", "User-Agent": user_agent}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        encoding = "Accept-Encoding: gzip\r\n" if gzip or saves_data else ""
        if saves_data:
            encoding += "Save-Data: on\r\n"
        self._packs = saves_data
        """False once a server has said that it reads no compressed bodies."""
        self._common = "".join(f"{name}: {_clean(value)}\r\n" for name, value in self._headers.items()) + encoding

    # ---- requests

    async def send(self, request: Request) -> Response:
        """Ask once and wait for the whole answer. Raises `ApiUnavailableError`."""
        idempotent = request.method in _IDEMPOTENT
        if self._packs and len(request.body) >= PACKED_FROM:
            answer = await self._exchange(self._encode(request, packed=True), idempotent)
            if answer.status != UNSUPPORTED_MEDIA_TYPE:
                return _response(answer)
            self._packs = False
        return _response(await self._exchange(self._encode(request), idempotent))

    async def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
        """Ask for any path, with its query in it. Raises `ApiUnavailableError`."""
        idempotent = method in _IDEMPOTENT
        if self._packs and len(body) >= PACKED_FROM and "application/json" in (headers or {}).values():
            packed = {**(headers or {}), "Content-Encoding": "gzip"}
            answer = await self._exchange(self._encode_raw(method, path, packed, _packed(body)), idempotent)
            if answer.status != UNSUPPORTED_MEDIA_TYPE:
                return _response(answer)
            self._packs = False
        return _response(await self._exchange(self._encode_raw(method, path, headers, body), idempotent))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[Stream, None]:
        """Ask for an answer that goes on: lines of a watch, pieces of everything else. Raises `ApiUnavailableError`."""
        data = self._encode(request)
        async with self._streamed(data, lines="watch" in request.query) as stream:
            yield stream

    @asynccontextmanager
    async def stream_path(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> AsyncGenerator[Stream, None]:
        """Like `stream`, for any path, in pieces."""
        async with self._streamed(self._encode_raw(method, path, headers, body), lines=False) as stream:
            yield stream

    async def open_websocket(
        self, path: str, headers: Mapping[str, str] | None = None, subprotocols: Sequence[str] = ()
    ) -> WebSocket:
        """A WebSocket to a path with its query in it. Raises `ApiUnavailableError`, or the error of a refusal."""
        from plum_client.websocket import connect

        all_headers = self._headers | dict(headers or {})
        if self.link is not None:
            self.link.check()
        return await connect(self._host, self._port, self._ssl(), self._base + path, all_headers, subprotocols)

    def drop_quiet_streams(self, seconds: float) -> int:
        """End the streams on which nothing came for so long; whoever reads one opens it anew. Answers with how many.

        After a cut the kernel of the other side waits, up to as long as the cut was, before it sends again. A new
        connection waits for nothing.
        """
        now = asyncio.get_running_loop().time()
        quiet = [connection for connection in self._streams if now - connection.heard_at >= seconds]
        for connection in quiet:
            connection.abort()
        return len(quiet)

    async def close(self) -> None:
        """Close all connections, streams too. Safe to repeat."""
        self._closed = True
        for connection in (*self._idle, *self._streams):
            connection.abort()
        self._idle.clear()
        if self._pruning is not None:
            self._pruning.cancel()
        while self._waiters:
            self._wake()
        await asyncio.sleep(0)  # let the event loop close the sockets

    # ---- connections

    async def _exchange(self, data: bytes, idempotent: bool) -> Answer:
        with self._noted():
            while True:
                connection = self._take_idle() or await self._connect_pooled()
                used_before = connection.served > 0
                try:
                    if not idempotent and not await self._is_alive(connection):
                        continue
                    answer = await connection.ask(data, self._patience, longest=self._timeout)
                except ClosedWhileIdleError:
                    if used_before and idempotent:
                        if self.link is not None:
                            self.link.counters.retries += 1
                        continue
                    raise
                except asyncio.CancelledError:
                    connection.abort()
                    raise
                finally:
                    self._give_back(connection)
                return answer

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Ask the link whether to try at all, and tell it what became of it. Answers are told by the connection."""
        link = self.link
        if link is None:
            yield
            return
        link.enter()
        try:
            yield
        except ApiUnavailableError as error:
            link.failed(timed_out=isinstance(error, AnswerTimeoutError))
            raise
        except BaseException:
            link.left()
            raise

    @property
    def _patience(self) -> float:
        """Seconds of silence after which a request is given up."""
        return self._timeout if self.link is None else min(self._timeout, self.link.timeout)

    def _take_idle(self) -> HttpConnection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            fresh = now - connection.idle_since < IDLE_SECONDS and connection.ssl_context is self._ssl()
            if connection.is_usable and fresh:
                self._open += 1
                return connection
            connection.abort()
        return None

    def _give_back(self, connection: HttpConnection) -> None:
        self._open -= 1
        if connection.is_usable and connection.reusable and not self._closed:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
            if self._pruning is None:
                self._pruning = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._prune)
        else:
            connection.abort()
        self._wake()

    def _prune(self) -> None:
        """Close what nobody will use any more."""
        loop = asyncio.get_running_loop()
        now, kept = loop.time(), list[HttpConnection]()
        for connection in self._idle:
            if connection.is_usable and now - connection.idle_since < IDLE_SECONDS:
                kept.append(connection)
            else:
                connection.abort()
        self._idle = kept
        oldest = kept[0].idle_since + IDLE_SECONDS if kept else None
        self._pruning = loop.call_at(oldest, self._prune) if oldest is not None else None

    async def _is_alive(self, connection: HttpConnection) -> bool:
        """A request that must not be sent twice does not go over a connection whose end is waiting to be read."""
        if connection.served and asyncio.get_running_loop().time() - connection.idle_since > STALE_SECONDS:
            for _ in range(2):  # the first turn of the loop finds the end in the socket, the second delivers it
                await asyncio.sleep(0)
        return connection.is_usable

    async def _connect_pooled(self) -> HttpConnection:
        while self._open >= self._max_connections:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                else:
                    self._wake()
                raise
            idle = self._take_idle()
            if idle is not None:
                return idle
        self._open += 1
        try:
            return await self._connect()
        except BaseException:
            self._open -= 1
            self._wake()
            raise

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _connect(self) -> HttpConnection:
        if self._closed:
            raise ApiUnavailableError(f"{self.url}: the transport was closed")
        loop, context = asyncio.get_running_loop(), self._ssl()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: HttpConnection(loop, self.link), self._host, self._port, ssl=context
                )
        except TimeoutError as error:
            raise NotConnectedError(f"{self.url}: no connection within {CONNECT_SECONDS:g} seconds") from error
        except OSError as error:
            raise NotConnectedError(f"{self.url}: {error.strerror or error}") from error
        connection.ssl_context = context
        return connection

    @asynccontextmanager
    async def _streamed(self, data: bytes, lines: bool) -> AsyncGenerator[Stream, None]:
        with self._noted():
            connection = await self._connect()
            self._streams[connection] = None
            try:
                answer = await connection.ask(data, self._patience, streaming=True, longest=self._timeout)
            except BaseException:
                del self._streams[connection]
                connection.abort()
                raise
        try:
            chunks = _pieces(connection, answer)
            if answer.status >= 400:
                body = b"".join([piece async for piece in chunks])
                yield Stream(answer.status, _once(_decoded(answer, body)), answer.headers)
            else:
                yield Stream(answer.status, _lines(chunks) if lines else chunks, answer.headers)
        finally:
            del self._streams[connection]
            connection.abort()

    # ---- bytes

    def _encode(self, request: Request, packed: bool = False) -> bytes:
        method, body = request.method, request.body
        head = f"{method} {self._base}{_target(request)} HTTP/1.1\r\n{self._common}Accept: {request.accept}\r\n"
        if packed:
            body = _packed(body)
            head += "Content-Encoding: gzip\r\n"
        if body or method in ("POST", "PUT", "PATCH"):
            head += f"Content-Type: {request.content_type}\r\nContent-Length: {len(body)}\r\n"
        return (head + "\r\n").encode("latin-1") + body

    def _encode_raw(self, method: str, path: str, headers: Mapping[str, str] | None, body: bytes) -> bytes:
        if not _no_blanks(path):
            raise ValueError(f"{path!r} is no path; quote it first")
        given = {name: _clean(value) for name, value in (headers or {}).items()}
        names = {name.lower() for name in given}
        extra = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        if "accept" not in names:
            extra += "Accept: application/json\r\n"
        if body or method in ("POST", "PUT", "PATCH"):
            extra += f"Content-Length: {len(body)}\r\n"
        return f"{method} {self._base}{path} HTTP/1.1\r\n{self._common}{extra}\r\n".encode("latin-1") + body


def _packed(body: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


def is_loopback(url: str) -> bool:
    """Whether the server is on this machine, where bytes cost nothing."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _target(request: Request) -> str:
    path = request.path
    if not _PLAIN(path):
        path = quote(path, safe="/~")
    if not request.query:
        return path
    return f"{path}?" + "&".join(
        f"{name}={value if _PLAIN(value) else quote(value, safe='')}" for name, value in request.query.items()
    )


def _response(answer: Answer) -> Response:
    return Response(answer.status, _decoded(answer, answer.body), answer.revision, tuple(answer.warnings))


def _decoded(answer: Answer, body: bytes) -> bytes:
    if answer.headers.get(b"content-encoding") != b"gzip":
        return body
    try:
        return zlib.decompress(body, wbits=_GZIP)
    except zlib.error as error:
        raise ApiUnavailableError(f"the answer is no gzip: {error}") from error


async def _pieces(connection: HttpConnection, answer: Answer) -> AsyncIterator[bytes]:
    while piece := await connection.next_piece(answer):
        yield piece


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest: list[bytes] = []
    async for chunk in chunks:
        if b"\n" not in chunk:
            rest.append(chunk)
            continue
        first, *others = chunk.split(b"\n")
        yield b"".join((*rest, first)) if rest else first
        rest = [last] if (last := others.pop()) else []
        for line in others:
            yield line
    if rest:
        yield b"".join(rest)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _clean(value: str) -> str:
    """A header value; one with a line break would smuggle in another header."""
    if "\r" in value or "\n" in value:
        raise ValueError("a header value must not contain a line break")
    return value


def _no_blanks(path: str) -> bool:
    return path.startswith("/") and path.isascii() and path.isprintable() and " " not in path


def _ssl_source(given: ssl.SSLContext | Callable[[], ssl.SSLContext] | None) -> Callable[[], ssl.SSLContext | None]:
    if callable(given):
        return given
    import ssl

    context = given or ssl.create_default_context()
    return lambda: context


def _no_ssl() -> None:
    """Plain HTTP."""
