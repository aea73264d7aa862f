"""Remote command and ports over the channels of a WebSocket: `v5.channel.k8s.io` and `v4.channel.k8s.io`.

    binary message = channel, data        exec: 0 stdin  1 stdout  2 stderr  3 status  4 size of the terminal
                                          ports: 2n data, 2n+1 error of port n; each begins with the port's number
    v5: 255, channel  = no more of it     (in v4 an input never ends before the connection does)

The client is asked every few seconds whether it is there, and need not answer: one that died while it was not read from
is noticed, one that only does not read for a while is not cut off.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

from plum_controller.api.streaming.targets import CLOSE, ERROR, RESIZE, STDIN
from plum_controller.api.streams import Receive, Send
from plum_controller.api.tunnel import Tunnel, TunnelStream
from plum_controller.resources.errors import ApiStatusError

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
PING_SECONDS = 5.0
GONE_SECONDS = 1.0
"""How often a client that is kept waiting is looked after."""


def choose(offered: Sequence[str], known: Sequence[str]) -> str | None:
    """The protocol to speak: the first of ours that the client offers."""
    return next((name for name in known if name in offered), None)


async def accept(receive: Receive, send: Send, protocol: str | None) -> None:
    """Agree to speak a protocol; None for a client that named none, as kr8s does for ports."""
    server: Any = getattr(receive, "__self__", None)
    if hasattr(server, "ping_timeout"):  # uvicorn's: would cut off whoever is kept waiting by a program that does not read
        server.ping_interval, server.ping_timeout = PING_SECONDS, None
    await send({"type": "websocket.accept", "subprotocol": protocol})


async def receive_message(receive: Receive) -> bytes | None:
    """The next message, None when the client has gone."""
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return None
        if message["type"] == "websocket.receive":
            data: bytes | None = message.get("bytes")
            return data if data is not None else str(message.get("text") or "").encode()


async def as_long_as_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do it until it is done or the client has gone. What waits for a program to read would not learn of that: the news
    stands in line behind what was not read yet."""
    server: Any = getattr(receive, "__self__", None)
    task = asyncio.ensure_future(work)
    try:
        while not task.done() and not getattr(server, "disconnected", False):
            await asyncio.wait({task}, timeout=GONE_SECONDS)
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class ChannelRemote:
    """The client of a command on a WebSocket."""

    def __init__(self, receive: Receive, send: Send, protocol: str, *, stdin: bool) -> None:
        self._receive = receive
        self._send = send
        self._closes = protocol == V5
        self._stdin = stdin

    async def carry_input(self, command: TunnelStream) -> None:
        await as_long_as_connected(self._receive, self._carry_input(command))

    async def _carry_input(self, command: TunnelStream) -> None:
        while (message := await receive_message(self._receive)) is not None:
            channel = message[0] if message else None
            ended = channel == CLOSE and self._closes and message[1:] == bytes((STDIN,))
            if (channel == STDIN and self._stdin) or channel == RESIZE or ended:
                await command.send(message[1:], message[:1])

    async def send(self, channel: int, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": bytes((channel,)) + data})

    async def finish(self, status: bytes) -> None:
        await self.send(ERROR, status)
        await self._send({"type": "websocket.close", "code": 1000})


class ChannelPorts:
    """Ports over one WebSocket, one connection to each."""

    def __init__(self, tunnel: Tunnel, params: Sequence[dict[str, Any]], receive: Receive, send: Send, protocol: str) -> None:
        """`params` of each port, as the agent is asked."""
        self._tunnel = tunnel
        self._params = params
        self._receive = receive
        self._send = send
        self._closes = protocol == V5
        self._connections: dict[int, asyncio.Future[TunnelStream | None]] = {}
        """By the channel of their data; None for those that could not be opened."""
        self.carried = Counter(int(one["port"]) for one in params)
        """Connections by port."""

    async def run(self) -> None:
        """Carry until the client has gone or all connections have ended."""
        loop = asyncio.get_running_loop()
        self._connections = {2 * number: loop.create_future() for number in range(len(self._params))}
        inputs: asyncio.Future[Any] = asyncio.ensure_future(as_long_as_connected(self._receive, self._carry_input()))
        ports: asyncio.Future[Any] = asyncio.gather(
            *(self._carry_port(2 * number, one) for number, one in enumerate(self._params))
        )
        try:
            await asyncio.wait({inputs, ports}, return_when=asyncio.FIRST_COMPLETED)
            if ports.done() and not inputs.done():
                await self._send({"type": "websocket.close", "code": 1000})
        finally:
            inputs.cancel()
            ports.cancel()
            await asyncio.gather(inputs, ports, return_exceptions=True)

    async def _carry_port(self, channel: int, params: dict[str, Any]) -> None:
        head = int(params["port"]).to_bytes(2, "little")
        await self._write(channel, head)
        await self._write(channel + 1, head)
        try:
            async with self._tunnel.open("forward", params) as connection:
                self._connections[channel].set_result(connection)
                async for piece in connection.chunks():
                    await self._write(channel, piece)
                if self._closes and not connection.closed:
                    await self._write(CLOSE, bytes((channel,)))
                    await connection.ended()
                if connection.error is not None:
                    raise connection.error
        except ApiStatusError as refusal:
            await self._write(channel + 1, refusal.message.encode())
        finally:
            if not self._connections[channel].done():
                self._connections[channel].set_result(None)

    async def _carry_input(self) -> None:
        while (message := await receive_message(self._receive)) is not None:
            ended = self._closes and message[:1] == bytes((CLOSE,)) and len(message) == 2
            waiting = self._connections.get(message[1] if ended else message[0]) if message else None
            connection = await waiting if waiting is not None else None
            if connection is None:
                continue
            if ended:
                await connection.end_sending()
            else:
                await connection.send(message[1:])

    async def _write(self, channel: int, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": bytes((channel,)) + data})
