"""The tunnel to the controller: one WebSocket that this agent opens, logs inside it.

    controller -> {"stream":7,"open":"log","params":{...}} -> {"stream":7,"opened":true}
               <- 4 bytes stream id + output, as far as the reader's credit goes
               -> {"stream":7,"credit":65536}, {"stream":7,"close":true}
               <- {"stream":7,"close":true,"code":200}

A slow reader stops its own stream only. Losing the tunnel loses nothing: it is opened again, output stays on the disk.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from random import Random
from typing import Any
from urllib.parse import quote

import msgspec
from plum_client.backoff import SLOW, Pause
from plum_client.errors import ApiError
from plum_client.http_transport import HttpTransport
from plum_client.websocket import WebSocket

from plum_agent.log_reader import LogQuery

logger = logging.getLogger(__name__)

INITIAL_CREDIT = 262144
"""Bytes that may be sent before the controller gives more."""
FRAME = 65536
_HEADER = struct.Struct(">I")


class StreamRefusedError(Exception):
    """A stream that cannot be opened."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        """As of HTTP: 404 for a run that does not exist."""


OpenLog = Callable[[LogQuery], AsyncGenerator[bytes, None]]
"""Opens the output of a run. Raises `StreamRefusedError`."""


class _Stream:
    """One stream that is being sent."""

    def __init__(self) -> None:
        self.credit = INITIAL_CREDIT
        self.more = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Tunnel:
    """Keeps the tunnel of one node open until cancelled."""

    def __init__(self, transport: HttpTransport, node: str, open_log: OpenLog, random: Random | None = None) -> None:
        self._transport = transport
        self._path = f"/agent/v1/connect?node={quote(node, safe='')}"
        self._open_log = open_log
        self._random = random or Random()  # noqa: S311 -- spreads reconnects
        self._streams: dict[int, _Stream] = {}
        self._pause = Pause()

    def try_now(self) -> None:
        """Open the tunnel now if it waits to be opened again."""
        self._pause.end()

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                socket = await self._transport.open_websocket(self._path)
                failures = 0
                await self._serve(socket)
            except ApiError as error:
                failures += 1
                logger.debug("tunnel is not open", extra={"error": str(error)})
            await self._pause.wait(SLOW.delay(max(1, failures), self._random))

    async def _serve(self, socket: WebSocket) -> None:
        try:
            while True:
                message = await socket.receive()
                if isinstance(message, str):
                    self._on_message(socket, message)
        finally:
            for stream in list(self._streams.values()):
                if stream.task is not None:
                    stream.task.cancel()
            self._streams.clear()
            await socket.close()

    def _on_message(self, socket: WebSocket, text: str) -> None:
        try:
            message: dict[str, Any] = msgspec.json.decode(text, type=dict)
            number = int(message["stream"])
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
            logger.warning("tunnel message makes no sense", extra={"text": text[:200]})
            return
        stream = self._streams.get(number)
        if "open" in message and stream is None:
            stream = self._streams[number] = _Stream()
            stream.task = asyncio.get_running_loop().create_task(self._send(socket, number, stream, message))
        elif stream is not None and message.get("close"):
            if stream.task is not None:
                stream.task.cancel()
            self._streams.pop(number, None)
        elif stream is not None:
            stream.credit += int(message.get("credit") or 0)
            stream.more.set()

    async def _send(self, socket: WebSocket, number: int, stream: _Stream, message: dict[str, Any]) -> None:
        code, text = 200, ""
        try:
            if message["open"] != "log":
                raise StreamRefusedError(501, f"this agent cannot open {message['open']!r}; it knows: log")
            chunks = self._open_log(msgspec.convert(message.get("params") or {}, LogQuery))
            self._say(socket, {"stream": number, "opened": True})
            async with aclosing(chunks):
                async for chunk in chunks:
                    for start in range(0, len(chunk), FRAME):
                        await self._send_bytes(socket, number, stream, chunk[start : start + FRAME])
        except StreamRefusedError as error:
            code, text = error.code, str(error)
        except msgspec.ValidationError as error:
            code, text = 400, str(error)
        except ApiError:
            return  # the tunnel is gone; its end is handled where it is received
        except OSError as error:
            code, text = 500, f"the output could not be read: {error}"
        self._streams.pop(number, None)
        if socket.is_open:
            self._say(socket, {"stream": number, "close": True, "code": code, "message": text})

    async def _send_bytes(self, socket: WebSocket, number: int, stream: _Stream, piece: bytes) -> None:
        while piece:
            while stream.credit <= 0:
                stream.more.clear()
                await stream.more.wait()
            part, piece = piece[: stream.credit], piece[stream.credit :]
            stream.credit -= len(part)
            socket.send_bytes(_HEADER.pack(number) + part)
            await socket.drain()

    def _say(self, socket: WebSocket, message: dict[str, Any]) -> None:
        socket.send_text(msgspec.json.encode(message).decode())
