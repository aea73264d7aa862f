"""Our objects as the orchestrator surface shows them: snake_case, its words for states, ids that are names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from plum_schemas.orchestrator import DISPLAY_NAME, INPUT, to_definition, to_trigger

from plum_controller.api.orchestrator.rights import STEP_SEPARATOR

Json = dict[str, Any]

WORKFLOW_STATES = {"Draft": "draft", "Active": "active", "Paused": "paused"}
RUN_STATES = {
    "Queued": "pending", "Pending": "pending", "Running": "running", "Paused": "paused", "Succeeded": "completed",
    "Failed": "failed", "Timeout": "failed", "Canceled": "cancelled",
}  # fmt: skip
STEP_STATES = {
    "Pending": "pending", "Running": "running", "Waiting": "running", "Retrying": "running", "Succeeded": "completed",
    "Failed": "failed", "UpstreamFailed": "failed", "Timeout": "failed", "Skipped": "skipped", "Canceled": "cancelled",
}  # fmt: skip


def workflow_state(spec: Mapping[str, Any]) -> str:
    """The state of a workflow in the words of the surface."""
    return "completed" if spec.get("archived") else WORKFLOW_STATES.get(spec.get("state", "Active"), "active")


def run_state(status: Mapping[str, Any]) -> str:
    return RUN_STATES.get(status.get("phase") or "Queued", "pending")


def shown_name(metadata: Mapping[str, Any]) -> str:
    return str((metadata.get("annotations") or {}).get(DISPLAY_NAME) or metadata["name"])


def workflow(found: Mapping[str, Any]) -> Json:
    """A Workflow."""
    metadata, spec, status = found["metadata"], found.get("spec") or {}, found.get("status") or {}
    times = [entry["time"] for entry in metadata.get("managedFields") or () if entry.get("time") and not entry.get("subresource")]
    return {
        "id": metadata["name"],
        "name": shown_name(metadata),
        "description": spec.get("description", ""),
        "definition": to_definition(spec),
        "status": workflow_state(spec),
        "tags": spec.get("tags") or [],
        "owner_id": spec.get("owner", ""),
        "version": status.get("revision", 0),
        "created_at": metadata.get("creationTimestamp"),
        "updated_at": max(times, default=metadata.get("creationTimestamp")),
    }


def trigger(found: Mapping[str, Any]) -> Json:
    """A Trigger."""
    metadata, spec, status = found["metadata"], found.get("spec") or {}, found.get("status") or {}
    title = shown_name(metadata)
    times = status.get("nextTimes") or [None]
    return {
        "id": metadata["name"],
        "workflow_id": spec.get("workflowRef", ""),
        "name": title,
        **to_trigger(spec),
        "is_enabled": spec.get("enabled", True) is not False,
        "last_triggered_at": status.get("lastFiredAt"),
        "next_trigger_at": times[0],
        "created_at": metadata.get("creationTimestamp"),
    }


def execution(found: Mapping[str, Any]) -> Json:
    """A WorkflowRun."""
    metadata, spec, status = found["metadata"], found.get("spec") or {}, found.get("status") or {}
    params = spec.get("params") or {}
    state = run_state(status)
    return {
        "id": metadata["name"],
        "workflow_id": spec.get("workflowRef", ""),
        "status": state,
        "input": params[INPUT] if set(params) == {INPUT} else params,
        "output": status.get("outputs") or {},
        "error": status.get("message", "") if state in ("failed", "cancelled") else "",
        "priority": spec.get("priority") or 0,
        "triggered_by": spec.get("triggeredBy", ""),
        "created_at": metadata.get("creationTimestamp"),
        "started_at": status.get("startedAt"),
        "completed_at": status.get("finishedAt"),
        "duration_seconds": _seconds(status.get("startedAt"), status.get("finishedAt")),
    }


def step_execution(run: str, row: Mapping[str, Any], *, output: bool = True) -> Json:
    """One row of a run."""
    phase = row.get("phase", "Pending")
    shown: Json = {
        "id": f"{run}{STEP_SEPARATOR}{row.get('name') or row.get('key')}",
        "execution_id": run,
        "step_id": row.get("name") or row.get("key"),
        "type": row.get("type", ""),
        "status": STEP_STATES.get(phase, phase.lower()),
        "attempt": row.get("attempt", 0),
        "error": row.get("message", "") if STEP_STATES.get(phase) == "failed" else "",
        "started_at": row.get("startedAt"),
        "completed_at": row.get("finishedAt"),
        "duration_seconds": _seconds(row.get("startedAt"), row.get("finishedAt")),
    }
    return shown | ({"output": row.get("output")} if output else {})


def _seconds(begin: str | None, end: str | None) -> float | None:
    if not begin or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
