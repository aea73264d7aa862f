"""Dropping what a schema does not know.

    pruner(schema) -> function(value) -> paths it removed, relative to the value

A schema without closed objects anywhere in it has no pruner, so free-form parts cost nothing. The functions are built
for the shape of each node: most objects have only scalars in them, and those cost one comparison of sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plum_controller.resources.schema.metadata import OBJECT_META

Pruner = Callable[[Any], list[str] | None]
"""Removes unknown fields in place; the paths it removed, or None for none."""

FEW = 4
"""Up to so many interesting fields are looked up by name; with more, a loop over what the object has is faster."""

RESOURCE_FIELDS: dict[str, Any] = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": OBJECT_META}
"""Fields that every complete object has, whether or not its schema declares them."""


def pruner(schema: Mapping[str, Any], *, is_resource: bool = False) -> Pruner | None:
    """What drops unknown fields of a value of this schema; None if nothing can be unknown."""
    if schema.get("items"):
        item = pruner(schema["items"])
        return None if item is None else _list_pruner(item)
    properties: Mapping[str, Any] = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    is_resource = is_resource or bool(schema.get("x-kubernetes-embedded-resource"))
    is_closed = additional in (None, False) and not schema.get("x-kubernetes-preserve-unknown-fields")
    if is_closed and schema.get("type") != "object" and not properties:
        return None  # a scalar, or any value: an object here is the validator's business
    if is_resource:
        properties = {**properties, **RESOURCE_FIELDS}
    inner = {name: found for name, child in properties.items() if (found := pruner(child)) is not None}
    rest = pruner(additional) if isinstance(additional, dict) and additional else None
    known = frozenset(properties)
    if rest is not None:
        return _map_pruner(known, inner, rest)
    if not is_closed:
        return _inner_pruner(inner) if inner else None
    return _closed_pruner(known, _inner_pruner(inner) if inner else None)


def _closed_pruner(known: frozenset[str], prune_inner: Pruner | None) -> Pruner:
    """An object with declared fields only."""
    is_known = known.issuperset

    def prune_unknown(value: dict[str, Any]) -> list[str]:
        removed = [name for name in value if name not in known]
        for name in removed:
            del value[name]
        return removed

    def prune_scalars(value: Any) -> list[str] | None:
        return None if type(value) is not dict or is_known(value) else prune_unknown(value)

    if prune_inner is None:
        return prune_scalars
    inner = prune_inner

    def prune(value: Any) -> list[str] | None:
        if type(value) is not dict or is_known(value):
            return inner(value)
        return [*prune_unknown(value), *(inner(value) or ())]

    return prune


def _inner_pruner(inner: Mapping[str, Pruner]) -> Pruner:
    """The declared fields of an object that have something to prune inside."""
    pairs, find = tuple(inner.items()), inner.get

    def prune_few(value: Any) -> list[str] | None:
        if type(value) is not dict:
            return None
        removed: list[str] | None = None
        for name, below in pairs:
            child = value.get(name)
            if child:
                found = below(child)
                if found:
                    removed = [*(removed or ()), *_prefixed(name, found)]
        return removed

    def prune_many(value: Any) -> list[str] | None:
        if type(value) is not dict:
            return None
        removed: list[str] | None = None
        for name, child in value.items():
            below = find(name)
            if below is not None and child:
                found = below(child)
                if found:
                    removed = [*(removed or ()), *_prefixed(name, found)]
        return removed

    return prune_few if len(pairs) <= FEW else prune_many


def _map_pruner(known: frozenset[str], inner: Mapping[str, Pruner], rest: Pruner) -> Pruner:
    """An object whose undeclared keys have values of one schema."""

    def prune(value: Any) -> list[str] | None:
        if type(value) is not dict:
            return None
        removed: list[str] = []
        for name, child in value.items():
            below = inner.get(name) if name in known else rest
            if below is not None:
                removed += _prefixed(name, below(child) or ())
        return removed

    return prune


def _list_pruner(item: Pruner) -> Pruner:
    def prune(value: Any) -> list[str] | None:
        if type(value) is not list:
            return None
        removed: list[str] | None = None
        for index, child in enumerate(value):
            found = item(child)
            if found:
                removed = [*(removed or ()), *_prefixed(f"[{index}]", found)]
        return removed

    return prune


def _prefixed(name: str, found: list[str] | tuple[str, ...]) -> list[str]:
    return [name + path if path.startswith("[") else f"{name}.{path}" for path in found]
