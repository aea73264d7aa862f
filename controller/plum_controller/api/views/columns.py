"""The columns of views, cell by cell as Kubernetes prints them, from the object as the view shows it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from plum_controller.api.columns import AGE, NAME, Cell, TableColumn, column, human_age, parse_time
from plum_controller.api.views.pods import CONTAINER

Value = dict[str, Any]


def _statuses(pod: Value) -> list[Value]:
    found: list[Value] = (pod.get("status") or {}).get("containerStatuses") or []
    return found


def _pod_ready(pod: Value, now: datetime) -> str:
    containers = (pod.get("spec") or {}).get("containers") or ()
    return f"{sum(bool(one.get('ready')) for one in _statuses(pod))}/{len(containers)}"


def _pod_status(pod: Value, now: datetime) -> str:
    """The phase, or why the container does not run."""
    status = pod.get("status") or {}
    shown = status.get("reason") or status.get("phase") or "Unknown"
    for one in _statuses(pod):
        state = one.get("state") or {}
        shown = (state.get("waiting") or {}).get("reason") or (state.get("terminated") or {}).get("reason") or shown
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return "Unknown" if status.get("phase") == "Unknown" else "Terminating"
    return str(shown)


def _pod_restarts(pod: Value, now: datetime) -> str:
    """`3 (12s ago)`: how often, and when the last run ended."""
    count = sum(one.get("restartCount") or 0 for one in _statuses(pod))
    last = [((one.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for one in _statuses(pod)]
    ended = parse_time(next(filter(None, last), None))
    return f"{count} ({human_age(ended, now)} ago)" if count and ended is not None else str(count)


def _ready_of_wanted(deployment: Value, now: datetime) -> str:
    return f"{(deployment.get('status') or {}).get('readyReplicas') or 0}/{(deployment.get('spec') or {}).get('replicas') or 0}"


def _selector(deployment: Value, now: datetime) -> str:
    wanted = ((deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))


def _or_none(path: str) -> Cell:
    plain = column("", path).cell
    return lambda value, now: plain(value, now) or "<none>"


def _node_status(node: Value, now: datetime) -> str:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = next((one.get("status") for one in conditions if one.get("type") == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"]
    return ",".join([*words, "SchedulingDisabled"] if (node.get("spec") or {}).get("unschedulable") else words)


def _node_roles(node: Value, now: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = (node.get("metadata") or {}).get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or "<none>"


def _address(type_: str) -> Cell:
    def cell(node: Value, now: datetime) -> str:
        addresses = (node.get("status") or {}).get("addresses") or ()
        return next((str(one["address"]) for one in addresses if one.get("type") == type_), "<none>")

    return cell


def _made(name: str, description: str, cell: Cell, priority: int = 0) -> TableColumn:
    return TableColumn(name, "string", "", description, priority, cell)


def _count(name: str, path: str, description: str) -> TableColumn:
    plain = column(name, path, "integer").cell
    return TableColumn(name, "integer", "", description, 0, lambda value, now: plain(value, now) or 0)


_INFO = ".status.nodeInfo"
COLUMNS: Mapping[tuple[str, str], tuple[TableColumn, ...]] = {
    ("", "Pod"): (
        NAME,
        _made("Ready", "1/1 once the instance takes requests.", _pod_ready),
        _made("Status", "Where it is in its life, or why it does not run.", _pod_status),
        _made("Restarts", "Runs after the first, and how long ago the last one ended.", _pod_restarts),
        AGE,
        _made("IP", "Address of the instance.", _or_none(".status.podIP"), 1),
        _made("Node", "Node it runs on.", _or_none(".spec.nodeName"), 1),
        _made("Nominated Node", "Not used by Plum.", _or_none(".status.nominatedNodeName"), 1),
        _made("Readiness Gates", "Not used by Plum.", lambda value, now: "<none>", 1),
    ),
    ("apps", "Deployment"): (
        NAME,
        _made("Ready", "Ready instances of those that are wanted.", _ready_of_wanted),
        _count("Up-to-date", ".status.updatedReplicas", "Instances of the current template."),
        _count("Available", ".status.availableReplicas", "Instances ready for long enough."),
        AGE,
        _made("Containers", "Always main.", lambda value, now: CONTAINER, 1),
        _made("Images", "What runs.", _or_none(".spec.template.spec.containers[0].image"), 1),
        _made("Selector", "Labels of the instances.", _selector, 1),
    ),
    ("", "Node"): (
        NAME,
        _made("Status", "Whether its agent reports, and whether it takes instances.", _node_status),
        _made("Roles", "From labels node-role.kubernetes.io/ROLE.", _node_roles),
        AGE,
        column("Version", f"{_INFO}.kubeletVersion", description="Version of the agent."),
        _made("Internal-IP", "Address inside.", _address("InternalIP"), 1),
        _made("External-IP", "Address outside.", _address("ExternalIP"), 1),
        _made("OS-Image", "Operating system.", _or_none(f"{_INFO}.osImage"), 1),
        _made("Kernel-Version", "Kernel release.", _or_none(f"{_INFO}.kernelVersion"), 1),
        _made("Container-Runtime", "What the node can run.", _or_none(f"{_INFO}.containerRuntimeVersion"), 1),
    ),
}
"""By group and kind."""
