"""Filling in defaults, and dropping nulls that mean nothing.

    defaulter(schema) -> function(value), in place

A default is set where its key is missing or null, and only inside objects that are there. A null of a field that is
not nullable is the same as a missing field. Doing it twice changes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from plum_controller.resources.schema.pruning import FEW

Defaulter = Callable[[Any], None]

_SCALARS = (str, int, float, bool)


def defaulter(schema: Mapping[str, Any], *, is_resource: bool = False, drops_nulls: bool = True) -> Defaulter | None:
    """What completes a value of this schema; None if there is never anything to do.

    Without `drops_nulls` it is for values that hold no null, and skips the parts of the schema that have no default.
    """
    if schema.get("items"):
        return _list_defaulter(schema["items"], drops_nulls)
    properties: Mapping[str, Any] = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    inner = {
        name: found for name, child in properties.items() if (found := defaulter(child, drops_nulls=drops_nulls)) is not None
    }
    if drops_nulls and (is_resource or schema.get("x-kubernetes-embedded-resource")):
        inner["metadata"] = _drop_metadata_nulls
    rest = defaulter(additional, drops_nulls=drops_nulls) if isinstance(additional, dict) and additional else None
    fill, complete_inner = _filler(properties), _inner_defaulter(frozenset(properties), inner, rest)
    if not drops_nulls:
        return _completer(None, fill, complete_inner) if fill is not None or complete_inner is not None else None
    if not properties and not isinstance(additional, dict) and not inner:
        return None
    return _completer(_null_dropper(properties, additional), fill, complete_inner)


def _completer(drop_nulls: Defaulter | None, fill: Defaulter | None, complete_inner: Defaulter | None) -> Defaulter:
    def complete(value: Any) -> None:
        if type(value) is dict:
            if drop_nulls is not None and None in value.values():
                drop_nulls(value)
            if fill is not None:
                fill(value)
            if complete_inner is not None:
                complete_inner(value)

    return complete


def _filler(properties: Mapping[str, Any]) -> Defaulter | None:
    defaults = {name: child["default"] for name, child in properties.items() if child.get("default") is not None}
    if not defaults:
        return None
    have_all = frozenset(defaults).issubset
    scalars = tuple((name, value) for name, value in defaults.items() if isinstance(value, _SCALARS))
    others = tuple((name, value) for name, value in defaults.items() if not isinstance(value, _SCALARS))

    def fill(value: Any) -> None:
        if have_all(value):
            return
        for name, default in scalars:
            if name not in value:
                value[name] = default
        for name, default in others:
            if name not in value:
                value[name] = copy.deepcopy(default)

    return fill


def _inner_defaulter(known: frozenset[str], inner: Mapping[str, Defaulter], rest: Defaulter | None) -> Defaulter | None:
    pairs, find = tuple(inner.items()), inner.get

    def complete_few(value: Any) -> None:
        for name, below in pairs:
            child = value.get(name)
            if child is not None:
                below(child)

    def complete_many(value: Any) -> None:
        for name, child in value.items():
            below = find(name)
            if below is not None:
                below(child)

    def complete_map(value: Any) -> None:
        for name, child in value.items():
            below = find(name) if name in known else rest
            if below is not None:
                below(child)

    if rest is not None:
        return complete_map
    if not inner:
        return None
    return complete_few if len(pairs) <= FEW else complete_many


def _null_dropper(properties: Mapping[str, Any], additional: Any) -> Defaulter:
    droppable = frozenset(name for name, child in properties.items() if not child.get("nullable"))
    known = frozenset(properties)
    is_rest_droppable = isinstance(additional, dict) and not additional.get("nullable")

    def drop_nulls(value: Any) -> None:
        for name in [name for name, child in value.items() if child is None]:
            if name in droppable or (is_rest_droppable and name not in known):
                del value[name]

    return drop_nulls


def _list_defaulter(items: Mapping[str, Any], drops_nulls: bool) -> Defaulter | None:
    item = defaulter(items, drops_nulls=drops_nulls)
    default = items.get("default") if drops_nulls and not items.get("nullable") else None
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


def _drop_metadata_nulls(metadata: Any) -> None:
    """Metadata has no nulls: clients in Go send `creationTimestamp: null` for "not set"."""
    if type(metadata) is dict and None in metadata.values():
        for name in [name for name, child in metadata.items() if child is None]:
            del metadata[name]
