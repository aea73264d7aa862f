"""OpenAPI v2 as protobuf, in the messages of gnostic: the only form in which kubectl reads version 2.

    {"swagger": "2.0", "paths": .., "definitions": ..} --encode_document--> bytes of openapi.v2.Document

The tables below say, for every message, which key of the JSON document is which field and how it is written. What they
do not name is left out; keys that start with `x-` become vendor extensions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

_json = msgspec.json.Encoder().encode

Write = Callable[[int, Any], bytes]
"""From a field number and a value to the bytes of the field, its key included."""

_VARINT, _FIXED64, _BYTES = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its fields by JSON key, and the number of its list of vendor extensions."""

    fields: Mapping[str, tuple[int, Write]]
    extensions: int = 0

    def encode(self, value: Mapping[str, Any]) -> bytes:
        parts = []
        for key, item in value.items():
            known = self.fields.get(key)
            if known is not None:
                number, write = known
                parts.append(write(number, item))
            elif self.extensions and key.startswith("x-"):
                parts.append(_bytes(self.extensions, _text(1, key) + _any(2, item)))
        return b"".join(parts)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _key(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _bytes(number: int, data: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(data)) + data


def _text(number: int, value: Any) -> bytes:
    return _bytes(number, str(value).encode())


def _texts(number: int, values: list[str]) -> bytes:
    return b"".join([_text(number, value) for value in values])


def _flag(number: int, value: bool) -> bytes:
    return _key(number, _VARINT) + _varint(int(value))


def _integer(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _key(number, _FIXED64) + struct.pack("<d", value)


def _any(number: int, value: Any) -> bytes:
    """Any value, as text. The reader takes it for YAML, of which JSON is a part."""
    return _bytes(number, _bytes(2, _json(value)))


def _anys(number: int, values: list[Any]) -> bytes:
    return b"".join([_any(number, value) for value in values])


def _one(message: Message) -> Write:
    return lambda number, value: _bytes(number, message.encode(value))


def _named(write: Write) -> Callable[[Mapping[str, Any]], bytes]:
    """Entries of a map, as the repeated field 1: name and value."""
    return lambda values: b"".join([_bytes(1, _text(1, name) + write(2, value)) for name, value in values.items()])


def _schema(number: int, value: Mapping[str, Any]) -> bytes:
    return _bytes(number, _SCHEMA.encode(value))


def _schemas(number: int, values: list[Mapping[str, Any]]) -> bytes:
    return b"".join([_schema(number, value) for value in values])


def _schema_map(number: int, values: Mapping[str, Any]) -> bytes:
    return _bytes(number, _named(_schema)(values))


def _additional(number: int, value: Any) -> bytes:
    return _bytes(number, _flag(2, value) if isinstance(value, bool) else _schema(1, value))


_SCHEMA = Message(
    {
        "$ref": (1, _text),
        "format": (2, _text),
        "title": (3, _text),
        "description": (4, _text),
        "default": (5, _any),
        "multipleOf": (6, _double),
        "maximum": (7, _double),
        "exclusiveMaximum": (8, _flag),
        "minimum": (9, _double),
        "exclusiveMinimum": (10, _flag),
        "maxLength": (11, _integer),
        "minLength": (12, _integer),
        "pattern": (13, _text),
        "maxItems": (14, _integer),
        "minItems": (15, _integer),
        "uniqueItems": (16, _flag),
        "maxProperties": (17, _integer),
        "minProperties": (18, _integer),
        "required": (19, _texts),
        "enum": (20, _anys),
        "additionalProperties": (21, _additional),
        "type": (22, lambda number, value: _bytes(number, _text(1, value))),
        "items": (23, lambda number, value: _bytes(number, _schema(1, value))),
        "allOf": (24, _schemas),
        "properties": (25, _schema_map),
    },
    extensions=31,
)
_BODY = Message(
    {"description": (1, _text), "name": (2, _text), "in": (3, _text), "required": (4, _flag), "schema": (5, _schema)}, 6
)
_PLACE = {"required": (1, _flag), "in": (2, _text), "description": (3, _text), "name": (4, _text)}
_QUERY = Message({**_PLACE, "type": (6, _text), "uniqueItems": (20, _flag), "enum": (21, _anys)}, 23)
_PATH = Message({**_PLACE, "type": (5, _text), "uniqueItems": (19, _flag), "enum": (20, _anys)}, 22)


def _parameter(value: Mapping[str, Any]) -> bytes:
    if value["in"] == "body":
        return _bytes(1, _BODY.encode(value))
    inner = _bytes(4, _PATH.encode(value)) if value["in"] == "path" else _bytes(3, _QUERY.encode(value))
    return _bytes(2, inner)


def _parameters(number: int, values: list[Mapping[str, Any]]) -> bytes:
    return b"".join([_bytes(number, _bytes(1, _parameter(value))) for value in values])


_RESPONSE = Message({"description": (1, _text), "schema": (2, lambda number, value: _bytes(number, _schema(1, value)))}, 5)


def _responses(number: int, values: Mapping[str, Any]) -> bytes:
    return _bytes(number, _named(lambda value_number, value: _bytes(value_number, _bytes(1, _RESPONSE.encode(value))))(values))


_OPERATION = Message(
    {
        "tags": (1, _texts),
        "summary": (2, _text),
        "description": (3, _text),
        "operationId": (5, _text),
        "produces": (6, _texts),
        "consumes": (7, _texts),
        "parameters": (8, _parameters),
        "responses": (9, _responses),
    },
    extensions=13,
)
_ITEM = Message(
    {
        "get": (2, _one(_OPERATION)),
        "put": (3, _one(_OPERATION)),
        "post": (4, _one(_OPERATION)),
        "delete": (5, _one(_OPERATION)),
        "patch": (8, _one(_OPERATION)),
        "parameters": (9, _parameters),
    },
    extensions=10,
)


def _paths(number: int, values: Mapping[str, Any]) -> bytes:
    items = [_bytes(2, _text(1, path) + _bytes(2, _ITEM.encode(item))) for path, item in values.items()]
    return _bytes(number, b"".join(items))


_DOCUMENT = Message(
    {
        "swagger": (1, _text),
        "info": (2, _one(Message({"title": (1, _text), "version": (2, _text), "description": (3, _text)}))),
        "paths": (8, _paths),
        "definitions": (9, _schema_map),
    }
)


def encode_document(document: Mapping[str, Any]) -> bytes:
    """A whole OpenAPI v2 document as `openapi.v2.Document`."""
    return _DOCUMENT.encode(document)
