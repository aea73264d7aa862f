"""Logs of Instances through the tunnel that an agent opens: data, credit, refusals, and agents that are away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from plum_client.errors import ApiError
from plum_client.http_transport import HttpTransport
from plum_client.websocket import WebSocket, WebSocketClosedError

from tests.support.server import RunningServer, running_server

INSTANCES = "/apis/plum.dev/v1/namespaces/default/instances"


async def create_instance(server: RunningServer, name: str, node: str) -> None:
    body = {"metadata": {"name": name}, "spec": {"nodeName": node, "template": {"command": ["x"]}}}
    answer = await server.request("POST", INSTANCES, body)
    assert answer.status == 201, answer.body


@asynccontextmanager
async def agent(server: RunningServer, node: str) -> AsyncIterator[WebSocket]:
    transport = HttpTransport(server.url)
    socket = await transport.open_websocket(f"/agent/v1/connect?node={node}")
    try:
        yield socket
    finally:
        await socket.close()
        await transport.close()


async def receive(socket: WebSocket) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await asyncio.wait_for(socket.receive(), 15))
    return message


async def send(socket: WebSocket, message: dict[str, Any] | bytes) -> None:
    if isinstance(message, bytes):
        socket.send_bytes(message)
    else:
        socket.send_text(json.dumps(message))
    await socket.drain()


async def test_a_log_flows_from_the_agent_to_the_reader(server: RunningServer) -> None:
    await create_instance(server, "talks", "node-a")

    async with agent(server, "node-a") as socket:
        asked = asyncio.create_task(server.get(f"{INSTANCES}/talks/log?tailLines=5&timestamps=true&stream=stdout"))
        opening = await receive(socket)
        stream = opening["stream"]
        await send(socket, {"stream": stream, "opened": True})
        await send(socket, struct.pack(">I", stream) + "grüß dich\n".encode())
        await send(socket, struct.pack(">I", stream) + b"bye\n")
        await send(socket, {"stream": stream, "close": True, "code": 200, "message": ""})
        answer = await asyncio.wait_for(asked, 15)

    assert opening == {
        "stream": stream, "open": "log",
        "params": {"namespace": "default", "instance": "talks", "follow": False, "previous": False, "tailLines": 5,
                   "sinceSeconds": None, "timestamps": True, "stream": "stdout"},
    }  # fmt: skip
    assert (answer.status, answer.body.decode()) == (200, "grüß dich\nbye\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_what_the_agent_refuses_is_the_answer(server: RunningServer) -> None:
    await create_instance(server, "unknown", "node-b")

    async with agent(server, "node-b") as socket:
        asked = asyncio.create_task(server.get(f"{INSTANCES}/unknown/log?previous=true"))
        stream = (await receive(socket))["stream"]
        await send(socket, {"stream": stream, "close": True, "code": 404, "message": "there was no previous run"})
        answer = await asyncio.wait_for(asked, 15)

    assert (answer.status, answer.json()["message"]) == (404, "there was no previous run")


async def test_an_absent_agent_is_503_and_says_since_when(server: RunningServer) -> None:
    await create_instance(server, "away", "node-c")
    path = f"{INSTANCES}/away/log"

    never = await server.get(path)
    async with agent(server, "node-c"):
        pass
    async with asyncio.timeout(10):
        while "it was last connected" not in (gone := await server.get(path)).json()["message"]:
            await asyncio.sleep(0.02)

    assert (never.status, never.json()["reason"]) == (503, "ServiceUnavailable")
    assert "node-c is not connected; it has not connected" in never.json()["message"]
    assert gone.status == 503


async def test_questions_that_make_no_sense_are_refused(server: RunningServer) -> None:
    await create_instance(server, "asked", "node-d")
    await server.request("POST", INSTANCES, {"metadata": {"name": "unbound"}, "spec": {"template": {"command": ["x"]}}})

    for path, status in (
        ("asked/log?tailLines=x", 400),
        ("asked/log?stream=stdin", 400),
        ("nobody/log", 404),
        ("unbound/log", 409),
    ):
        answer = await server.get(f"{INSTANCES}/{path}")
        assert (path, answer.status) == (path, status)


async def test_an_agent_gets_credit_as_its_output_is_read_and_no_more(server: RunningServer) -> None:
    await create_instance(server, "much", "node-e")
    piece = b"x" * 65536

    async with agent(server, "node-e") as socket:
        asked = asyncio.create_task(server.get(f"{INSTANCES}/much/log"))
        stream = (await receive(socket))["stream"]
        await send(socket, {"stream": stream, "opened": True})
        credit, sent = 262144, 0
        while sent < 2_000_000:
            while credit >= len(piece):
                await send(socket, struct.pack(">I", stream) + piece)
                credit -= len(piece)
                sent += len(piece)
            message = await receive(socket)
            assert message["stream"] == stream
            credit += message["credit"]
        await send(socket, {"stream": stream, "close": True, "code": 200})
        answer = await asyncio.wait_for(asked, 15)

    assert len(answer.body) == sent


async def test_an_agent_that_sends_without_credit_is_cut_off(server: RunningServer) -> None:
    await create_instance(server, "greedy", "node-f")
    _, writer = await asyncio.open_connection(server.host, server.port)

    async with agent(server, "node-f") as socket:
        writer.write(f"GET {INSTANCES}/greedy/log HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        stream = (await receive(socket))["stream"]
        await send(socket, {"stream": stream, "opened": True})
        with pytest.raises(ApiError):
            async with asyncio.timeout(15):
                await send(socket, struct.pack(">I", stream) + b"x" * 300_000)
                while True:
                    await socket.receive()
    writer.close()


async def test_a_reader_who_leaves_closes_the_stream_at_the_agent(server: RunningServer) -> None:
    await create_instance(server, "followed", "node-g")

    async with agent(server, "node-g") as socket:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(f"GET {INSTANCES}/followed/log?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        opening = await receive(socket)
        await send(socket, {"stream": opening["stream"], "opened": True})
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

        assert await receive(socket) == {"stream": opening["stream"], "close": True}

    assert opening["params"]["follow"] is True


async def test_a_browser_follows_over_a_websocket_and_leaving_closes_the_stream(server: RunningServer) -> None:
    await create_instance(server, "seen", "node-s")
    transport = HttpTransport(server.url)

    async with agent(server, "node-s") as socket:
        opening = asyncio.create_task(transport.open_websocket(f"{INSTANCES}/seen/log?follow=true"))
        stream = (await receive(socket))["stream"]
        await send(socket, {"stream": stream, "opened": True})
        reader = await asyncio.wait_for(opening, 15)
        await send(socket, struct.pack(">I", stream) + "grüß dich\n".encode())
        assert await asyncio.wait_for(reader.receive(), 15) == "grüß dich\n".encode()
        await reader.close()
        assert await receive(socket) == {"stream": stream, "close": True}

        again = asyncio.create_task(transport.open_websocket(f"{INSTANCES}/seen/log"))
        stream = (await receive(socket))["stream"]
        await send(socket, {"stream": stream, "opened": True})
        reader = await asyncio.wait_for(again, 15)
        await send(socket, {"stream": stream, "close": True, "code": 200, "message": ""})
        with pytest.raises(WebSocketClosedError) as ended:
            await asyncio.wait_for(reader.receive(), 15)
    assert ended.value.close_code == 1000
    with pytest.raises(ApiError):
        await transport.open_websocket(f"{INSTANCES}/nobody/log")
    await transport.close()


async def test_a_reconnected_agent_takes_the_place_of_its_old_connection(server: RunningServer) -> None:
    await create_instance(server, "twice", "node-h")

    async with agent(server, "node-h"), agent(server, "node-h") as newer:
        asked = asyncio.create_task(server.get(f"{INSTANCES}/twice/log"))
        stream = (await receive(newer))["stream"]
        await send(newer, {"stream": stream, "opened": True})
        await send(newer, {"stream": stream, "close": True, "code": 200})
        assert (await asyncio.wait_for(asked, 15)).status == 200


async def test_the_server_stops_at_once_with_agents_and_readers_connected(tmp_path: Path) -> None:
    async with running_server(tmp_path, env={"PLUM_CONTROLLERS_ENABLED": "false"}) as server:
        await create_instance(server, "stopping", "node-i")
        async with agent(server, "node-i") as socket:
            asked = asyncio.create_task(server.get(f"{INSTANCES}/stopping/log?follow=true"))
            await send(socket, {"stream": (await receive(socket))["stream"], "opened": True})
            started = time.monotonic()
            assert await server.stop() == 0
            seconds = time.monotonic() - started
        with contextlib.suppress(AssertionError):
            await asked

    assert seconds < 5


async def test_an_agent_without_a_name_is_refused(server: RunningServer) -> None:
    transport = HttpTransport(server.url)

    with pytest.raises(ApiError):
        await transport.open_websocket("/agent/v1/connect")
    await transport.close()
