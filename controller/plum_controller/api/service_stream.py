"""`GET /v1/discovery/stream?service=NAME`: the endpoints of a service as server-sent events, now and after every change.

    watch cache --changed--> the whole list, encoded --differs from the last one--> event: endpoints / data: [...]

Every event is the complete list, so a reader that is slow or comes back needs no memory: what it reads last is the truth.
"""

from __future__ import annotations

import asyncio

import msgspec
from plum_client.resolver_strategies import usable
from plum_schemas.selectors import FieldRequirement, FieldSelector

from plum_controller.api.api import Api
from plum_controller.api.classic.services import dto_of, question
from plum_controller.api.requests import ApiRequest
from plum_controller.api.service_directory import ENDPOINTS
from plum_controller.api.streams import Receive, Send, wait_for_disconnect

PATH = ["v1", "discovery", "stream"]
KEEP_ALIVE_SECONDS = 15.0
LOOK_SECONDS = 1.0
"""How often a quiet stream looks whether the server stops or the token it was opened with was revoked."""


async def send_endpoints(api: Api, request: ApiRequest, receive: Receive, send: Send) -> None:
    """Stream until the reader leaves. Raises `ApiStatusError` before the first byte."""
    namespace, service, wanted = question(request)
    changed = asyncio.Event()
    fields = FieldSelector([FieldRequirement("spec.service", "=", service)])
    watcher = api.service.cache.watch(ENDPOINTS, namespace, None, fields, None, lambda events: changed.set())
    gone = asyncio.ensure_future(wait_for_disconnect(receive))
    gone.add_done_callback(lambda _: changed.set())
    head = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    last, quiet = b"", 0.0
    try:
        await send({"type": "http.response.start", "status": 200, "headers": head})
        while not gone.done() and api.ready and api.authenticator.is_valid(request.identity.credential):
            changed.clear()
            takes = usable(api.directory.endpoints(namespace, service), wanted)
            # Only what a caller acts on: a check that went well again is no news.
            listed = msgspec.json.encode([msgspec.structs.replace(dto_of(endpoint), last_seen=0) for endpoint in takes])
            if listed != last:
                last, quiet = listed, 0.0
                await _send(send, b"event: endpoints\ndata: " + listed + b"\n\n")
            elif quiet >= KEEP_ALIVE_SECONDS:
                quiet = 0.0
                await _send(send, b": still here\n\n")
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await changed.wait()
            except TimeoutError:
                quiet += LOOK_SECONDS
        if not gone.done():
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        gone.cancel()
        watcher.close()


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
