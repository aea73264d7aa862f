"""Places of concurrency keys: who holds one, who waits, and whose turn it is. Fed with every change; scans nothing.

    hold(run)   a run with this key is Pending or Running       wait(run)  one is Queued
    leave(run)  it has ended: those whose turn may have come

One instance lives as long as its controller. A place is taken before the write that admits a run, so that two runs which are
looked at side by side cannot both take the last one, and given back when that write fails. Each call costs the logarithm of
those that wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from plum_schemas.base import ObjectKey
from sortedcontainers import SortedList

Turn = tuple[tuple[int, float, str], int]
"""What those that wait are sorted by."""
WAKE = 4
"""Waiting runs that are looked at again when a place gets free: the first may be on its way out."""


@dataclass(slots=True)
class _Member:
    key: ObjectKey
    order: tuple[int, float, str]
    """Highest priority and oldest first; for those that wait."""
    since: float
    sight: int
    """When it was first seen, counted; tells runs of one second apart."""

    @property
    def turn(self) -> Turn:
        return self.order, self.sight


@dataclass(slots=True)
class _Group:
    holders: dict[str, _Member] = field(default_factory=dict)
    waiting: dict[str, _Member] = field(default_factory=dict)
    turns: SortedList[tuple[Turn, str]] = field(default_factory=SortedList)
    """Those that wait, in order, with their uids."""

    def stop_waiting(self, uid: str) -> None:
        member = self.waiting.pop(uid, None)
        if member is not None:
            self.turns.remove((member.turn, uid))


class Places:
    """All groups. Members are named by the uid of their run."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._group_of: dict[str, str] = {}
        self._sights = 0

    def knows(self, group: str) -> bool:
        """Somebody holds a place of it or waits for one."""
        return group in self._groups

    def hold(self, group: str, uid: str, key: ObjectKey, order: tuple[int, float, str], since: float) -> None:
        """The run has a place. Safe to repeat."""
        member = self._enter(group, uid, key, order, since)
        entry = self._groups[group]
        entry.stop_waiting(uid)
        member.order = order
        entry.holders[uid] = member

    def wait(self, group: str, uid: str, key: ObjectKey, order: tuple[int, float, str], since: float) -> None:
        """The run waits for a place. One that has a place gives it back. Safe to repeat."""
        member = self._enter(group, uid, key, order, since)
        entry = self._groups[group]
        entry.holders.pop(uid, None)
        entry.stop_waiting(uid)
        member.order = order
        entry.waiting[uid] = member
        entry.turns.add((member.turn, uid))

    def leave(self, uid: str) -> list[ObjectKey]:
        """The run is gone from its group: who should be looked at again."""
        group = self._group_of.pop(uid, None)
        if group is None:
            return []
        entry = self._groups[group]
        entry.holders.pop(uid, None)
        entry.stop_waiting(uid)
        if not entry.holders and not entry.waiting:
            del self._groups[group]
            return []
        return [entry.waiting[uid].key for _, uid in entry.turns[:WAKE]]

    def has_place(self, group: str, uid: str, limit: int) -> bool:
        """Whether the run holds a place, or one is free and it is the first of those that wait."""
        entry = self._groups.get(group)
        if entry is None or uid in entry.holders:
            return True
        free = limit - len(entry.holders)
        if free <= 0:
            return False
        mine = entry.waiting.get(uid)
        if mine is None:
            return len(entry.waiting) < free
        return bool(entry.turns.index((mine.turn, uid)) < free)

    def is_full(self, group: str, uid: str, limit: int) -> bool:
        """Whether others hold all places."""
        entry = self._groups.get(group)
        return entry is not None and uid not in entry.holders and len(entry.holders) >= limit

    def holders(self, group: str) -> list[ObjectKey]:
        """Who has a place, oldest first."""
        entry = self._groups.get(group)
        return [member.key for member in _by_age(entry.holders.values())] if entry is not None else []

    def surplus(self, group: str, limit: int) -> list[ObjectKey]:
        """Of all members those that newer ones replace: all but the newest `limit`."""
        entry = self._groups.get(group)
        if entry is None:
            return []
        members = _by_age([*entry.holders.values(), *entry.waiting.values()])
        return [member.key for member in members[: max(0, len(members) - limit)]]

    def _enter(self, group: str, uid: str, key: ObjectKey, order: tuple[int, float, str], since: float) -> _Member:
        before = self._group_of.get(uid)
        if before is not None and before != group:
            self.leave(uid)
        entry = self._groups.setdefault(group, _Group())
        self._group_of[uid] = group
        known = entry.holders.get(uid) or entry.waiting.get(uid)
        if known is None:
            self._sights += 1
            return _Member(key, order, since, self._sights)
        return known


def _by_age(members: Iterable[_Member]) -> list[_Member]:
    return sorted(members, key=lambda member: (member.since, member.sight))
