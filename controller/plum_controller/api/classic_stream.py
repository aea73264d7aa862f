"""`GET /v1/stream?nodeId=TOPIC` and `GET /v1/tasks/stream`: that something has changed, as programs of the system before hear it.

    watch cache --changed--> one slot --> event: update / data: assignments | tasks | kv

TOPIC is a node (its instances), `__tasks__`, `__kv__` or `__kv__:NAMESPACE`. An event says nothing but that it is time to look;
what happens while one is being sent is told by one more.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from plum_schemas.instance import Instance
from plum_schemas.kv import KV
from plum_schemas.selectors import FieldRequirement, FieldSelector
from plum_schemas.taskrun import TaskRun

from plum_controller.api.access import refusal
from plum_controller.api.api import Api
from plum_controller.api.requests import ApiRequest
from plum_controller.api.streams import Receive, Send, wait_for_disconnect
from plum_controller.domain.access import Attributes
from plum_controller.resources.errors import ApiStatusError, bad_request

PATHS = (["v1", "stream"], ["v1", "tasks", "stream"])
TASKS_TOPIC, KV_TOPIC = "__tasks__", "__kv__"
LOOK_SECONDS = 1.0
"""How often a quiet stream looks whether the server stops or the token it was opened with was revoked."""


class _Topic(NamedTuple):
    resource: str
    plural: str
    namespace: str
    fields: FieldSelector | None
    word: str
    """What `data` says."""


async def send_updates(api: Api, request: ApiRequest, receive: Receive, send: Send) -> None:
    """Stream until the reader leaves. Raises `ApiStatusError` before the first byte."""
    topic = _topic(request)
    wanted = Attributes("watch", "plum.dev", topic.plural, "", topic.namespace)
    if not api.gate.allows(request.identity, wanted):
        raise refusal(request.identity, wanted)
    changed = asyncio.Event()
    watcher = api.service.cache.watch(topic.resource, topic.namespace, None, topic.fields, None, lambda events: changed.set())
    gone = asyncio.ensure_future(wait_for_disconnect(receive))
    gone.add_done_callback(lambda _: changed.set())
    head = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    update = f"event: update\ndata: {topic.word}\n\n".encode()
    try:
        await send({"type": "http.response.start", "status": 200, "headers": head})
        changed.clear()
        await send({"type": "http.response.body", "body": b"event: ping\ndata: init\n\n", "more_body": True})
        while not gone.done() and api.ready and api.authenticator.is_valid(request.identity.credential):
            if changed.is_set():
                changed.clear()
                await send({"type": "http.response.body", "body": update, "more_body": True})
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await changed.wait()
            except TimeoutError:
                continue
        if not gone.done():
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        gone.cancel()
        watcher.close()


def _topic(request: ApiRequest) -> _Topic:
    """Raises `ApiStatusError` 400."""
    namespace = request.query.get("namespace") or "default"
    name = TASKS_TOPIC if list(request.path) == PATHS[1] else request.query.get("nodeId", "")
    if not name:
        raise bad_request("nodeId required")
    if name == TASKS_TOPIC:
        return _Topic(TaskRun.info.resource, TaskRun.info.plural, namespace, None, "tasks")
    topic, _, of_namespace = name.partition(":")
    if topic == KV_TOPIC:
        return _Topic(KV.info.resource, KV.info.plural, of_namespace, None, "kv")
    if name.startswith("__"):
        text = f"nodeId is {name!r}; use a node, {TASKS_TOPIC}, {KV_TOPIC} or {KV_TOPIC}:NAMESPACE"
        raise ApiStatusError(400, "BadRequest", text)
    fields = FieldSelector([FieldRequirement("spec.nodeName", "=", name)])
    return _Topic(Instance.info.resource, Instance.info.plural, "", fields, "assignments")
