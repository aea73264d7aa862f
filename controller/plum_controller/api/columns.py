"""The columns of tables: how a cell is found in an object, or counted and put together where one path is not enough.

    KindInfo.columns --columns_of--> the columns of a kind, in order

A kind's columns stand in its declaration. Kubernetes' own kinds have those that kubectl's users know; of ours, some cells
are words made of several fields, as `kubectl get pods` makes them: READY 2/3, CrashLoopBackOff, Ready,SchedulingDisabled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from plum_schemas.base import KindInfo
from plum_schemas.node import PRESSURE_TAINTS

from plum_controller.api.jsonpath import compile_path

_encode = msgspec.json.Encoder().encode

Cell = Callable[[dict[str, Any], datetime], Any]


class TableColumn(msgspec.Struct, frozen=True):
    """One column: how it is declared, and how its cell is found."""

    name: str
    type: str
    format: str
    description: str
    priority: int
    cell: Cell

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


def human_age(since: datetime, now: datetime) -> str:
    """An age in the few characters that Kubernetes uses: `45s`, `2m3s`, `5h10m`, `3d4h`, `3d`, `2y30d`."""
    seconds = int((now - since).total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(0, seconds)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"


def parse_time(value: Any) -> datetime | None:
    """An RFC 3339 time of an object; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def age(path: str) -> Cell:
    find = compile_path(path)

    def cell(value: dict[str, Any], now: datetime) -> Any:
        moment = parse_time(find(value))
        return human_age(moment, now) if moment is not None else None

    return cell


def plain(path: str, type_: str) -> Cell:
    """A value as it is; in a column of strings anything else as JSON, as Kubernetes does."""
    find = compile_path(path)

    def cell(value: dict[str, Any], now: datetime) -> Any:
        found = find(value)
        if found is None:
            return None
        if type_ == "string" and not isinstance(found, str):
            return _encode(found).decode()
        if type_ in ("integer", "number") and (isinstance(found, bool) or not isinstance(found, (int, float))):
            return None
        return found

    return cell


def column(
    name: str, path: str, type_: str = "string", priority: int = 0, description: str = "", format_: str = ""
) -> TableColumn:
    """A looked-up column. The cell of a date is the text of its age."""
    if type_ == "date":
        return TableColumn(name, "date", format_, description, priority, age(path))
    return TableColumn(name, type_, format_, description, priority, plain(path, type_))


NAME = column("Name", ".metadata.name", format_="name", description="Name must be unique within a namespace.")
AGE = column(
    "Age", ".metadata.creationTimestamp", "date", description="CreationTimestamp is the time this object was created, in UTC."
)


_CREATED_AT = column("Created At", ".metadata.creationTimestamp")
_RBAC = "rbac.authorization.k8s.io"


def _count(*paths: str) -> Cell:
    finders = [compile_path(path) for path in paths]
    return lambda value, now: sum(len(find(value) or ()) for find in finders)


def _involved(value: dict[str, Any], now: datetime) -> str:
    involved = value.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _first_of(*cells: Cell) -> Cell:
    def cell(value: dict[str, Any], now: datetime) -> Any:
        for candidate in cells:
            found = candidate(value, now)
            if found is not None:
                return found
        return "<unknown>"

    return cell


def _source(value: dict[str, Any], now: datetime) -> str:
    source = value.get("source") or {}
    component = source.get("component") or value.get("reportingComponent") or ""
    return f"{component}, {source['host']}" if source.get("host") else str(component)


def _event_columns() -> tuple[TableColumn, ...]:
    last = _first_of(
        age(".series.lastObservedTime"), age(".lastTimestamp"), age(".eventTime"), age(".metadata.creationTimestamp")
    )
    first = _first_of(age(".firstTimestamp"), age(".eventTime"), age(".metadata.creationTimestamp"))
    return (
        TableColumn("Last Seen", "string", "", "When the event was last seen.", 0, last),
        column("Type", ".type"),
        column("Reason", ".reason"),
        TableColumn("Object", "string", "", "The object the event is about.", 0, _involved),
        column("Subobject", ".involvedObject.fieldPath", priority=1),
        TableColumn("Source", "string", "", "Who reported the event.", 1, _source),
        column("Message", ".message"),
        TableColumn("First Seen", "string", "", "When the event was first seen.", 1, first),
        column("Count", ".count", "integer", priority=1),
        column("Name", ".metadata.name", priority=1, format_="name"),
    )


def _subjects(kind: str) -> Cell:
    """Names of the subjects of one kind, separated by commas."""

    def cell(value: dict[str, Any], now: datetime) -> str:
        subjects = [subject for subject in value.get("subjects") or () if subject.get("kind") == kind]
        named = [
            f"{subject['namespace']}/{subject['name']}" if kind == "ServiceAccount" else subject["name"] for subject in subjects
        ]
        return ", ".join(named)

    return cell


def _role(value: dict[str, Any], now: datetime) -> str:
    role = value.get("roleRef") or {}
    return f"{role.get('kind', '')}/{role.get('name', '')}"


def _binding_columns() -> tuple[TableColumn, ...]:
    return (
        NAME,
        TableColumn("Role", "string", "", "The role that is given.", 0, _role),
        AGE,
        *(
            TableColumn(f"{kind}s", "string", "", f"{kind}s it is given to.", 1, _subjects(kind))
            for kind in ("User", "Group", "ServiceAccount")
        ),
    )


def _fixed() -> dict[tuple[str, str], tuple[TableColumn, ...]]:
    """Columns of Kubernetes' own kinds, by group and kind."""
    data = "Number of entries."
    return {
        ("", "Event"): _event_columns(),
        ("", "Namespace"): (NAME, column("Status", ".status.phase"), AGE),
        ("", "ConfigMap"): (NAME, TableColumn("Data", "integer", "", data, 0, _count(".data", ".binaryData")), AGE),
        ("", "Secret"): (NAME, column("Type", ".type"), TableColumn("Data", "integer", "", data, 0, _count(".data")), AGE),
        ("", "ServiceAccount"): (NAME, TableColumn("Secrets", "integer", "", data, 0, _count(".secrets")), AGE),
        ("coordination.k8s.io", "Lease"): (NAME, column("Holder", ".spec.holderIdentity"), AGE),
        ("apiextensions.k8s.io", "CustomResourceDefinition"): (NAME, _CREATED_AT),
        (_RBAC, "Role"): (NAME, _CREATED_AT),
        (_RBAC, "ClusterRole"): (NAME, _CREATED_AT),
        (_RBAC, "RoleBinding"): _binding_columns(),
        (_RBAC, "ClusterRoleBinding"): _binding_columns(),
        ("autoscaling", "Scale"): (
            NAME,
            column("Desired", ".spec.replicas", "integer"),
            column("Available", ".status.replicas", "integer"),
            AGE,
        ),
    }


_FIXED = _fixed()


def _ready_of_wanted(value: dict[str, Any], now: datetime) -> str:
    """`2/3` of a Deployment. With nodeReplicas the status says how many are wanted."""
    status = value.get("status") or {}
    wanted = (value.get("spec") or {}).get("replicas")
    return f"{status.get('readyReplicas') or 0}/{status.get('replicas') or 0 if wanted is None else wanted}"


def _ready_instance(value: dict[str, Any], now: datetime) -> str:
    return "1/1" if (value.get("status") or {}).get("ready") else "0/1"


def _instance_status(value: dict[str, Any], now: datetime) -> str:
    """The phase, or the word that kubectl's users look for: why it does not run."""
    status = value.get("status") or {}
    phase, reason = status.get("phase") or "Pending", status.get("reason") or ""
    if (value.get("metadata") or {}).get("deletionTimestamp"):
        return "Terminating"
    if phase == "Starting" and reason == "BackOff":
        return "CrashLoopBackOff"
    if phase == "Succeeded":
        return "Completed"
    if phase in ("Preparing", "Failed") and reason and reason != phase:
        return str(reason)
    return str(phase)


def _restarts(value: dict[str, Any], now: datetime) -> str:
    """`3 (12s ago)`: how often, and when the last run ended."""
    status = value.get("status") or {}
    count = status.get("restarts") or 0
    ended = parse_time((status.get("lastExit") or {}).get("finishedAt"))
    return f"{count} ({human_age(ended, now)} ago)" if count and ended is not None else str(count)


def _node_status(value: dict[str, Any], now: datetime) -> str:
    conditions = (value.get("status") or {}).get("conditions") or ()
    ready = next((condition.get("status") for condition in conditions if condition.get("type") == "Ready"), "Unknown")
    words = [{"True": "Ready", "False": "NotReady"}.get(str(ready), "Unknown")]
    words += [one["type"] for one in conditions if one.get("status") == "True" and one.get("type") in PRESSURE_TAINTS]
    return ",".join([*words, "SchedulingDisabled"] if (value.get("spec") or {}).get("unschedulable") else words)


def _joined(path: str) -> Cell:
    """A string, or a list of strings separated by commas."""
    find, otherwise = compile_path(path), plain(path, "string")

    def cell(value: dict[str, Any], now: datetime) -> Any:
        found = find(value)
        if isinstance(found, list) and all(isinstance(item, str) for item in found):
            return ",".join(found)
        return otherwise(value, now)

    return cell


_MADE: Mapping[str, Mapping[str, TableColumn | None]] = {
    "Deployment": {
        "Ready": TableColumn("Ready", "string", "", "Ready instances of those that are wanted.", 0, _ready_of_wanted),
        "Desired": None,
    },
    "Instance": {
        "Phase": TableColumn("Status", "string", "", "Where it is in its life, or why it does not run.", 0, _instance_status),
        "Ready": TableColumn("Ready", "string", "", "1/1 once it takes requests.", 0, _ready_instance),
        "Restarts": TableColumn(
            "Restarts", "string", "", "Runs after the first, and how long ago the last one ended.", 0, _restarts
        ),
    },
    "Node": {
        "Ready": TableColumn(
            "Status", "string", "", "Whether its agent reports, and whether it takes instances.", 0, _node_status
        ),
        "Cordoned": None,
    },
}
"""Columns of kinds of our own that take the place of a declared one; None leaves it out."""


def columns_of(info: KindInfo) -> tuple[TableColumn, ...]:
    """The columns of a kind, Name first."""
    fixed = _FIXED.get((info.group, info.kind))
    if fixed is not None:
        return fixed
    ours = info.group == "plum.dev"
    made = _MADE.get(info.kind, {}) if ours else {}
    columns = []
    for declared in info.columns:
        if declared.name == "Name":
            continue
        found = column(declared.name, declared.path, declared.type, declared.priority, declared.description)
        if ours and declared.type == "string":
            found = msgspec.structs.replace(found, cell=_joined(declared.path))
        instead = made.get(declared.name, found)
        if instead is not None:
            columns.append(instead)
    return (NAME, *(columns or (AGE,)))
