"""The live objects of one resource, in key order and by label and field.

An index by a label or a field is built when the first list asks for it, and kept up to date from then on: most labels are
never asked for, and ten thousand objects carry many.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable

from plum_schemas.selectors import FieldSelector, LabelSelector

from plum_controller.store.base import Key
from plum_controller.store.events import Entry

MAX_INDEXES = 32
"""Labels, and fields, that one resource is indexed by. Beyond, lists by other labels look at every object."""

Attribute = tuple[str, str]
"""`("label", key)` or `("field", path)`."""
Values = dict[str, set[Key]]
Entries = list[Entry]
Keys = list[Key]


class ResourceIndex:
    """Reads are exact at any time; nothing here is lazy but the building of an index."""

    __slots__ = ("_by", "_entries", "_order")

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._order: list[Key] = []
        self._by: dict[Attribute, Values] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Entry | None:
        return self._entries.get(key)

    def keys(self) -> Keys:
        return self._order.copy()

    def put(self, entry: Entry) -> Entry | None:
        """Add or replace. Answers with what was there."""
        key = entry.key
        previous = self._entries.get(key)
        self._entries[key] = entry
        if previous is None:
            if self._order and key < self._order[-1]:
                insort(self._order, key)
            else:
                self._order.append(key)
        for attribute, values in self._by.items():
            old, new = _value(previous, attribute), _value(entry, attribute)
            if old != new:
                _discard(values, old, key)
                _add(values, new, key)
        return previous

    def remove(self, key: Key) -> Entry | None:
        """Answers with what was there."""
        previous = self._entries.pop(key, None)
        if previous is not None:
            del self._order[bisect_left(self._order, key)]
            for attribute, values in self._by.items():
                _discard(values, _value(previous, attribute), key)
        return previous

    def list(
        self, namespace: str, labels: LabelSelector | None, fields: FieldSelector | None, after: Key | None, limit: int
    ) -> Entries:
        """The objects that match, in key order, `limit` of them (0: all) behind `after`."""
        entries = self._entries
        candidates = self._candidates(labels, fields)
        selects = selecting(namespace if candidates is not None else "", labels, fields)
        keys: Iterable[Key]
        if candidates is None:
            keys = self._range(namespace, after, 0 if selects else limit)
        else:
            keys = sorted(candidates if after is None else [key for key in candidates if key > after])
        if selects is None:
            found = [entries[key] for key in keys]
            return found[:limit] if limit else found
        found = []
        for key in keys:
            entry = entries[key]
            if selects(entry):
                found.append(entry)
                if len(found) == limit:
                    break
        return found

    def _range(self, namespace: str, after: Key | None, limit: int) -> Keys:
        order = self._order
        if not order:
            return []
        resource = order[0].resource
        low, high = 0, len(order)
        if namespace:
            low = bisect_left(order, Key(resource, namespace, ""))
            high = bisect_left(order, Key(resource, namespace + "\0", ""), lo=low)
        if after is not None:
            low = max(low, bisect_right(order, after))
        return order[low : min(high, low + limit) if limit else high]

    def _candidates(self, labels: LabelSelector | None, fields: FieldSelector | None) -> set[Key] | None:
        """The keys that one equality leaves, the fewest that an index finds. None: every object is one."""
        best: set[Key] | None = None
        for attribute, wanted in equalities(labels, fields):
            values = self._values(attribute)
            if values is not None:
                found = values.get(wanted, set())
                if best is None or len(found) < len(best):
                    best = found
        return best

    def _values(self, attribute: Attribute) -> Values | None:
        values = self._by.get(attribute)
        if values is None and len(self._by) < MAX_INDEXES:
            values = self._by[attribute] = {}
            for key, entry in self._entries.items():
                _add(values, _value(entry, attribute), key)
        return values


def equalities(labels: LabelSelector | None, fields: FieldSelector | None) -> Iterable[tuple[Attribute, str]]:
    """The demands for one value, which an index can answer, most selective first as far as one can tell."""
    for field in fields.requirements if fields is not None else ():
        # The empty text also means that the field is absent, which no index knows.
        if field.operator == "=" and field.value and field.path != "metadata.namespace":
            yield ("field", field.path), field.value
    for label in labels.requirements if labels is not None else ():
        if label.operator in ("=", "in") and len(label.values) == 1:
            yield ("label", label.key), label.values[0]


def selecting(namespace: str, labels: LabelSelector | None, fields: FieldSelector | None) -> Callable[[Entry], bool] | None:
    """The test that an object of the right resource must pass. None: all pass."""
    if not namespace and not labels and not fields:
        return None

    def selects(entry: Entry) -> bool:
        if namespace and entry.key.namespace != namespace:
            return False
        if labels and not labels.matches(entry.indexed.labels):
            return False
        return not fields or fields.matches(entry.field)

    return selects


def _value(entry: Entry | None, attribute: Attribute) -> str | None:
    if entry is None:
        return None
    family, name = attribute
    return entry.indexed.labels.get(name) if family == "label" else entry.field(name) or None


def _add(values: Values, value: str | None, key: Key) -> None:
    if value is not None:
        values.setdefault(value, set()).add(key)


def _discard(values: Values, value: str | None, key: Key) -> None:
    if value is not None:
        keys = values[value]
        keys.discard(key)
        if not keys:
            del values[value]
