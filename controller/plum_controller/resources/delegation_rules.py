"""What a machine alone cannot carry out is refused with its place: when a workflow is stored, or else when a run is made.

Workflow that delegates others   -> those that are there, and what they name and start
Workflow that others delegate    -> itself, with the name of who delegates it
WorkflowRun                      -> everything, and everything has to be there
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from plum_schemas.taskdefinition import TaskDefinition, TaskDefinitionSpec
from plum_schemas.validation import FieldError, invalid
from plum_schemas.workflow import Workflow, WorkflowSpec

from plum_controller.resources.encode import decode
from plum_controller.store.base import Key

if TYPE_CHECKING:
    from plum_flow.delegable import Known

    from plum_controller.resources.context import Context
    from plum_controller.store.cache import WatchCache

DELEGATES = b'"delegate"'
"""In the bytes of every workflow that delegates another one."""


def stored_errors(context: Context, namespace: str, name: str, spec: WorkflowSpec) -> Iterator[FieldError]:
    """Of a workflow that is about to be stored. What it names may not be there yet."""
    return workflow_errors(context.cache, namespace, name, spec)


def workflow_errors(cache: WatchCache, namespace: str, name: str, spec: WorkflowSpec) -> Iterator[FieldError]:
    """Why a workflow of this name cannot delegate what it delegates, or cannot be delegated as others do."""
    from plum_flow.delegable import delegated_errors, obstacles

    known = _known(cache, namespace, {name: spec}, complete=False)
    yield from delegated_errors(spec, known)
    found = list(obstacles(spec, known))
    who = _delegated_by(cache, namespace, name) if found else ""
    if who:
        for error in found:
            yield error._replace(message=f"{error.message} (this workflow is delegated by {who})")


def run_errors(context: Context, namespace: str, spec: WorkflowSpec, path: str, *, delegated: bool) -> Iterator[FieldError]:
    """Of a run that is about to be made. `path`: where it says what it executes."""
    from plum_flow.delegable import delegated_errors, obstacles

    known = _known(context.cache, namespace, {}, complete=True)
    if path == "spec.definition":
        yield from delegated_errors(spec, known, path)
        yield from obstacles(spec, known, path) if delegated else ()
        return
    found = [*delegated_errors(spec, known), *(obstacles(spec, known) if delegated else ())]
    if found:
        yield invalid(path, "", "; ".join(f"{error.field}: {error.message}" for error in found))


def _known(cache: WatchCache, namespace: str, stored: dict[str, WorkflowSpec], *, complete: bool) -> Known:
    from plum_flow.delegable import Known

    def workflow(name: str) -> WorkflowSpec | None:
        if name not in stored:
            found = _spec(cache, Workflow, WorkflowSpec, namespace, name)
            if found is None:
                return None
            stored[name] = found
        return stored[name]

    return Known(lambda name: _spec(cache, TaskDefinition, TaskDefinitionSpec, namespace, name), workflow, complete)


def _spec(cache: WatchCache, kind: Any, cls: Any, namespace: str, name: str) -> Any:
    entry = cache.get(Key(kind.info.resource, namespace, name))
    return msgspec.convert(decode(entry.value).get("spec"), cls) if entry is not None else None


def _delegated_by(cache: WatchCache, namespace: str, name: str) -> str:
    """The workflow that delegates this one, or one that starts it; empty if none does."""
    from plum_flow.delegable import delegated_nodes, workflow_names

    seen, pending = {name}, [name]
    entries = list(cache.list(Workflow.info.resource, namespace))
    while pending:
        wanted = pending.pop()
        quoted = msgspec.json.encode(wanted)
        for entry in entries:
            if quoted not in entry.value:
                continue
            found = decode(entry.value)
            other, spec = str(found["metadata"]["name"]), msgspec.convert(found.get("spec") or {}, WorkflowSpec)
            if DELEGATES in entry.value and any(one.node.workflow_ref == wanted for one in delegated_nodes(spec)):
                return f"Workflow {other}"
            if other not in seen and wanted in workflow_names(spec):
                seen.add(other)
                pending.append(other)
    return ""
