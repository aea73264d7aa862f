"""`GET .../instances/NAME/log` and `.../pods/NAME/log`: the output of an Instance, from its node, as it is produced.

follow  previous  tailLines  sinceSeconds  timestamps  stream  -->  the agent's tunnel  -->  text/plain, chunked
limitBytes, sinceTime, container                               -->  Kubernetes' further words for the same

Who follows an Instance whose run has not begun waits for it; who does not is told what it waits for.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.instance import Instance
from plum_schemas.taskrun import TERMINAL_PHASES

from plum_controller.api.requests import ApiRequest, flag, number
from plum_controller.api.routes import Target
from plum_controller.api.tunnel import TunnelHub, TunnelStream
from plum_controller.api.views.kind import ViewKind
from plum_controller.api.views.pods import CONTAINER
from plum_controller.resources.errors import ApiStatusError, bad_request
from plum_controller.resources.options import WatchOptions
from plum_controller.resources.service import ResourceService

STREAMS = ("all", "stdout", "stderr")
TASK_RUNS = "taskruns.plum.dev"


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _Status(msgspec.Struct):
    phase: str = ""
    node: str = ""
    reason: str = ""
    message: str = ""


class _Instance(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


def is_log(target: Target) -> bool:
    """Whether a target is the log of an Instance, of the Pod that shows it, or of a TaskRun."""
    return target.subresource == "log" and target.kind.resource in (Instance.info.resource, TASK_RUNS)


def log_params(target: Target, query: Mapping[str, str]) -> dict[str, Any]:
    """What the agent is asked. Raises `ApiStatusError` 400."""
    stream = (query.get("stream") or "all").lower()
    if stream not in STREAMS:
        raise bad_request(f"stream is {stream!r}; use one of {', '.join(STREAMS)}")
    container = query.get("container")
    if container and container != CONTAINER:
        raise bad_request(f"container {container} is not valid for pod {target.name}: its only one is {CONTAINER}")
    since = number(query, "sinceSeconds")
    return {
        "namespace": target.namespace,
        ("task" if target.kind.resource == TASK_RUNS else "instance"): target.name,
        "follow": flag(query, "follow"),
        "previous": flag(query, "previous"),
        "tailLines": number(query, "tailLines"),
        "sinceSeconds": _seconds_since(query["sinceTime"]) if since is None and query.get("sinceTime") else since,
        "timestamps": flag(query, "timestamps"),
        "stream": stream,
    }


def _seconds_since(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad_request(f"sinceTime is {text!r}; use a time such as 2026-01-31T12:00:00Z") from error
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(1, math.ceil((datetime.now(UTC) - moment).total_seconds()))


class InstanceLog:
    """One reader's way to the output of one Instance. Close it when the reader has gone."""

    def __init__(self, service: ResourceService, hub: TunnelHub, request: ApiRequest, target: Target) -> None:
        """Raises `ApiStatusError` 400 for what cannot be asked, 404 for an Instance that does not exist."""
        self.limit_bytes = number(request.query, "limitBytes")
        self.changed = asyncio.Event()
        """Something happened to the Instance since the last `open`."""
        self._service = service
        self._hub = hub
        self._target = target
        self._key = ObjectKey(target.namespace, target.name)
        self._params = log_params(target, request.query)
        self._stored = service.registry.require(target.kind.resource)
        service.get(target.kind, self._key)
        options = WatchOptions(target.namespace, fields=f"metadata.name={target.name}")
        self._watcher = service.watch(self._stored, options, lambda events: self.changed.set())

    def close(self) -> None:
        self._watcher.close()

    async def open(self, stack: AsyncExitStack) -> TunnelStream | None:
        """The stream, closed by `stack`. None for a follower: its run has not begun; try again when something changed.

        Raises `ApiStatusError`: 404, 409 without a node, 503 without its agent; for a Pod 400 in Kubernetes' words.
        """
        self.changed.clear()
        self._service.get(self._target.kind, self._key)
        instance = msgspec.json.decode(self._service.get(self._stored, self._key), type=_Instance)
        is_task = self._target.kind.resource == TASK_RUNS
        node, name = instance.status.node if is_task else instance.spec.node_name, self._target.name
        try:
            if not node:
                kind = "taskrun" if is_task else "instance"
                raise ApiStatusError(409, "Conflict", f'{kind} "{name}" has no output yet: it waits for a node')
            return await stack.enter_async_context(self._hub.get(node).open("log", self._params))
        except ApiStatusError as error:
            if error.code not in (404, 409):
                raise
            previous, ended = self._params["previous"], instance.status.phase in TERMINAL_PHASES
            if self._params["follow"] and not previous and not ended:
                return None
            if not isinstance(self._target.kind, ViewKind):
                raise
            raise bad_request(_missing(name, instance.status, previous)) from error


@asynccontextmanager
async def open_log(service: ResourceService, hub: TunnelHub, request: ApiRequest, target: Target) -> AsyncIterator[TunnelStream]:
    """The stream, for a caller that can be cancelled while a run has not begun. Raises `ApiStatusError`."""
    log = InstanceLog(service, hub, request, target)
    try:
        async with AsyncExitStack() as stack:
            while (stream := await log.open(stack)) is None:
                await log.changed.wait()
            yield stream
    finally:
        log.close()


def _missing(name: str, status: _Status, previous: bool) -> str:
    """Why a Pod has no output, as Kubernetes says it."""
    if previous:
        return f'previous terminated container "{CONTAINER}" in pod "{name}" not found'
    why = ": ".join(filter(None, (status.reason or status.phase or "Pending", status.message)))
    return f'container "{CONTAINER}" in pod "{name}" is waiting to start: {why}'
