"""Entries in the order of their keys: what prefix and range reads are answered from.

    watch cache --every change of an entry--> KeyIndex --keys(namespace, prefix, start, end)--> keys, sorted

The cache sorts by object name, and the name of an entry whose key can be no name is a hash.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from plum_controller.resources.kv import RESOURCE, key_of
from plum_controller.store.cache import WatchCache, WatchEvent

LAST = "\U0010ffff"
"""Sorts behind every character of a key: keys are printable, and this one is not."""


class KeyIndex:
    """Follows the cache, so that a read sees what was committed before it."""

    def __init__(self, cache: WatchCache) -> None:
        self._keys: dict[str, list[str]] = {}
        self._watcher = cache.watch(RESOURCE, "", None, None, None, self._changed)

    def close(self) -> None:
        self._watcher.close()

    def namespaces(self) -> list[str]:
        """Those that hold entries."""
        return sorted(self._keys)

    def keys(self, namespace: str, prefix: str = "", start: str = "", end: str = "") -> Sequence[str]:
        """The keys from `start` (with it) to `end` (without it; empty: to the last one) that begin with `prefix`."""
        keys = self._keys.get(namespace, [])
        low = bisect_left(keys, max(prefix, start))
        high = bisect_left(keys, prefix + LAST) if prefix else len(keys)
        if end:
            high = min(high, bisect_left(keys, end))
        return keys[low:high]

    def _changed(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            if event.type == "MODIFIED":
                continue
            namespace, key = event.entry.key.namespace, key_of(event.entry)
            keys = self._keys.setdefault(namespace, [])
            position = bisect_left(keys, key)
            there = position < len(keys) and keys[position] == key
            if event.type == "ADDED" and not there:
                if position == len(keys):
                    keys.append(key)
                else:
                    insort(keys, key)
            elif event.type == "DELETED" and there:
                del keys[position]
                if not keys:
                    del self._keys[namespace]


def selected(key: str, prefix: str, start: str, end: str) -> bool:
    """Whether one key is in a range."""
    return key.startswith(prefix) and key >= start and (not end or key < end)
