"""What a run executes: the definition with what the run says instead, its payload checked, its expressions replaced.

    TaskRun, TaskDefinition --prepare--> Prepared(task, group) | Refused(reason, message)

Expressions (`${{ payload.x }}`, `${{ run.name }}`) are replaced in what goes to a node or a service. Those of http calls stay
until the call, because they may name Secrets, which no status may hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from plum_schemas.base import Struct
from plum_schemas.taskdefinition import BUILTIN_PREFIX, ProcessCall, TaskDefinition, TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun

from plum_flow.expressions import ExpressionError, UnresolvedError, compile_value
from plum_flow.task_payload import payload_problems

S = TypeVar("S", bound=Struct)
NAMES = frozenset({"payload", "run"})
"""What expressions of a task may refer to."""
PAYLOAD_PROCESS = ("command", "workingDir", "input", "env")
"""What a payload may say of a process whose task names no program, besides `args`."""
IDEMPOTENCY_ANNOTATION = "plum.dev/idempotency-key"
"""On a run: its key, where something that outlives the run chooses it (`<uid of the workflow run>/<node>/<iteration>`)."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that may be admitted once its group has a place."""

    task: TaskDefinitionSpec
    group: str
    """Runs of a namespace with the same share a limit; empty: no limit."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A run that can never be executed as it is."""

    reason: str
    message: str


def prepare(run: TaskRun, definition: TaskDefinition | None) -> Prepared | Refused:
    """`definition` is the one that `spec.taskRef` names; None for a builtin and for a run with a definition of its own."""
    task = effective(run, definition)
    if task.executor == "embedded" and not task.task:
        return Refused("TaskMissing", "spec.task.task: name the task that a worker registered, or a builtin")
    payload = {**task.default_payload, **run.spec.payload}
    if task.payload_schema:
        try:
            problems = payload_problems(task.payload_schema, payload)
        except ValueError as error:
            return Refused("InvalidPayloadSchema", f"payloadSchema of {run.spec.task_ref or 'the task'} cannot be used: {error}")
        if problems:
            told = "; ".join(f"spec.payload{problem.path}: {problem.message}" for problem in problems)
            return Refused("InvalidPayload", told)
    values = {"payload": payload, "run": run_values(run)}
    try:
        resolved = msgspec.structs.replace(
            task,
            process=_process(task.process, payload, values),
            container=_resolve(task.container, values, "container"),
            service=_resolve(task.service, values, "service"),
        )
        return Prepared(resolved, _group(run, task, values))
    except _UnusableError as error:
        return Refused("InvalidExpression", str(error))


def effective(run: TaskRun, definition: TaskDefinition | None) -> TaskDefinitionSpec:
    """The definition, with what the run says instead."""
    spec = run.spec
    if definition is not None:
        base = definition.spec
        if base.executor == "embedded" and not base.task:
            base = msgspec.structs.replace(base, task=definition.metadata.name)
    else:
        base = spec.task or TaskDefinitionSpec(task=spec.task_ref)
    changes: dict[str, Any] = {
        name: value
        for name in ("timeout", "retry", "priority", "execution", "concurrency")
        if (value := getattr(spec, name)) is not None
    }
    if spec.node_name:
        changes["node_name"] = spec.node_name
    if spec.node_selector:
        changes["node_selector"] = {**base.node_selector, **spec.node_selector}
    return msgspec.structs.replace(base, **changes)


def run_values(run: TaskRun) -> dict[str, Any]:
    """What `run` is in expressions."""
    metadata = run.metadata
    return {"name": metadata.name, "namespace": metadata.namespace, "id": metadata.uid, "labels": dict(metadata.labels)}


def idempotency_key(run: TaskRun) -> str:
    """The same for every attempt of a run."""
    return run.metadata.annotations.get(IDEMPOTENCY_ANNOTATION) or run.metadata.uid


def is_in_controller(task: TaskDefinitionSpec) -> bool:
    """Whether the controller itself executes it."""
    return task.executor in ("service", "http", "plugin") or is_builtin(task)


def is_builtin(task: TaskDefinitionSpec) -> bool:
    return task.executor == "embedded" and task.task.startswith(BUILTIN_PREFIX)


def is_on_node(task: TaskDefinitionSpec) -> bool:
    return task.executor in ("os_process", "container")


class _UnusableError(Exception):
    pass


def _process(call: ProcessCall | None, payload: dict[str, Any], values: dict[str, Any]) -> ProcessCall | None:
    """The same process without expressions; one that names no program is that of the payload."""
    if call is None or call.command:
        return _resolve(call, values, "process")
    given = {**msgspec.to_builtins(call), **{name: payload[name] for name in PAYLOAD_PROCESS if payload.get(name)}}
    command, arguments = given.get("command"), payload.get("args") or []
    if not command or not isinstance(arguments, list) or not all(isinstance(one, str | int | float) for one in arguments):
        text = "the task names no program: give {command: PROGRAM, args: [TEXT, ...], workingDir, input, env: {NAME: VALUE}}"
        raise _UnusableError(f"spec.payload.command is {command!r}, args {arguments!r:.100}; {text}")
    given["command"] = [*(command if isinstance(command, list) else [command]), *map(str, arguments)]
    if isinstance(given.get("env"), dict):
        given["env"] = [{"name": name, "value": str(value)} for name, value in given["env"].items()]
    try:
        return msgspec.convert(given, ProcessCall)
    except msgspec.ValidationError as error:
        raise _UnusableError(f"spec.payload does not describe a process: {error}") from error


def _resolve(call: S | None, values: dict[str, Any], part: str) -> S | None:
    """The same call without expressions."""
    if call is None:
        return None
    given = msgspec.to_builtins(call)
    resolved = _evaluate(given, values, part)
    if resolved is given:
        return call
    try:
        return msgspec.convert(resolved, type(call))
    except msgspec.ValidationError as error:
        raise _UnusableError(f"{part}: an expression gave a value that does not fit: {error}") from error


def _group(run: TaskRun, task: TaskDefinitionSpec, values: dict[str, Any]) -> str:
    if task.concurrency is None:
        return ""
    key = _evaluate(task.concurrency.key, values, "concurrency.key")
    text = key if isinstance(key, str) else msgspec.json.encode(key).decode()
    return f"{run.spec.task_ref or '-'}/{text}"


def _evaluate(value: Any, values: dict[str, Any], where: str) -> Any:
    try:
        return compile_value(value, NAMES).evaluate(values)
    except (ExpressionError, UnresolvedError) as error:
        raise _UnusableError(f"{where}: {error}") from error
