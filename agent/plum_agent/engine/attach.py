"""A connection that carries the input and output of a program in a container, both ways.

open(client, path, body) -> Attached     POST with `Upgrade: tcp`; from then on the connection belongs to the program
pieces: with a terminal bytes as they come, else frames of 8 bytes head (stream, length) and content
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from plum_agent.engine.client import CONNECT_SECONDS, EngineClient
from plum_agent.engine.errors import EngineError, EngineUnavailableError

PIECE = 65536
MAX_HEAD = 65536
_FRAME = struct.Struct(">BxxxI")


class Attached:
    """One such connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tty: bool) -> None:
        self._reader, self._writer, self._tty = reader, writer, tty
        self._stream, self._left = 0, 0

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece with the number of its stream (1 or 2), None at the end."""
        try:
            if self._tty:
                data = await self._reader.read(PIECE)
                return (1, data) if data else None
            while self._left == 0:
                self._stream, self._left = _FRAME.unpack(await self._reader.readexactly(_FRAME.size))
            data = await self._reader.read(min(self._left, PIECE))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self._left -= len(data)
        return (self._stream, data) if data else None

    async def write(self, data: bytes) -> None:
        """Waits while the program does not read. Dropped once it has ended."""
        with suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    def end_input(self) -> None:
        """Safe to repeat."""
        with suppress(OSError, RuntimeError):
            if self._writer.can_write_eof():
                self._writer.write_eof()

    def close(self) -> None:
        self._writer.transport.abort()


async def attach(client: EngineClient, path: str, body: Mapping[str, Any], tty: bool) -> Attached:
    """Raises `EngineError`."""
    content = msgspec.json.encode(body)
    path = await client.versioned(path)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(client.socket))
            writer.write(head.encode() + content)
            answer = await reader.readuntil(b"\r\n\r\n")
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise EngineUnavailableError(f"the container engine at {client.socket} does not answer: {error}") from error
    status = int(answer.split(b" ", 2)[1])
    if status not in (101, 200):
        text = await _body(reader, answer)
        writer.close()
        raise EngineError(status, text)
    return Attached(reader, writer, tty)


async def _body(reader: asyncio.StreamReader, head: bytes) -> str:
    size = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    with suppress(asyncio.IncompleteReadError, msgspec.MsgspecError, KeyError, TypeError):
        return str(msgspec.json.decode(await reader.readexactly(min(size, MAX_HEAD)))["message"])
    return "the engine refused to attach"
