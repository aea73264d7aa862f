"""Health of built-in kinds whose status says more than a condition."""

from __future__ import annotations

from collections.abc import Callable

from plum_controller.domain.health.verdict import HEALTHY, Health, Json, condition, number, reason_of, status_of

ENDED_WELL = frozenset({"Succeeded", "Completed", "Complete"})
ENDED_BADLY = frozenset({"Failed", "Timeout", "TimedOut", "Canceled", "Cancelled", "Expired", "Lost", "Rejected", "Error"})


def deployment(obj: Json) -> Health:
    """All wanted instances are available, with the newest template."""
    spec, status = obj.get("spec") or {}, status_of(obj)
    progressing = condition(obj, "Progressing")
    if progressing is not None and progressing.get("status") == "False" and progressing.get("reason") != "Paused":
        return Health("Degraded", reason_of(progressing))
    if spec.get("state") == "Stopped":
        left = number(status.get("readyReplicas"))
        return Health("Progressing", f"{left} instances still run") if left else HEALTHY
    per_node = spec.get("nodeReplicas")
    wanted = sum(number(value) for value in per_node.values()) if isinstance(per_node, dict) else number(spec.get("replicas"), 1)
    updated, available = number(status.get("updatedReplicas")), number(status.get("availableReplicas"))
    if condition(obj, "Paused") is not None and (condition(obj, "Paused") or {}).get("status") == "True":
        return Health("Progressing", "its rollout is paused")
    if updated < wanted:
        return Health("Progressing", f"{updated} of {wanted} instances have the new template")
    if available < wanted:
        return Health("Progressing", f"{available} of {wanted} instances are available")
    return HEALTHY


def run(obj: Json) -> Health:
    """Something that ends: a task, a workflow, an operation."""
    status = status_of(obj)
    phase = str(status.get("phase") or "Pending")
    if phase in ENDED_WELL:
        return HEALTHY
    said = str(status.get("message") or status.get("error") or "")
    if phase in ENDED_BADLY:
        return Health("Degraded", f"{phase}: {said}" if said else phase)
    return Health("Progressing", phase)


def instance(obj: Json) -> Health:
    """It runs and is ready, or is stopped as wanted."""
    status, spec = status_of(obj), obj.get("spec") or {}
    phase = str(status.get("phase") or "Pending")
    if spec.get("state") == "Stopped":
        return HEALTHY if phase == "Stopped" else Health("Progressing", phase)
    if phase == "Running" and status.get("ready"):
        return HEALTHY
    return Health("Degraded" if phase in ENDED_BADLY else "Progressing", str(status.get("message") or phase))


def node(obj: Json) -> Health:
    """Its agent reports."""
    ready = condition(obj, "Ready")
    if ready is None:
        return Health("Progressing", "no agent has reported yet")
    return HEALTHY if ready.get("status") == "True" else Health("Degraded", reason_of(ready))


def namespace(obj: Json) -> Health:
    """It is not on its way out."""
    return Health("Progressing", "is being deleted") if status_of(obj).get("phase") == "Terminating" else HEALTHY


def sync(obj: Json) -> Health:
    """It is synced, and what it applied is healthy."""
    status = status_of(obj)
    phase, message = str(status.get("phase") or "Pending"), str(status.get("message") or "")
    if phase in ("Failed", "Blocked"):
        return Health("Degraded", message or phase)
    if phase != "Synced":
        return Health("Progressing", message or phase)
    healthy = condition(obj, "Healthy")
    if healthy is not None and healthy.get("status") != "True":
        return Health("Progressing", reason_of(healthy))
    return HEALTHY


def trigger(obj: Json) -> Health:
    """It can fire, or is switched off."""
    if (obj.get("spec") or {}).get("enabled") is False:
        return HEALTHY
    ready = condition(obj, "Ready")
    return HEALTHY if ready is None or ready.get("status") == "True" else Health("Degraded", reason_of(ready))


BY_KIND: dict[tuple[str, str], Callable[[Json], Health]] = {
    ("plum.dev", "Deployment"): deployment,
    ("plum.dev", "Instance"): instance,
    ("plum.dev", "Node"): node,
    ("plum.dev", "TaskRun"): run,
    ("plum.dev", "WorkflowRun"): run,
    ("plum.dev", "Operation"): run,
    ("plum.dev", "Sync"): sync,
    ("plum.dev", "Trigger"): trigger,
    ("", "Namespace"): namespace,
}
"""Group and kind to what judges it. Other kinds are judged by convention."""
REPORTS = frozenset({("plum.dev", "Deployment")})
"""Kinds whose controller always writes `observedGeneration`: without one it has not seen the object yet."""
