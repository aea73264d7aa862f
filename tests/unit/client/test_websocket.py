"""WebSockets against a real server (uvicorn): messages of all sizes, refusals, endings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from plum_client import websocket
from plum_client.errors import ApiUnavailableError, ForbiddenError
from plum_client.http_transport import HttpTransport
from plum_client.websocket import WebSocketClosedError

from tests.support.api import settle

App = Callable[
    [dict[str, Any], Callable[[], Awaitable[dict[str, Any]]], Callable[[dict[str, Any]], Awaitable[None]]], Awaitable[None]
]


@asynccontextmanager
async def served(app: App) -> AsyncGenerator[HttpTransport, None]:
    config = uvicorn.Config(app, port=0, ws="wsproto", lifespan="off", log_config=None, ws_ping_interval=0.05)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    transport = HttpTransport(f"http://127.0.0.1:{port}", "secret")
    try:
        yield transport
    finally:
        await transport.close()
        await settle(lambda: not server.server_state.connections)
        await server.shutdown()


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": f"{scope['path']}?{scope['query_string'].decode()}"})
    headers = dict(scope["headers"])
    await send({"type": "websocket.send", "text": headers[b"authorization"].decode()})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") == "bye":
            await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
            return
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


async def test_messages_go_and_come() -> None:
    async with served(echo) as transport:
        socket = await transport.open_websocket("/agent/v1/connect?node=a")
        assert await socket.receive() == "/agent/v1/connect?node=a"
        assert await socket.receive() == "Bearer secret"

        big = os.urandom(3_000_000)
        socket.send_text("hällo")
        socket.send_bytes(big)
        socket.send_bytes(b"")
        await socket.drain()
        assert await socket.receive() == "hällo"
        assert await socket.receive() == big
        assert await socket.receive() == b""
        await socket.close()
        assert not socket.is_open
        with pytest.raises(WebSocketClosedError):
            socket.send_text("late")


async def test_pings_are_answered() -> None:
    async with served(echo) as transport:
        socket = await transport.open_websocket("/")
        await asyncio.sleep(0.3)  # several pings; uvicorn closes a connection that leaves one unanswered
        socket.send_text("still here")
        assert [await socket.receive() for _ in range(3)][-1] == "still here"
        await socket.close()


async def test_the_end_comes_after_what_was_sent_before_it() -> None:
    async with served(echo) as transport:
        socket = await transport.open_websocket("/")
        socket.send_text("bye")
        assert len([await socket.receive() for _ in range(2)]) == 2
        with pytest.raises(WebSocketClosedError) as caught:
            await socket.receive()
        assert caught.value.close_code == 4001
        assert "enough" in caught.value.message
        await socket.close()


async def test_a_refusal_is_an_error_of_its_kind() -> None:
    async def refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close"})

    async with served(refuse) as transport:
        with pytest.raises(ForbiddenError):
            await transport.open_websocket("/")


async def test_a_connection_that_breaks_ends_the_wait() -> None:
    async def breaks(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise ConnectionAbortedError

    async with served(breaks) as transport:
        socket = await transport.open_websocket("/")
        with pytest.raises(WebSocketClosedError):
            await socket.receive()
        await socket.close()


async def test_a_silent_server_counts_as_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "QUIET_SECONDS", 0.02)

    async def silent(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async with served(silent) as transport:
        socket = await transport.open_websocket("/")
        with pytest.raises(WebSocketClosedError, match="nothing arrived"):
            await socket.receive()


async def test_nobody_listens() -> None:
    transport = HttpTransport("http://127.0.0.1:1")
    with pytest.raises(ApiUnavailableError):
        await transport.open_websocket("/")
