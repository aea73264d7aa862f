"""Objects as the table that `kubectl get` shows: columns from the kind's declaration, one row of cells per object.

    stored bytes -> decoded once -> cells + the object's metadata (or all of it, or nothing) -> Table

Kubernetes' own kinds have the columns Kubernetes gives them, some of them counted, not looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from plum_schemas.base import KindInfo

from plum_controller.api.jsonpath import compile_path

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

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


def _age(path: str) -> Cell:
    find = compile_path(path)

    def cell(value: dict[str, Any], now: datetime) -> Any:
        moment = parse_time(find(value))
        return human_age(moment, now) if moment is not None else None

    return cell


def _plain(path: str, type_: str) -> Cell:
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


def _column(
    name: str, path: str, type_: str = "string", priority: int = 0, description: str = "", format_: str = ""
) -> TableColumn:
    """A looked-up column. The cell of a date is the text of its age."""
    if type_ == "date":
        return TableColumn(name, "date", format_, description, priority, _age(path))
    return TableColumn(name, type_, format_, description, priority, _plain(path, type_))


_NAME = _column("Name", ".metadata.name", format_="name", description="Name must be unique within a namespace.")
_AGE = _column(
    "Age", ".metadata.creationTimestamp", "date", description="CreationTimestamp is the time this object was created, in UTC."
)


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
        _age(".series.lastObservedTime"), _age(".lastTimestamp"), _age(".eventTime"), _age(".metadata.creationTimestamp")
    )
    first = _first_of(_age(".firstTimestamp"), _age(".eventTime"), _age(".metadata.creationTimestamp"))
    return (
        TableColumn("Last Seen", "string", "", "When the event was last seen.", 0, last),
        _column("Type", ".type"),
        _column("Reason", ".reason"),
        TableColumn("Object", "string", "", "The object the event is about.", 0, _involved),
        _column("Subobject", ".involvedObject.fieldPath", priority=1),
        TableColumn("Source", "string", "", "Who reported the event.", 1, _source),
        _column("Message", ".message"),
        TableColumn("First Seen", "string", "", "When the event was first seen.", 1, first),
        _column("Count", ".count", "integer", priority=1),
        _column("Name", ".metadata.name", priority=1, format_="name"),
    )


def _fixed() -> dict[tuple[str, str], tuple[TableColumn, ...]]:
    """Columns of Kubernetes' own kinds, by group and kind."""
    data = "Number of entries."
    return {
        ("", "Event"): _event_columns(),
        ("", "Namespace"): (_NAME, _column("Status", ".status.phase"), _AGE),
        ("", "ConfigMap"): (_NAME, TableColumn("Data", "integer", "", data, 0, _count(".data", ".binaryData")), _AGE),
        ("", "Secret"): (_NAME, _column("Type", ".type"), TableColumn("Data", "integer", "", data, 0, _count(".data")), _AGE),
        ("coordination.k8s.io", "Lease"): (_NAME, _column("Holder", ".spec.holderIdentity"), _AGE),
        ("apiextensions.k8s.io", "CustomResourceDefinition"): (_NAME, _column("Created At", ".metadata.creationTimestamp")),
        ("autoscaling", "Scale"): (
            _NAME,
            _column("Desired", ".spec.replicas", "integer"),
            _column("Available", ".status.replicas", "integer"),
            _AGE,
        ),
    }


_FIXED = _fixed()


class Tabulator:
    """Makes tables of one kind. Keep one per kind: it holds the compiled columns."""

    def __init__(self, info: KindInfo) -> None:
        fixed = _FIXED.get((info.group, info.kind))
        self.columns = fixed or self._declared(info)

    @staticmethod
    def _declared(info: KindInfo) -> tuple[TableColumn, ...]:
        columns = tuple(
            _column(column.name, column.path, column.type, column.priority, column.description) for column in info.columns
        )
        columns = tuple(column for column in columns if column.name != "Name")
        return (_NAME, *(columns or (_AGE,)))

    def table(
        self,
        values: Sequence[bytes],
        *,
        revision: str,
        include: str = "Metadata",
        continue_token: str = "",
        remaining: int | None = None,
        headings: bool = True,
    ) -> bytes:
        """The Table of some objects. `include` is the parameter `includeObject`; `headings` False leaves the columns out."""
        metadata: dict[str, Any] = {"resourceVersion": revision} if revision else {}
        if continue_token:
            metadata["continue"] = continue_token
        if remaining is not None:
            metadata["remainingItemCount"] = remaining
        now = datetime.now(UTC)
        return _encode(
            {
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "columnDefinitions": [column.definition() for column in self.columns] if headings else None,
                "rows": [self._row(value, include, now) for value in values],
            }
        )

    def rows(self, values: Sequence[bytes], include: str) -> bytes:
        """Further rows, comma separated, to be put into a table by the caller."""
        now = datetime.now(UTC)
        return b",".join([_encode(self._row(value, include, now)) for value in values])

    def _row(self, value: bytes, include: str, now: datetime) -> dict[str, Any]:
        decoded = _decode(value)
        row: dict[str, Any] = {"cells": [column.cell(decoded, now) for column in self.columns]}
        if include == "Object":
            row["object"] = msgspec.Raw(value)
        elif include == "Metadata":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": decoded.get("metadata", {}),
            }
        return row


class _MetadataOnly(msgspec.Struct):
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_decode_metadata = msgspec.json.Decoder(_MetadataOnly).decode


def partial(value: bytes) -> bytes:
    """Only the metadata of an object: PartialObjectMetadata."""
    metadata = bytes(_decode_metadata(value).metadata)
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":' + metadata + b"}"
