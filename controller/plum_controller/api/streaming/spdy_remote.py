"""Commands and forwarded ports over SPDY streams.

    exec      streams error, stdin, stdout, stderr, resize of one connection  <->  one TunnelStream "exec"
    forward   a pair of streams, data and error, for each connection          <->  one TunnelStream "forward" each

A stream says what it is in its headers: `streamtype`, and for ports `port` and `requestid`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any

from plum_schemas.base import ObjectKey

from plum_controller.api.streaming.spdy import SpdyError
from plum_controller.api.streaming.spdy_session import Carrier, SpdySession, SpdyStream
from plum_controller.api.streaming.targets import CLOSE, RESIZE, STDERR, STDIN, STDOUT, CommandQuery, port_of
from plum_controller.api.tunnel import Tunnel, TunnelStream
from plum_controller.resources.errors import ApiStatusError

EXEC_PROTOCOLS = ("v4.channel.k8s.io",)
"""Spoken over SPDY; the third and older ones tell no exit code, and no client of this decade stops there."""
PORT_PROTOCOLS = ("portforward.k8s.io",)
STREAMS_SECONDS = 30.0
"""How long a client may take to open its streams."""
GOODBYE_SECONDS = 5.0
"""How long a client may take to read the end and close the connection."""


class SpdyRemote:
    """The client of a command on a SPDY connection."""

    def __init__(self, carrier: Carrier, query: CommandQuery) -> None:
        self._session = SpdySession(carrier, self._on_stream)
        names = {"error"} | ({"stdin"} if query.stdin else set())
        names |= {"stdout"} if STDOUT in query.outputs else set()
        names |= {"stderr"} if STDERR in query.outputs else set()
        names |= {"resize"} if query.tty else set()
        self._missing = names
        self._streams: dict[str, SpdyStream] = {}
        self._complete = asyncio.Event()
        self._reading = asyncio.ensure_future(self._session.run())

    async def opened(self) -> bool:
        """Return when the client has opened its streams. False: it did not."""
        waiting = asyncio.ensure_future(self._complete.wait())
        try:
            await asyncio.wait({waiting, self._reading}, timeout=STREAMS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return self._complete.is_set()

    async def carry_input(self, command: TunnelStream) -> None:
        tasks = {asyncio.ensure_future(self._carry_stdin(command)), asyncio.ensure_future(self._carry_sizes(command))}
        try:
            await asyncio.wait({self._reading})
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def send(self, channel: int, data: bytes) -> None:
        await self._streams["stdout" if channel == STDOUT else "stderr"].write(data)

    async def finish(self, status: bytes) -> None:
        for name in ("stdout", "stderr"):
            if name in self._streams:
                await self._streams[name].close()
        await self._streams["error"].write(status)
        await self._streams["error"].close()
        await self._session.say_goodbye()
        await asyncio.wait({self._reading}, timeout=GOODBYE_SECONDS)

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    def _on_stream(self, stream: SpdyStream) -> None:
        name = stream.headers.get("streamtype", "")
        if name in self._missing:
            self._missing.discard(name)
            self._streams[name] = stream
            if not self._missing:
                self._complete.set()

    async def _carry_stdin(self, command: TunnelStream) -> None:
        stream = self._streams.get("stdin")
        if stream is None:
            return
        while data := await stream.read():
            await command.send(data, bytes((STDIN,)))
        await command.send(bytes((STDIN,)), bytes((CLOSE,)))

    async def _carry_sizes(self, command: TunnelStream) -> None:
        """Sizes come as one JSON object after the other, and a piece may end anywhere."""
        stream = self._streams.get("resize")
        rest = b""
        while stream is not None and (data := await stream.read()):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip():
                    await command.send(line, bytes((RESIZE,)))


class SpdyPorts:
    """Forwarded ports of one Instance on a SPDY connection."""

    def __init__(self, carrier: Carrier, tunnel: Tunnel, key: ObjectKey) -> None:
        self._session = SpdySession(carrier, self._on_stream)
        self._tunnel = tunnel
        self._key = key
        self._errors: dict[str, SpdyStream] = {}
        """Error streams whose data stream has not come yet, by request."""
        self._data: dict[str, SpdyStream] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self.carried: Counter[int] = Counter()
        """Connections by port."""

    async def run(self) -> None:
        """Carry until the client has gone."""
        try:
            with contextlib.suppress(SpdyError):
                await self._session.run()
        finally:
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _on_stream(self, stream: SpdyStream) -> None:
        request = stream.headers.get("requestid", "")
        if stream.headers.get("streamtype") == "error":
            self._errors[request] = stream
        else:
            self._data[request] = stream
        if request in self._errors and request in self._data:
            task = asyncio.ensure_future(self._carry(self._data.pop(request), self._errors.pop(request)))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _carry(self, data: SpdyStream, error: SpdyStream) -> None:
        with contextlib.suppress(OSError):
            try:
                port = port_of(data.headers.get("port", ""))
                self.carried[port] += 1
                params: dict[str, Any] = {"namespace": self._key.namespace, "instance": self._key.name, "port": port}
                async with self._tunnel.open("forward", params) as connection:
                    await self._carry_both(connection, data)
                    if connection.error is not None:
                        raise connection.error
            except ApiStatusError as refusal:
                await error.write(refusal.message.encode())
            await data.close()
            await error.close()

    async def _carry_both(self, connection: TunnelStream, data: SpdyStream) -> None:
        """Until the instance has sent everything: the client closes when it sees the end of its data stream."""
        inputs = asyncio.ensure_future(self._carry_input(connection, data))
        try:
            async for piece in connection.chunks():
                await data.write(piece)
        finally:
            inputs.cancel()
            await asyncio.gather(inputs, return_exceptions=True)

    @staticmethod
    async def _carry_input(connection: TunnelStream, data: SpdyStream) -> None:
        while piece := await data.read():
            await connection.send(piece)
        await connection.end_sending()
