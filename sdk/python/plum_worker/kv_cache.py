"""The values of one namespace in memory: what is told by the controller, and what this program wrote itself.

    stream, poll, own writes --(key, revision, value)--> Cache --> values, a plain dictionary that reads look into

Whatever arrives later from an earlier revision is dropped, so a stream that lags behind does not undo what was written here.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it was last seen."""

    key: str
    type: str
    value: Any
    """As Python has it; of type bytes: bytes."""
    revision: int
    """Of its last write; 0 for a write of this program that has not reached the controller."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an entry."""

    key: str
    value: Any
    """None for a deletion."""
    old: Any
    """None if there was none."""
    revision: int
    deleted: bool = False


Handler = Callable[[Change], None]


class Cache:
    """Values by key. Changed under a lock, read without one."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        """Looked into by readers at any time; its values are shared, so they are not to be changed."""
        self.entries: dict[str, Entry] = {}
        self.changes = 0
        """Moves with every change."""
        self._ended: dict[str, int] = {}
        """Revisions of deletions that the stream has not told of yet."""
        self._lock = threading.RLock()
        self._handlers: dict[int, tuple[str, Handler]] = {}
        self._numbers = 0

    def put(self, key: str, kind: str, value: Any, revision: int) -> None:
        """An entry has this value since `revision`; 0: it will have, and the controller does not know yet."""
        with self._lock:
            known = self.entries.get(key)
            if revision and ((known is not None and known.revision >= revision) or self._ended.get(key, 0) >= revision):
                return
            old = self.values.get(key)
            self.entries[key] = Entry(key, kind, value, revision)
            self.values[key] = value
            if known is None or known.value != value or known.type != kind:
                self._tell(Change(key, value, old, revision))

    def delete(self, key: str, revision: int) -> None:
        with self._lock:
            known = self.entries.get(key)
            if known is not None and revision and known.revision > revision:
                return
            self._ended[key] = max(revision, self._ended.get(key, 0))
            if known is not None:
                del self.entries[key]
                self._tell(Change(key, None, self.values.pop(key), revision, deleted=True))

    def replace(self, entries: Iterable[Entry], revision: int, keep: Iterable[str] = ()) -> None:
        """These are all entries at a revision. What is not among them is gone, but for `keep` and what is newer."""
        with self._lock:
            found = {entry.key: entry for entry in entries}
            kept = set(keep)
            for entry in found.values():
                if entry.key not in kept:
                    self.put(entry.key, entry.type, entry.value, entry.revision)
            for key, known in list(self.entries.items()):
                if key not in found and key not in kept and known.revision <= revision:
                    self.delete(key, revision)
            self.passed(revision)

    def passed(self, revision: int) -> None:
        """Nothing from before `revision` is told any more."""
        with self._lock:
            if self._ended:
                self._ended = {key: ended for key, ended in self._ended.items() if ended > revision}

    def subscribe(self, handler: Handler, prefix: str) -> int:
        with self._lock:
            self._numbers += 1
            self._handlers[self._numbers] = (prefix, handler)
            return self._numbers

    def unsubscribe(self, number: int) -> None:
        with self._lock:
            self._handlers.pop(number, None)

    def stored(self) -> dict[str, list[Any]]:
        """Everything, as a snapshot keeps it."""
        with self._lock:
            return {key: [one.type, to_json(one.value), one.revision] for key, one in self.entries.items()}

    def load(self, stored: Mapping[str, list[Any]]) -> None:
        """Begin with a snapshot."""
        with self._lock:
            for key, (kind, value, revision) in stored.items():
                self.entries[key] = Entry(key, kind, from_json(kind, value), revision)
                self.values[key] = self.entries[key].value

    def _tell(self, change: Change) -> None:
        self.changes += 1
        for prefix, handler in list(self._handlers.values()):
            if change.key.startswith(prefix):
                handler(change)


def from_json(kind: str, value: Any) -> Any:
    """A value as Python has it."""
    if kind == "bytes" and isinstance(value, str):
        return base64.b64decode(value)
    return float(value) if kind == "double" and isinstance(value, int) and not isinstance(value, bool) else value


def to_json(value: Any) -> Any:
    """A value as JSON has it."""
    return base64.b64encode(value).decode() if isinstance(value, bytes | bytearray) else value
