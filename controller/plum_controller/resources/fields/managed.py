"""`metadata.managedFields`: who owns which fields, as stored.

    entries in metadata <--read_entries, write_entries--> Owners {Owner: Owned(fields, api_version, time)}

An update entry is told apart by manager, apiVersion and subresource, an apply entry by manager and subresource alone.
"""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any, NamedTuple

from plum_controller.resources.fields.sets import LEAF, Tree, parse_tree, union

APPLY = "Apply"
UPDATE = "Update"

MAX_UPDATE_ENTRIES = 10
"""More update entries than this are merged, oldest first, so that an object does not grow with its writers."""

ANCIENT = "ancient-changes"
"""The manager of merged old update entries."""


class Owner(NamedTuple):
    """The identity of an entry. Sorts as Kubernetes sorts conflicts: by manager, then operation."""

    manager: str
    operation: str
    api_version: str
    """Empty for an apply entry."""
    subresource: str

    def __str__(self) -> str:
        """As in a conflict message."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


class Owned(NamedTuple):
    """What an owner has."""

    fields: Tree
    api_version: str
    time: str
    """RFC 3339, or empty."""


Owners = dict[Owner, Owned]


def read_stored(metadata: dict[str, Any] | None) -> Owners:
    """The entries of a stored object, which were checked when they were written."""
    owners: Owners = {}
    for entry in (metadata or {}).get("managedFields") or ():
        operation, version = entry["operation"], entry["apiVersion"]
        owner = Owner(entry.get("manager", ""), operation, "" if operation == APPLY else version, entry.get("subresource", ""))
        owners[owner] = Owned(entry.get("fieldsV1") or LEAF, version, entry.get("time") or "")
    return owners


def read_sent(entries: Any) -> Owners:
    """Entries that a client sent. Raises ValueError if one is invalid."""
    owners: Owners = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"managed fields entry {index} is no object")
        text = {name: _text(entry, name) for name in ("manager", "operation", "apiVersion", "fieldsType", "time", "subresource")}
        if text["operation"] not in (APPLY, UPDATE):
            raise ValueError("operation must be `Apply` or `Update`")
        if not text["apiVersion"]:
            raise ValueError("apiVersion must not be empty")
        if text["fieldsType"] != "FieldsV1":
            raise ValueError(f"invalid fieldsType {text['fieldsType']!r} in managed fields entry {index}")
        if text["time"]:
            datetime.fromisoformat(text["time"])
        version = "" if text["operation"] == APPLY else text["apiVersion"]
        owner = Owner(text["manager"], text["operation"], version, text["subresource"])
        owners[owner] = Owned(parse_tree(entry.get("fieldsV1") or {}), text["apiVersion"], text["time"])
    return owners


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text")
    return value


def write_entries(metadata: dict[str, Any], owners: Owners) -> None:
    """Set `managedFields`, sorted; without owners there is none."""
    if not owners:
        metadata.pop("managedFields", None)
        return
    metadata["managedFields"] = [
        _entry(owner, owned) for owner, owned in (sorted(owners.items(), key=_order) if len(owners) > 1 else owners.items())
    ]


def _entry(owner: Owner, owned: Owned) -> dict[str, Any]:
    entry: dict[str, Any] = {"manager": owner.manager, "operation": owner.operation, "apiVersion": owned.api_version}
    if owned.time:
        entry["time"] = owned.time
    entry["fieldsType"] = "FieldsV1"
    entry["fieldsV1"] = owned.fields
    if owner.subresource:
        entry["subresource"] = owner.subresource
    return entry


def _order(item: tuple[Owner, Owned]) -> tuple[str, float, str, str, str]:
    owner, owned = item
    return owner.operation, seconds(owned.time), owner.manager, owned.api_version, owner.subresource


@functools.lru_cache(maxsize=4096)
def seconds(time: str) -> float:
    """Whole seconds since 1970; 0 for no time. Cached: the same few times are compared again and again."""
    return float(int(datetime.fromisoformat(time).timestamp())) if time else 0.0


def cap(owners: Owners) -> None:
    """Merge the oldest update entries of a version into one, until there are no more than the limit."""
    updates = [owner for owner in owners if owner.operation == UPDATE]
    surplus = len(updates) - MAX_UPDATE_ENTRIES
    if surplus <= 0:
        return
    updates.sort(key=lambda owner: (seconds(owners[owner].time), owner))
    first_of: dict[str, Owner] = {}
    for owner in updates:
        if surplus <= 0:
            return
        version = owner.api_version
        bucket = Owner(ANCIENT, UPDATE, version, "")
        if version not in first_of:
            first_of[version] = owner
            continue
        if owner == bucket:
            continue
        if bucket not in owners:
            owners[bucket] = owners.pop(first_of[version])
        merged = owners.pop(owner)
        owners[bucket] = Owned(union(merged.fields, owners[bucket].fields), version, merged.time)
        surplus -= 1
