"""Values on their way in and out: bytes of a body, and what an entry stores.

    body + Content-Type + ?type=   --reader-->  the value as JSON has it      entry --body_of--> bytes + content type

Nobody has to say a type twice: an entry keeps the one it has unless `?type=` names another, and a body is read as that.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import Any

import msgspec
from plum_schemas.kv import MAX_VALUE_BYTES, type_of

from plum_controller.api.negotiation import media_type
from plum_controller.resources.errors import ApiStatusError, bad_request, too_large
from plum_controller.resources.kv import Spec, Typed, Value

TYPES = ("string", "int", "double", "bool", "bytes", "json")
AUTO = "auto"
"""The body is JSON; an entry keeps its type, and a new one gets that of the value."""
_JSON, _TEXT, _BYTES = b"application/json", b"text/plain; charset=utf-8", b"application/octet-stream"
_CONTENT_TYPES = {"string": _TEXT, "bytes": _BYTES}
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z").match
_INT64 = 2**63

_encode = msgspec.json.Encoder().encode


def check_type(kind: str) -> str:
    """A type that was asked for; the empty text is none. Raises `ApiStatusError` 400."""
    if kind and kind not in TYPES and kind != AUTO:
        raise bad_request(f"{kind!r} is no type of a value; use {', '.join(TYPES)}, or {AUTO} for what a JSON body is")
    return kind


def reader(body: bytes, content_type: str, kind: str) -> Value:
    """What reads a body as the type that its entry turns out to have. Raises `ApiStatusError` 413."""
    if len(body) > MAX_VALUE_BYTES * 2:
        raise too_large(f"a value may have {MAX_VALUE_BYTES} bytes")
    if kind == AUTO:
        return given(_from_json(body, "json").value)
    sent = media_type(content_type)
    if sent == "application/json":
        return lambda kind: _from_json(body, kind)
    if sent == "application/octet-stream":
        return lambda kind: _from_text(body, kind or "bytes")
    return lambda kind: _from_text(body, kind or "string")


def given(value: Any) -> Value:
    """For a value that was part of a JSON document."""
    return lambda kind: Typed(kind or type_of(value), value)


def body_of(spec: Spec) -> tuple[bytes, bytes]:
    """The value as a body, and its content type."""
    if spec.type == "string":
        return msgspec.json.decode(spec.value, type=str).encode(), _TEXT
    if spec.type == "bytes":
        return base64.b64decode(msgspec.json.decode(spec.value, type=str)), _BYTES
    return bytes(spec.value), _JSON


def size_of(spec: Spec) -> int:
    """Bytes of the value, as `body_of` would give them."""
    if spec.type == "bytes":
        text = msgspec.json.decode(spec.value, type=str)
        return len(text) * 3 // 4 - text[-2:].count("=")
    return len(body_of(spec)[0])


def _from_json(body: bytes, kind: str) -> Typed:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise bad_request(f"the body is not JSON: {error}") from error
    return Typed(kind or "json", value)


def _from_text(body: bytes, kind: str) -> Typed:
    if kind == "bytes":
        return Typed(kind, base64.b64encode(body).decode())
    if kind == "json":
        return _from_json(body, kind)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise bad_request(f"the body is not UTF-8, which a value of type {kind} is; use ?type=bytes") from error
    return Typed(kind, text if kind == "string" else _parsed(text.strip(), kind))


def _parsed(text: str, kind: str) -> Any:
    if kind == "bool" and text in ("true", "false"):
        return text == "true"
    if kind == "int" and _INTEGER(text) and -_INT64 <= int(text) < _INT64:
        return int(text)
    if kind == "double":
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number) and "_" not in text:
            return number
    raise wrong_type(text, kind)


def wrong_type(text: str, kind: str) -> ApiStatusError:
    """422: the body is no value of the entry's type."""
    shown = text if len(text) <= 40 else f"{text[:40]}..."
    expected = {"bool": "true or false", "int": "a whole number of 64 bits", "double": "a finite number"}[kind]
    message = f"the value {shown!r} is not of type {kind}: {expected} is expected; ?type= gives the entry another type"
    return ApiStatusError(422, "Invalid", message, {"kind": "kvs", "causes": [{"reason": "FieldValueInvalid", "field": "value"}]})


def decode_base64(text: str) -> bytes:
    """Raises `ApiStatusError` 422."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiStatusError(422, "Invalid", "the value is not base64, which a value of type bytes is", {}) from error
