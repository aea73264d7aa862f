"""Answers that go on: watches over HTTP and WebSocket, logs, backups. Each ends when its source does or its reader leaves.

WatchStream, TunnelStream, file  -->  ASGI messages, or for a watch under uvicorn the connection itself
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from plum_controller.api import instance_log
from plum_controller.api.api import Api
from plum_controller.api.requests import TEXT, ApiRequest
from plum_controller.api.routes import Target
from plum_controller.api.sockets import Connection, QueueSink
from plum_controller.api.tunnel import TunnelStream
from plum_controller.api.watch import WatchPlan, error_line
from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

AWAY_SECONDS = 1.0
"""Until the agent of a followed Instance is asked again when it was not connected: nothing else tells that it is back."""
BINARY = "binary.k8s.io"
"""What Kubernetes calls plain bytes in messages. Those who name nothing get the same."""
BACKUP_PIECE = 1024 * 1024
"""Bytes of a backup read at once."""


async def send_watch(api: Api, plan: WatchPlan, receive: Receive, send: Send, connection: Connection | None) -> None:
    head: list[tuple[bytes, bytes]] = [(b"content-type", plan.content_type), (b"cache-control", b"no-cache, private")]
    try:
        stream = api.hub.open(plan)
    except ApiStatusError as error:
        if error.code != 410 or not plan.tells_expiry_inside:
            raise
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": error_line(error), "more_body": False})
        return
    if connection is not None:
        connection.start_chunked(200, head)
        stream.attach(connection)
        try:
            await connection.serve(stream)
        finally:
            stream.close()
        return
    await send({"type": "http.response.start", "status": 200, "headers": head})
    sink = QueueSink()
    stream.attach(sink)
    gone = asyncio.ensure_future(wait_for_disconnect(receive))
    gone.add_done_callback(lambda _: stream.close())
    try:
        async for line in sink.lines(stream):
            await send({"type": "http.response.body", "body": line + b"\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        gone.cancel()
        stream.close()


async def send_log(api: Api, request: ApiRequest, target: Target, receive: Receive, send: Send) -> None:
    log = instance_log.InstanceLog(api.service, api.tunnels, request, target)
    gone = asyncio.ensure_future(wait_for_disconnect(receive))
    head = [(b"content-type", TEXT), (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    try:
        async with AsyncExitStack() as stack:
            stream = await log.open(stack)
            await send({"type": "http.response.start", "status": 200, "headers": head})
            if stream is None:
                stream = await _begun(log, stack, gone)
            if stream is not None:
                gone.add_done_callback(lambda _: stream.finish(200, ""))
                await _send_chunks(stream, log.limit_bytes, send)
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        gone.cancel()
        log.close()


async def _begun(log: instance_log.InstanceLog, stack: AsyncExitStack, gone: asyncio.Future[None]) -> TunnelStream | None:
    """Wait until the run of a followed Instance has begun. None: the Instance or its reader has gone first."""
    seconds: float | None = None
    while not gone.done():
        changed = asyncio.ensure_future(log.changed.wait())
        await asyncio.wait((changed, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
        seconds = None
        try:
            stream = await log.open(stack)
        except ApiStatusError as error:
            if error.code != 503:
                logger.debug("log has ended before it began", extra=fields(error=error.message))
                return None
            seconds, stream = AWAY_SECONDS, None
        if stream is not None:
            return stream
    return None


async def _send_chunks(stream: TunnelStream, limit_bytes: int | None, send: Send) -> None:
    left = limit_bytes
    async for data in stream.chunks():
        if left is not None:
            data, left = data[:left], left - len(data)
        await send({"type": "http.response.body", "body": data, "more_body": True})
        if left is not None and left <= 0:
            return


async def send_backup(api: Api, send: Send) -> None:
    """A consistent copy of the store, streamed from a temporary file beside nobody else's."""
    with tempfile.TemporaryDirectory(prefix="plum-backup-") as folder:
        path = Path(folder) / "plum.db"
        revision = await api.store.backup(str(path))
        size = path.stat().st_size
        head = [
            (b"content-type", b"application/octet-stream"),
            (b"content-length", b"%d" % size),
            (b"x-plum-revision", b"%d" % revision),
            (b"content-disposition", b'attachment; filename="plum.db"'),
        ]
        with await asyncio.to_thread(path.open, "rb") as file:
            await send({"type": "http.response.start", "status": 200, "headers": head})
            while data := await asyncio.to_thread(file.read, BACKUP_PIECE):
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def send_watch_messages(api: Api, plan: WatchPlan, scope: Scope, receive: Receive, send: Send) -> None:
    """A watch as one text message per event, for browsers. Raises `ApiStatusError`."""
    offered = scope.get("subprotocols") or [None]
    try:
        stream = api.hub.open(plan)
    except ApiStatusError as error:
        if error.code != 410 or not plan.tells_expiry_inside:
            raise
        # A browser does not show its page why a WebSocket was refused, and this one it can help itself with.
        await send({"type": "websocket.accept", "subprotocol": offered[0]})
        await send({"type": "websocket.send", "text": error_line(error)[:-1].decode()})
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "websocket.accept", "subprotocol": offered[0]})
    sink = QueueSink()
    stream.attach(sink)
    gone = asyncio.ensure_future(wait_for_disconnect(receive))
    gone.add_done_callback(lambda _: stream.close())
    try:
        async for line in sink.lines(stream):
            await send({"type": "websocket.send", "text": line.decode()})
        if not gone.done():
            await send({"type": "websocket.close", "code": 1000})
    finally:
        gone.cancel()
        stream.close()


async def send_log_messages(api: Api, request: ApiRequest, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
    """The same as `send_log` in binary messages: followers in a browser do not use up the few connections that it opens to one
    host, and WebSockets are counted apart. Raises `ApiStatusError`."""

    async def message(part: MutableMapping[str, Any]) -> None:
        if part["type"] == "http.response.start":
            known = BINARY in (scope.get("subprotocols") or ())
            await send({"type": "websocket.accept", "subprotocol": BINARY if known else None})
            return
        if part["body"]:
            await send({"type": "websocket.send", "bytes": part["body"]})
        if not part["more_body"]:
            await send({"type": "websocket.close", "code": 1000})

    await send_log(api, request, target, receive, message)


async def wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass
