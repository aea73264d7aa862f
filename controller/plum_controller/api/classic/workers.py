"""`/v1/workers` and `/v1/embedded-workers`: workers as programs of the system before know them. Over Worker objects.

    POST /v1/workers/register           -> Worker, protocol http: tasks are POSTed to its url     (204)
    POST /v1/embedded-workers/register  -> Worker, protocol classic: tasks come when it opens its stream (201)
    POST .../heartbeat                  -> the gateway, nothing is written
    GET  .../ , GET and DELETE .../ID   answers in PascalCase

An id that is no name of an object is kept as an annotation, and found by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.worker import Worker

from plum_controller.api.access import Gate, refusal
from plum_controller.api.classic.wire import MANAGER, namespace_of, page, read_body, text
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.domain.access import Attributes
from plum_controller.domain.worker_names import WORKER_ID, label_problem, worker_name
from plum_controller.resources.errors import ApiStatusError, bad_request
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Key

WORKERS = "workers.plum.dev"
HTTP, EMBEDDED = "workers", "embedded-workers"
TTL = "30s"
"""Without a heartbeat for so long an HTTP worker counts as lost."""
_decode = msgspec.json.Decoder(Worker).decode


class Presence(Protocol):
    """Who is there, as the gateway knows it."""

    def heard_of(self, key: ObjectKey) -> bool:
        """A sign of life from outside a connection. False: it is not known."""

    def last_heard(self, key: ObjectKey) -> float:
        """Unix seconds; 0 for one that is not known."""


class Registration(msgspec.Struct, rename="camel"):
    """Body of `register` and `heartbeat`."""

    worker_id: str = ""
    node_id: str = ""
    instance_id: str = ""
    app_name: str = ""
    app_version: str = ""
    url: str = ""
    tasks: list[str] | None = None
    labels: dict[str, str] | None = None
    capacity: int = 0


class WorkerDto(msgspec.Struct, rename={"worker_id": "WorkerID", "node_id": "NodeID", "url": "URL", "tasks": "Tasks",
                                        "labels": "Labels", "capacity": "Capacity", "last_seen": "LastSeen"}):  # fmt: skip
    """An HTTP worker as these routes write it."""

    worker_id: str
    node_id: str
    url: str
    tasks: list[str]
    labels: dict[str, str]
    capacity: int
    last_seen: int


class EmbeddedDto(msgspec.Struct, rename={"worker_id": "WorkerID", "node_id": "NodeID", "instance_id": "InstanceID",
                                          "app_name": "AppName", "app_version": "AppVersion", "tasks": "Tasks",
                                          "labels": "Labels", "last_seen": "LastSeen"}):  # fmt: skip
    """A worker with a stream, as these routes write it."""

    worker_id: str
    node_id: str
    instance_id: str
    app_name: str
    app_version: str
    tasks: list[str]
    labels: dict[str, str]
    last_seen: int


class ClassicWorkers:
    """Answers the routes named above."""

    def __init__(self, service: ResourceService, gate: Gate) -> None:
        self._service = service
        self._gate = gate
        self.presence: Presence | None = None
        """None: this process has no gateway."""

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None when the path is none of these. Refusals are texts."""
        path = list(request.path)
        if len(path) not in (2, 3) or path[0] != "v1" or path[1] not in (HTTP, EMBEDDED):
            return None
        rest = path[2] if len(path) == 3 else ""
        method = "GET" if request.method == "HEAD" else request.method
        try:
            match method, rest:
                case "POST", "register":
                    return await self._register(request, path[1])
                case "POST", "heartbeat":
                    return self._heartbeat(request, path[1])
                case "GET", "":
                    return page([self._dto(worker) for worker in self._list(request, path[1])], request)
                case "GET", worker_id:
                    return Answer(msgspec.json.encode(self._dto(self._find(request, path[1], worker_id))))
                case "DELETE", worker_id if worker_id:
                    return await self._delete(request, path[1], worker_id)
        except ApiStatusError as error:
            return text(error.code if error.code != 422 else 400, error.message)
        return text(405, "method not allowed")

    async def _register(self, request: ApiRequest, route: str) -> Answer:
        body: Registration = read_body(request, Registration)
        if not body.worker_id:
            raise bad_request("workerId required" if route == HTTP else "missing workerId")
        if route == EMBEDDED and not body.node_id:
            raise bad_request("missing nodeId")
        if route == HTTP and not body.url.startswith(("http://", "https://")):
            raise bad_request(f"url is {body.url!r}; an HTTP worker needs http://HOST:PORT/PATH, where tasks are sent to")
        if not 0 <= body.capacity <= 10_000:
            raise bad_request(f"capacity is {body.capacity}; use 1 to 10000")
        namespace = namespace_of(request)
        tasks = sorted({task for task in body.tasks or () if task})
        for task in tasks:
            wanted = Attributes("execute", "plum.dev", "taskdefinitions", "", namespace, task)
            if not self._gate.allows(request.identity, wanted):
                raise refusal(request.identity, wanted)
        name = worker_name(body.worker_id)
        metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": body.labels or {}}
        for label, value in (body.labels or {}).items():
            if problem := label_problem(label, value):
                raise bad_request(problem)
        if name != body.worker_id:
            metadata["annotations"] = {WORKER_ID: body.worker_id}
        spec: dict[str, Any] = {
            "tasks": tasks,
            "capacity": body.capacity or 1,
            "nodeName": body.node_id,
            "instanceName": body.instance_id,
            "appName": body.app_name,
            "appVersion": body.app_version,
            "protocol": "http" if route == HTTP else "classic",
        }
        spec |= {"url": body.url, "ttl": TTL} if route == HTTP else {}
        wanted_object = {"apiVersion": "plum.dev/v1", "kind": "Worker", "metadata": metadata, "spec": spec}
        kind = self._service.registry.require(WORKERS)
        options = WriteOptions(field_manager=MANAGER, user=request.user, force=True)
        key = ObjectKey(namespace, name)
        made = await self._service.patch(kind, key, "apply", wanted_object, options)
        if made.created and route == EMBEDDED:
            status = {"status": {"phase": "Lost", "conditions": [_not_connected()]}}
            options = WriteOptions(field_manager=MANAGER, user=request.user, subresource="status")
            await self._service.patch(kind, key, "merge", status, options)
        if self.presence is not None:
            self.presence.heard_of(key)
        return Answer(b"", status=204 if route == HTTP else 201)

    def _heartbeat(self, request: ApiRequest, route: str) -> Answer:
        body: Registration = read_body(request, Registration)
        if not body.worker_id:
            raise bad_request("workerId required" if route == HTTP else "missing workerId")
        worker = self._find(request, route, body.worker_id)
        if self.presence is not None:
            self.presence.heard_of(worker.key)
        return Answer(b"", status=204)

    async def _delete(self, request: ApiRequest, route: str, worker_id: str) -> Answer:
        worker = self._find(request, route, worker_id)
        kind = self._service.registry.require(WORKERS)
        await self._service.delete(kind, worker.key, DeleteOptions(uid=worker.metadata.uid, user=request.user))
        return Answer(b"", status=204)

    def _list(self, request: ApiRequest, route: str) -> list[Worker]:
        found = (_decode(entry.value) for entry in self._service.cache.list(WORKERS, namespace_of(request)))
        return [worker for worker in found if _is_of(worker, route)]

    def _find(self, request: ApiRequest, route: str, worker_id: str) -> Worker:
        """Raises `ApiStatusError` 404."""
        entry = self._service.cache.get(Key(WORKERS, namespace_of(request), worker_name(worker_id)))
        worker = _decode(entry.value) if entry is not None else None
        if worker is None or not _is_of(worker, route):
            raise ApiStatusError(404, "NotFound", f"no worker {worker_id!r} is registered; register again")
        return worker

    def _dto(self, worker: Worker) -> WorkerDto | EmbeddedDto:
        metadata, spec = worker.metadata, worker.spec
        times = (worker.status.last_seen, metadata.creation_timestamp)
        written = max((time.timestamp() for time in times if time is not None), default=0.0)
        heard = self.presence.last_heard(worker.key) if self.presence is not None else 0.0
        worker_id = metadata.annotations.get(WORKER_ID, metadata.name)
        last_seen = int(max(heard, written))
        if spec.protocol == "http":
            return WorkerDto(worker_id, spec.node_name, spec.url, spec.tasks, metadata.labels, spec.capacity, last_seen)
        return EmbeddedDto(
            worker_id, spec.node_name, spec.instance_name, spec.app_name, spec.app_version, spec.tasks, metadata.labels, last_seen
        )


def _is_of(worker: Worker, route: str) -> bool:
    return (worker.spec.protocol == "http") == (route == HTTP)


def _not_connected() -> Mapping[str, str]:
    message = "it is registered over HTTP, and gets tasks when it opens its stream"
    return {"type": "Ready", "status": "False", "reason": "NotConnected", "message": message}
