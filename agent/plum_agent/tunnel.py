"""The tunnel to the controller: one WebSocket that this agent opens; logs, commands and forwarded connections inside it.

    controller -> {"stream":7,"open":"exec","params":{...}} -> {"stream":7,"opened":true}
               <-> 4 bytes stream id + payload, as far as the credit of the other side goes
               <-> {"stream":7,"credit":65536}   as payload is used
               <-> {"stream":7,"eof":true}       no more payload from this side
                -> {"stream":7,"close":true}     from the controller: end it now
               <-  {"stream":7,"close":true,"code":200,"result":{...}}

A slow reader, on either side, stops its own stream only. Losing the tunnel ends its streams, and it is opened again.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any
from urllib.parse import quote

import msgspec
from plum_client.backoff import SLOW, Pause
from plum_client.errors import ApiError
from plum_client.http_transport import HttpTransport
from plum_client.websocket import WebSocket

logger = logging.getLogger(__name__)

INITIAL_CREDIT = 262144
"""Bytes that each side may send on a stream before the other gives more."""
CREDIT_STEP = 65536
"""Bytes after which used payload is given back as credit."""
FRAME = 65536
PING_SECONDS = 20.0
"""The controller asks every 15 whether this end is there. A tunnel on which even that did not come is stuck."""
_HEADER = struct.Struct(">I")


class StreamRefusedError(Exception):
    """A stream that cannot be opened, or not go on."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        """As of HTTP: 404 for a run that does not exist."""


class TunnelStream:
    """This agent's end of one stream. One task sends and one receives."""

    def __init__(self, socket: WebSocket, number: int, params: Mapping[str, Any]) -> None:
        self.number = number
        self.params = params
        self.task: asyncio.Task[None] | None = None
        self._socket = socket
        self._credit = INITIAL_CREDIT
        self._more = asyncio.Event()
        self._received: deque[bytes] = deque()
        self._room = INITIAL_CREDIT
        """What the controller may still send."""
        self._used = 0
        self._ended = False
        self._arrived = asyncio.Event()

    def accept(self) -> None:
        """Tell the controller that it is open."""
        self._say({"opened": True})

    async def send(self, data: bytes, head: bytes = b"") -> None:
        """Send payload, in messages that each begin with `head`, as the controller has room for it."""
        view = memoryview(data)
        while view:
            while self._credit <= len(head):
                self._more.clear()
                await self._more.wait()
            part = view[: min(FRAME, self._credit - len(head))]
            view = view[len(part) :]
            self._credit -= len(head) + len(part)
            self._socket.send_bytes(b"".join((_HEADER.pack(self.number), head, part)))
            await self._socket.drain()

    def end_sending(self) -> None:
        """Nothing more comes from here; the other side may go on."""
        self._say({"eof": True})

    async def receive(self) -> bytes | None:
        """The next message, None when there will be no more."""
        while not self._received:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        data = self._received.popleft()
        self._used += len(data)
        if self._used >= CREDIT_STEP:
            used, self._used = self._used, 0
            self._room += used
            self._say({"credit": used})
        return data

    def close(self, code: int, message: str, result: Mapping[str, Any] | None) -> None:
        """The last word of a stream."""
        if self._socket.is_open:
            self._say({"close": True, "code": code, "message": message} | ({"result": result} if result else {}))

    # ---- from the tunnel

    def give(self, credit: int) -> None:
        self._credit += credit
        self._more.set()

    def feed(self, data: bytes) -> None:
        if len(data) > self._room:
            logger.warning("controller sent more than it had credit for", extra={"stream": self.number})
            if self.task is not None:
                self.task.cancel()
            return
        self._room -= len(data)
        self._received.append(data)
        self._arrived.set()

    def end_receiving(self) -> None:
        self._ended = True
        self._arrived.set()

    def _say(self, message: dict[str, Any]) -> None:
        self._socket.send_text(msgspec.json.encode({"stream": self.number, **message}).decode())


Serve = Callable[[TunnelStream], Awaitable[Mapping[str, Any] | None]]
"""Serves a stream from its opening to its end: accepts it, or raises `StreamRefusedError`. Answers with its result."""


class Tunnel:
    """Keeps the tunnel of one node open until cancelled."""

    def __init__(self, transport: HttpTransport, node: str, serves: Mapping[str, Serve], random: Random | None = None) -> None:
        """`serves` by what is opened: log, exec, ..."""
        self._transport = transport
        self._path = f"/agent/v1/connect?node={quote(node, safe='')}"
        self._serves = serves
        self._random = random or Random()  # noqa: S311 -- spreads reconnects
        self._streams: dict[int, TunnelStream] = {}
        self._pause = Pause()
        self._socket: WebSocket | None = None

    def try_now(self) -> None:
        """The controller is reached again: open the tunnel now if it waits, and anew if it seems to be dead."""
        self._pause.end()
        if self._socket is not None:
            self._socket.drop_if_quiet(PING_SECONDS)

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                socket = self._socket = await self._transport.open_websocket(self._path)
                failures = 0
                await self._receive(socket)
            except ApiError as error:
                failures += 1
                logger.debug("tunnel is not open", extra={"error": str(error)})
            self._socket = None
            await self._pause.wait(SLOW.delay(max(1, failures), self._random))

    async def _receive(self, socket: WebSocket) -> None:
        try:
            while True:
                message = await socket.receive()
                if isinstance(message, str):
                    self._on_message(socket, message)
                elif len(message) >= _HEADER.size:
                    stream = self._streams.get(_HEADER.unpack_from(message)[0])
                    if stream is not None:
                        stream.feed(message[_HEADER.size :])
        finally:
            tasks = [stream.task for stream in self._streams.values() if stream.task is not None]
            self._streams.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
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
            stream = self._streams[number] = TunnelStream(socket, number, message.get("params") or {})
            stream.task = asyncio.get_running_loop().create_task(self._serve(stream, str(message["open"])))
        elif stream is not None and message.get("close"):
            if stream.task is not None:
                stream.task.cancel()
            self._streams.pop(number, None)
        elif stream is not None and message.get("eof"):
            stream.end_receiving()
        elif stream is not None:
            stream.give(int(message.get("credit") or 0))

    async def _serve(self, stream: TunnelStream, kind: str) -> None:
        code, text, result = 200, "", None
        try:
            serve = self._serves.get(kind)
            if serve is None:
                raise StreamRefusedError(501, f"this agent cannot open {kind!r}; it knows: {', '.join(self._serves)}")
            result = await serve(stream)
        except StreamRefusedError as error:
            code, text = error.code, str(error)
        except msgspec.ValidationError as error:
            code, text = 400, str(error)
        except ApiError:
            return  # the tunnel is gone; its end is handled where it is received
        except OSError as error:
            code, text = 500, f"the {kind} stream failed: {error}"
        except Exception as error:
            logger.exception("tunnel stream failed", extra={"kind": kind})
            code, text = 500, f"the {kind} stream failed: {type(error).__name__}; the agent's log has more"
        self._streams.pop(stream.number, None)
        stream.close(code, text, result)
