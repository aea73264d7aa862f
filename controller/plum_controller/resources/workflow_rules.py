"""Rules of workflows and their runs: expressions are checked with their place, controls are refused with 409 where they make
no sense, parameters fit the workflow.

    Workflow, WorkflowRun write -> domain.workflow.checks, params, controls -> 422 with the field, or 409 with the reason
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from plum_flow.running.names import CARRIED_ANNOTATION
from plum_flow.workflow.controls import COMMANDS, STATES, run_refusal
from plum_schemas.taskdefinition import BUILTIN_PREFIX, TaskDefinition
from plum_schemas.validation import FieldError, invalid
from plum_schemas.workflow import Workflow, WorkflowSpec, run_obstacle
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from plum_controller.resources.delegation_rules import run_errors, stored_errors
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import ApiStatusError, Cause
from plum_controller.resources.rules import KindRules
from plum_controller.store.base import Key

if TYPE_CHECKING:
    from plum_controller.resources.context import Context
    from plum_controller.resources.kinds import ResourceKind


class WorkflowRules(KindRules):
    """Asked with every write of a Workflow."""

    def check(self, context: Context, kind: ResourceKind, new: Json, live: Json | None) -> Iterable[Cause]:
        if live is not None and live.get("spec") == new.get("spec"):
            return ()
        spec = _spec_of(new.get("spec"))
        if spec is None or spec.state == "Draft":
            return ()
        metadata = new.get("metadata") or {}
        place = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
        return _causes([*_definition_errors(spec, "spec", place[0]), *stored_errors(context, *place, spec)])


class WorkflowRunRules(KindRules):
    """Asked with every write of a WorkflowRun."""

    def prepare_create(self, context: Context, kind: ResourceKind, new: Json) -> None:
        """Reservations are pinned with the run: an edit of its workflow changes nothing of what it holds."""
        spec, metadata = new.get("spec") or {}, new.get("metadata") or {}
        if spec.get("reservations"):
            return
        definition = spec.get("definition")
        if not definition and spec.get("workflowRef"):
            entry = context.cache.get(Key(Workflow.info.resource, metadata.get("namespace", ""), str(spec["workflowRef"])))
            definition = None if entry is None else decode(entry.value).get("spec")
        if definition and definition.get("reservations"):
            spec["reservations"] = definition["reservations"]

    def prepare_update(self, context: Context, kind: ResourceKind, live: Json, new: Json, subresource: str) -> None:
        if subresource == "status":
            _check_holder(live, new)
        if subresource:
            return
        before, after = live.get("spec") or {}, new.get("spec") or {}
        name, phase = str(live["metadata"].get("name")), (live.get("status") or {}).get("phase") or "Queued"
        if before.get("state", "Running") != after.get("state", "Running"):
            _refuse(name, STATES.get(str(after.get("state", "Running")), "resume"), phase)
        known, commands = before.get("commands") or [], after.get("commands") or []
        for command in commands[len(known) :]:
            if isinstance(command, dict):
                _refuse(name, COMMANDS.get(str(command.get("action")), "skip"), phase, in_place=True)
                command.setdefault("requestedAt", context.now())

    def check(self, context: Context, kind: ResourceKind, new: Json, live: Json | None) -> Iterable[Cause]:
        if live is not None or CARRIED_ANNOTATION in ((new.get("metadata") or {}).get("annotations") or {}):
            return ()  # what a node has begun was judged with the run that it began it for
        return _causes(_run_errors(context, new))


def _check_holder(live: Json, new: Json) -> None:
    """A run that a node carries out: an end is final, and a token that is over writes nothing any more."""
    before, after = live.get("status") or {}, new.get("status") or {}
    if not before.get("node"):
        return
    name = str(live["metadata"].get("name"))
    details = {"name": name, "group": WorkflowRun.info.group, "kind": WorkflowRun.info.plural}
    old, given = int(before.get("fencingToken") or 0), int(after.get("fencingToken") or 0)
    if given < old:
        text = f"workflowrun {name} was given up or taken again; its fencing token is {old}, not {given}"
        raise ApiStatusError(409, "Conflict", text, details)
    phase = before.get("phase")
    if phase in TERMINAL_RUN_PHASES and after.get("phase") != phase:
        raise ApiStatusError(409, "Conflict", f"workflowrun {name} has ended ({phase}), which is final", details)


def _run_errors(context: Context, new: Json) -> Iterator[FieldError]:
    spec, metadata = new.get("spec") or {}, new.get("metadata") or {}
    definition = _spec_of(spec.get("definition"))
    if definition is not None:
        yield from _definition_errors(definition, "spec.definition", str(metadata.get("namespace") or ""))
    elif spec.get("workflowRef") and not spec.get("startFrom"):
        key = Key(Workflow.info.resource, str(metadata.get("namespace") or ""), str(spec["workflowRef"]))
        entry = context.cache.get(key)
        definition = _spec_of(decode(entry.value).get("spec")) if entry is not None else None
        refused = run_obstacle(definition) if definition is not None else ""
        if refused:
            yield invalid("spec.workflowRef", spec["workflowRef"], f"this workflow {refused}")
            return
    if definition is not None and not spec.get("startFrom"):
        path = "spec.definition" if spec.get("definition") is not None else "spec.workflowRef"
        namespace = str(metadata.get("namespace") or "")
        yield from _missing(context, namespace, definition, path)
        yield from run_errors(context, namespace, definition, path, delegated=bool(spec.get("delegate")))
    given = spec.get("params")
    if definition is not None and isinstance(given, dict | None) and not spec.get("startFrom"):
        from plum_flow.workflow.params import resolve

        yield from resolve(definition.params, given or {}, "spec.params")[1]


def _missing(context: Context, namespace: str, spec: WorkflowSpec, path: str) -> Iterator[FieldError]:
    """Definitions that nodes name and that are not there. A Workflow may name them before they are made; a run may not."""
    pending = [*spec.nodes]
    for graph in (spec.on_failure, spec.finally_):
        pending += graph.nodes if graph is not None else []
    while pending:
        node = pending.pop(0)
        pending += node.body.nodes if node.body is not None else []
        name, info = node.task_ref, TaskDefinition.info
        if node.type == "subworkflow":
            name, info = node.workflow_ref, Workflow.info
        elif node.type != "task" or name.startswith(BUILTIN_PREFIX):
            continue
        if name and context.cache.get(Key(info.resource, namespace, name)) is None:
            text = f"node {node.name} names {info.kind} {name}, which does not exist in namespace {namespace}; create it first"
            yield invalid(path, name, text)


def _definition_errors(spec: WorkflowSpec, path: str, namespace: str) -> Iterator[FieldError]:
    # Expressions are not loaded before somebody writes a workflow.
    from plum_flow.workflow.checks import check_definition

    from plum_controller.domain.wait_reach import reach_errors

    yield from check_definition(spec, path)
    yield from reach_errors(spec, path, namespace)


def _refuse(name: str, control: str, phase: str, *, in_place: bool = False) -> None:
    refused = run_refusal(control, phase)
    if refused is None and in_place and phase in ("Failed", "Canceled", "Timeout", "Succeeded"):
        refused = f"{control} is not possible: the run has ended ({phase}); start a new one with spec.startFrom"
    if refused is not None:
        details = {"name": name, "group": WorkflowRun.info.group, "kind": WorkflowRun.info.plural}
        raise ApiStatusError(409, "Conflict", f"workflowrun {name}: {refused}", details)


def _spec_of(spec: Any) -> WorkflowSpec | None:
    """The typed definition; None for one that its schema refuses, which says so better."""
    try:
        return msgspec.convert(spec, WorkflowSpec) if spec is not None else None
    except msgspec.ValidationError:
        return None


def _causes(errors: Iterable[FieldError]) -> list[Cause]:
    return [Cause(error.reason, error.message, error.field) for error in errors]
