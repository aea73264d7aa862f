"""Derives the structural OpenAPI v3 schema of a kind from its typed class. Used only when schemas are generated.

    msgspec types, Meta, markers, docstrings, defaults  --structural_schema-->  openAPIV3Schema

Rules of structural schemas hold by construction: no `$ref`, no defaults inside list items, every key of a list map is
required. A type that contains itself is described twice; below that any fields are kept, and decoding judges them.

A default that is empty (`""`, `[]`, `{}`, false, None) is not written: leaving the field out means the same.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from plum_schemas.base import Object, Struct
from plum_schemas.docstrings import describe_class, describe_fields
from plum_schemas.markers import INT_OR_STRING, Marker

Schema = dict[str, Any]

_SCALARS: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
}
_TYPE_META = {
    "apiVersion": "Group and version of the kind, such as `plum.dev/v1`.",
    "kind": "Name of the kind.",
    "metadata": "Name, labels and everything else that objects of all kinds carry.",
}
_LENGTHS = {"string": "Length", "array": "Items", "object": "Properties"}


class SchemaError(TypeError):
    """A typed class says something that a structural schema cannot say. The message names class and field."""


def structural_schema(kind: type[Object]) -> Schema:
    """The `openAPIV3Schema` of a kind: its own fields in full, `metadata` as a plain object."""
    schema = _Walk().struct(kind, in_list=False)
    properties = schema["properties"]
    for name, description in _TYPE_META.items():
        properties[name] = {"type": "object" if name == "metadata" else "string", "description": description}
    properties.get("status", {}).pop("default", None)
    return schema


class _Walk:
    """One walk over a kind. `_open` are the classes being described, to notice one that contains itself."""

    def __init__(self) -> None:
        self._open: list[type[Struct]] = []

    def struct(self, cls: type[Struct], in_list: bool) -> Schema:
        deep = self._open.count(cls) > 1
        self._open.append(cls)
        hints = get_type_hints(cls, include_extras=True)
        descriptions = describe_fields(cls)
        properties: Schema = {}
        required = []
        for info in msgspec.structs.fields(cls):
            if get_origin(hints[info.name]) is ClassVar or (deep and not info.required):
                continue
            schema = self.convert(hints[info.name], in_list, f"{cls.__name__}.{info.name}")
            description = descriptions.get(info.name)
            if description:
                schema = {**schema, "description": description}
            if info.required:
                required.append(info.encode_name)
            elif not in_list:
                _add_default(schema, info)
            properties[info.encode_name] = _ordered(schema)
        self._open.pop()
        result: Schema = {"type": "object", "description": describe_class(cls)}
        if required:
            result["required"] = required
        if properties:
            result["properties"] = properties
        if deep:
            result["x-kubernetes-preserve-unknown-fields"] = True
        return result

    def convert(self, hint: Any, in_list: bool, where: str) -> Schema:
        if hint in _SCALARS:
            return dict(_SCALARS[hint])
        if hint is Any:
            return {}
        origin = get_origin(hint)
        arguments = get_args(hint)
        if origin is Annotated:
            schema = self.convert(arguments[0], in_list, where) if INT_OR_STRING not in arguments else _int_or_string(hint)
            for annotation in arguments[1:]:
                _annotate(schema, annotation, where)
            return schema
        if origin is Literal:
            return {"type": "string", "enum": list(arguments)}
        if origin in (Union, types.UnionType):
            present = [argument for argument in arguments if argument is not types.NoneType]
            if len(present) == 1:
                return self.convert(present[0], in_list, where)
        if origin is list:
            return {"type": "array", "items": self.convert(arguments[0], True, where)}
        if origin is dict:
            values = self.convert(arguments[1], True, where)
            return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
        if isinstance(hint, type) and issubclass(hint, Struct):
            return self.struct(hint, in_list)
        raise SchemaError(f"{where}: {hint} has no structural schema; use a Struct, a scalar, a list, a dict or a marker")


def _int_or_string(hint: Any) -> Schema:
    """The one union that structural schemas know. A pattern of its string part stays."""
    schema: Schema = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    for part in get_args(get_args(hint)[0]):
        for annotation in getattr(part, "__metadata__", ()):
            _annotate(schema, annotation, str(hint))
    return schema


def _annotate(schema: Schema, annotation: Any, where: str) -> None:
    if isinstance(annotation, Marker):
        schema.update((name, list(value) if isinstance(value, tuple) else value) for name, value in annotation.properties)
        keys = dict(annotation.properties).get("x-kubernetes-list-map-keys", ())
        missing = [key for key in keys if key not in schema["items"].get("required", ())]
        if missing:
            raise SchemaError(f"{where}: list map key {missing[0]} must be a required field of the items")
        return
    if not isinstance(annotation, msgspec.Meta):
        return
    for bound, name, exclusive in (
        (annotation.ge, "minimum", None),
        (annotation.gt, "minimum", "exclusiveMinimum"),
        (annotation.le, "maximum", None),
        (annotation.lt, "maximum", "exclusiveMaximum"),
    ):
        if bound is not None:
            schema[name] = bound
            if exclusive:
                schema[exclusive] = True
    length = _LENGTHS.get(schema.get("type", ""), "Length")
    if annotation.min_length is not None:
        schema[f"min{length}"] = annotation.min_length
    if annotation.max_length is not None:
        schema[f"max{length}"] = annotation.max_length
    if annotation.pattern is not None:
        schema["pattern"] = annotation.pattern
    if annotation.description is not None:
        schema["description"] = annotation.description
    schema.update(annotation.extra_json_schema or {})


def _add_default(schema: Schema, info: msgspec.structs.FieldInfo) -> None:
    if isinstance(info.default_factory, type) and issubclass(info.default_factory, Struct):
        if _has_defaults(schema):
            schema["default"] = {}
        return
    value = info.default_factory() if info.default_factory is not msgspec.NODEFAULT else info.default
    if value not in (None, "", [], {}) and value is not False:
        schema["default"] = msgspec.to_builtins(value)


def _has_defaults(schema: Schema) -> bool:
    return any("default" in field for field in schema.get("properties", {}).values())


def _ordered(schema: Schema) -> Schema:
    """Type and description first, as people read them."""
    return {name: schema[name] for name in ("type", "description") if name in schema} | schema
