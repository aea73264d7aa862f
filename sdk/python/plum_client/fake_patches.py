"""Patches as the fake API applies them: JSON patch, merge patch, and a plain form of server-side apply.

Pure functions on JSON values; none changes its arguments. The real server's apply merges lists by key, this one
replaces them: enough for controllers, which apply whole lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

Path = tuple[str, ...]


class PatchError(ValueError):
    """The patch does not fit the object."""


def merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7396: dictionaries are merged, None deletes, everything else replaces."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def json_patch(document: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """RFC 6902. Raises `PatchError` for a failing test or a missing path."""
    box = {"": deepcopy(document)}
    for operation in operations:
        _operate(box, operation)
    return box[""]


def _operate(box: dict[str, Any], operation: Mapping[str, Any]) -> None:
    kind = operation.get("op")
    try:
        path = _pointer(operation["path"])
        if kind == "add":
            _add(box, path, deepcopy(operation["value"]))
        elif kind == "remove":
            _remove(box, path)
        elif kind == "replace":
            _remove(box, path)
            _add(box, path, deepcopy(operation["value"]))
        elif kind == "move":
            _add(box, path, _remove(box, _pointer(operation["from"])))
        elif kind == "copy":
            _add(box, path, deepcopy(_get(box, _pointer(operation["from"]))))
        elif kind == "test":
            if _get(box, path) != operation["value"]:
                raise PatchError(f"testing value {operation['path']} failed")
        else:
            raise PatchError(f"unexpected op {kind!r}")
    except (KeyError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, PatchError):
            raise
        raise PatchError(f"{kind} operation does not apply: {error}") from error


def _pointer(text: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")]


def _get(node: Any, path: Sequence[str]) -> Any:
    for part in path:
        node = node[int(part)] if isinstance(node, list) else node[part]
    return node


def _add(box: Any, path: Sequence[str], value: Any) -> None:
    parent, last = _get(box, path[:-1]), path[-1]
    if isinstance(parent, list):
        position = len(parent) if last == "-" else int(last)
        if position > len(parent):
            raise PatchError(f"index {last} is past the end")
        parent.insert(position, value)
    else:
        parent[last] = value


def _remove(box: Any, path: Sequence[str]) -> Any:
    parent, last = _get(box, path[:-1]), path[-1]
    return parent.pop(int(last)) if isinstance(parent, list) else parent.pop(last)


def leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    """The fields of an object by path; lists and empty dictionaries are one field each."""
    if isinstance(value, dict) and value:
        found: dict[Path, Any] = {}
        for name, inner in value.items():
            found |= leaves(inner, (*path, name))
        return found
    return {path: value}


def without(document: Any, path: Path) -> Any:
    """The document without the field at a path; dictionaries that become empty go too."""
    if not isinstance(document, dict) or path[0] not in document:
        return document
    result = dict(document)
    if len(path) == 1:
        del result[path[0]]
        return result
    inner = without(result[path[0]], path[1:])
    if inner == {}:
        del result[path[0]]
    else:
        result[path[0]] = inner
    return result
