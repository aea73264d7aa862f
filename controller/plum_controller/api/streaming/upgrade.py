"""Carriers of SPDY: a connection taken over from uvicorn, and a WebSocket whose binary messages hold the same bytes.

    POST .../exec, Upgrade: SPDY/3.1  -> take_over: 101, then the socket is ours -> SocketCarrier
    WebSocket, SPDY/3.1+portforward.k8s.io                                       -> MessageCarrier

Like `sockets.py` this touches the insides of uvicorn's request cycle, whose version is locked.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from typing import Any

from plum_controller.api.streaming.channels import receive_message
from plum_controller.api.streams import Receive, Send

READ_BYTES = 64 * 1024
KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


class SocketCarrier:
    """The connection itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: Any) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = protocol
        """uvicorn's, among whose connections it still counts: so it is closed when the server stops."""

    async def read(self) -> bytes:
        return await self._reader.read(READ_BYTES)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def aclose(self) -> None:
        self._protocol.connections.discard(self._protocol)
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._writer.wait_closed()


class MessageCarrier:
    """A WebSocket."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def read(self) -> bytes:
        while (data := await receive_message(self._receive)) is not None:
            if data:
                return data
        return b""

    async def write(self, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": data})


def take_over(cycle: Any, headers: Mapping[str, str]) -> SocketCarrier:
    """Answer 101 and take the connection out of uvicorn's hands. `cycle` is its request cycle."""
    transport = cycle.transport
    protocol = transport.get_protocol()
    cycle.response_started = cycle.response_complete = True
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reader = asyncio.StreamReader(READ_BYTES)
    ours = asyncio.StreamReaderProtocol(reader)
    transport.set_protocol(ours)
    ours.connection_made(transport)
    _notice_the_dead(transport)
    writer = asyncio.StreamWriter(transport, ours, reader, asyncio.get_running_loop())
    writer.write(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode("latin-1"))
    return SocketCarrier(reader, writer, protocol)


def _notice_the_dead(transport: asyncio.BaseTransport) -> None:
    sock: Any = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        number = getattr(socket, name, None)
        if number is not None:
            sock.setsockopt(socket.IPPROTO_TCP, number, value)
