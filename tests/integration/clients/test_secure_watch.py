"""Watches over TLS: many at once, in order; and one that is not read is cut there, too."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.server import RunningServer, started_server

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {"PLUM_CONTROLLERS_ENABLED": "false", "PLUM_WATCH_BUFFER_BYTES": "200000"}
    with started_server(tmp_path_factory.mktemp("secure"), env=env, secure=True) as running:
        yield running


@pytest.fixture(scope="module")
def context(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The administrator's certificate, and trust in nothing but the server's CA."""
    known = json.loads(server.kubeconfig.read_text())
    user, cluster = known["users"][0]["user"], known["clusters"][0]["cluster"]
    folder = tmp_path_factory.mktemp("certificates")

    def file(name: str, data: str) -> Path:
        path = folder / name
        path.write_bytes(base64.b64decode(data))
        return path

    made = ssl.create_default_context(cafile=file("ca", cluster["certificate-authority-data"]))
    made.load_cert_chain(file("cert", user["client-certificate-data"]), file("key", user["client-key-data"]))
    return made


@contextlib.asynccontextmanager
async def watching(server: RunningServer, context: ssl.SSLContext, query: str) -> AsyncIterator[asyncio.StreamReader]:
    """The connection of a watch, after its head."""
    where = urlsplit(server.secure_url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
    writer.write(f"GET {CONFIGMAPS}?watch=1&{query} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    try:
        yield reader
    finally:
        transport: Any = writer.transport
        transport.abort()


async def next_event(reader: asyncio.StreamReader) -> Any:
    size = int(await reader.readline(), 16)
    data = await reader.readexactly(size + 2)
    return json.loads(data) if size else None


async def create(server: RunningServer, name: str, label: str, text: str = "") -> Any:
    body = {"metadata": {"name": name, "labels": {"watch": label}}, "data": {"text": text}}
    answer = await server.request("POST", CONFIGMAPS, body)
    assert answer.status == 201, answer.body
    return answer.json()


async def test_many_watches_over_tls_see_everything_in_order(server: RunningServer, context: ssl.SSLContext) -> None:
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(40):
        readers = [await stack.enter_async_context(watching(server, context, "labelSelector=watch%3Dmany")) for _ in range(40)]

        made = [await create(server, f"many-{number}", "many") for number in range(20)]

        for reader in readers:
            assert [(await next_event(reader))["object"] for _ in made] == made


async def test_a_watch_that_is_not_read_is_cut_over_tls(server: RunningServer, context: ssl.SSLContext) -> None:
    async with asyncio.timeout(40), watching(server, context, "labelSelector=watch%3Dslow") as reader:
        transport: Any = reader._transport  # type: ignore[attr-defined]
        transport.pause_reading()
        number = 0
        while b"plum_watches_cut_total 1" not in (await server.get("/metrics")).body:
            await create(server, f"slow-{number}", "slow", "x" * 300_000)
            number += 1
            assert number < 200, "it is never cut"
        transport.resume_reading()
        seen = []
        while (event := await next_event(reader)) is not None:
            seen.append(event)

    assert (seen[-1]["type"], seen[-1]["object"]["code"]) == ("ERROR", 429)
    assert [event["object"]["metadata"]["name"] for event in seen[:-1]] == [f"slow-{index}" for index in range(len(seen) - 1)]
