"""Objects that are made to carry out nodes of a run: how they are named and marked, so that each belongs to one attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plum_schemas.base import ObjectMeta, OwnerReference
from plum_schemas.taskrun import SecretMark, TaskRun, TaskRunSpec
from plum_schemas.workflowrun import WorkflowRun

from plum_flow.running.actor import Actor
from plum_flow.running.names import ATTEMPT_ANNOTATION, DEPTH_LABEL, KEY_ANNOTATION, NODE_ANNOTATION, RUN_LABEL
from plum_flow.workflow.messages import Execute


def metadata_of(actor: Actor, effect: Execute) -> ObjectMeta:
    """Owned by the run, with a name that follows from run, node and attempt."""
    owner = OwnerReference(
        api_version=WorkflowRun.info.api_version, kind="WorkflowRun", name=actor.key.name, uid=actor.run.uid, controller=True
    )
    return ObjectMeta(
        name=effect.name,
        namespace=actor.key.namespace,
        labels={RUN_LABEL: label_of(actor.key.name)},
        annotations={
            NODE_ANNOTATION: effect.key,
            ATTEMPT_ANNOTATION: str(effect.attempt),
            KEY_ANNOTATION: f"{actor.run.uid}/{effect.key}",
        },
        owner_references=[owner],
    )


def task_run_of(actor: Actor, effect: Execute, payload: Mapping[str, Any], secrets: Sequence[SecretMark] = ()) -> TaskRun:
    """The TaskRun of an attempt of a node. `secrets` are the marks in its payload."""
    node = effect.node.node
    priority = node.priority if node.priority is not None else actor.spec.priority
    spec = TaskRunSpec(
        task_ref=node.task_ref,
        payload=dict(payload),
        secrets=list(secrets),
        timeout=node.timeout,
        retry=node.retry,
        priority=priority if priority is not None else actor.run.plan.spec.priority or None,
        execution=node.execution,
        concurrency=node.concurrency,
        node_name=node.node_name,
        node_selector=node.node_selector,
    )
    return TaskRun(metadata=metadata_of(actor, effect), spec=spec)


def place_of(made: TaskRun | WorkflowRun) -> tuple[str, int] | None:
    """The node and attempt that an object was made for."""
    annotations = made.metadata.annotations
    key, attempt = annotations.get(NODE_ANNOTATION), annotations.get(ATTEMPT_ANNOTATION, "")
    return (key, int(attempt)) if key and attempt.isdigit() else None


def label_of(name: str) -> str:
    """A name as the value of a label."""
    return name if len(name) <= 63 else name[:63].rstrip("-._")


def run_uid_of(made: TaskRun | WorkflowRun) -> list[str]:
    """For the index: uid of the run that an object was made for."""
    if NODE_ANNOTATION not in made.metadata.annotations:
        return []
    return [owner.uid for owner in made.metadata.owner_references if owner.kind == "WorkflowRun"]


def facts_of(run: WorkflowRun) -> dict[str, Any]:
    """What `run` stands for in expressions, besides its name and id."""
    scheduled = run.spec.scheduled_for
    return {
        "namespace": run.metadata.namespace,
        "workflow": run.spec.workflow_ref,
        "triggeredBy": run.spec.triggered_by,
        "scheduledFor": scheduled.isoformat() if scheduled is not None else "",
        "depth": int(run.metadata.labels.get(DEPTH_LABEL, "0") or 0),
    }
