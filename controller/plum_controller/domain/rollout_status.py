"""The status of a Deployment that belongs to a plan: counts, and conditions that say in words what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from plum_schemas.base import Condition
from plum_schemas.deployment import DEPLOYMENT_LABEL, Deployment, DeploymentStatus
from plum_schemas.revision import Revision

from plum_controller.domain.members import State
from plum_controller.domain.revisions import template_hash
from plum_controller.domain.rollout_plan import Plan


def status_of(deployment: Deployment, todo: Plan, number: int, revisions: Sequence[Revision], now: datetime) -> DeploymentStatus:
    """The status to write. `number` is that of the revision instances are made from. Equal to the old one when nothing moved."""
    before = deployment.status
    generation = deployment.metadata.generation
    alive = [m for m in todo.members if m.alive]
    available = sum(m.available for m in alive)
    rollout = todo.rollout
    newly_failed = rollout.failed_at is not None and before.rollout.failed_at is None
    can_go_back = before.last_available_revision not in ("", rollout.hash)
    goes_back = newly_failed and deployment.spec.strategy.on_failure == "Rollback" and can_go_back
    status = msgspec.structs.replace(
        before,
        observed_generation=generation,
        replicas=len(alive),
        ready_replicas=sum(m.ready for m in alive),
        available_replicas=available,
        updated_replicas=len(todo.updated),
        unavailable_replicas=max(0, todo.wanted - available),
        revision=number,
        revision_hash=todo.revision,
        selector=f"{DEPLOYMENT_LABEL}={deployment.metadata.name}",
        last_available_revision=rollout.hash if rollout.complete else before.last_available_revision,
        rolled_back_generation=generation if goes_back else before.rolled_back_generation,
        rollout=rollout,
    )
    rolled_back = goes_back or todo.rolled_back
    conditions = [_available(deployment, todo, available), _progressing(deployment, todo, status, revisions, rolled_back)]
    status.conditions = [_dated(before.conditions, condition, generation, now) for condition in conditions]
    status.conditions += [c for c in before.conditions if c.type not in ("Available", "Progressing")]
    return status


def _dated(before: Sequence[Condition], condition: Condition, generation: int, now: datetime) -> Condition:
    """Keep the time of the last transition while the status of the condition is the same."""
    old = next((c for c in before if c.type == condition.type), None)
    since = old.last_transition_time if old is not None and old.status == condition.status else now
    return msgspec.structs.replace(condition, last_transition_time=since, observed_generation=generation)


def _available(deployment: Deployment, todo: Plan, available: int) -> Condition:
    name = deployment.metadata.name
    if deployment.spec.state == "Stopped":
        return Condition(
            type="Available", status="False", reason="Stopped", message=f"{name} is stopped; set spec.state to Running"
        )
    counts = f"{available} of {todo.wanted} instances are available"
    if todo.missing_nodes:
        names = ", ".join(todo.missing_nodes)
        message = f"{counts}; spec.nodeReplicas names nodes that do not exist or are lost: {names}"
        return Condition(type="Available", status="False", reason="NodeMissing", message=message)
    if available >= todo.wanted:
        return Condition(type="Available", status="True", reason="AllAvailable", message=counts)
    if available >= todo.min_available:
        return Condition(
            type="Available", status="True", reason="MinimumAvailable", message=f"{counts}, {todo.min_available} are enough"
        )
    waiting = _first_trouble(todo)
    message = f"{counts}, {todo.min_available} are needed" + (f"; {waiting}" if waiting else "")
    return Condition(type="Available", status="False", reason="MinimumUnavailable", message=message)


def _progressing(
    deployment: Deployment, todo: Plan, status: DeploymentStatus, revisions: Sequence[Revision], rolled_back: bool
) -> Condition:
    """One condition of type Progressing, whose reason is what `get` shows as the state of the rollout."""
    rollout = todo.rollout
    numbers = {revision.spec.hash: revision.spec.number for revision in revisions}
    current = f"revision {numbers.get(rollout.hash, status.revision)}"
    deadline = deployment.spec.strategy.progress_deadline_seconds
    trouble = _first_trouble(todo)
    why = f": {trouble}" if trouble else ""
    if deployment.spec.paused:
        return Condition(
            type="Progressing", status="Unknown", reason="Paused", message="the rollout is paused; plum rollout resume"
        )
    if rollout.failed_at is not None:
        failed = f"{current} made no progress for {deadline} s{why}"
        if rolled_back:
            back = numbers.get(status.last_available_revision, 0)
            message = f"{failed}; went back to revision {back}. Change the template to try again"
            return Condition(type="Progressing", status="False", reason="RolledBack", message=message)
        if todo.halted:
            message = f"{failed}; the rollout stopped. Change the spec to try again, or plum rollout undo"
            return Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded", message=message)
        message = f"{failed}; spec.strategy.onFailure is Ignore, so it goes on"
        return Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded", message=message)
    if rollout.complete:
        return Condition(type="Progressing", status="True", reason="RolloutComplete", message=f"{current} runs everywhere")
    if rollout.canary_step_at is not None:
        step = (rollout.canary_step or 0) + 1
        message = f"{current} is at canary step {step} with {len(todo.updated)} instances; plum rollout resume goes on"
        return Condition(type="Progressing", status="True", reason="CanaryPaused", message=message)
    old = len(todo.old)
    message = f"{current}: {len(todo.updated)} of {todo.wanted} updated, {old} old left{why}"
    return Condition(type="Progressing", status="True", reason="RollingOut", message=message)


def _first_trouble(todo: Plan) -> str:
    """What the first instance that is not available says of itself."""
    for member in sorted(todo.members, key=lambda m: (m.revision != todo.revision, m.name)):
        status = member.instance.status
        if member.state is State.STOPPING or member.available:
            continue
        scheduled = next((c for c in status.conditions if c.type == "Scheduled" and c.status == "False"), None)
        words = (scheduled.message if scheduled is not None else "") or status.message or status.reason
        if words:
            return f"{member.name}: {words}"
    return ""


def spec_hash(deployment: Deployment) -> str:
    """Hash of the template that the spec asks for."""
    return template_hash(deployment.spec.template, deployment.status.collision_count)
