"""Drift: fields that are not as the source says, and who changed them.

live object, what an apply would make of it --> paths that differ
live object's managedFields                 --> who wrote last
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from plum_schemas.sync import Drift

HISTORY = 100
"""Entries kept in a status."""
MAX_FIELDS = 20
"""Paths in one entry."""
BOOKKEEPING = frozenset({
    "managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink", "deletionTimestamp",
    "deletionGracePeriodSeconds",
})  # fmt: skip
"""What the server counts up or sets by itself."""
KEYS = ("name", "type", "key", "uid", "port")
"""What tells the items of a list apart."""

Json = Mapping[str, Any]


def content(obj: Json) -> dict[str, Any]:
    """What somebody wrote: the object without status and bookkeeping."""
    metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name not in BOOKKEEPING}
    return {name: (metadata if name == "metadata" else value) for name, value in obj.items() if name != "status"}


def content_hash(obj: Json) -> str:
    """Equal for objects that say the same."""
    return hashlib.blake2b(msgspec.json.encode(content(obj), order="deterministic"), digest_size=16).hexdigest()


def different_fields(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Paths whose values differ, outermost where one side has nothing."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            below = f"{path}.{name}" if path else str(name)
            if name in old and name in new:
                yield from different_fields(old[name], new[name], below)
            else:
                yield below
        return
    if isinstance(old, list) and isinstance(new, list):
        key = next((k for k in KEYS if all(isinstance(i, Mapping) and isinstance(i.get(k), str | int) for i in (*old, *new))), "")
        if key and old and new:
            before, after = {str(item[key]): item for item in old}, {str(item[key]): item for item in new}
            for name in sorted({*before, *after}):
                if name in before and name in after:
                    yield from different_fields(before[name], after[name], f"{path}[{name}]")
                else:
                    yield f"{path}[{name}]"
            return
    yield path


def last_writer(obj: Json, own: str) -> str:
    """Who wrote to the object last, besides the Sync itself and writers of its status; empty when that is not known."""
    entries = [
        entry
        for entry in (obj.get("metadata") or {}).get("managedFields") or ()
        if isinstance(entry, Mapping) and entry.get("manager") != own and not entry.get("subresource")
    ]
    latest = max(entries, key=lambda entry: str(entry.get("time") or ""), default=None)
    return str(latest.get("manager") or "") if latest is not None else ""


def remember(history: Sequence[Drift], found: Sequence[Drift]) -> list[Drift]:
    """The history with new entries in front. One that is still as it was, and not corrected, is not told again."""
    known = {_key(entry) for entry in history if not entry.corrected}
    fresh = [entry for entry in found if entry.corrected or _key(entry) not in known]
    return [*fresh, *history][:HISTORY] if fresh else list(history)


def entry(api_version: str, obj: Json, fields: Sequence[str], manager: str, now: datetime, corrected: bool) -> Drift:
    """One entry of the history."""
    metadata = obj.get("metadata") or {}
    return Drift(
        api_version=api_version,
        kind=str(obj.get("kind") or ""),
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
        fields=list(fields[:MAX_FIELDS]),
        manager=manager,
        time=now.replace(microsecond=0),
        corrected=corrected,
    )


def _key(entry: Drift) -> tuple[Any, ...]:
    return entry.api_version, entry.kind, entry.namespace, entry.name, tuple(entry.fields), entry.manager
