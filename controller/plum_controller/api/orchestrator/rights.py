"""Which routes belong to the orchestrator surface, and what each of them wants. Nothing heavy is imported: every request asks."""

from __future__ import annotations

from collections.abc import Sequence

from plum_controller.domain.access import Attributes

ROUTES = frozenset({"workflows", "triggers", "executions", "step-executions", "scheduler"})
"""What may follow `/api/v1/`. None of them is a kind of Kubernetes' core group."""
STEP_SEPARATOR = "~"
"""Between run and node in the id of a step execution."""
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}


def is_orchestrator(path: Sequence[str]) -> bool:
    """Whether a path belongs here."""
    return (len(path) > 2 and path[0] == "api" and path[1] == "v1" and path[2] in ROUTES) or list(path) == ["health"]


def rights_of(method: str, path: Sequence[str], namespace: str) -> Attributes:
    """What a request wants of our kinds."""
    if path[0] == "health":
        return Attributes("get", path="/health")
    first, rest = path[2], path[3:]
    name = rest[0] if rest else ""
    action = rest[1] if len(rest) > 1 else ""
    resource = "workflows" if first == "workflows" else "triggers" if first == "triggers" else "workflowruns"
    verb = _VERBS.get(method, "get" if name else "list")
    if first == "scheduler":
        name, verb = "", "list"
    elif first == "step-executions":
        name = name.partition(STEP_SEPARATOR)[0]
    if action == "triggers":
        resource, name, verb = "triggers", "", "create" if method == "POST" else "list"
    elif action == "execute":
        resource, name, verb = "workflowruns", "", "create"
    elif method == "POST" and name:
        verb = "update"
    return Attributes(verb, "plum.dev", resource, "", namespace, name)
