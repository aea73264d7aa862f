"""The same application under an ASGI server it does not know: nothing is written past `send`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from plum_controller.api.asgi import Asgi
from plum_controller.main import build
from plum_controller.settings import Settings

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


class Call:
    """One request, driven by hand."""

    def __init__(self, application: Asgi, method: str, path: str, body: bytes = b"") -> None:
        raw, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": raw, "raw_path": raw.encode(), "query_string": query.encode(),
            "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
        }  # fmt: skip
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self._incoming: asyncio.Queue[Any] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})
        self.task = asyncio.create_task(application(scope, self._incoming.get, self.sent.put))

    def leave(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def next(self) -> Any:
        return await asyncio.wait_for(self.sent.get(), 10)

    async def whole(self) -> tuple[int, Any]:
        start, body = await self.next(), await self.next()
        await asyncio.wait_for(self.task, 10)
        return start["status"], json.loads(body["body"])


@pytest.fixture
async def application() -> AsyncIterator[Asgi]:
    settings = Settings(store="memory:")
    async with build(settings) as api:
        yield Asgi(api, settings)
        api.close()


async def test_requests_and_refusals(application: Asgi) -> None:
    made = await Call(application, "POST", CONFIGMAPS, b'{"metadata":{"name":"a"}}').whole()
    read = await Call(application, "GET", f"{CONFIGMAPS}/a").whole()
    missing = await Call(application, "GET", f"{CONFIGMAPS}/b").whole()

    assert made[0] == 201
    assert read == (200, made[1])
    assert (missing[0], missing[1]["reason"]) == (404, "NotFound")


async def test_a_watch_goes_through_send_and_ends_with_its_reader(application: Asgi) -> None:
    watch = Call(application, "GET", f"{CONFIGMAPS}?watch=1")
    assert (await watch.next())["status"] == 200

    made = (await Call(application, "POST", CONFIGMAPS, b'{"metadata":{"name":"seen"}}').whole())[1]
    piece = await watch.next()

    assert json.loads(piece["body"]) == {"type": "ADDED", "object": made}
    assert piece["body"].endswith(b"\n") and piece["more_body"]
    watch.leave()
    await asyncio.wait_for(watch.task, 10)
    assert application.api.metrics.watches == 0
