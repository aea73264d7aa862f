"""Tasks in the words of the system before, and back: executor, target and labels on one side, a definition on the other.

{executor, targetKind, targetRef, labels} --task_spec--> TaskDefinitionSpec (as JSON) --target_of--> the same again
TaskRun --task_dto--> {TaskID, Name, Executor, ...}

embedded     name is the task; targetKind node | app | service says which workers may do it
service      targetRef is the service; labels servicePath, serviceVersion, serviceProtocol
os_process   targetRef is the node; the payload is {command, args, workingDir, input, env}
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from plum_schemas.durations import parse_duration
from plum_schemas.taskdefinition import BUILTIN_PREFIX, BUILTINS, TaskDefinition, TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun

from plum_controller.api.classic.found import labels_of, name_of, pick, seconds
from plum_controller.api.classic.wire import id_of
from plum_controller.resources.encode import Json
from plum_controller.resources.errors import bad_request

ORIGIN = "plum.dev/classic-origin"
"""Annotation of a run: the task it repeats, or the definition it was made from."""
TARGET = "plum.dev/classic-target"
"""Annotation: `KIND REF` as they were given."""
EXECUTORS = ("embedded", "service", "os_process", "container", "http", "plugin")
APP_LABEL, NODE_LABEL = "plum.dev/app", "plum.dev/node"
DEFAULT_PATH = "/"
LONGEST_SECONDS = 10 * 365 * 86_400
_encode = msgspec.json.Encoder().encode


def task_spec(name: str, body: Json) -> Json:
    """The definition that a body means. Raises `ApiStatusError` 400."""
    executor = str(pick(body, "executor", default="") or "embedded")
    kind, ref = str(pick(body, "targetKind", default="")), str(pick(body, "targetRef", default=""))
    labels = labels_in(body)
    if executor == "embedded":
        spec: Json = {"executor": "embedded", "task": name}
        if ref and kind == "node":
            spec["nodeSelector"] = {NODE_LABEL: ref}
        elif ref and kind in ("app", "service", "deployment"):
            spec["nodeSelector"] = {APP_LABEL: ref}
        elif kind not in ("", "node", "app", "service", "deployment", "any"):
            raise bad_request(f"targetKind is {kind!r}; an embedded task takes node, app or nothing")
        return spec
    if executor == "service":
        if not ref:
            raise bad_request("targetRef is missing: executor service needs the name of a service")
        protocol = labels.get("serviceProtocol") or "http"
        if protocol not in ("http", "https", "grpc"):
            raise bad_request(f"label serviceProtocol is {protocol!r}; use http, https or grpc")
        path, version = labels.get("servicePath") or DEFAULT_PATH, labels.get("serviceVersion") or ""
        return {"executor": "service", "service": {"name": ref, "path": path, "version": version, "protocol": protocol}}
    if executor == "os_process":
        if kind not in ("", "node"):
            raise bad_request(f"targetKind is {kind!r}; an os_process runs on a node")
        return {"executor": "os_process", "process": {}} | ({"nodeName": ref} if ref else {})
    raise bad_request(f"executor is {executor!r}; use embedded, service or os_process")


def labels_in(body: Json) -> dict[str, str]:
    """Raises `ApiStatusError` 400."""
    given = pick(body, "labels", default={})
    if not isinstance(given, dict):
        raise bad_request(f"labels is {given!r:.80}; use an object of texts")
    return {str(name): str(value) for name, value in given.items()}


def limits(body: Json) -> Json:
    """`timeoutSec` and `maxRetries` as fields of a run or node. Raises `ApiStatusError` 400."""
    found: Json = {}
    timeout, retries = whole(body, "timeoutSec", LONGEST_SECONDS), whole(body, "maxRetries", 1000)
    if timeout:
        found["timeout"] = f"{timeout}s"
    if retries:
        found["retry"] = {"limit": retries}
    return found


def whole(body: Json, name: str, most: int) -> int:
    """Raises `ApiStatusError` 400."""
    value = pick(body, name, default=0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise bad_request(f"{name} is {value!r}; use 0 to {most}")
    return value


def payload_in(body: Json, *names: str) -> Json:
    """A payload given as an object, or as its JSON text. Raises `ApiStatusError` 400."""
    value = pick(body, *names, default={})
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value) if value.strip() else {}
        except msgspec.DecodeError as error:
            raise bad_request(f"{names[-1]} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise bad_request(f"{names[0]} is {value!r:.80}; use an object")
    return value


def target_of(spec: TaskDefinitionSpec | None, annotations: Mapping[str, str]) -> tuple[str, str]:
    """Kind and name of what a task is for."""
    given = annotations.get(TARGET)
    if given is not None:
        kind, _, ref = given.partition(" ")
        return kind, ref
    if spec is None:
        return "", ""
    if spec.service is not None:
        return "service", spec.service.name
    node = spec.node_name or spec.node_selector.get(NODE_LABEL, "")
    if node:
        return "node", node
    app = spec.node_selector.get(APP_LABEL, "")
    return ("app", app) if app else ("", "")


def target_annotation(body: Json) -> dict[str, str]:
    """What `target_of` gives back word for word."""
    kind, ref = str(pick(body, "targetKind", default="")), str(pick(body, "targetRef", default=""))
    return {TARGET: f"{kind} {ref}"} if kind or ref else {}


def task_dto(run: TaskRun, definitions: Mapping[str, str]) -> Json:
    """A TaskRun as `/v1/tasks` writes it. `definitions`: identifiers by name."""
    spec, status, metadata = run.spec, run.status, run.metadata
    task = status.task or spec.task
    kind, ref = target_of(task, metadata.annotations)
    timeout = spec.timeout or (task.timeout if task is not None else None)
    retry = spec.retry or (task.retry if task is not None else None)
    return {
        "TaskID": id_of(metadata.uid),
        "Name": task_name(run),
        "Executor": task.executor if task is not None else "embedded",
        "TargetKind": kind,
        "TargetRef": ref,
        "State": status.phase,
        "PayloadJSON": _encode(run.input).decode(),
        "ResultJSON": _encode(status.output).decode() if status.output is not None else "",
        "Error": status.error if status.phase not in ("Queued", "Pending", "Running", "Succeeded") else "",
        "TimeoutSec": int(parse_duration(timeout)) if timeout else 0,
        "MaxRetries": retry.limit if retry is not None else 0,
        "Attempt": status.attempt,
        "ScheduledOn": status.node or status.worker,
        "CreatedAt": seconds(metadata.creation_timestamp),
        "StartedAt": seconds(status.started_at),
        "FinishedAt": seconds(status.finished_at),
        "Labels": labels_of(metadata),
        "OriginTaskID": metadata.annotations.get(ORIGIN) or definitions.get(spec.task_ref, ""),
    }


def task_name(run: TaskRun) -> str:
    """What a run executes, in one word."""
    given = name_of(run.metadata)
    if given != run.metadata.name:
        return given
    inner = run.spec.task.task if run.spec.task is not None else ""
    return run.spec.task_ref or inner or run.metadata.name


def definition_dto(definition: TaskDefinition) -> Json:
    """A TaskDefinition as `/v1/task-defs` writes it."""
    spec, metadata = definition.spec, definition.metadata
    kind, ref = target_of(spec, metadata.annotations)
    return {
        "DefID": id_of(metadata.uid),
        "Name": name_of(metadata),
        "Executor": spec.executor,
        "TargetKind": kind,
        "TargetRef": ref,
        "Labels": labels_of(metadata),
        "DefaultPayloadJSON": _encode(spec.default_payload).decode(),
        "CreatedAt": seconds(metadata.creation_timestamp),
    }


def builtin_id(name: str) -> str:
    """The identifier of a builtin: always the same, and no uid's."""
    from hashlib import blake2b

    return blake2b(f"plum/{name}".encode(), digest_size=16).hexdigest()


def builtin_dto(name: str) -> Json:
    """A builtin as `/v1/task-defs` writes it."""
    return {
        "DefID": builtin_id(name), "Name": name, "Executor": "embedded", "TargetKind": "", "TargetRef": "", "Labels": {},
        "DefaultPayloadJSON": "{}", "CreatedAt": 0,
    }  # fmt: skip


BUILTIN_IDS = {builtin_id(name): name for name in BUILTINS}
"""Names by identifier."""
__all__ = ["BUILTIN_IDS", "BUILTIN_PREFIX", "EXECUTORS", "task_dto", "task_spec"]
