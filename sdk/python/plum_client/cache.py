"""Objects of one kind in memory, as bytes, with indexes: what informers answer from.

    replace(key, revision, value) -> bytes are kept, index entries are moved
    get, list, by_index           -> decoded on access, through a small cache of decoded objects

A decoded object takes several times the memory of its JSON, and of thousands of objects few are looked at again.
Returned objects are shared: read-only for everybody.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeAlias

from plum_schemas.base import ObjectKey

from plum_client.codec import AnyT

Indexer = Callable[[AnyT], Sequence[str]]
"""The values under which an object is found; none, one or several."""
Objects: TypeAlias = list[AnyT]
Keys: TypeAlias = list[ObjectKey]
Texts: TypeAlias = list[str]
DECODED = 2048
"""Decoded objects kept per cache; 2 to 10 MB for usual objects."""
LARGEST = 10_000
"""Decoded objects kept while that many are asked for at once, such as all instances of a large Deployment at each of their
changes: a cache that is smaller than what is read in turns decodes everything every time."""

_NOTHING: tuple[tuple[str, str], ...] = ()


class Entry:
    """One object as it came."""

    __slots__ = ("indexed", "revision", "value")

    def __init__(self, revision: int, value: bytes) -> None:
        self.revision = revision
        self.value = value
        self.indexed: tuple[tuple[str, str], ...] = ()
        """(index, value) pairs under which it is found."""


class ObjectCache(Generic[AnyT]):
    """Key to object, in bytes. Not for use from several threads."""

    def __init__(self, decode: Callable[[bytes], AnyT], decoded: int = DECODED) -> None:
        self._decode = decode
        self._entries: dict[ObjectKey, Entry] = {}
        self._namespaces: dict[str, dict[ObjectKey, None]] = {}
        self._indexers: dict[str, Indexer[AnyT]] = {}
        self._indexes: dict[str, dict[str, dict[ObjectKey, None]]] = {}
        # Two generations instead of a list by last use: a hit costs one dictionary lookup.
        self._young: dict[ObjectKey, AnyT] = {}
        self._old: dict[ObjectKey, AnyT] = {}
        self._usual_size = self._generation_size = max(1, decoded // 2)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._entries

    @property
    def indexer_names(self) -> Iterable[str]:
        return self._indexers.keys()

    def entry(self, key: ObjectKey) -> Entry | None:
        return self._entries.get(key)

    def keys(self, namespace: str = "") -> Keys:
        """All keys, of one namespace or (empty) of all."""
        return list(self._namespaces.get(namespace, ()) if namespace else self._entries)

    def values(self) -> Sequence[tuple[ObjectKey, bytes]]:
        """Every key with its object as it came."""
        return [(key, entry.value) for key, entry in self._entries.items()]

    def get(self, key: ObjectKey) -> AnyT | None:
        found = self._young.get(key)
        if found is not None:
            return found
        entry = self._entries.get(key)
        if entry is None:
            return None
        found = self._old.pop(key, None)
        if found is None:
            found = self._decode(entry.value)
        return self._remember(key, found)

    def list(self, namespace: str = "") -> Objects[AnyT]:
        """All objects, of one namespace or (empty) of all."""
        return self._load(self.keys(namespace))

    def by_index(self, name: str, value: str) -> Objects[AnyT]:
        """The objects for which the indexer `name` gave `value`. Raises `KeyError` for an unknown index."""
        return self._load(self._indexes[name].get(value, ()))

    def index_keys(self, name: str, value: str) -> Keys:
        """Like `by_index`, without decoding anything."""
        return list(self._indexes[name].get(value, ()))

    def index_values(self, name: str) -> Texts:
        """The values that at least one object has."""
        return list(self._indexes[name])

    def add_indexers(self, indexers: Mapping[str, Indexer[AnyT]]) -> None:
        """Add indexes, over what is there too. Raises `ValueError` when a name is taken by another function."""
        for name, indexer in indexers.items():
            known = self._indexers.get(name)
            if known is indexer:
                continue
            if known is not None:
                raise ValueError(f"index {name!r} exists with another function; use the same function or another name")
            self._indexers[name] = indexer
            self._indexes[name] = {}
            for key, entry in self._entries.items():
                values = [(name, value) for value in dict.fromkeys(indexer(self._decode(entry.value)))]
                entry.indexed += tuple(values)
                for pair in values:
                    self._indexes[name].setdefault(pair[1], {})[key] = None

    def replace(self, key: ObjectKey, revision: int, value: bytes) -> None:
        """Put an object in. Raises what decoding raises, before anything changed, if there are indexes."""
        indexed: tuple[tuple[str, str], ...] = ()
        decoded: AnyT | None = None
        if self._indexers:
            decoded = self._decode(value)
            indexed = tuple(
                (name, sys.intern(text)) for name, indexer in self._indexers.items() for text in dict.fromkeys(indexer(decoded))
            )
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(revision, value)
            self._namespaces.setdefault(key.namespace, {})[key] = None
        else:
            entry.revision, entry.value = revision, value
            self._young.pop(key, None)
            self._old.pop(key, None)
        if entry.indexed != indexed:
            self._unindex(key, entry)
            entry.indexed = indexed
            for name, text in indexed:
                self._indexes[name].setdefault(text, {})[key] = None
        if decoded is not None:
            self._remember(key, decoded)

    def remove(self, key: ObjectKey) -> Entry | None:
        """Take an object out. A missing one is fine."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self._young.pop(key, None)
        self._old.pop(key, None)
        self._unindex(key, entry)
        members = self._namespaces[key.namespace]
        del members[key]
        if not members:
            del self._namespaces[key.namespace]
        return entry

    def age(self) -> None:
        """Let go of decoded objects that were not looked at since the last call."""
        self._generation_size = max(self._usual_size, len(self._young))
        self._renew()

    def _renew(self) -> None:
        self._old, self._young = self._young, {}

    def _load(self, keys: Iterable[ObjectKey]) -> Objects[AnyT]:
        young = self._young
        result: Objects[AnyT] = []
        wanted = list(keys)
        if len(wanted) > self._generation_size:
            self._generation_size = min(len(wanted), LARGEST)
        for key in wanted:
            found = young.get(key)
            if found is None:
                found = self.get(key)
                young = self._young
            if found is not None:
                result.append(found)
        return result

    def _remember(self, key: ObjectKey, obj: AnyT) -> AnyT:
        if len(self._young) >= self._generation_size:
            self._renew()
        self._young[key] = obj
        return obj

    def _unindex(self, key: ObjectKey, entry: Entry) -> None:
        for name, text in entry.indexed:
            members = self._indexes[name].get(text)
            if members is not None:
                members.pop(key, None)
                if not members:
                    del self._indexes[name][text]
        entry.indexed = _NOTHING
