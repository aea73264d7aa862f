"""Rules of Triggers: schedules, time zones and expressions that can be used, and webhook addresses that exist once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from plum_schemas.validation import duplicate

from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import Cause
from plum_controller.resources.rules import KindRules

if TYPE_CHECKING:
    from plum_controller.resources.context import Context
    from plum_controller.resources.kinds import ResourceKind

TRIGGERS = "triggers.plum.dev"


class TriggerRules(KindRules):
    """Asked with every write of a Trigger's spec."""

    def check(self, context: Context, kind: ResourceKind, new: Json, live: Json | None) -> Iterable[Cause]:
        spec = new.get("spec") or {}
        if live is not None and spec == live.get("spec"):
            return
        from plum_controller.domain.trigger_checks import check_spec  # expressions are loaded with the first trigger

        for error in check_spec(spec):
            yield Cause(error.reason, error.message, error.field)
        webhook = spec.get("webhook")
        if webhook:
            yield from _check_path(context, new["metadata"], hook_path(webhook.get("path", "")))


def hook_path(path: str) -> str:
    """A webhook's path as requests have it."""
    return path.strip("/")


def _check_path(context: Context, metadata: Json, path: str) -> Iterator[Cause]:
    for entry in context.cache.list(TRIGGERS, metadata.get("namespace", ""), None, None):
        if entry.key.name == metadata.get("name") or b'"webhook"' not in entry.value:
            continue
        other = (decode(entry.value).get("spec") or {}).get("webhook") or {}
        if hook_path(other.get("path", "")) == path:
            error = duplicate("spec.webhook.path", path)
            yield Cause(error.reason, f"{error.message}: trigger {entry.key.name} has it", error.field)
            return
