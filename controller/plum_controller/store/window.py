"""The latest changes in memory: what a watcher that was away for a moment is given without asking the disk."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from plum_controller.store.base import Key, Revision
from plum_controller.store.events import Change, Entry

SHORT = 64
"""Revisions: a way back this short is walked from the end instead of copying the window."""


class Window:
    """Bounded by count and bytes. Holds whole commits only: half of one could not be replayed."""

    def __init__(self, most_changes: int, most_bytes: int) -> None:
        self.start: Revision = 0
        """Changes after this revision are here."""
        self._changes: deque[Change] = deque()
        self._bytes = 0
        self._most_changes = most_changes
        self._most_bytes = most_bytes

    def add(self, changes: Sequence[Change]) -> None:
        """Take in whole commits, let go of the oldest."""
        window = self._changes
        window.extend(changes)
        self._bytes += sum(change.size_bytes for change in changes)
        while len(window) > self._most_changes or self._bytes > self._most_bytes:
            self.start = window[0].entry.revision
            while window and window[0].entry.revision == self.start:
                self._bytes -= window.popleft().size_bytes

    def after(self, revision: Revision) -> Sequence[Change]:
        """The changes after a revision, which must not lie before `start`."""
        window = self._changes
        if window and window[-1].entry.revision - revision < SHORT:
            tail: list[Change] = []
            for change in reversed(window):
                if change.entry.revision <= revision:
                    break
                tail.append(change)
            tail.reverse()
            return tail
        changes = list(window)
        return changes[bisect_right(changes, revision, key=_revision_of) :]

    def undone(self, revision: Revision, resource: str) -> dict[Key, Entry | None] | None:
        """What the objects that changed since then were at a revision. None: the window does not reach back that far."""
        if revision < self.start:
            return None
        past: dict[Key, Entry | None] = {}
        for change in reversed(self.after(revision)):
            if change.entry.key.resource == resource:
                past[change.entry.key] = change.previous
        return past


def _revision_of(change: Change) -> Revision:
    return change.entry.revision
