"""The patches that clients send besides apply: JSON patch, merge patch, and strategic merge patch for Kubernetes' kinds.

    json_patch(doc, [{"op": "replace", "path": "/spec/replicas", "value": 3}])     RFC 6902
    merge_patch(doc, {"spec": {"replicas": 3}})                                    RFC 7386
    strategic_merge_patch(doc, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}}, openapi)

None of them changes its arguments, and results share no container with them. What cannot be done raises PatchError with
the code that Kubernetes answers: 422 for an operation that does not fit the object, 400 for what is no patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from plum_controller.resources.schema.metadata import OBJECT_META
from plum_controller.resources.schema.values import MAX_DEPTH, copy_json, copy_object, is_deeper, is_same

MAX_OPERATIONS = 10_000
"""Kubernetes' limit for one JSON patch."""

MAX_COPIED_BYTES = 3 * 1024 * 1024
"""Kubernetes' limit for what `copy` may add: a short patch could otherwise double the object again and again."""

_encode = msgspec.json.Encoder().encode


class PatchError(ValueError):
    """A patch that cannot be applied."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        """400: no patch; 422: does not fit the object; 413: too large."""
        self.message = message


def json_patch(doc: Any, operations: Any) -> Any:
    """Apply operations in order, all or none."""
    if not isinstance(operations, list):
        raise PatchError(400, "error decoding patch: a JSON patch is an array of operations")
    if len(operations) > MAX_OPERATIONS:
        raise PatchError(413, f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}")
    result = _JsonPatch(copy_object(doc) if _spares_entries(doc, operations) else copy_json(doc))
    for operation in operations:
        result.do(operation)
    return result.doc


def _spares_entries(doc: Any, operations: list[Any]) -> bool:
    """True if no operation reaches into managedFields, so that they need not be copied."""
    return type(doc) is dict and not any(
        type(operation) is dict and (operation.get("op") == "move" or "/managedFields/" in str(operation.get("path")))
        for operation in operations
    )


class _JsonPatch:
    """A document while operations change it."""

    def __init__(self, doc: Any) -> None:
        self.doc = doc
        self._copied_bytes = 0

    def do(self, operation: Any) -> None:
        if not isinstance(operation, dict):
            raise PatchError(400, "error decoding patch: an operation is an object")
        op, path = operation.get("op"), _pointer(operation, "path")
        if op == "add":
            self._add(path, copy_json(_value(operation)))
        elif op == "remove":
            self._remove(path)
        elif op == "replace":
            self._replace(path, copy_json(_value(operation)))
        elif op == "test":
            if not is_same(self._get(path), _value(operation)):
                raise PatchError(422, f"testing value {operation['path']} failed")
        elif op == "copy":
            self._add(path, self._copied(_pointer(operation, "from")))
        elif op == "move":
            source = _pointer(operation, "from")
            if path[: len(source)] == source and path != source:
                raise PatchError(422, f"cannot move {operation['from']} into itself")
            value = self._get(source)
            if path != source:
                self._remove(source)
                self._add(path, value)
        else:
            raise PatchError(422, f"unexpected kind of operation: {_shown(op)}")

    def _copied(self, source: list[str]) -> Any:
        value = self._get(source)
        self._copied_bytes += len(_encode(value))
        if self._copied_bytes > MAX_COPIED_BYTES:
            raise PatchError(413, f"copied {self._copied_bytes} bytes; the limit is {MAX_COPIED_BYTES}")
        return copy_json(value)

    def _get(self, path: list[str]) -> Any:
        value = self.doc
        for step in path:
            value = _child(value, step, path)
        return value

    def _add(self, path: list[str], value: Any) -> None:
        _check_depth(path, value)
        if not path:
            self.doc = value
            return
        parent, step = self._get(path[:-1]), path[-1]
        if type(parent) is dict:
            parent[step] = value
        elif type(parent) is list:
            index = len(parent) if step == "-" else _index(step, path)
            if index > len(parent):
                raise _missing(path)
            parent.insert(index, value)
        else:
            raise _missing(path)

    def _remove(self, path: list[str]) -> None:
        if not path:
            self.doc = None
            return
        parent, step = self._get(path[:-1]), path[-1]
        _child(parent, step, path)
        if type(parent) is dict:
            del parent[step]
        else:
            del parent[_index(step, path)]

    def _replace(self, path: list[str], value: Any) -> None:
        _check_depth(path, value)
        if not path:
            self.doc = value
            return
        parent, step = self._get(path[:-1]), path[-1]
        _child(parent, step, path)
        parent[step if type(parent) is dict else _index(step, path)] = value


def _check_depth(path: list[str], value: Any) -> None:
    if is_deeper(value, MAX_DEPTH - len(path)):
        raise PatchError(422, f"the object would be nested more than {MAX_DEPTH} levels deep")


def _pointer(operation: Mapping[str, Any], name: str) -> list[str]:
    """The steps of a JSON pointer (RFC 6901)."""
    text = operation.get(name)
    if not isinstance(text, str):
        raise PatchError(422, f"the operation has no {name}")
    if not text:
        return []
    if text[0] != "/":
        raise PatchError(422, f"{name} {_shown(text)} does not start with /")
    if "~" not in text:
        return text[1:].split("/")
    return [step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")]


def _value(operation: Mapping[str, Any]) -> Any:
    if "value" not in operation:
        raise PatchError(422, f"the {operation['op']} operation has no value")
    return operation["value"]


def _child(value: Any, step: str, path: list[str]) -> Any:
    if type(value) is dict:
        if step in value:
            return value[step]
    elif type(value) is list:
        index = _index(step, path)
        if index < len(value):
            return value[index]
    raise _missing(path)


def _index(step: str, path: list[str]) -> int:
    if step.isascii() and step.isdigit() and (step == "0" or step[0] != "0") and len(step) < 10:
        return int(step)
    raise _missing(path)


def _missing(path: list[str]) -> PatchError:
    shown = "/".join(["", *(step.replace("~", "~0").replace("/", "~1") for step in path)])
    return PatchError(422, f"path {shown} does not exist in the object")


def _shown(value: Any) -> str:
    return _encode(value).decode()


def merge_patch(doc: Any, patch: Any) -> Any:
    """Objects merge key by key, null removes a key, anything else replaces. Keys keep their place, new ones follow."""
    merged = _merge_patch(doc, patch)
    return copy_object(merged) if type(merged) is dict else copy_json(merged)


def _merge_patch(doc: Any, patch: Any) -> Any:
    if type(patch) is not dict:
        return patch
    out = dict(doc) if type(doc) is dict else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        else:
            out[name] = _merge_patch(out.get(name), value) if type(value) is dict else value
    return out


def strategic_merge_patch(doc: dict[str, Any], patch: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Merge with lists that merge by key, as Kubernetes' own kinds do. `schema` is the kind's openAPIV3Schema.

    Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/LIST`, `$deleteFromPrimitiveList/LIST`.
    """
    if type(patch) is not dict:
        raise PatchError(400, "error decoding patch: a strategic merge patch is an object")
    properties = {**(schema.get("properties") or {}), "metadata": OBJECT_META}
    return copy_object(_merge_map(doc, patch, {"properties": properties}))


_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE_FROM = "$deleteFromPrimitiveList/"


def _merge_map(doc: dict[str, Any], patch: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    directive = patch.get(_PATCH, "merge")
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != _PATCH}
    if directive == "delete":
        return {}
    if directive != "merge":
        raise PatchError(400, f"unknown patch type found: {_shown(directive)}; use replace, delete or merge")
    retained = patch.get(_RETAIN)
    out = {name: value for name, value in doc.items() if retained is None or name in retained}
    for name, value in patch.items():
        if name[:1] == "$" and (name in (_PATCH, _RETAIN) or name.startswith((_ORDER, _DELETE_FROM))):
            continue
        child = _schema_of(schema, name)
        if value is None:
            out.pop(name, None)
        elif type(value) is dict:
            mine = out.get(name)
            out[name] = _merge_map(mine if type(mine) is dict else {}, value, child)
        elif type(value) is list:
            out[name] = _merge_list(out.get(name), value, child)
        else:
            out[name] = value
    _change_lists(out, doc, patch, schema)
    return out


def _change_lists(out: dict[str, Any], doc: dict[str, Any], patch: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """The directives that stand beside a list: what to take from it, then how to order it."""
    for name, value in patch.items():
        if name.startswith(_DELETE_FROM):
            target = name[len(_DELETE_FROM) :]
            gone = _list_of(name, value)
            if type(out.get(target)) is list:
                out[target] = [item for item in out[target] if not any(is_same(item, other) for other in gone)]
    for name, value in patch.items():
        if name.startswith(_ORDER):
            target = name[len(_ORDER) :]
            order = _list_of(name, value)
            if type(out.get(target)) is list:
                key = _merge_key(_schema_of(schema, target))
                before = doc.get(target)
                out[target] = _ordered(out[target], order, before if type(before) is list else [], key)


def _list_of(name: str, value: Any) -> list[Any]:
    if type(value) is not list:
        raise PatchError(400, f"{name} is no list")
    return value


def _schema_of(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    child = (schema.get("properties") or {}).get(name, schema.get("additionalProperties"))
    return child if isinstance(child, dict) else {}


def _merge_key(schema: Mapping[str, Any]) -> str:
    """The field that tells items apart; empty for lists of scalars and lists that are replaced."""
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    return keys[0] if schema.get("x-kubernetes-list-type") == "map" and keys else ""


def _merge_list(doc: Any, patch: list[Any], schema: Mapping[str, Any]) -> list[Any]:
    items = doc if type(doc) is list else []
    key = _merge_key(schema)
    if key:
        return _merge_items(items, patch, key, schema.get("items") or {})
    if schema.get("x-kubernetes-list-type") == "set":
        out = list(items)
        out += [item for index, item in enumerate(patch) if item not in items and item not in patch[:index]]
        return out
    return _without_directives(patch)


def _merge_items(items: list[Any], patch: list[Any], key: str, schema: Mapping[str, Any]) -> list[Any]:
    for change in patch:
        if type(change) is not dict:
            raise PatchError(400, f"a list with merge key {key} has an item that is no object")
    if any(change.get(_PATCH) == "replace" for change in patch):
        return [change for change in patch if _PATCH not in change]
    out = list(items)
    for change in patch:
        if key not in change:
            raise PatchError(400, f"map: {_shown(change)} does not contain declared merge key: {key}")
        places = [index for index, item in enumerate(out) if type(item) is dict and is_same(item.get(key), change[key])]
        if change.get(_PATCH) == "delete":
            out = [item for index, item in enumerate(out) if index not in places]
        elif places:
            out[places[0]] = _merge_map(out[places[0]], change, schema)
        else:
            out.append(_merge_map({}, change, schema))
    return out


def _without_directives(items: list[Any]) -> list[Any]:
    """The items of a list that replaces another: `{"$patch": "replace"}` only says so."""
    return [item for item in items if not (type(item) is dict and item.get(_PATCH) == "replace" and len(item) == 1)]


def _ordered(items: list[Any], order: list[Any], before: list[Any], key: str) -> list[Any]:
    """Items named by `order` in that order; the rest keeps its place relative to what was there before."""

    def identity(item: Any) -> bytes:
        return _encode(item.get(key) if key and type(item) is dict else item)

    rank = {identity(item): place for place, item in enumerate(order)}
    was = {identity(item): place for place, item in enumerate(before)}
    named = sorted((item for item in items if identity(item) in rank), key=lambda item: rank[identity(item)])
    others = [item for item in items if identity(item) not in rank]
    out = []
    while named and others:
        other, name = was.get(identity(others[0])), was.get(identity(named[0]))
        is_other_first = other is not None and name is not None and other < name
        out.append((others if is_other_first else named).pop(0))
    return out + named + others
