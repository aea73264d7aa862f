"""What flows out of the watch cache: entries for reads, events for watchers.

    LogEntry --index--> Entry ; Entry before + Entry after = Change --selector--> WatchEvent --line()--> bytes

One change makes at most three events (appeared, changed, vanished), each made once and shared by all watchers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from plum_controller.store.base import Key, Revision

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class Indexed(NamedTuple):
    """What an object is found by. The store does not look into values; whoever writes them says this."""

    labels: Mapping[str, str]
    owners: tuple[str, ...]
    """uids."""
    fields: Mapping[str, str]
    """The declared selectable fields, such as `{"spec.nodeName": "node-1"}`. Those of the metadata come from the key."""


class Entry(NamedTuple):
    """One object as it is in the cache. `value` is shared: never changed, never copied."""

    key: Key
    revision: Revision
    value: bytes
    indexed: Indexed

    def field(self, path: str) -> str:
        """The text at a selectable path, the empty text when there is none."""
        if path == "metadata.name":
            return self.key.name
        if path == "metadata.namespace":
            return self.key.namespace
        return self.indexed.fields.get(path, "")


class WatchEvent:
    """One change as one kind of watcher sees it."""

    __slots__ = ("_line", "entry", "previous", "revision", "type")

    def __init__(self, kind: EventType, entry: Entry, previous: Entry | None, revision: Revision) -> None:
        self.type: EventType = kind
        self.entry = entry
        """For DELETED the last state that the watcher may see, with the revision of this event inside."""
        self.previous = previous
        """The object before; None when there was none, and in a replay from the store that needed no selector."""
        self.revision = revision
        self._line: bytes | None = None

    def line(self) -> bytes:
        """`{"type":...,"object":...}` and a newline, made once for all watchers."""
        if self._line is None:
            self._line = b'{"type":"%b","object":%b}\n' % (self.type.encode(), self.entry.value)
        return self._line

    def __repr__(self) -> str:
        return f"WatchEvent({self.type} {self.entry.key} at {self.revision})"


class Change:
    """One key's step from `previous` to `entry`."""

    __slots__ = ("_appeared", "_changed", "_vanished", "deleted", "entry", "previous", "size_bytes")

    def __init__(self, entry: Entry, previous: Entry | None, deleted: bool) -> None:
        self.entry = entry
        self.previous = previous
        self.deleted = deleted
        self.size_bytes = len(entry.value)
        self._appeared: WatchEvent | None = None
        self._changed: WatchEvent | None = None
        self._vanished: WatchEvent | None = None

    def plain(self) -> WatchEvent:
        """The event for a watcher without a selector."""
        if self.deleted:
            return self._vanish()
        return self._appear() if self.previous is None else self._change()

    def seen_by(self, selects: Callable[[Entry], bool]) -> WatchEvent | None:
        """The event for a watcher that selects some objects: one that starts or stops to match is added or deleted for it."""
        before = self.previous is not None and selects(self.previous)
        after = not self.deleted and selects(self.entry)
        if before:
            return self._change() if after else self._vanish()
        return self._appear() if after else None

    def forget_events(self) -> None:
        """Let go of the shared events, which hold a second copy of the value. A replay makes its own."""
        self._appeared = self._changed = self._vanished = None

    def _appear(self) -> WatchEvent:
        if self._appeared is None:
            self._appeared = WatchEvent("ADDED", self.entry, self.previous, self.entry.revision)
        return self._appeared

    def _change(self) -> WatchEvent:
        if self._changed is None:
            self._changed = WatchEvent("MODIFIED", self.entry, self.previous, self.entry.revision)
        return self._changed

    def _vanish(self) -> WatchEvent:
        if self._vanished is None:
            entry = self.entry if self.deleted or self.previous is None else restamp(self.previous, self.entry.revision)
            self._vanished = WatchEvent("DELETED", entry, self.previous, self.entry.revision)
        return self._vanished


def restamp(entry: Entry, revision: Revision) -> Entry:
    """The same state under a later revision, which clients resume from.

    Objects carry their revision as the first field of their metadata, before anything that a user writes, so the
    first occurrence is the one.
    """
    old, new = b'"resourceVersion":"%d"' % entry.revision, b'"resourceVersion":"%d"' % revision
    return entry._replace(revision=revision, value=entry.value.replace(old, new, 1))
