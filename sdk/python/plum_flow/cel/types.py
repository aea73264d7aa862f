"""CEL's types as far as they are known before a value is: from a schema, or `DYN` for anything.

    {"type": "object", "properties": {"size": {"type": "integer"}}} --type_of--> object with the field size: int

Property names that are no identifiers are reached under the names that Kubernetes gives them: `__dash__`, `__dot__`, ...
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

KEYWORDS = frozenset({
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
    "package", "namespace", "return", "var", "void", "while",
})  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z").match
_ESCAPED = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_ESCAPE = re.compile(r"__|[./-]").sub


class Type:
    """A type. Two are the same when they look the same; objects are the same only when they are one."""

    __slots__ = ("element", "fields", "key", "kind", "list_type", "map_keys", "schema_format")

    def __init__(self, kind: str, element: Type | None = None, key: Type | None = None) -> None:
        self.kind = kind
        """`dyn`, `bool`, `int`, `uint`, `double`, `string`, `bytes`, `null`, `timestamp`, `duration`, `type`, `list`, `map`,
        `object`, `optional`, and the types of Kubernetes' libraries."""
        self.element = element
        """Of lists and optionals; of maps the value."""
        self.key = key
        self.fields: Mapping[str, tuple[str, Type]] = {}
        """Of objects: name in expressions -> property, type."""
        self.list_type = ""
        self.map_keys: tuple[str, ...] = ()
        self.schema_format = ""
        """How a text of the data becomes a value: `date-time`, `duration`, `byte`; `double` for numbers."""

    def __str__(self) -> str:
        if self.kind == "list":
            return f"list({self.element})"
        if self.kind == "map":
            return f"map({self.key}, {self.element})"
        if self.kind == "optional":
            return f"optional_type({self.element})"
        return self.kind


DYN, BOOL, INT, UINT, DOUBLE, STRING = (Type(kind) for kind in ("dyn", "bool", "int", "uint", "double", "string"))
BYTES, NULL, TIMESTAMP, DURATION, TYPE = (Type(kind) for kind in ("bytes", "null", "timestamp", "duration", "type"))
SCALARS = {found.kind: found for found in (DYN, BOOL, INT, UINT, DOUBLE, STRING, BYTES, NULL, TIMESTAMP, DURATION, TYPE)}
ROOT_METADATA = ("name", "generateName")


def scalar(kind: str) -> Type:
    """The type of a kind without parts."""
    found = SCALARS.get(kind)
    if found is None:
        found = SCALARS[kind] = Type(kind)
    return found


def type_of(schema: Mapping[str, Any], *, is_resource: bool = False) -> Type:
    """The type of values that a structural schema describes."""
    if schema.get("x-kubernetes-int-or-string"):
        return DYN
    if schema.get("x-kubernetes-embedded-resource"):
        is_resource = True
    match schema.get("type"):
        case "boolean":
            return BOOL
        case "integer":
            return INT
        case "number":
            return _formatted("double", "double")
        case "string":
            return _text(str(schema.get("format") or ""))
        case "array":
            found = Type("list", type_of(schema.get("items") or {}))
            found.list_type = schema.get("x-kubernetes-list-type") or "atomic"
            found.map_keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
            return found
        case "object":
            return _object(schema, is_resource)
    return DYN


def _object(schema: Mapping[str, Any], is_resource: bool) -> Type:
    properties, more = schema.get("properties"), schema.get("additionalProperties")
    if not properties and isinstance(more, Mapping):
        return Type("map", type_of(more), STRING)
    found = Type("object")
    fields = {}
    for name, below in (properties or {}).items():
        escaped = escape(name)
        if escaped is not None:
            fields[escaped] = (name, type_of(below))
    if is_resource:
        for name in ("apiVersion", "kind"):
            fields[name] = (name, STRING)
        metadata = Type("object")
        metadata.fields = {name: (name, STRING) for name in ROOT_METADATA}
        fields["metadata"] = ("metadata", metadata)
    found.fields = fields
    return found


def _text(text_format: str) -> Type:
    match text_format:
        case "date-time" | "date":
            return _formatted("timestamp", text_format)
        case "duration":
            return _formatted("duration", text_format)
        case "byte":
            return _formatted("bytes", text_format)
    return STRING


def _formatted(kind: str, text_format: str) -> Type:
    found = Type(kind)
    found.schema_format = text_format
    return found


def escape(name: str) -> str | None:
    """The name of a property in expressions; None if it cannot be reached there."""
    if name in KEYWORDS:
        return f"__{name}__"
    escaped = _ESCAPE(lambda match: _ESCAPED[match.group()], name)
    return escaped if _NAME(escaped) else None
