"""Dropping what a schema does not know.

    pruner(schema) -> function(value) -> paths it removed, relative to the value

A schema without closed objects anywhere in it has no pruner, so free-form parts cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plum_controller.resources.schema.metadata import OBJECT_META

Pruner = Callable[[Any], list[str] | None]
"""Removes unknown fields in place; the paths it removed, or None for none."""

RESOURCE_FIELDS: dict[str, Any] = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": OBJECT_META}
"""Fields that every complete object has, whether or not its schema declares them."""


def pruner(schema: Mapping[str, Any], *, is_resource: bool = False) -> Pruner | None:
    """What drops unknown fields of a value of this schema; None if nothing can be unknown."""
    if schema.get("items"):
        return _list_pruner(schema["items"])
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
    if not is_closed and not inner and rest is None:
        return None
    return _object_pruner(frozenset(properties), is_closed, inner, rest)


def _object_pruner(known: frozenset[str], is_closed: bool, inner: Mapping[str, Pruner], rest: Pruner | None) -> Pruner:
    is_known, find = known.issuperset, inner.get

    def prune(value: Any) -> list[str] | None:
        if type(value) is not dict:
            return None
        removed: list[str] | None = None
        if is_closed and not is_known(value):
            removed = [name for name in value if name not in known]
            for name in removed:
                del value[name]
        for name, child in value.items():
            if child:
                below = find(name)
                if below is None:
                    if rest is None or name in known:
                        continue
                    below = rest
                found = below(child)
                if found:
                    removed = removed or []
                    removed += [name + path if path[0] == "[" else f"{name}.{path}" for path in found]
        return removed

    return prune


def _list_pruner(items: Mapping[str, Any]) -> Pruner | None:
    item = pruner(items)
    if item is None:
        return None

    def prune(value: Any) -> list[str] | None:
        if type(value) is not list:
            return None
        removed: list[str] | None = None
        for index, child in enumerate(value):
            found = item(child)
            if found:
                removed = removed or []
                removed += [f"[{index}]{path}" if path[0] == "[" else f"[{index}].{path}" for path in found]
        return removed

    return prune
