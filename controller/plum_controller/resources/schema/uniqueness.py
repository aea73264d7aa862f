"""Duplicates in sets and list maps, which JSON Schema cannot name.

    uniqueness(schema) -> function(value, path, causes)

Most lists have no duplicates; a Python set of their keys says so quickly. Only when it is smaller than the list are the
items compared as JSON, because Python takes `true` and `1` for the same key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from plum_controller.resources.errors import DUPLICATE, Cause
from plum_controller.resources.schema.pruning import FEW
from plum_controller.resources.schema.validation import shown

_encode = msgspec.json.Encoder(order="sorted").encode

Uniqueness = Callable[[Any, str, list[Cause]], None]
"""Reports repeated items of a value at a path."""


def uniqueness(schema: Mapping[str, Any]) -> Uniqueness | None:
    """What looks for duplicates in the sets and list maps of a schema; None if it has neither."""
    if schema.get("items"):
        return _list_uniqueness(schema)
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    inner = {name: found for name, child in properties.items() if (found := uniqueness(child)) is not None}
    rest = uniqueness(additional) if isinstance(additional, dict) and additional else None
    if rest is not None:
        return _map_uniqueness(frozenset(properties), inner, rest)
    return _object_uniqueness(inner) if inner else None


def _object_uniqueness(inner: Mapping[str, Uniqueness]) -> Uniqueness:
    pairs, find = tuple(inner.items()), inner.get

    def check_few(value: Any, path: str, causes: list[Cause]) -> None:
        if type(value) is dict:
            for name, below in pairs:
                child = value.get(name)
                if child:
                    below(child, f"{path}.{name}" if path else name, causes)

    def check_many(value: Any, path: str, causes: list[Cause]) -> None:
        if type(value) is dict:
            for name, child in value.items():
                below = find(name)
                if below is not None and child:
                    below(child, f"{path}.{name}" if path else name, causes)

    return check_few if len(pairs) <= FEW else check_many


def _map_uniqueness(known: frozenset[str], inner: Mapping[str, Uniqueness], rest: Uniqueness) -> Uniqueness:
    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if type(value) is dict:
            for name, child in value.items():
                below = inner.get(name) if name in known else rest
                if below is not None:
                    below(child, f"{path}.{name}" if path else name, causes)

    return check


def _list_uniqueness(schema: Mapping[str, Any]) -> Uniqueness | None:
    below = uniqueness(schema["items"])
    list_type = schema.get("x-kubernetes-list-type")
    identities: Callable[[list[Any]], list[Any]] | None = None
    if list_type == "set":
        identities = list
    elif list_type == "map":
        identities = _keys_of(schema)
    if identities is None and below is None:
        return None

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if type(value) is not list:
            return
        if identities is not None and len(value) > 1:
            found = identities(value)
            if not _are_distinct(found):
                _report(found, path, causes)
        if below is not None:
            for index, child in enumerate(value):
                below(child, f"{path}[{index}]", causes)

    return check


def _are_distinct(identities: list[Any]) -> bool:
    """True if surely no two are the same."""
    try:
        return len(set(identities)) == len(identities)
    except TypeError:
        return False  # objects in a set, or keys that are not scalar


def _keys_of(schema: Mapping[str, Any]) -> Callable[[list[Any]], list[Any]]:
    """What tells the items of a list map apart, one per item; None for an item that is no object."""
    names = tuple(sorted(schema.get("x-kubernetes-list-map-keys") or ()))
    properties = schema["items"].get("properties") or {}
    defaults = {name: properties[name]["default"] for name in names if "default" in properties.get(name, {})}

    def identities(items: list[Any]) -> list[Any]:
        return [_Keys(names, item, defaults) if type(item) is dict else None for item in items]

    if len(names) != 1 or defaults:
        return identities
    name = names[0]

    def identities_by_one_key(items: list[Any]) -> list[Any]:
        values = [item.get(name) if type(item) is dict else None for item in items]
        return values if _are_distinct(values) else identities(items)

    return identities_by_one_key


class _Keys:
    """The keys of one item; equal keys are equal as JSON."""

    __slots__ = ("json", "values")

    def __init__(self, names: tuple[str, ...], item: dict[str, Any], defaults: Mapping[str, Any]) -> None:
        self.values = {name: item.get(name, defaults.get(name)) for name in names if name in item or name in defaults}
        self.json = _encode(self.values)

    def __hash__(self) -> int:
        return hash(self.json)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keys) and self.json == other.json


def _report(identities: list[Any], path: str, causes: list[Cause]) -> None:
    seen: set[bytes] = set()
    for index, identity in enumerate(identities):
        if identity is None:
            continue
        value = identity.values if isinstance(identity, _Keys) else identity
        key = _encode(value)
        if key in seen:
            causes.append(Cause(DUPLICATE, f"Duplicate value: {shown(value)}", f"{path}[{index}]"))
        seen.add(key)
