"""Which runs of a workflow go on, and which wait: the concurrency policy, in memory.

Allow: all (up to maxConcurrent)   Queue: one (or maxConcurrent), oldest first   Forbid: one, the new one fails
Replace: one, the new one cancels the others and then starts
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from plum_schemas.base import ObjectKey
from plum_schemas.workflow import WorkflowSpec

Group = tuple[str, str]
"""Namespace and name of the workflow."""


class Verdict(NamedTuple):
    """What happens to a run that wants to start."""

    go: bool
    forbidden: bool = False
    cancel: Sequence[ObjectKey] = ()
    """Runs to cancel first."""
    reason: str = ""
    message: str = ""


class Admission:
    """Counts runs by workflow. What goes on is told once, whatever is asked meanwhile."""

    def __init__(self) -> None:
        self._active: dict[Group, dict[str, ObjectKey]] = defaultdict(dict)
        self._queued: dict[Group, dict[str, tuple[int, datetime, ObjectKey]]] = defaultdict(dict)
        self._group_of: dict[str, Group] = {}

    def active(self, group: Group) -> int:
        """How many runs go on."""
        return len(self._active.get(group, ()))

    def queued(self, group: Group) -> int:
        """How many wait."""
        return len(self._queued.get(group, ()))

    def start(self, group: Group, uid: str, key: ObjectKey) -> None:
        """A run goes on."""
        self._group_of[uid] = group
        self._active[group][uid] = key
        self._queued[group].pop(uid, None)

    def wait(self, group: Group, uid: str, key: ObjectKey, priority: int, created: datetime) -> None:
        """A run waits for its turn."""
        self._group_of[uid] = group
        self._queued[group][uid] = (-priority, created, key)

    def end(self, uid: str) -> ObjectKey | None:
        """A run has ended or is gone. Answers with the one whose turn it is."""
        group = self._group_of.pop(uid, None)
        if group is None:
            return None
        self._active[group].pop(uid, None)
        self._queued[group].pop(uid, None)
        following = self.next_of(group)
        for table in (self._active, self._queued):
            if not table[group]:
                del table[group]
        return following

    def next_of(self, group: Group) -> ObjectKey | None:
        """The run whose turn it is next: highest priority, then oldest."""
        queued = self._queued.get(group)
        return min(queued.values())[2] if queued else None

    def waiting(self, group: Group) -> list[ObjectKey]:
        """All that wait."""
        return [entry[2] for entry in self._queued.get(group, {}).values()]

    def judge(self, group: Group, key: ObjectKey, spec: WorkflowSpec) -> Verdict:
        """May this run start now?"""
        others = {uid: other for uid, other in self._active.get(group, {}).items() if other != key}
        policy = spec.concurrency_policy
        limit = spec.max_concurrent if policy == "Allow" else spec.max_concurrent or 1 if policy == "Queue" else 1
        if limit is None or len(others) < limit:
            first = self.next_of(group)
            if policy in ("Allow", "Queue") and limit is not None and first is not None and first != key:
                return Verdict(False, reason="Queued", message=f"run {first.name} comes first")
            return Verdict(True)
        names = ", ".join(sorted(other.name for other in others.values())[:3])
        if policy == "Forbid":
            return Verdict(
                False, True, reason="ConcurrencyForbidden", message=f"run {names} goes on, and concurrencyPolicy is Forbid"
            )
        if policy == "Replace":
            return Verdict(False, cancel=list(others.values()), reason="Replacing", message=f"run {names} is being cancelled")
        return Verdict(False, reason="Queued", message=f"{len(others)} of {limit} runs go on: {names}")
