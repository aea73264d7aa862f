"""Brings a watcher that resumes from far back to the present: reads the log until the cache's memory takes over.

    store.read -> Change -> selector -> watcher ... -> memory window -> attached

The log tells what an object became. Whether the watcher saw it before depends on what it was, so with a selector the
state before is read as well, unless the replay has just passed it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from itertools import zip_longest

from plum_controller.store.base import Key, LogEntry, Revision, Store
from plum_controller.store.events import Change, Entry, Indexed, WatchEvent
from plum_controller.store.index import selecting
from plum_controller.store.watchers import Watcher

PIECE_ENTRIES = 500
PIECE_BYTES = 1 << 20
"""What is delivered at once, so that a receiver can keep pace; a commit is never split."""
REMEMBERED = 1000
"""Objects whose last state a replay keeps in memory."""


class Replay:
    """One watcher's way through the log."""

    def __init__(self, store: Store, index: Callable[[Key, bytes], Indexed], watcher: Watcher, turns: asyncio.Semaphore) -> None:
        """`turns` bounds how many read at the same time: a thousand watchers that come back at once hold the memory of a few."""
        self._store = store
        self._index = index
        self._watcher = watcher
        self._turns = turns
        self._selection = watcher.selection
        self._selects = selecting(watcher.selection.namespace, watcher.selection.labels, watcher.selection.fields)
        self._seen: OrderedDict[Key, tuple[Revision, Entry | None]] = OrderedDict()
        """Last states that were passed: the revision, and the entry if it is selected. What is not would only cost memory."""

    async def advance(self, until: Callable[[], Revision]) -> None:
        """Deliver until the watcher stands at or behind `until()`. Raises `CompactedError`."""
        watcher = self._watcher
        while watcher.revision < until() and not watcher.closed:
            async with self._turns:
                while watcher.revision < until() and not watcher.closed:
                    wrote = await self._read_piece()
                    if wrote is None:
                        return
                    if wrote:
                        break
            # Outside of the turn: whoever reads slowly holds up nobody.
            if watcher.drained is not None:
                await watcher.drained()

    async def _read_piece(self) -> bool | None:
        """Deliver what comes next. Whether anything was there for this watcher; None at the end of the log."""
        watcher = self._watcher
        entries = await self._store.read(watcher.revision, PIECE_ENTRIES)
        if not entries:
            return None
        events: list[WatchEvent] = []
        size = 0
        for entry, after in zip_longest(entries, entries[1:]):
            event = await self._event(entry) if entry.key.resource == self._selection.resource else None
            if event is not None:
                events.append(event)
                size += len(entry.value)
            if after is None or (size >= PIECE_BYTES and after.revision != entry.revision):
                watcher.deliver(events, entry.revision)
                return bool(events)
        return False

    async def _event(self, logged: LogEntry) -> WatchEvent | None:
        entry = self._entry(logged)
        if self._selects is None:
            if logged.deleted:
                return WatchEvent("DELETED", entry, None, logged.revision)
            return WatchEvent("MODIFIED" if logged.previous else "ADDED", entry, None, logged.revision)
        namespace = self._selection.namespace
        if namespace and logged.key.namespace != namespace:
            return None
        change = Change(entry, await self._before(logged), logged.deleted)
        self._remember(entry, logged.deleted, self._selects(entry))
        return change.seen_by(self._selects)

    async def _before(self, logged: LogEntry) -> Entry | None:
        if not logged.previous:
            return None
        seen = self._seen.get(logged.key)
        if seen is not None and seen[0] == logged.previous:
            return seen[1]
        found = await self._store.read_at(logged.revision - 1, *logged.key)
        return self._entry(found[0]) if found else None

    def _entry(self, logged: LogEntry) -> Entry:
        return Entry(logged.key, logged.revision, logged.value, self._index(logged.key, logged.value))

    def _remember(self, entry: Entry, deleted: bool, selected: bool) -> None:
        if deleted:
            self._seen.pop(entry.key, None)
            return
        self._seen[entry.key] = entry.revision, entry if selected else None
        self._seen.move_to_end(entry.key)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
