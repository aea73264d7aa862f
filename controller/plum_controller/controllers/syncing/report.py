"""The status of a Sync as it is put together during a reconcile, and the conditions in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from plum_client.conditions import set_condition
from plum_client.manifests.documents import Problem
from plum_schemas.base import Condition
from plum_schemas.sync import Applied, Drift, InventoryItem, Sync, SyncStatus

from plum_controller.domain.health import Health
from plum_controller.domain.sync.drift import remember
from plum_controller.domain.sync.identity import ObjectId

HISTORY = 10
"""Revisions to which a rollback can go."""


class Report:
    """Changes a copy of the status; `status` is written when it differs."""

    def __init__(self, sync: Sync, now: datetime) -> None:
        self.before = sync.status
        self.status: SyncStatus = msgspec.structs.replace(sync.status, observed_generation=sync.metadata.generation)
        self._now = now.replace(microsecond=0)

    def set(self, **changes: Any) -> None:
        """Set fields of the status."""
        self.status = msgspec.structs.replace(self.status, **changes)

    def condition(self, type_: str, status: bool | None, reason: str, message: str = "") -> None:
        """Set a condition. None: unknown."""
        text = "Unknown" if status is None else str(status)
        seen = self.status.observed_generation
        entry = Condition(type=type_, status=text, reason=reason, message=message, observed_generation=seen)
        self.set(conditions=set_condition(self.status.conditions, entry, self._now))

    def phase(self, phase: str, reason: str, message: str) -> None:
        """Phase and message, and the condition Ready that follows from them."""
        self.set(phase=phase, message=message)
        self.condition("Ready", phase == "Synced", reason, message)

    def failed(self, reason: str, message: str) -> None:
        """Nothing can go on until somebody mends something."""
        self.phase("Failed", reason, message)

    def drifted(self, found: Sequence[Drift], current: Sequence[Drift]) -> None:
        """New entries of the history, and what differs now."""
        self.set(drift=remember(self.status.drift, found))
        if current:
            first = current[0]
            more = f", and {len(current) - 1} more objects" if len(current) > 1 else ""
            who = f" (changed by {first.manager})" if first.manager else ""
            text = f"{first.kind} {first.name}: {', '.join(first.fields[:3])}{who}{more}"
            self.condition("Drifted", True, "Differs", text)
        else:
            self.condition("Drifted", False, "AsWanted", "every object is as the source says")

    def healthy(self, health: Mapping[ObjectId, Health]) -> None:
        """The condition Healthy from that of all objects."""
        bad = [(identity, one) for identity, one in health.items() if not one.healthy]
        if not bad:
            self.condition("Healthy", True, "AllHealthy", f"{len(health)} objects are healthy")
            return
        degraded = [entry for entry in bad if entry[1].state == "Degraded"]
        identity, one = (degraded or bad)[0]
        more = f", and {len(bad) - 1} more objects" if len(bad) > 1 else ""
        self.condition("Healthy", False, one.state, f"{identity}: {one.message}{more}")

    def applied(self, revision: str) -> None:
        """The revision is in place, completely."""
        status = self.status
        if status.applied_revision == revision and status.history and status.history[0].revision == revision:
            return
        older = [entry for entry in status.history if entry.revision != revision]
        self.set(
            applied_revision=revision,
            applied_at=self._now,
            history=[Applied(revision=revision, time=self._now), *older][:HISTORY],
        )

    def inventory(self, items: Mapping[ObjectId, InventoryItem]) -> None:
        """The inventory in its order."""
        self.set(inventory=[items[identity] for identity in sorted(items)])

    @property
    def differs(self) -> bool:
        return self.status != self.before

    @property
    def differs_in_health_only(self) -> bool:
        """Whether nothing but what objects say of themselves has changed."""
        return _without_health(self.status) == _without_health(self.before)


def first_of(problems: Sequence[Problem]) -> str:
    """The first problem in words, and how many more there are."""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"


def _without_health(status: SyncStatus) -> SyncStatus:
    items = [msgspec.structs.replace(item, health="", message="") for item in status.inventory]
    conditions = [entry for entry in status.conditions if entry.type != "Healthy"]
    return msgspec.structs.replace(status, inventory=items, conditions=conditions)
