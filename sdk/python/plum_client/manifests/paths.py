"""Field paths as the API writes them in its refusals: `spec.env[0].name`, `spec.env[name="A"].value`, `metadata.labels.a.b/c`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def find_parents(path: str, value: Any) -> list[tuple[Any, Any]]:
    """The container and the key or index of the field at a path; empty when it is not there."""
    parent: Any = None
    key: Any = None
    rest = path.lstrip(".")
    while rest:
        step = _step(value, rest)
        if step is None:
            return []
        parent, (key, rest) = value, step
        value, rest = parent[key], rest.lstrip(".")
    return [] if parent is None else [(parent, key)]


def _step(value: Any, path: str) -> tuple[Any, str] | None:
    """The next key or index, and the path behind it."""
    if isinstance(value, Mapping):
        bracket = path.startswith("[")
        text = path[1:] if bracket else path
        # A key may hold dots, so the longest key that fits is the one that is meant.
        keys = [
            key
            for key in value
            if text.startswith(key) and (len(text) == len(key) or text[len(key)] in ("]" if bracket else ".["))
        ]
        best = max(keys, key=len, default=None)
        return None if best is None else (best, text[len(best) :].removeprefix("]"))
    if isinstance(value, list) and path.startswith("[") and "]" in path:
        inside, _, rest = path[1:].partition("]")
        if inside.isdigit():
            return (int(inside), rest) if int(inside) < len(value) else None
        found = next((index for index, item in enumerate(value) if matches(inside, item)), None)
        return None if found is None else (found, rest)
    return None


def matches(selector: str, item: Any) -> bool:
    """Whether a list item is the one of `name="A",port=80`, `{"name":"A"}` or, for a plain value, `="x"`."""
    if not isinstance(item, Mapping):
        return str(item) == selector.removeprefix("=").strip('"')
    if selector.startswith("{"):
        try:
            wanted = {key: str(value) for key, value in json.loads(selector).items()}
        except ValueError:
            return False
    else:
        pairs = (part.partition("=") for part in selector.split(","))
        wanted = {key: value.strip('"') for key, _, value in pairs}
    return all(str(item.get(key)) == value for key, value in wanted.items())
