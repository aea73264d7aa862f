"""Rules of KV that its schema cannot say: when an entry ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from plum_schemas.durations import parse_duration

from plum_controller.resources.encode import Json
from plum_controller.resources.rules import KindRules

if TYPE_CHECKING:
    from plum_controller.resources.context import Context
    from plum_controller.resources.kinds import ResourceKind

LONGEST_SECONDS = 100 * 365 * 86_400.0
"""A longer ttl ends in a century."""


def expiry(moment: datetime, ttl: str) -> str:
    """When an entry ends that is written now, as objects write times."""
    end = moment + timedelta(seconds=min(parse_duration(ttl), LONGEST_SECONDS))
    return f"{end:%Y-%m-%dT%H:%M:%S}.{end.microsecond:06d}Z"


class EntryRules(KindRules):
    """`spec.expiresAt` follows from `spec.ttl`: each write that changes the entry begins the time anew."""

    def prepare_create(self, context: Context, kind: ResourceKind, new: Json) -> None:
        _set_expiry(context, new["spec"])

    def prepare_update(self, context: Context, kind: ResourceKind, live: Json, new: Json, subresource: str) -> None:
        before, after = live.get("spec", {}), new["spec"]
        if before.get("expiresAt") and after == before:
            return
        _set_expiry(context, after)


def _set_expiry(context: Context, spec: Json) -> None:
    ttl = spec.get("ttl")
    if ttl:
        spec["expiresAt"] = expiry(context.moment(), ttl)
    else:
        spec.pop("expiresAt", None)
