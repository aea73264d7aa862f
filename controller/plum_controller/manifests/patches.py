"""Patches of overlays: strategic merge and JSON (RFC 6902), on plain objects.

A strategic merge goes through objects key by key; null deletes. Lists of objects that all have a `name` (else a `key`) are
merged by it, other lists are replaced; `$patch: delete` and `$patch: replace` do what they say.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

MERGE_KEYS = ("name", "key")


class PatchError(ValueError):
    """A patch that does not fit its object. The message names the operation or field."""


def merge(target: Any, patch: Any) -> Any:
    """A strategic merge. Neither argument is changed."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    if patch.get("$patch") == "replace":
        return _without_directives(patch)
    base: dict[str, Any] = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if name == "$patch":
            continue
        if value is None or (isinstance(value, Mapping) and value.get("$patch") == "delete"):
            base.pop(name, None)
        elif isinstance(value, list):
            base[name] = _merge_lists(base.get(name), value)
        else:
            base[name] = merge(base.get(name), value)
    return base


def deletes_object(patch: Any) -> bool:
    """Whether a strategic merge patch deletes the whole object."""
    return isinstance(patch, Mapping) and patch.get("$patch") == "delete"


def _merge_lists(old: Any, new: list[Any]) -> list[Any]:
    if {"$patch": "replace"} in new:
        return [_without_directives(item) for item in new if item != {"$patch": "replace"}]
    key = next((k for k in MERGE_KEYS if new and all(isinstance(item, Mapping) and k in item for item in new)), "")
    mergeable = key and isinstance(old, list) and all(isinstance(item, Mapping) and key in item for item in old)
    if not mergeable:
        return [_without_directives(item) for item in new if not deletes_object(item)]
    result = list(old)
    for item in new:
        position = next((n for n, have in enumerate(result) if have[key] == item[key]), None)
        if item.get("$patch") == "delete":
            if position is not None:
                del result[position]
        elif position is None:
            result.append(_without_directives(item))
        else:
            result[position] = merge(result[position], item)
    return result


def _without_directives(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_directives(item) for name, item in value.items() if name != "$patch" and item is not None}
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    return value


def apply_json(target: Any, operations: Sequence[Any]) -> Any:
    """A JSON patch. Raises `PatchError`."""
    document = copy.deepcopy(target)
    for number, operation in enumerate(operations, 1):
        if not isinstance(operation, Mapping) or not isinstance(operation.get("path"), str):
            raise PatchError(f"operation {number} has no path")
        try:
            document = _operate(document, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            if isinstance(error, PatchError):
                raise PatchError(f"operation {number}: {error}") from error
            raise PatchError(f"operation {number}: {operation['path']} does not exist") from error
    return document


def _operate(document: Any, operation: Mapping[str, Any]) -> Any:
    kind, path = operation.get("op"), _parts(operation["path"])
    if kind in ("add", "replace", "test") and "value" not in operation:
        raise PatchError(f"{kind} {operation['path']} has no value")
    if kind == "add":
        return _add(document, path, copy.deepcopy(operation["value"]))
    if kind == "replace":
        _get(document, path)
        return _put(document, path, copy.deepcopy(operation["value"]))
    if kind == "remove":
        return _remove(document, path)
    if kind in ("move", "copy"):
        source = _parts(str(operation.get("from", "")))
        value = copy.deepcopy(_get(document, source))
        return _add(_remove(document, source) if kind == "move" else document, path, value)
    if kind == "test":
        found = _get(document, path)
        if found != operation["value"]:
            raise PatchError(f"test of {operation['path']} failed: it is {found!r}, not {operation['value']!r}")
        return document
    raise PatchError(f"op is {kind!r}; add, remove, replace, move, copy or test is expected")


def _parts(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise PatchError(f"path {path!r} does not begin with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]


def _get(value: Any, path: Sequence[str]) -> Any:
    for part in path:
        value = value[_index(part, len(value) - 1)] if isinstance(value, list) else value[part]
    return value


def _index(part: str, last: int) -> int:
    if not (part.isascii() and part.isdigit()) or int(part) > last:
        raise PatchError(f"{part!r} is no index of a list of {last + 1}")
    return int(part)


def _put(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    parent[_index(path[-1], len(parent) - 1) if isinstance(parent, list) else path[-1]] = value
    return document


def _add(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else _index(path[-1], len(parent)), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise PatchError(f"/{'/'.join(path[:-1])} is neither an object nor a list")
    return document


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        raise PatchError("the whole object cannot be removed; leave it out of the resources")
    parent = _get(document, path[:-1])
    del parent[_index(path[-1], len(parent) - 1) if isinstance(parent, list) else path[-1]]
    return document
