"""Decoding JSON bodies, with the keys that are there twice.

JSON says nothing about repeated keys; decoders keep the last one. `fieldValidation` wants to know about them.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from plum_controller.resources.schema.values import MAX_DEPTH, is_deeper

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def decode_json(body: bytes, report_duplicates: bool) -> tuple[Any, list[str]]:
    """The value and what to say about repeated keys: `duplicate field "spec.image"`. Raises ValueError."""
    try:
        value = _decode(body)
    except RecursionError as error:
        raise ValueError(f"the body is nested more than {MAX_DEPTH} levels deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
    # Counting brackets is enough for most bodies: one that has few of them cannot be deep.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
        raise ValueError(f"the body is nested more than {MAX_DEPTH} levels deep")
    if not report_duplicates or _has_all_keys(body, value):
        return value, []
    return value, [f'duplicate field "{path}"' for path in _duplicates(body)]


def _has_all_keys(body: bytes, value: Any) -> bool:
    """Whether decoding surely lost no key: every key brings a colon, so a lost one would be missing in what encodes again.

    Colons inside strings are on both sides, unless a body writes them as an escape; such a body is looked at closely.
    """
    return body.count(b":") == _encode(value).count(b":") and b"\\u003" not in body


def _duplicates(body: bytes) -> list[str]:
    repeated: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            names = [name for name, _ in pairs]
            # The dict is kept so that its id stays its own.
            repeated[id(value)] = value, [name for name in value if names.count(name) > 1]
        return value

    root = json.loads(body, object_pairs_hook=collect)
    found: list[str] = []
    if repeated:
        _locate(root, "", repeated, found)
    return found


def _locate(value: Any, path: str, repeated: dict[int, tuple[dict[str, Any], list[str]]], found: list[str]) -> None:
    if type(value) is dict:
        prefix = f"{path}." if path else ""
        if id(value) in repeated:
            found.extend(prefix + name for name in repeated[id(value)][1])
        for name, child in value.items():
            _locate(child, prefix + name, repeated, found)
    elif type(value) is list:
        for index, child in enumerate(value):
            _locate(child, f"{path}[{index}]", repeated, found)
