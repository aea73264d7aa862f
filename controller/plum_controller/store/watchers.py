"""Who watches what: finds the watchers that a change concerns without asking every one.

    Change -> buckets of the object before and after -> groups (same selector) -> watchers

A watcher waits in exactly one bucket: that of its field equality, else of a label equality, else of its namespace, else of
the resource. Watchers with the same selector are a group, which is judged once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from plum_schemas.selectors import FieldSelector, LabelSelector

from plum_controller.store.base import Revision
from plum_controller.store.errors import StoreError
from plum_controller.store.events import Change, Entry, WatchEvent
from plum_controller.store.index import equalities, selecting

logger = logging.getLogger(__name__)

Deliver = Callable[[Sequence[WatchEvent]], None]
"""Takes events, in order, on the event loop. Must not block; what it cannot keep up with it must cut itself."""
Ended = Callable[[StoreError], None]
"""Told when a watcher ends by an error, such as history that was compacted while it was replayed."""


class Selection(NamedTuple):
    """What a watcher wants to see. Equal selections are one group."""

    resource: str
    namespace: str
    labels: LabelSelector | None
    fields: FieldSelector | None


class Source(Protocol):
    """The cache, as a watcher sees it."""

    @property
    def delivered(self) -> Revision: ...

    def release(self, watcher: Watcher) -> None: ...


class Watcher:
    """States: catching up (a replay from the store goes on), attached (changes are pushed), closed."""

    __slots__ = ("_deliver", "_ended", "_position", "_source", "attached", "closed", "drained", "error", "selection")

    def __init__(self, source: Source, selection: Selection, position: Revision, deliver: Deliver, ended: Ended | None) -> None:
        self.selection = selection
        self.attached = False
        self.closed = False
        self.error: StoreError | None = None
        """Why it ended, if it did not end by `close`."""
        self.drained: Callable[[], Awaitable[None]] | None = None
        """Set by a receiver that wants history no faster than it passes it on: a replay waits for it between two pieces."""
        self._source = source
        self._position = position
        self._deliver = deliver
        self._ended = ended

    @property
    def revision(self) -> Revision:
        """Everything up to here was delivered. Where to resume, and what a bookmark may say."""
        return max(self._position, self._source.delivered) if self.attached and not self.closed else self._position

    def close(self) -> None:
        """Deliver nothing more. Safe to repeat, also from inside a delivery."""
        if not self.closed:
            self._position = self.revision
            self.closed = True
            self._source.release(self)

    def fail(self, error: StoreError) -> None:
        """Close and tell why."""
        if not self.closed:
            self.error = error
            self.close()
            if self._ended is not None:
                self._ended(error)

    def deliver(self, events: Sequence[WatchEvent], position: Revision) -> None:
        """Pass on what lies behind the watcher's position, and move it. Used by the cache."""
        if self.closed or position <= self._position:
            return
        if events and events[0].revision <= self._position:
            events = [event for event in events if event.revision > self._position]
        before, self._position = self._position, position
        if events:
            try:
                self._deliver(events)
            except Exception:  # one watcher's fault must not keep the change from the others
                logger.exception("watcher failed and was closed", extra={"resource": self.selection.resource})
                self._position = before
                self.close()


class Group:
    """Watchers with the same selection."""

    __slots__ = ("selects", "watchers")

    def __init__(self, selection: Selection) -> None:
        self.selects: Callable[[Entry], bool] | None = selecting(selection.namespace, selection.labels, selection.fields)
        self.watchers: dict[Watcher, None] = {}

    def event(self, change: Change) -> WatchEvent | None:
        return change.plain() if self.selects is None else change.seen_by(self.selects)


Bucket = dict[Selection, Group]
Place = tuple[str, str, str]
"""Family (`label`, `field`, `namespace`, `all`), name, value."""


class ResourceWatchers:
    """The watchers of one resource."""

    __slots__ = ("_families", "count")

    def __init__(self) -> None:
        self._families: dict[tuple[str, str], dict[str, Bucket]] = {}
        self.count = 0

    def add(self, watcher: Watcher) -> None:
        family, name, value = place_of(watcher.selection)
        bucket = self._families.setdefault((family, name), {}).setdefault(value, {})
        group = bucket.get(watcher.selection)
        if group is None:
            group = bucket[watcher.selection] = Group(watcher.selection)
        group.watchers[watcher] = None
        self.count += 1

    def remove(self, watcher: Watcher) -> None:
        family, name, value = place_of(watcher.selection)
        buckets = self._families[family, name]
        group = buckets[value][watcher.selection]
        del group.watchers[watcher]
        self.count -= 1
        if not group.watchers:
            del buckets[value][watcher.selection]
            if not buckets[value]:
                del buckets[value]
                if not buckets:
                    del self._families[family, name]

    def concerned(self, change: Change) -> Iterator[Group]:
        """The groups that might see the change: each once."""
        entry, previous = change.entry, change.previous
        for (family, name), buckets in self._families.items():
            value = _value(entry, family, name)
            if value is not None and (bucket := buckets.get(value)) is not None:
                yield from bucket.values()
            if previous is not None:
                before = _value(previous, family, name)
                if before != value and before is not None and (bucket := buckets.get(before)) is not None:
                    yield from bucket.values()


def place_of(selection: Selection) -> Place:
    """The bucket that a selection waits in."""
    for (family, name), value in equalities(selection.labels, selection.fields):
        return family, name, value
    if selection.namespace:
        return "namespace", "", selection.namespace
    return "all", "", ""


def _value(entry: Entry, family: str, name: str) -> str | None:
    if family == "label":
        return entry.indexed.labels.get(name)
    if family == "field":
        return entry.field(name)
    return entry.key.namespace if family == "namespace" else ""
