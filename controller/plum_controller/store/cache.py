r"""The watch cache: every live object in memory, indexed, and the latest changes, pushed to whoever watches.

    store --publish--> entries, indexes --> get, list, at
                   \-> window of changes --> watch: replay, then push

A commit is in here before its caller gets the answer, so a read that follows a write sees it. Bytes are kept once: the
entry, the window and every watcher share the value that was committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from plum_schemas.selectors import FieldSelector, LabelSelector

from plum_controller.store.base import Key, LogEntry, Revision, Store
from plum_controller.store.errors import CompactedError, FutureRevisionError, StoreError, StoreUnavailableError
from plum_controller.store.events import Change, Entry, Indexed, WatchEvent
from plum_controller.store.index import Entries, Keys, ResourceIndex, selecting
from plum_controller.store.replay import Replay
from plum_controller.store.watchers import Deliver, Ended, Group, ResourceWatchers, Selection, Watcher
from plum_controller.store.window import Window

__all__ = ["Entry", "Indexed", "WatchCache", "WatchEvent", "Watcher"]

logger = logging.getLogger(__name__)

WINDOW_CHANGES = 10_000
WINDOW_BYTES = 16 << 20
"""Bounds of the changes kept in memory. A watcher that resumes from before them is replayed from the store."""

REPLAYS_AT_ONCE = 4
"""Watchers that read the log at the same time. More of them would not be faster, and each holds what it read."""


class WatchCache:
    """Loaded once, then kept up to date by the store. All methods are for the event loop."""

    def __init__(
        self,
        store: Store,
        index: Callable[[Key, bytes], Indexed],
        *,
        window_changes: int = WINDOW_CHANGES,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        """`index` says what an object is found by; it is asked once per change and must not raise."""
        self._store = store
        self._index = index
        self._revision: Revision = 0
        self.delivered: Revision = 0
        """Every watcher got what concerns it up to here. Behind `revision` only in the middle of a delivery."""
        self._resources: dict[str, ResourceIndex] = {}
        self._owned: dict[str, set[Key]] = {}
        self._watchers: dict[str, ResourceWatchers] = {}
        self.observers: set[Callable[[frozenset[str]], None]] = set()
        """Told the resources of every commit, after its watchers: for what follows from objects of many kinds."""
        self._window = Window(window_changes, window_bytes)
        self._early: list[LogEntry] | None = []
        self._replays: dict[Watcher, asyncio.Task[None]] = {}
        self._replaying = asyncio.Semaphore(REPLAYS_AT_ONCE)

    @property
    def revision(self) -> Revision:
        """The last commit that reads here include."""
        return self._revision

    async def load(self) -> None:
        """Read every live object. Call once, before anything else."""
        self._store.subscribe(self.publish)
        while True:
            self._resources.clear()
            self._owned.clear()
            start = self._store.revision
            try:
                async for piece in self._store.snapshot():
                    for logged in piece:
                        self._put(self._entry(logged))
            except CompactedError:  # many changes while reading: begin again at a later revision
                continue
            break
        early, self._early = self._early or [], None
        self._revision = self.delivered = self._window.start = start
        late = [logged for logged in early if logged.revision > start]
        if late:
            self.publish(late)

    def publish(self, entries: Sequence[LogEntry]) -> None:
        """Take in whole commits and push them to the watchers. The store's listener."""
        if self._early is not None:
            self._early.extend(entries)
            return
        changes = [self._apply(logged) for logged in entries]
        self._revision = entries[-1].revision
        found: dict[Group, list[WatchEvent]] = {}
        for change in changes:
            watchers = self._watchers.get(change.entry.key.resource)
            if watchers is not None:
                for group in watchers.concerned(change):
                    event = group.event(change)
                    if event is not None:
                        found.setdefault(group, []).append(event)
        self._window.add(changes)
        for group, events in found.items():
            for watcher in tuple(group.watchers):
                watcher.deliver(events, self._revision)
        self.delivered = self._revision
        for change in changes:
            change.forget_events()
        if self.observers:
            touched = frozenset(change.entry.key.resource for change in changes)
            for observer in tuple(self.observers):
                observer(touched)

    def get(self, key: Key) -> Entry | None:
        index = self._resources.get(key.resource)
        return index.get(key) if index is not None else None

    def list(
        self,
        resource: str,
        namespace: str = "",
        labels: LabelSelector | None = None,
        fields: FieldSelector | None = None,
        *,
        after: Key | None = None,
        limit: int = 0,
    ) -> Entries:
        """The objects that match, in key order; with `limit` only so many, behind `after`."""
        index = self._resources.get(resource)
        return index.list(namespace, labels, fields, after, limit) if index is not None else []

    def by_owner(self, uid: str) -> Entries:
        """The objects of any resource that name this owner, in key order."""
        found = (self.get(key) for key in sorted(self._owned.get(uid, ())))
        return [entry for entry in found if entry is not None]

    def keys(self, resource: str) -> Keys:
        index = self._resources.get(resource)
        return index.keys() if index is not None else []

    def count(self, resource: str) -> int:
        index = self._resources.get(resource)
        return len(index) if index is not None else 0

    async def at(
        self,
        revision: Revision,
        resource: str,
        namespace: str = "",
        labels: LabelSelector | None = None,
        fields: FieldSelector | None = None,
        *,
        after: Key | None = None,
        limit: int = 0,
    ) -> Entries:
        """Like `list`, as it was at a revision: for the later pages of a list, and for looks into the past.

        Raises `CompactedError`, `FutureRevisionError`.
        """
        if revision > self._revision:
            raise FutureRevisionError(revision, self._revision)
        if revision < self._store.compacted:
            raise CompactedError(revision, self._store.compacted)
        undone = self._window.undone(revision, resource)
        if undone == {}:
            return self.list(resource, namespace, labels, fields, after=after, limit=limit)
        if undone is None:
            found = [self._entry(logged) for logged in await self._store.read_at(revision, resource, namespace)]
        else:
            now = {entry.key: entry for entry in self.list(resource)}
            past = {**now, **undone}
            found = [entry for key in sorted(past) if (entry := past[key]) is not None]
        selects = selecting(namespace, labels, fields)
        found = [e for e in found if (after is None or e.key > after) and (selects is None or selects(e))]
        return found[:limit] if limit else found

    def watch(
        self,
        resource: str,
        namespace: str,
        labels: LabelSelector | None,
        fields: FieldSelector | None,
        since: Revision | None,
        deliver: Deliver,
        ended: Ended | None = None,
    ) -> Watcher:
        """Push every later change of what matches to `deliver`, each exactly once and in order.

        `since` None: first everything that matches now, as ADDED. A revision: every change after it; one that has not
        happened is waited for. What memory still holds is delivered before this returns, older history a little later.
        Raises `CompactedError` when `since` lies before the kept history; should compaction come past while that is
        replayed, the watcher fails and `ended` is told.
        """
        if since is not None and since < self._store.compacted:
            raise CompactedError(since, self._store.compacted)
        selection = Selection(resource, namespace, labels or None, fields or None)
        watcher = Watcher(self, selection, -1 if since is None else since, deliver, ended)
        if since is None:
            now = self.list(resource, namespace, labels, fields)
            self._attach(watcher)
            watcher.deliver([WatchEvent("ADDED", entry, None, entry.revision) for entry in now], self._revision)
        elif since >= self._window.start:
            self._attach(watcher)
        else:
            self._replays[watcher] = asyncio.get_running_loop().create_task(self._catch_up(watcher))
        return watcher

    def release(self, watcher: Watcher) -> None:
        """Forget a closed watcher. Called by `Watcher.close`."""
        replay = self._replays.pop(watcher, None)
        if replay is not None and replay is not asyncio.current_task():
            replay.cancel()
        if watcher.attached:
            watchers = self._watchers[watcher.selection.resource]
            watchers.remove(watcher)
            if not watchers.count:
                del self._watchers[watcher.selection.resource]

    def reindex(self, resource: str) -> None:
        """Ask `index` again for every object of a resource: what it is selectable by has changed."""
        old = self._resources.pop(resource, None)
        for key in old.keys() if old is not None else ():
            entry = old.get(key) if old is not None else None
            if entry is not None:
                self._put(entry._replace(indexed=self._index(key, entry.value)))

    def _attach(self, watcher: Watcher) -> None:
        """Put the watcher where changes find it, after what the window holds behind its position."""
        group = Group(watcher.selection)
        position = watcher.revision
        watcher.attached = True
        self._watchers.setdefault(watcher.selection.resource, ResourceWatchers()).add(watcher)
        if 0 <= position < self._revision:
            resource = watcher.selection.resource
            changes = [change for change in self._window.after(position) if change.entry.key.resource == resource]
            events = [event for change in changes if (event := group.event(change)) is not None]
            watcher.deliver(events, self._revision)
            for change in changes:
                change.forget_events()

    async def _catch_up(self, watcher: Watcher) -> None:
        try:
            await Replay(self._store, self._index, watcher, self._replaying).advance(lambda: self._window.start)
        except Exception as error:
            if not isinstance(error, StoreError):
                logger.exception("replay failed", extra={"resource": watcher.selection.resource})
            watcher.fail(error if isinstance(error, StoreError) else StoreUnavailableError(f"the replay failed: {error}"))
        else:
            self._replays.pop(watcher, None)
            if not watcher.closed:
                self._attach(watcher)

    def _apply(self, logged: LogEntry) -> Change:
        if logged.deleted:
            previous = self._drop(logged.key)
            # A deletion carries the last state, so it is found by what that was found by.
            indexed = previous.indexed if previous is not None else self._index(logged.key, logged.value)
            return Change(Entry(logged.key, logged.revision, logged.value, indexed), previous, True)
        entry = self._entry(logged)
        return Change(entry, self._put(entry), False)

    def _entry(self, logged: LogEntry) -> Entry:
        return Entry(logged.key, logged.revision, logged.value, self._index(logged.key, logged.value))

    def _put(self, entry: Entry) -> Entry | None:
        index = self._resources.get(entry.key.resource)
        if index is None:
            index = self._resources[entry.key.resource] = ResourceIndex()
        previous = index.put(entry)
        if previous is None or previous.indexed.owners != entry.indexed.owners:
            self._disown(previous)
            for uid in entry.indexed.owners:
                self._owned.setdefault(uid, set()).add(entry.key)
        return previous

    def _drop(self, key: Key) -> Entry | None:
        index = self._resources.get(key.resource)
        previous = index.remove(key) if index is not None else None
        self._disown(previous)
        return previous

    def _disown(self, entry: Entry | None) -> None:
        for uid in entry.indexed.owners if entry is not None else ():
            owned = self._owned.get(uid)
            if owned is not None and entry is not None:
                owned.discard(entry.key)
                if not owned:
                    del self._owned[uid]
