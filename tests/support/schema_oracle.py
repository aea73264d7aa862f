"""What a structural schema means, written as plainly as possible: the oracle for generated schemas."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]


def add_defaults(schema: Schema, data: Any) -> None:
    """Fill missing fields from the schema, in place, only inside parents that are there."""
    if isinstance(data, dict):
        for name, field in schema.get("properties", {}).items():
            if name not in data and "default" in field:
                data[name] = copy.deepcopy(field["default"])
            if name in data:
                add_defaults(field, data[name])
        for name in data.keys() - schema.get("properties", {}).keys():
            if isinstance(schema.get("additionalProperties"), dict):
                add_defaults(schema["additionalProperties"], data[name])
    elif isinstance(data, list):
        for item in data:
            add_defaults(schema.get("items", {}), item)


def unknown_fields(schema: Schema, data: Any, path: str = "") -> list[str]:
    """Paths of fields the schema does not know, which a server drops. `metadata` of an object is not judged."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return []
    found = []
    if isinstance(data, dict):
        for name, value in data.items():
            field = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if field is None:
                found.append(f"{path}.{name}")
            elif path or name != "metadata":
                found += unknown_fields(field, value, f"{path}.{name}")
    elif isinstance(data, list):
        for index, item in enumerate(data):
            found += unknown_fields(schema.get("items", {}), item, f"{path}[{index}]")
    return found


def walk(schema: Schema, path: str = "", in_list: bool = False) -> Iterator[tuple[str, Schema, bool]]:
    """Every schema inside a schema: its path, itself, and whether it is inside a list or a map of free keys."""
    yield path, schema, in_list
    for name, field in schema.get("properties", {}).items():
        yield from walk(field, f"{path}.{name}", in_list)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from walk(schema[name], f"{path}[]", True)
