"""What keeps a Sync from doing harm: deletions that nobody meant, times at which nothing may change, revisions that are held."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from plum_schemas import int_or_percent
from plum_schemas.sync import PRUNE_ANNOTATION, Hold, SyncSpec

NEVER_PRUNED = frozenset({("", "Namespace"), ("apiextensions.k8s.io", "CustomResourceDefinition")})
"""Deleting one of these deletes all that is in it: only with `plum.dev/prune: enabled` on it."""


class Deletions(NamedTuple):
    """Whether the deletions of one sync may happen."""

    allowed: bool
    reason: str = ""
    """CamelCase; empty when they are allowed."""
    message: str = ""


def may_delete(leaving: int, total: int, documents: int, spec: SyncSpec, revision: str) -> Deletions:
    """`leaving` objects of `total` in the inventory are to be deleted, and the source has `documents` objects."""
    if documents == 0 and total > 0:
        text = f"the source holds no manifest, and {total} objects came from it before; an empty source deletes nothing"
        return Deletions(False, "EmptySource", text)
    if leaving == 0:
        return Deletions(True)
    most = int_or_percent.resolve(spec.max_delete, total, round_up=True)
    if leaving <= most or (spec.approve_delete and spec.approve_delete == revision):
        return Deletions(True)
    text = f"{leaving} of {total} objects would be deleted, and maxDelete is {spec.max_delete} ({most}); nothing was changed"
    return Deletions(False, "TooManyDeletes", text)


def kept(obj: Mapping[str, Any], group: str, kind: str) -> str:
    """Why an object that left the source is not deleted; empty if it is."""
    metadata = obj.get("metadata") or {}
    said = [(metadata.get(part) or {}).get(PRUNE_ANNOTATION) for part in ("labels", "annotations")]
    if "disabled" in said:
        return f"{PRUNE_ANNOTATION}: disabled"
    if (group, kind) in NEVER_PRUNED and "enabled" not in said:
        return f"all that is in it would go with it; {PRUNE_ANNOTATION}: enabled on it allows that"
    return ""


def suspension(spec: SyncSpec, now: datetime) -> str | None:
    """Why nothing may change now, as a sentence; None when it may."""
    reason = f": {spec.suspend_reason}" if spec.suspend_reason else ""
    if spec.suspend:
        return f"suspended{reason}"
    if spec.suspend_until is not None and now < spec.suspend_until:
        return f"suspended until {spec.suspend_until.isoformat()}{reason}"
    return None


def wanted_revision(hold: Hold | None, newest: str) -> tuple[str, bool]:
    """The revision to apply, and whether that is held back. A source that is newer than the hold releases it."""
    if hold is None or (hold.newest and newest and newest != hold.newest):
        return newest, False
    return hold.revision, hold.revision != newest
