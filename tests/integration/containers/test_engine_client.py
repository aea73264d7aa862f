"""The client of the engine against a real engine, and against servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from plum_agent.engine.client import EngineClient
from plum_agent.engine.errors import EngineError, EngineUnavailableError

from tests.support.docker_engine import IMAGE, Engine, shared_engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with shared_engine() as running:
        yield running


async def test_requests_share_connections_and_agree_on_a_version(engine: Engine) -> None:
    client = EngineClient(engine.socket)
    try:
        found = [await client.request("GET", f"/images/{IMAGE}/json") for _ in range(3)]
        await asyncio.gather(*(client.request("GET", "/info") for _ in range(20)))

        assert {one["Os"] for one in found} == {"linux"}
        assert len(client._idle) <= 4
        assert not client._busy
    finally:
        client.close()


async def test_a_refusal_carries_status_and_words_of_the_engine(engine: Engine) -> None:
    client = EngineClient(engine.socket)
    try:
        with pytest.raises(EngineError) as refused:
            await client.request("GET", "/containers/nobody/json")

        assert refused.value.status == 404
        assert "No such container: nobody" in str(refused.value)
    finally:
        client.close()


async def test_an_image_is_sent_piece_by_piece(engine: Engine, tmp_path: Path) -> None:
    client = EngineClient(engine.socket)
    saved = tmp_path / "image.tar"
    engine.docker("save", "-o", str(saved), IMAGE)
    try:
        async with client.upload("/images/load", {"quiet": "1"}, saved) as answer:
            text = b"".join([piece async for piece in answer])

        assert IMAGE.encode() in text
    finally:
        client.close()


async def test_a_cancelled_request_leaves_no_connection_that_answers_the_next_one(engine: Engine) -> None:
    client = EngineClient(engine.socket)
    try:
        await client.request("GET", "/version")
        asking = asyncio.create_task(client.request("GET", "/info"))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

        assert "ApiVersion" in await client.request("GET", "/version")
    finally:
        client.close()


async def test_an_engine_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    client = EngineClient(tmp_path / "nothing.sock")

    with pytest.raises(EngineUnavailableError, match="there is no such socket; install and start a container engine"):
        await client.request("GET", "/info")


async def test_an_engine_that_ends_in_the_middle_of_an_answer_is_unavailable(tmp_path: Path) -> None:
    async def end_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(end_early, tmp_path / "s")
    client = EngineClient(tmp_path / "s")
    try:
        with pytest.raises(EngineUnavailableError, match="in the middle of an answer"):
            await client.request("GET", "/version")
    finally:
        client.close()
        server.close()
        await server.wait_closed()
