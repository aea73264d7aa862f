"""Path elements: one step from an object to a field, written as FieldsV1 writes it.

    f:replicas          a field of an object, or a key of a map
    k:{"name":"A"}      the item of a list map with these keys
    v:"x"               the item of a set
    i:0                 the item at an index; read, never written

Elements are plain strings, so that a field set is the JSON it is stored as and needs no parsing. What must hold for
that: one step has one spelling. `canonical` gives it to elements that came from a client; the rest is built here.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(order="sorted").encode


def of_value(value: Any) -> str:
    """The element of a set item."""
    return "v:" + _encode(_whole(value)).decode()


def of_keys(keys: dict[str, Any]) -> str:
    """The element of a list map item, by its keys and their values."""
    return "k:" + _encode({name: _whole(value) for name, value in keys.items()}).decode()


def _whole(value: Any) -> Any:
    """1.0 and 1 are the same number, so they must be the same element."""
    return int(value) if type(value) is float and value.is_integer() else value


def canonical(element: str) -> str:
    """The spelling used inside. Raises ValueError for what is no element."""
    kind, body = element[:2], element[2:]
    if kind == "f:":
        return element
    if kind == "i:":
        return f"i:{int(body)}"
    if kind == "v:":
        value = msgspec.json.decode(body)
        if value is None or isinstance(value, dict | list):
            raise ValueError(f"{element} is no scalar")
        return of_value(value)
    if kind == "k:":
        keys = msgspec.json.decode(body)
        if not isinstance(keys, dict) or not keys:
            raise ValueError(f"{element} names no keys")
        return of_keys(keys)
    raise ValueError(f"unknown path element {element!r}")


def rank(element: str) -> tuple[int, str]:
    """Sort key: fields, then keyed items, then values, then indexes."""
    return "fkvi".index(element[0]), element


def shown(element: str) -> str:
    """How an element appears in a message: `.image`, `[name="A"]`, `[="x"]`."""
    kind, body = element[:2], element[2:]
    if kind == "f:":
        return "." + body
    if kind == "k:":
        keys = msgspec.json.decode(body)
        return "[" + ",".join(f"{name}={_shown_value(keys[name])}" for name in sorted(keys)) + "]"
    if kind == "v:":
        return f"[={_shown_value(msgspec.json.decode(body))}]"
    return f"[{body}]"


def _shown_value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


Path = tuple[str, ...]
"""From the object's root to a field."""


def shown_path(path: Path) -> str:
    """`.spec.env[name="A"].value`"""
    return "".join(shown(element) for element in path)
