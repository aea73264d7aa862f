"""JSON values: when two are the same, how to copy one, and how deep one may be nested.

Everything that walks objects does so by recursion, as do the decoders of clients. Values deeper than the limit are
refused where they come in, so that no walk can exhaust the stack later.
"""

from __future__ import annotations

from typing import Any

import msgspec

MAX_DEPTH = 200
"""Containers inside containers. Real objects have fewer than 20; the recursion of Python ends near 1,000."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


def is_same(a: Any, b: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are, 1 and true are not."""
    return bool(a == b) and (_encode_sorted(a) == _encode_sorted(b) or _is_same(a, b))


def _is_same(a: Any, b: Any) -> bool:
    """Equality of values that Python calls equal but that are written differently, for example 1 and 1.0."""
    if type(a) is dict:
        return all(_is_same(value, b[name]) for name, value in a.items())
    if type(a) is list:
        return all(map(_is_same, a, b))
    return (type(a) is bool) == (type(b) is bool)


def copy_json(value: Any) -> Any:
    """A deep copy. Through JSON, because that is faster than a walk in Python."""
    kind = type(value)
    return _decode(_encode(value)) if kind is dict or kind is list else value


def copy_object(value: dict[str, Any]) -> dict[str, Any]:
    """A deep copy of an object that shares only managedFields, which nobody changes in place."""
    metadata = value.get("metadata")
    entries = metadata.get("managedFields") if type(metadata) is dict else None
    if not entries:
        return _decode(_encode(value))  # type: ignore[no-any-return]
    bare = {name: child for name, child in metadata.items() if name != "managedFields"}  # type: ignore[union-attr]
    copied: dict[str, Any] = _decode(_encode({**value, "metadata": bare}))
    copied["metadata"]["managedFields"] = entries
    return copied


def is_deeper(value: Any, levels: int) -> bool:
    """Whether a value has more than so many levels of containers."""
    kind = type(value)
    if kind is dict:
        return levels <= 0 or any(is_deeper(child, levels - 1) for child in value.values() if type(child) in (dict, list))
    if kind is list:
        return levels <= 0 or any(is_deeper(child, levels - 1) for child in value if type(child) in (dict, list))
    return False
