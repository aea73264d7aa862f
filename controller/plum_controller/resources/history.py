"""Time travel: an object as it was, and all its kept versions with who wrote them.

at (revision or time) -> store.read_at ; key -> store.history -> Version per write, newest first
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from plum_schemas.base import ObjectKey

from plum_controller.resources.context import Context
from plum_controller.resources.encode import Json, decode, encode
from plum_controller.resources.errors import bad_request, expired, not_found, revision_in_future
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import Version
from plum_controller.store.base import Key, LogEntry, Revision
from plum_controller.store.errors import CompactedError, FutureRevisionError


async def read_version(context: Context, kind: ResourceKind, key: ObjectKey, at: str) -> bytes:
    """The object at a revision or an RFC 3339 time. Raises `ApiStatusError`: 404 if it was not there, 410 if nobody knows."""
    try:
        revision = await _revision_of(context, at)
        found = await context.store.read_at(revision, kind.info.resource, key.namespace, key.name)
    except CompactedError as error:
        raise expired(f"the history at {at} is no longer kept; the oldest kept revision is {error.compacted + 1}") from error
    except FutureRevisionError as error:
        raise revision_in_future(error.revision, error.current) from error
    for entry in found:
        if entry.key.namespace == key.namespace:
            return kind.present(entry.value)
    raise not_found(kind.info, key.name)


async def _revision_of(context: Context, at: str) -> Revision:
    if at.isascii() and at.isdigit() and len(at) <= 18:
        return int(at)
    try:
        # A `+` in a query arrives as a space.
        moment = datetime.fromisoformat(at.replace(" ", "+"))
    except ValueError as error:
        raise bad_request(f"at is {at!r}; use a resourceVersion or a time such as 2026-01-31T08:00:00Z") from error
    if moment.tzinfo is None:
        raise bad_request(f"at is {at!r}, which has no time zone; write {at}Z for UTC")
    return await context.store.revision_at(moment.timestamp())


async def read_history(context: Context, kind: ResourceKind, key: ObjectKey, limit: int) -> list[Version]:
    """The kept versions, newest first. Raises `ApiStatusError` 404 if none is known."""
    store_key = Key(kind.info.resource, key.namespace, key.name)
    # One more, so that the oldest one shown still has something to be compared with.
    entries = await context.store.history(store_key, limit + 1)
    if not entries:
        raise not_found(kind.info, key.name)
    versions = []
    after: Json | None = None
    for entry, before in zip(entries, [*entries[1:], None], strict=True):
        now = after if after is not None else decode(entry.value)
        after = decode(before.value) if before is not None else None
        earlier = None if before is None or before.deleted else after
        versions.append(_version(kind, entry, now, earlier))
    return versions[:limit]


def _version(kind: ResourceKind, entry: LogEntry, now: Json, earlier: Json | None) -> Version:
    operation: Literal["create", "update", "delete"] = "update" if entry.previous else "create"
    if entry.deleted:
        operation = "delete"
    # A deletion stores the last state once more, so nothing in it says who deleted.
    manager = "" if entry.deleted else _manager(now, earlier)
    return Version(entry.revision, entry.time, operation, manager, kind.present(entry.value), entry.deleted)


def _manager(now: Json, earlier: Json | None) -> str:
    """Who wrote this version, as far as the owners of fields tell.

    A writer gains fields, and its time moves; whom it took them from loses some and keeps its time. Times are whole
    seconds, so within one second only the gain tells them apart.
    """
    before = {_identity(managed): managed for managed in _entries(earlier)}
    changed = [managed for managed in _entries(now) if before.get(_identity(managed)) != managed]
    moved = [managed for managed in changed if managed.get("time") != before.get(_identity(managed), {}).get("time")]
    gained = [managed for managed in changed if len(encode(managed)) > len(encode(before.get(_identity(managed))))]
    candidates = moved or gained or changed
    return str(max(candidates, key=lambda managed: managed.get("time", "")).get("manager", "")) if candidates else ""


def _entries(data: Json | None) -> Sequence[Json]:
    return (data or {}).get("metadata", {}).get("managedFields") or ()


def _identity(managed: Json) -> tuple[Any, ...]:
    return tuple(managed.get(name) for name in ("manager", "operation", "apiVersion", "subresource"))
