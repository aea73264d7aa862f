"""Runs inside of a delegated run: begun, named and given their first rows by the node, as the controller would do it.

node of type subworkflow --begin--> Head(parent, uid that follows from parent and name), first row
the way there, when it can be reached: `Merge.runs` of the run around it; from then on a delegated run like any other
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from plum_flow.running.actor import Actor
from plum_flow.running.made import metadata_of
from plum_flow.running.names import CARRIED_ANNOTATION, DEPTH_LABEL, MAX_DEPTH
from plum_flow.secret_marks import Held
from plum_flow.workflow.graph import DefinitionPlan, compile_definition
from plum_flow.workflow.marked_params import misuse
from plum_flow.workflow.messages import Execute
from plum_flow.workflow.params import begin_with
from plum_flow.workflow.rows import RUN_KEY, RunRow, encode
from plum_schemas.durations import parse_duration
from plum_schemas.node_types import Delegate
from plum_schemas.workflowrun import WorkflowRun, WorkflowRunSpec, WorkflowRunStatus

from plum_agent.workflows.store import Ending, Head

PLANS_KEPT = 20
TOKEN = 1
"""Of runs inside: only the node that has the run around them ever has them."""


def uid_of(parent: str, name: str) -> str:
    """The same whenever it is worked out: a run inside is begun once."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{parent}/{name}"))


def begin(
    parent: Head, actor: Actor, effect: Execute, params: Mapping[str, Any], held: Held, node: str, now: datetime
) -> tuple[Head, dict[str, bytes]] | Ending:
    """The run of a node of type subworkflow, and its rows; or why there can be none."""
    name = effect.node.node.workflow_ref
    found = parent.bundle.workflows.get(name)
    if found is None:
        return Ending(
            phase="Failed", reason="WorkflowMissing", message=f"there was no Workflow {name} when the run was delegated"
        )
    depth = int(actor.run.facts.get("depth") or 0) + 1
    if depth > MAX_DEPTH:
        text = f"workflows are nested more than {MAX_DEPTH} deep: does {name} call itself?"
        return Ending(phase="Failed", reason="NestedTooDeep", message=text)
    spec = found.definition
    values, problem = begin_with(spec.params, params, held, "params")
    if problem:
        return Ending(phase="Failed", reason="InvalidParams", message=problem)
    if held.marks and (problem := misuse(compile_definition(spec), values, held.marks)):
        return Ending(phase="Failed", reason="SecretInCondition", message=problem)
    metadata = metadata_of(actor, effect)
    metadata.labels[DEPTH_LABEL] = str(depth)
    metadata.annotations[CARRIED_ANNOTATION] = node
    metadata = msgspec.structs.replace(
        metadata, uid=uid_of(parent.uid, effect.name), creation_timestamp=now.replace(microsecond=0)
    )
    run_spec = WorkflowRunSpec(
        workflow_ref=name, params=dict(params), secrets=list(held.marks), timeout=effect.node.node.timeout,
        priority=actor.spec.priority, triggered_by=f"run/{actor.key.name}", delegate=Delegate(node_name=node),
    )  # fmt: skip
    status = WorkflowRunStatus(
        phase="Running", node=node, fencing_token=TOKEN, definition_hash=found.definition_hash, revision=found.revision,
        started_at=now.replace(microsecond=0),
    )  # fmt: skip
    row = RunRow(hash=found.definition_hash, revision=found.revision, params=values, secrets=list(held.marks))
    timeout = run_spec.timeout or spec.timeout
    if timeout:
        row.deadline = now + timedelta(seconds=parse_duration(timeout))
    head = Head(
        run=WorkflowRun(metadata=metadata, spec=run_spec, status=status),
        bundle=bundle_inside(parent, name), token=TOKEN, parent=parent.uid,
    )  # fmt: skip
    return head, {RUN_KEY: encode(row)}


def bundle_inside(parent: Head, workflow: str) -> Any:
    """What a run of a workflow inside has: all that the run around it was given, and another definition."""
    found = parent.bundle.workflows[workflow]
    return msgspec.structs.replace(
        parent.bundle, definition=found.definition, definition_hash=found.definition_hash, params={}, rows={}
    )


def ending_of(row: RunRow) -> Ending:
    """How a run has ended, for the run around it."""
    return Ending(phase=row.phase, reason=row.reason, message=row.message, outputs=row.outputs)


class Plans:
    """Definitions made ready to run: each once, however many runs of it there are inside of a loop."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, DefinitionPlan] = OrderedDict()

    def of(self, head: Head) -> DefinitionPlan:
        digest = head.bundle.definition_hash
        found = self._known.get(digest)
        if found is None:
            found = self._known[digest] = compile_definition(head.bundle.definition, digest)
            if len(self._known) > PLANS_KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(digest)
        return found
