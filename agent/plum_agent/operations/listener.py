"""The device protocol over HTTP/1.1, for programs of this machine. See `plum_client.devices.protocol`.

    bytes -> httptools -> Route -> Desk -> JSON, or the lines of a stream

It listens on the loopback address, and for containers on a socket per namespace. It takes no request of a web page: whoever
sends an Origin is refused.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

import httptools
import msgspec
from plum_client.devices.desk import Desk
from plum_client.devices.protocol import (
    MOST_BYTES,
    DeviceError,
    Route,
    read_announcement,
    read_move,
    read_report,
    route_of,
)

from plum_agent.operations.address import DeviceAddress

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 512
HEAD_BYTES = 16 * 1024
IDLE_SECONDS = 120.0
"""A connection on which nothing was asked for so long is closed."""
PIECE = 64 * 1024
_encode = msgspec.json.Encoder().encode


class _Asked:
    """One request, while and after it is read."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.head = 0
        self.done = False
        self.keep = False
        """Whether the connection goes on after it. The parser knows only while it reads the end."""
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value
        self._count(len(name) + len(value))

    def on_body(self, body: bytes) -> None:
        self.body += body
        if len(self.body) > MOST_BYTES:
            raise DeviceError(413, "RequestEntityTooLarge", f"the body is larger than {MOST_BYTES} bytes")

    def on_message_complete(self) -> None:
        self.done = True
        self.keep = bool(self.parser.should_keep_alive())

    def _count(self, size: int) -> None:
        self.head += size
        if self.head > HEAD_BYTES:
            raise DeviceError(431, "BadRequest", f"the head of the request is longer than {HEAD_BYTES} bytes")


class DeviceListener:
    """Serves one desk at one address."""

    def __init__(self, desk: Desk, address: DeviceAddress) -> None:
        self._desk = desk
        self._address = address
        self._open: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        servers = [await asyncio.start_server(self._serve, sock=self._address.listener, backlog=128)]
        starting: set[asyncio.Task[None]] = set()

        async def listen(namespace: str, listener: socket.socket) -> None:
            servers.append(await asyncio.start_unix_server(partial(self._serve, namespace=namespace), sock=listener))

        def begin(namespace: str, listener: socket.socket) -> None:
            task = asyncio.get_running_loop().create_task(listen(namespace, listener))
            starting.add(task)
            task.add_done_callback(starting.discard)

        self._address.on_socket = begin
        for known in self._address.sockets.items():
            begin(*known)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for server in servers:
                server.close()
            for task in list(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, namespace: str = "") -> None:
        """`namespace`: the one of the socket; empty on the loopback address, where it is part of the path."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- the server makes one for each connection
        self._open.add(task)
        try:
            if len(self._open) > MOST_CONNECTIONS:
                _write(writer, 503, DeviceError(503, "ServiceUnavailable", "too many connections").body(), False)
                return
            while await self._one(reader, writer, namespace):
                pass
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # the agent ends
        finally:
            self._open.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, namespace: str) -> bool:
        """Answer one request. Whether the connection goes on."""
        asked = _Asked()
        parser = asked.parser
        try:
            while not asked.done:
                async with asyncio.timeout(IDLE_SECONDS):
                    data = await reader.read(PIECE)
                if not data:
                    return False
                try:
                    parser.feed_data(data)
                except httptools.HttpParserCallbackError as error:
                    raise error.__context__ or error from None
            route, query = self._route(asked, namespace)
            answer = await self._answer(parser.get_method().decode(), bytes(asked.body), route, query, reader, writer)
        except DeviceError as error:
            _write(writer, error.code, error.body(), asked.keep)
            await writer.drain()
            return asked.keep
        except httptools.HttpParserError:
            _write(writer, 400, DeviceError(400, "BadRequest", "this is no HTTP request that can be read").body(), False)
            return False
        if answer is None:
            return False
        _write(writer, 200, answer, asked.keep)
        await writer.drain()
        return asked.keep

    async def _answer(
        self,
        method: str,
        body: bytes,
        route: Route,
        query: Mapping[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bytes | None:
        """The body of an answer; None when a stream was the answer. Raises `DeviceError`."""
        match method, route.part:
            case "PUT", "":
                return _encode(await self._desk.announce(route.key, read_announcement(body)))
            case "POST", "reports":
                return _encode(await self._desk.report(route.key, read_report(body)))
            case "POST", "operations":
                await self._desk.move(route.key, route.operation, read_move(body))
                return b"{}"
            case "GET", "commands":
                await self._stream(route, query.get("session", ""), reader, writer)
                return None
        raise DeviceError(405, "MethodNotAllowed", f"{method} is not served here; see docs/devices.md")

    def _route(self, asked: _Asked, namespace: str) -> tuple[Route, dict[str, str]]:
        if b"origin" in asked.headers:
            raise DeviceError(403, "Forbidden", "requests of web pages are not served here")
        host = asked.headers.get(b"host", b"").partition(b":")[0]
        if not namespace and host not in (b"127.0.0.1", b"localhost"):
            raise DeviceError(403, "Forbidden", "this address is called 127.0.0.1 or localhost")
        path, _, query = asked.target.decode("ascii", "replace").partition("?")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        word = "" if namespace else parts.pop(0)
        route = route_of(parts[1:]) if parts and parts[0] == "devices" else None
        if route is None:
            raise DeviceError(
                404, "NotFound", f"nothing is served at {path}; the address is all of PLUM_DEVICES, then /devices/..."
            )
        allowed = route.key.namespace == namespace if namespace else self._address.allows(word, route.key.namespace)
        if not allowed:
            text = f"this address is not that of namespace {route.key.namespace}; use PLUM_DEVICES and PLUM_NAMESPACE as given"
            raise DeviceError(403, "Forbidden", text)
        return route, dict(parse_qsl(query, keep_blank_values=True))

    async def _stream(self, route: Route, session: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = self._desk.commands(route.key, session)
        gone = asyncio.ensure_future(reader.read(1))
        gone.add_done_callback(lambda _: commands.close())
        try:
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncache-control: no-store\r\n"
                b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            async for line in commands.lines():
                writer.write(b"%x\r\n%b\r\n" % (len(line), line))
                await writer.drain()
            if not gone.done():
                writer.write(b"0\r\n\r\n")
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            self._desk.left(route.key, commands)


def _write(writer: asyncio.StreamWriter, status: int, body: bytes, keep: bool) -> None:
    connection = b"" if keep else b"connection: close\r\n"
    phrase = HTTPStatus(status).phrase.encode()
    head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n"
    writer.write(head % (status, phrase, len(body), connection) + body)
