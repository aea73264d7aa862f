"""The status of a WorkflowRun, from the run in memory: counts, what runs now, how it ended. Rows hold the rest."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

from plum_client.conditions import set_condition
from plum_schemas.base import Condition
from plum_schemas.workflowrun import NodeCounts, RunPhase, WorkflowRunStatus

from plum_flow.expressions import Redactor
from plum_flow.workflow import phases
from plum_flow.workflow.settle import shown_name
from plum_flow.workflow.state import Run

MAX_CURRENT = 20


def status_of(
    run: Run, before: WorkflowRunStatus, generation: int, now: datetime, redactor: Redactor | None = None
) -> WorkflowRunStatus:
    """What to write. Equal to `before` when nothing changed. `redactor` hides what stands for secrets in outputs."""
    row, counts = run.row, run.counts
    phase: RunPhase = row.phase if run.is_done else "Paused" if row.paused else "Running"  # type: ignore[assignment]
    found = WorkflowRunStatus(
        observed_generation=generation,
        phase=phase,
        definition_hash=row.hash,
        revision=row.revision,
        started_at=_second(row.started_at),
        finished_at=_second(row.finished_at),
        counts=NodeCounts(
            pending=max(0, counts[phases.PENDING]),
            running=counts[phases.RUNNING],
            waiting=counts[phases.WAITING],
            succeeded=counts[phases.SUCCEEDED],
            failed=counts[phases.FAILED],
            skipped=counts[phases.SKIPPED] + counts[phases.UPSTREAM_FAILED],
            canceled=counts[phases.CANCELED],
        ),
        current=[shown_name(run, scope, scope.graph.nodes[index]) for scope, index in islice(run.active.values(), MAX_CURRENT)],
        outputs=redactor(row.outputs) if redactor else row.outputs,
        observed_commands=row.commands,
        node=before.node,
        fencing_token=before.fencing_token,
        out_of_contact_since=before.out_of_contact_since,
    )
    if run.is_done:
        found.reason, found.message = row.reason, row.message
    elif row.stopping:
        found.reason, found.message = "Stopping", "what runs is being stopped"
    elif row.failed_node:
        found.reason, found.message = "NodeFailed", f"node {row.failed_node} failed; what does not depend on it goes on"
    found.conditions = conditions_of(before, found, now)
    return found


def conditions_of(before: WorkflowRunStatus, found: WorkflowRunStatus, now: datetime) -> list[Condition]:
    """Succeeded and Paused."""
    ended = {"Succeeded": "True", "Failed": "False", "Canceled": "False", "Timeout": "False"}
    status = ended.get(found.phase, "Unknown")
    reason = found.reason or found.phase
    succeeded = Condition(
        type="Succeeded", status=status, reason=reason, message=found.message, observed_generation=found.observed_generation
    )
    conditions = set_condition(before.conditions, succeeded, now)
    paused = found.phase == "Paused"
    if paused or any(condition.type == "Paused" for condition in conditions):
        text = "nothing new starts" if paused else ""
        condition = Condition(
            type="Paused", status="True" if paused else "False", reason="Asked" if paused else "Resumed", message=text
        )
        conditions = set_condition(conditions, condition, now)
    return conditions


def ended_early(
    before: WorkflowRunStatus, phase: RunPhase, reason: str, message: str, generation: int, now: datetime
) -> WorkflowRunStatus:
    """The status of a run that ends, or waits, without a node having started."""
    found = WorkflowRunStatus(
        observed_generation=generation, phase=phase, reason=reason, message=message, node=before.node,
        fencing_token=before.fencing_token,
    )  # fmt: skip
    if phase != "Queued":
        found.finished_at = _second(now)
    found.conditions = conditions_of(before, found, now)
    return found


def _second(moment: datetime | None) -> datetime | None:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000) if moment is not None else None
