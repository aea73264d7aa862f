"""Filling in defaults, and dropping nulls that mean nothing.

    defaulter(schema) -> function(value), in place

A default is set where its key is missing or null, and only inside objects that are there. A null of a field that is
not nullable is the same as a missing field. Doing it twice changes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

Defaulter = Callable[[Any], None]

_SCALARS = (str, int, float, bool)


def defaulter(schema: Mapping[str, Any], *, is_resource: bool = False) -> Defaulter | None:
    """What completes a value of this schema; None if there is never anything to do."""
    if schema.get("items"):
        return _list_defaulter(schema["items"])
    properties: Mapping[str, Any] = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    inner = {name: found for name, child in properties.items() if (found := defaulter(child)) is not None}
    if is_resource or schema.get("x-kubernetes-embedded-resource"):
        inner["metadata"] = _drop_nulls
    rest = defaulter(additional) if isinstance(additional, dict) and additional else None
    if not properties and not isinstance(additional, dict) and not inner:
        return None
    return _ObjectDefaulter(properties, inner, additional if isinstance(additional, dict) else None, rest).complete


class _ObjectDefaulter:
    """Completes objects of one schema."""

    __slots__ = ("_copied", "_droppable", "_filled", "_find", "_is_rest_droppable", "_known", "_rest")

    def __init__(
        self,
        properties: Mapping[str, Any],
        inner: Mapping[str, Defaulter],
        additional: Mapping[str, Any] | None,
        rest: Defaulter | None,
    ) -> None:
        defaults = {name: child["default"] for name, child in properties.items() if child.get("default") is not None}
        self._filled = tuple((name, value) for name, value in defaults.items() if isinstance(value, _SCALARS))
        self._copied = tuple((name, value) for name, value in defaults.items() if not isinstance(value, _SCALARS))
        self._droppable = frozenset(name for name, child in properties.items() if not child.get("nullable"))
        self._known = frozenset(properties)
        self._find = inner.get
        self._rest = rest
        self._is_rest_droppable = additional is not None and not additional.get("nullable")

    def complete(self, value: Any) -> None:
        if type(value) is not dict:
            return
        if None in value.values():
            self._drop_nulls(value)
        for name, default in self._filled:
            if name not in value:
                value[name] = default
        for name, default in self._copied:
            if name not in value:
                value[name] = copy.deepcopy(default)
        find, rest = self._find, self._rest
        for name, child in value.items():
            below = find(name)
            if below is not None:
                below(child)
            elif rest is not None and name not in self._known:
                rest(child)

    def _drop_nulls(self, value: dict[str, Any]) -> None:
        known, droppable = self._known, self._droppable
        for name in [name for name, child in value.items() if child is None]:
            if name in droppable or (self._is_rest_droppable and name not in known):
                del value[name]


def _list_defaulter(items: Mapping[str, Any]) -> Defaulter | None:
    item = defaulter(items)
    default = items.get("default") if not items.get("nullable") else None
    if item is None and default is None:
        return None

    def complete(value: Any) -> None:
        if type(value) is not list:
            return
        if default is not None and None in value:
            value[:] = [copy.deepcopy(default) if child is None else child for child in value]
        if item is not None:
            for child in value:
                item(child)

    return complete


def _drop_nulls(metadata: Any) -> None:
    """Metadata has no nulls: clients in Go send `creationTimestamp: null` for "not set"."""
    if type(metadata) is dict and None in metadata.values():
        for name in [name for name, child in metadata.items() if child is None]:
            del metadata[name]
