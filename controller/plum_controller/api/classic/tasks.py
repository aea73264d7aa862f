"""`/v1/tasks` and `/v1/task-defs` as programs of the system before know them. Over TaskRuns and TaskDefinitions.

    GET, POST /v1/tasks      GET, DELETE /v1/tasks/ID     POST /v1/tasks/start|cancel|rerun/ID, /v1/tasks/ID?action=
    GET, POST /v1/task-defs  GET, DELETE /v1/task-defs/ID, DELETE /v1/task-defs?id=    POST /v1/task-defs/ID?action=run

A task that is not to start at once is a TaskRun with `spec.suspend`. Every TaskRun and TaskDefinition of the namespace is seen
here, whoever made it. Answers are in PascalCase, bodies in either. Refusals are one line of text.
"""

from __future__ import annotations

from typing import Any

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun
from plum_schemas.workflow import Workflow

from plum_controller.api.classic import task_shapes
from plum_controller.api.classic.found import find, identified, labels_of, metadata_of, name_of, pick
from plum_controller.api.classic.task_shapes import BUILTIN_IDS, BUILTIN_PREFIX, ORIGIN
from plum_controller.api.classic.wire import MANAGER, encode, id_of, namespace_of, page, read_body, text
from plum_controller.api.classic.writing import create, delete
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.resources.encode import Json
from plum_controller.resources.errors import ApiStatusError, bad_request
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Key

TASKS, DEFINITIONS, WORKFLOWS = TaskRun.info.resource, TaskDefinition.info.resource, Workflow.info.resource
ACTIONS = ("start", "cancel", "rerun")
_decode_run = msgspec.json.Decoder(TaskRun).decode
_decode_definition = msgspec.json.Decoder(TaskDefinition).decode


class ClassicTasks:
    """Answers the routes named above."""

    def __init__(self, service: ResourceService) -> None:
        self._service = service
        self._cache = service.cache

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None when the path is none of these. Refusals are texts."""
        path = list(request.path)
        if len(path) < 2 or path[0] != "v1" or path[1] not in ("tasks", "task-defs") or len(path) > 4:
            return None
        try:
            found = await (self._tasks(request, path[2:]) if path[1] == "tasks" else self._definitions(request, path[2:]))
        except ApiStatusError as error:
            return text(error.code if error.code != 422 else 400, error.message)
        return found if found is not None else text(405, "method not allowed")

    # ---- tasks

    async def _tasks(self, request: ApiRequest, rest: list[str]) -> Answer | None:
        match "GET" if request.method == "HEAD" else request.method, rest:
            case "GET", []:
                return page(self._list(namespace_of(request)), request)
            case "POST", []:
                return await self._create(request)
            case "GET", [wanted]:
                definitions = identified(iter(self._cache.list(DEFINITIONS, namespace_of(request), None, None)))
                return Answer(encode(task_shapes.task_dto(self._run(request, wanted), definitions)))
            case "DELETE", [wanted]:
                return await delete(self._service, request, TaskRun.info.resource, self._run(request, wanted).key)
            case "POST", [action, wanted] if action in ACTIONS:
                return await self._act(request, self._run(request, wanted), action)
            case "POST", [wanted]:
                action = request.query.get("action", "")
                if action not in ACTIONS:
                    raise bad_request(f"action is {action!r}; use {', '.join(ACTIONS)}")
                return await self._act(request, self._run(request, wanted), action)
        return None

    def _list(self, namespace: str) -> list[Json]:
        definitions = identified(iter(self._cache.list(DEFINITIONS, namespace, None, None)))
        found = [_decode_run(entry.value) for entry in self._cache.list(TASKS, namespace, None, None)]
        found.sort(key=lambda run: (run.metadata.creation_timestamp is None, run.metadata.creation_timestamp, run.metadata.name))
        return [task_shapes.task_dto(run, definitions) for run in found]

    def _run(self, request: ApiRequest, wanted: str) -> TaskRun:
        entry = find(self._cache, TASKS, namespace_of(request), wanted)
        if entry is None:
            raise ApiStatusError(404, "NotFound", "not found")
        return _decode_run(entry.value)

    async def _create(self, request: ApiRequest) -> Answer:
        body = read_body(request, dict[str, Any])
        name = str(pick(body, "name", default=""))
        if not name:
            raise bad_request("name required")
        spec: Json = {"payload": task_shapes.payload_in(body, "payload", "payloadJson"), **task_shapes.limits(body)}
        if name.startswith(BUILTIN_PREFIX):
            spec["taskRef"] = name
        elif not pick(body, "executor") and (known := self._named(namespace_of(request), name)) is not None:
            spec["taskRef"] = known.metadata.name
        else:
            spec["task"] = task_shapes.task_spec(name, body)
        if not pick(body, "autoStart", default=False):
            spec["suspend"] = True
        labels = task_shapes.labels_in(body)
        return await self._made(request, name, labels, spec, task_shapes.target_annotation(body))

    async def _made(
        self, request: ApiRequest, name: str, labels: dict[str, str], spec: Json, annotations: dict[str, str]
    ) -> Answer:
        metadata = metadata_of(name, namespace_of(request), labels, "task", unique=True)
        metadata["annotations"] |= annotations
        made = await create(self._service, request, TASKS, {"kind": "TaskRun", "metadata": metadata, "spec": spec})
        return Answer(encode({"taskId": id_of(made["metadata"]["uid"])}))

    async def _act(self, request: ApiRequest, run: TaskRun, action: str) -> Answer:
        if action == "rerun":
            spec = {**msgspec.to_builtins(run.spec), "suspend": False, "canceled": False}
            spec.pop("deadline", None)
            origin = run.metadata.annotations.get(ORIGIN) or id_of(run.metadata.uid)
            kept = {name: run.metadata.annotations[name] for name in (task_shapes.TARGET,) if name in run.metadata.annotations}
            return await self._made(request, task_shapes.task_name(run), labels_of(run.metadata), spec, {**kept, ORIGIN: origin})
        change = {"suspend": False} if action == "start" else {"canceled": True}
        if (action == "start" and run.spec.suspend) or (action == "cancel" and run.status.phase not in TERMINAL_PHASES):
            kind = self._service.registry.require(TASKS)
            patch = {"metadata": {"uid": run.metadata.uid}, "spec": change}
            await self._service.patch(kind, run.key, "merge", patch, WriteOptions(field_manager=MANAGER, user=request.user))
        return Answer(b"", status=204)

    # ---- definitions

    async def _definitions(self, request: ApiRequest, rest: list[str]) -> Answer | None:
        match "GET" if request.method == "HEAD" else request.method, rest:
            case "GET", []:
                return page(self._list_definitions(namespace_of(request)), request)
            case "POST", []:
                return await self._define(request)
            case "DELETE", []:
                wanted = request.query.get("id", "")
                if not wanted:
                    raise bad_request("id required")
                return await self._forget(request, wanted)
            case "DELETE", [wanted]:
                return await self._forget(request, wanted)
            case "GET", [wanted]:
                name = _builtin(wanted)
                if name:
                    return Answer(encode(task_shapes.builtin_dto(name)))
                return Answer(encode(task_shapes.definition_dto(self._definition(request, wanted))))
            case "POST", [wanted]:
                if request.query.get("action") != "run":
                    raise bad_request("action must be run")
                return await self._run_definition(request, wanted)
        return None

    def _list_definitions(self, namespace: str) -> list[Json]:
        found = (_decode_definition(entry.value) for entry in self._cache.list(DEFINITIONS, namespace, None, None))
        own = sorted((task_shapes.definition_dto(one) for one in found), key=lambda dto: (dto["CreatedAt"], dto["Name"]))
        return own + [task_shapes.builtin_dto(name) for name in BUILTIN_IDS.values()]

    def _definition(self, request: ApiRequest, wanted: str) -> TaskDefinition:
        entry = find(self._cache, DEFINITIONS, namespace_of(request), wanted)
        if entry is None:
            raise ApiStatusError(404, "NotFound", "not found")
        return _decode_definition(entry.value)

    def _named(self, namespace: str, name: str) -> TaskDefinition | None:
        """The definition of a name, which may be any text. None: there is none."""
        entry = self._cache.get(Key(DEFINITIONS, namespace, name))
        if entry is not None:
            return _decode_definition(entry.value)
        needle = msgspec.json.encode(name)
        for one in self._cache.list(DEFINITIONS, namespace, None, None):
            if needle in one.value:
                definition = _decode_definition(one.value)
                if name_of(definition.metadata) == name:
                    return definition
        return None

    async def _define(self, request: ApiRequest) -> Answer:
        body = read_body(request, dict[str, Any])
        name = str(pick(body, "name", default=""))
        if not name:
            raise bad_request("name required")
        if name.startswith(BUILTIN_PREFIX):
            raise bad_request("the prefix builtin. is reserved")
        namespace = namespace_of(request)
        if self._named(namespace, name) is not None:
            return text(409, "name exists")
        payload = task_shapes.payload_in(body, "defaultPayload", "defaultPayloadJson")
        spec = {**task_shapes.task_spec(name, body), **task_shapes.limits(body), "defaultPayload": payload}
        metadata = metadata_of(name, namespace, task_shapes.labels_in(body), "task")
        metadata["annotations"] |= task_shapes.target_annotation(body)
        if self._cache.get(Key(DEFINITIONS, namespace, metadata["name"])) is not None:  # another text with the same letters
            metadata = {**metadata_of(name, namespace, task_shapes.labels_in(body), "task", unique=True)}
            metadata["annotations"] |= task_shapes.target_annotation(body)
        made = await create(self._service, request, DEFINITIONS, {"kind": "TaskDefinition", "metadata": metadata, "spec": spec})
        return Answer(encode({"defId": id_of(made["metadata"]["uid"])}))

    async def _forget(self, request: ApiRequest, wanted: str) -> Answer:
        if _builtin(wanted):
            return text(403, "a builtin cannot be deleted")
        definition = self._definition(request, wanted)
        referenced = self._references(definition.key)
        if referenced:
            return Answer(encode({"referenced": referenced}), status=409)
        return await delete(self._service, request, DEFINITIONS, definition.key)

    def _references(self, key: ObjectKey) -> int:
        """Workflows with a node that names the definition, and runs of it that have not ended."""
        needle = b'"taskRef":' + msgspec.json.encode(key.name)
        workflows = sum(needle in entry.value for entry in self._cache.list(WORKFLOWS, key.namespace, None, None))
        runs = (_decode_run(entry.value) for entry in self._cache.list(TASKS, key.namespace, None, None) if needle in entry.value)
        return workflows + sum(run.spec.task_ref == key.name and run.status.phase not in TERMINAL_PHASES for run in runs)

    async def _run_definition(self, request: ApiRequest, wanted: str) -> Answer:
        body = read_body(request, dict[str, Any]) if request.body.strip() else {}
        name = _builtin(wanted)
        spec: Json = {"payload": task_shapes.payload_in(body, "payload", "payloadJson"), **task_shapes.limits(body)}
        if name:
            return await self._made(request, name, {}, {**spec, "taskRef": name}, {ORIGIN: task_shapes.builtin_id(name)})
        definition = self._definition(request, wanted)
        annotations = {ORIGIN: id_of(definition.metadata.uid)}
        if task_shapes.TARGET in definition.metadata.annotations:
            annotations[task_shapes.TARGET] = definition.metadata.annotations[task_shapes.TARGET]
        spec["taskRef"] = definition.metadata.name
        return await self._made(request, name_of(definition.metadata), labels_of(definition.metadata), spec, annotations)


def _builtin(wanted: str) -> str:
    return BUILTIN_IDS.get(wanted) or (wanted if wanted in BUILTIN_IDS.values() else "")
