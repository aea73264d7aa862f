"""Requests to the Docker Engine API over a unix socket: the connections of our own HTTP client, and no library.

    request(method, path, query, body) -> decoded JSON            a connection that is idle, or a new one
    stream(...)                        -> pieces of the answer    a connection of its own
    upload(path, file)                 -> pieces of the answer    the file goes out piece by piece, never whole in memory

The version of the API is agreed on with the first request. Every failure is an `EngineError`; see `errors`.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
from plum_client.errors import ApiUnavailableError
from plum_client.http_connection import Answer, ClosedWhileIdleError, HttpConnection

from plum_agent.engine.errors import EngineError, EngineUnavailableError

NEWEST = (1, 47)
"""Newest version of the API this was written for; an engine that is older is asked in its own."""
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
"""An engine on a busy disk takes its time to create a container."""
MAX_IDLE = 4
PIECE = 262_144
FOREVER = 10.0 * 365 * 86400


class _Connection(HttpConnection):
    """A connection that can also send a body larger than memory."""

    __slots__ = ("_may_write",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._may_write = asyncio.Event()
        self._may_write.set()

    @property
    def is_answering(self) -> bool:
        """Somebody gave up on a request whose answer is still to come."""
        return self._asked is not None

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._may_write.set()
        super().connection_lost(exc)

    async def write(self, data: bytes) -> None:
        """Send more of a body, no faster than it is taken."""
        await self._may_write.wait()
        if self._transport is None or not self.is_usable:
            raise ApiUnavailableError("the connection was closed while a body was sent")
        self._transport.write(data)


class EngineClient:
    """Asks one engine. Used from one event loop."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._version = ""

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> Any:
        """Ask and decode the answer; None where it has no body. Raises `EngineError`."""
        head, content = await self._encode(method, path, query, body, headers)
        for _ in range(MAX_IDLE + 1):
            connection = await self._take()
            try:
                answer = await connection.ask(head + content, timeout)
                break
            except ClosedWhileIdleError:
                continue  # the engine was restarted since; it has not seen the request
            except ApiUnavailableError as error:
                raise self._unavailable(error) from error
            finally:
                self._give_back(connection)
        else:
            raise EngineUnavailableError(f"the container engine at {self.socket} closes its connections")
        return _decode(answer)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """An answer that goes on, in pieces. Raises `EngineError`."""
        head, content = await self._encode(method, path, query, body, headers)
        connection = await self._connect()
        try:
            answer = await self._begin(connection, connection.ask(head + content, FOREVER, streaming=True))
            yield self._pieces(connection, answer)
        finally:
            self._drop(connection)

    @asynccontextmanager
    async def upload(self, path: str, query: Mapping[str, str], file: Path) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send a file; the pieces of the answer. Raises `EngineError`, and `OSError` for a file that cannot be read."""
        descriptor = await asyncio.to_thread(file.open, "rb")
        connection: _Connection | None = None
        try:
            headers = {"Content-Type": "application/x-tar", "Content-Length": str(os.fstat(descriptor.fileno()).st_size)}
            head, _ = await self._encode("POST", path, query, None, headers)
            connection = await self._connect()
            asked = connection.ask(head, FOREVER, streaming=True)
            try:
                while piece := await asyncio.to_thread(descriptor.read, PIECE):
                    if asked.done():
                        break  # refused already
                    await connection.write(piece)
            except ApiUnavailableError as error:
                asked.cancel()
                raise self._unavailable(error) from error
            yield self._pieces(connection, await self._begin(connection, asked))
        finally:
            descriptor.close()
            if connection is not None:
                self._drop(connection)

    def close(self) -> None:
        for connection in [*self._idle, *self._busy]:
            connection.abort()
        self._idle.clear()
        self._busy.clear()

    # ---- inside

    async def _begin(self, connection: _Connection, asked: asyncio.Future[Answer]) -> Answer:
        try:
            answer = await asked
            if answer.status >= 400:
                answer.body = b"".join([piece async for piece in self._pieces(connection, answer)])
                _decode(answer)
        except ApiUnavailableError as error:
            raise self._unavailable(error) from error
        return answer

    async def _pieces(self, connection: _Connection, answer: Answer) -> AsyncIterator[bytes]:
        try:
            while piece := await connection.next_piece(answer):
                yield piece
        except ApiUnavailableError as error:
            raise self._unavailable(error) from error

    async def _encode(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Any, headers: Mapping[str, str] | None
    ) -> tuple[bytes, bytes]:
        if path != "/version":
            path = await self.versioned(path)
        content = b"" if body is None else msgspec.json.encode(body)
        lines = [f"{method} {path}{'?' + urlencode(query) if query else ''} HTTP/1.1", "Host: engine"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines.append("Content-Type: application/json")
        if "Content-Length" not in (headers or {}):
            lines.append(f"Content-Length: {len(content)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1"), content

    async def versioned(self, path: str) -> str:
        """The path under the version of the API that both know. Raises `EngineError`."""
        if not self._version:
            await self._agree()
        return self._version + path

    async def _agree(self) -> None:
        found = await self.request("GET", "/version")
        newest, oldest = _number(found.get("ApiVersion", "")), _number(found.get("MinAPIVersion", ""))
        major, minor = max(min(NEWEST, newest or NEWEST), oldest or (1, 0))
        self._version = f"/v{major}.{minor}"

    def forget_version(self) -> None:
        """The engine was restarted, perhaps as another release."""
        self._version = ""

    async def _take(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                self._busy.add(connection)
                return connection
        return await self._connect()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_unix_connection(lambda: _Connection(loop), str(self.socket))
        except (OSError, TimeoutError) as error:
            raise self._unavailable(error) from error
        self._busy.add(connection)
        return connection

    def _give_back(self, connection: _Connection) -> None:
        if connection.is_usable and connection.reusable and not connection.is_answering and len(self._idle) < MAX_IDLE:
            self._busy.discard(connection)
            self._idle.append(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        connection.abort()

    def _unavailable(self, error: Exception) -> EngineUnavailableError:
        number = getattr(error, "errno", None)
        if number == errno.ENOENT:
            why, advice = "there is no such socket", "install and start a container engine, or set --engine"
        elif number == errno.ECONNREFUSED:
            why, advice = "nothing listens there", "start the container engine"
        elif number == errno.EACCES:
            why, advice = "permission denied", "let the agent's user open the socket, or run the agent as root"
        else:
            why, advice = str(error) or type(error).__name__, "see whether the container engine runs"
        return EngineUnavailableError(f"the container engine at {self.socket} does not answer: {why}; {advice}")


def _decode(answer: Answer) -> Any:
    body = answer.body
    if answer.status >= 400:
        try:
            message = str(msgspec.json.decode(body)["message"])
        except (msgspec.MsgspecError, KeyError, TypeError):
            message = body[:500].decode("utf-8", "replace") or f"the engine answered with status {answer.status}"
        raise EngineError(answer.status, message)
    if not body or answer.status == 204:
        return None
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return body.decode("utf-8", "replace")


def _number(version: str) -> tuple[int, int] | None:
    major, _, minor = version.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
