"""Streams of SPDY on a connection: bytes of a socket, or binary messages of a WebSocket that carries the same bytes.

    Carrier.read -> SpdySession.run -> new stream -> on_stream(SpdyStream)
                                    -> data -> SpdyStream.read
    SpdyStream.write, close, reset -> Carrier.write

SPDY as Kubernetes' clients speak it has no window of a stream, so one whose data nobody takes holds up the others on its
connection once `MAX_UNREAD` is reached. That is the price of bounded memory, and the same in Kubernetes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from plum_controller.api.streaming.spdy import (
    DATA,
    GOAWAY,
    PING,
    RST_STREAM,
    SYN_STREAM,
    Frame,
    FrameReader,
    FrameWriter,
    SpdyError,
)

MAX_UNREAD = 512 * 1024
"""Bytes received on all streams together that nobody has taken yet; past it the connection is not read."""
MAX_STREAMS = 512
"""Streams of one connection at the same time; a forwarded connection takes two."""
PIECE = 32 * 1024
PING_SECONDS = 5.0
"""A client that died while it was not read from is noticed by what is written to it."""
GOODBYE_SECONDS = 5.0


class Carrier(Protocol):
    """What carries the bytes."""

    async def read(self) -> bytes:
        """Some bytes; empty at the end. May raise `OSError`."""

    async def write(self, data: bytes) -> None:
        """Waits while the other side does not read. Raises `OSError` when it has gone."""


class SpdyStream:
    """One stream, opened by the client."""

    def __init__(self, session: SpdySession, number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        self.headers = headers
        self._session = session
        self._pieces: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self._closed = False

    async def read(self) -> bytes:
        """Some of what the client sends on it; empty at its end."""
        while not self._pieces:
            if self._ended:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        data = self._pieces.popleft()
        self._session.took(len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Dropped once it is closed. Raises `OSError` when the client has gone."""
        for start in range(0, len(data), PIECE):
            if self._closed:
                return
            await self._session.send(self._session.writer.data(self.number, data[start : start + PIECE]))

    async def close(self) -> None:
        """Nothing more comes from here. Safe to repeat."""
        if not self._closed:
            self._closed = True
            await self._session.send(self._session.writer.data(self.number, b"", fin=True))
            self._session.forget(self)

    async def reset(self) -> None:
        """End both halves now. Safe to repeat."""
        if not (self._closed and self._ended):
            self._closed = True
            await self._session.send(self._session.writer.reset(self.number))
            self.end(reset=True)

    @property
    def over(self) -> bool:
        return self._ended and self._closed

    # ---- from the session

    def feed(self, data: bytes) -> None:
        self._pieces.append(data)
        self._arrived.set()

    def end(self, *, reset: bool = False) -> None:
        """The client sends no more on it; `reset`: nor does it want anything."""
        self._ended = True
        self._closed = self._closed or reset
        if reset:
            self._session.took(sum(map(len, self._pieces)))
            self._pieces.clear()
        self._arrived.set()
        self._session.forget(self)


class SpdySession:
    """The server's side of one connection."""

    def __init__(self, carrier: Carrier, on_stream: Callable[[SpdyStream], None]) -> None:
        self.writer = FrameWriter()
        self._carrier = carrier
        self._on_stream = on_stream
        self._reader = FrameReader()
        self._streams: dict[int, SpdyStream] = {}
        self._last = 0
        self._unread = 0
        self._room = asyncio.Event()
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Read until the client has gone. Raises `SpdyError`."""
        pings = asyncio.ensure_future(self._ping())
        try:
            while data := await self._carrier.read():
                for frame in self._reader.feed(data):
                    await self._take(frame)
                while self._unread > MAX_UNREAD:
                    self._room.clear()
                    waiting = asyncio.ensure_future(self._room.wait())
                    await asyncio.wait({waiting, pings}, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
                    if pings.done():
                        return
        except OSError:
            return
        finally:
            pings.cancel()
            await asyncio.gather(pings, return_exceptions=True)
            for stream in list(self._streams.values()):
                stream.end(reset=True)

    async def send(self, frame: bytes) -> None:
        """Frames are written whole and in order. Raises `OSError` when the client has gone."""
        async with self._writing:
            await self._carrier.write(frame)

    async def say_goodbye(self) -> None:
        """No more streams are taken; the client closes the connection when it has read everything."""
        with contextlib.suppress(OSError):
            await self.send(self.writer.go_away(self._last))

    def took(self, size: int) -> None:
        self._unread -= size
        if self._unread <= MAX_UNREAD:
            self._room.set()

    def forget(self, stream: SpdyStream) -> None:
        """Drop a stream of which both halves have ended."""
        if stream.over:
            self._streams.pop(stream.number, None)

    async def _take(self, frame: Frame) -> None:
        if frame.type == SYN_STREAM:
            await self._open(frame)
        elif frame.type == PING:
            if frame.stream % 2:  # of the client: ours are even
                await self.send(self.writer.ping(frame.stream))
        elif frame.type != GOAWAY:
            stream = self._streams.get(frame.stream)
            if stream is None:
                return
            if frame.type == DATA and frame.data:
                self._unread += len(frame.data)
                stream.feed(frame.data)
            if frame.type == RST_STREAM:
                stream.end(reset=True)
            elif frame.fin:
                stream.end()

    async def _open(self, frame: Frame) -> None:
        if frame.stream <= self._last or not frame.stream % 2:
            raise SpdyError(f"stream {frame.stream} cannot be opened after {self._last}")
        self._last = frame.stream
        if len(self._streams) >= MAX_STREAMS:
            await self.send(self.writer.reset(frame.stream))
            return
        stream = self._streams[frame.stream] = SpdyStream(self, frame.stream, frame.headers or {})
        async with self._writing:  # the block is packed and written in one turn: the order of blocks is part of the packing
            await self._carrier.write(self.writer.syn_reply(frame.stream))
        if frame.fin:
            stream.end()
        self._on_stream(stream)

    async def _ping(self) -> None:
        number = 2
        while True:
            await asyncio.sleep(PING_SECONDS)
            try:
                await self.send(self.writer.ping(number))
            except OSError:
                return
            number += 2
