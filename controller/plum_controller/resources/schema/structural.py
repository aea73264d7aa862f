"""Whether a user's schema is structural: every field has one type, and rules only narrow what the types say.

    check_structural(openAPIV3Schema) -> causes, with fields relative to it

Only then can objects be pruned, defaulted and merged field by field. The texts are Kubernetes'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from plum_controller.resources.errors import FORBIDDEN, INVALID, NOT_SUPPORTED, REQUIRED, Cause
from plum_controller.resources.schema.defaulting import defaulter
from plum_controller.resources.schema.pruning import pruner
from plum_controller.resources.schema.validation import explain, pattern_check

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_EXTENSIONS = (
    "embedded-resource",
    "int-or-string",
    "list-map-keys",
    "list-type",
    "map-type",
    "patch-merge-key",
    "patch-strategy",
    "preserve-unknown-fields",
    "validations",
)
# fmt: off
_KNOWN = frozenset(
    (
        "$ref", "$schema", "additionalItems", "additionalProperties", "allOf", "anyOf", "default", "definitions",
        "dependencies", "description", "enum", "example", "exclusiveMaximum", "exclusiveMinimum", "externalDocs",
        "format", "id", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength",
        "minProperties", "minimum", "multipleOf", "not", "nullable", "oneOf", "pattern", "patternProperties",
        "properties", "required", "title", "type", "uniqueItems",
        *(f"x-kubernetes-{name}" for name in _EXTENSIONS),
    )
)
# fmt: on
_UNSUPPORTED = ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id", "$schema")
_NOT_IN_RULES = (
    "description",
    "type",
    "default",
    "additionalProperties",
    "nullable",
    "title",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)
_LIST_TYPE = "x-kubernetes-list-type"
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
MAX_DEPTH = 100
"""Deeper schemas are refused: every walk over them is recursive."""


def check_structural(openapi: Any) -> list[Cause]:
    """Why a schema cannot be used; empty if it can."""
    if not isinstance(openapi, dict):
        return [Cause(INVALID, "Invalid value: a schema is an object", "")]
    causes: list[Cause] = []
    if openapi.get("type") != "object":
        shown = openapi.get("type")
        if not shown:
            causes.append(Cause(REQUIRED, "Required value: must not be empty at the root", "type"))
        else:
            causes.append(Cause(INVALID, f"Invalid value: {_shown(shown)}: must be object at the root", "type"))
    if openapi.get("nullable"):
        causes.append(Cause(FORBIDDEN, "Forbidden: nullable cannot be true at the root", "nullable"))
    causes.extend(_node(openapi, "", 0))
    if not causes:
        causes.extend(_root_metadata(openapi))
        causes.extend(_defaults(openapi, ""))
    return causes


def _root_metadata(schema: Mapping[str, Any]) -> Iterator[Cause]:
    metadata = (schema.get("properties") or {}).get("metadata") or {}
    extra = set(metadata) - {"type", "description", "properties"}
    extra_fields = set(metadata.get("properties") or {}) - {"name", "generateName"}
    if extra or extra_fields:
        text = "Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield Cause(FORBIDDEN, text, "properties[metadata]")


def _node(schema: Mapping[str, Any], path: str, depth: int) -> Iterator[Cause]:
    """A node that describes a field: it must have a type."""
    if depth > MAX_DEPTH:
        yield Cause(INVALID, f"Invalid value: the schema is nested more than {MAX_DEPTH} levels deep", path)
        return
    yield from _type(schema, path)
    wrong = list(_shape(schema, path))
    yield from wrong
    if wrong:
        return
    yield from _constraints(schema, path)
    yield from _list(schema, path)
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    if properties and additional not in (None, False):
        text = "Forbidden: additionalProperties and properties are mutual exclusive"
        yield Cause(FORBIDDEN, text, _at(path, "additionalProperties"))
    if additional is False:
        yield Cause(FORBIDDEN, "Forbidden: additionalProperties cannot be set to false", _at(path, "additionalProperties"))
    for name, child in properties.items():
        yield from _node(child, _at(path, f"properties[{name}]"), depth + 1)
    if isinstance(additional, dict) and additional:
        yield from _node(additional, _at(path, "additionalProperties"), depth + 1)
    if schema.get("items"):
        yield from _node(schema["items"], _at(path, "items"), depth + 1)
    for name, child in _rules(schema):
        yield from _rule(child, _at(path, name), depth + 1, is_plain=not schema.get("x-kubernetes-int-or-string"))


def _type(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        if kind:
            text = f"Invalid value: {_shown(kind)}: must be empty if x-kubernetes-int-or-string is true"
            yield Cause(INVALID, text, _at(path, "type"))
        return
    if not kind:
        if path and not schema.get("x-kubernetes-preserve-unknown-fields"):
            what = "array items" if path.endswith("items") else "object fields"
            yield Cause(REQUIRED, f"Required value: must not be empty for specified {what}", _at(path, "type"))
    elif kind not in _TYPES:
        options = ", ".join(_shown(option) for option in _TYPES)
        yield Cause(NOT_SUPPORTED, f"Unsupported value: {_shown(kind)}: supported values: {options}", _at(path, "type"))
    if schema.get("x-kubernetes-embedded-resource") and kind != "object":
        yield Cause(
            INVALID, f"Invalid value: {_shown(kind)}: must be object if x-kubernetes-embedded-resource is true", _at(path, "type")
        )


def _shape(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """The keywords themselves: known, and of the right JSON type, so that the rest may rely on them."""
    for name, value in schema.items():
        at = _at(path, name)
        if name not in _KNOWN:
            yield Cause(INVALID, "Invalid value: the keyword is not known", at)
        elif name in _UNSUPPORTED:
            yield Cause(FORBIDDEN, f"Forbidden: {name} is not supported", at)
        elif name == "properties":
            if not isinstance(value, dict) or not all(isinstance(child, dict) for child in value.values()):
                yield Cause(INVALID, "Invalid value: must be an object of schemas", at)
        elif name == "items":
            if isinstance(value, list):
                yield Cause(FORBIDDEN, "Forbidden: items must be a schema object and not an array", at)
            elif not isinstance(value, dict):
                yield Cause(INVALID, "Invalid value: must be a schema", at)
        elif name == "additionalProperties":
            if not isinstance(value, dict | bool):
                yield Cause(INVALID, "Invalid value: must be a schema or a boolean", at)
        elif name in ("allOf", "anyOf", "oneOf"):
            if not isinstance(value, list) or not all(isinstance(child, dict) for child in value):
                yield Cause(INVALID, "Invalid value: must be a list of schemas", at)
        elif name == "not" and not isinstance(value, dict):
            yield Cause(INVALID, "Invalid value: must be a schema", at)
        elif name in ("required", "x-kubernetes-list-map-keys"):
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                yield Cause(INVALID, "Invalid value: must be a list of names", at)
        elif name == "enum" and not isinstance(value, list):
            yield Cause(INVALID, "Invalid value: must be a list", at)
        elif name in _COUNTS and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            yield Cause(INVALID, f"Invalid value: {_shown(value)}: must be a whole number, 0 or more", at)
        elif name in ("minimum", "maximum", "multipleOf") and (isinstance(value, bool) or not isinstance(value, int | float)):
            yield Cause(INVALID, f"Invalid value: {_shown(value)}: must be a number", at)
        elif name in ("format", "type", "pattern", "x-kubernetes-list-type", "x-kubernetes-map-type") and not isinstance(
            value, str
        ):
            yield Cause(INVALID, f"Invalid value: {_shown(value)}: must be text", at)


def _constraints(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if schema.get("uniqueItems"):
        text = "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield Cause(FORBIDDEN, text, _at(path, "uniqueItems"))
    if schema.get("multipleOf", 1) <= 0:
        yield Cause(INVALID, f"Invalid value: {_shown(schema['multipleOf'])}: must be greater than 0", _at(path, "multipleOf"))
    if "pattern" in schema:
        try:
            pattern_check(schema["pattern"])
        except ValueError:
            text = f"Invalid value: {_shown(schema['pattern'])}: must be a valid regular expression, without look-around"
            yield Cause(INVALID, text, _at(path, "pattern"))


def _list(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    kind, list_type, map_type = schema.get("type"), schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-map-type")
    keys = schema.get("x-kubernetes-list-map-keys")
    at = _at(path, "x-kubernetes-list-type")
    if kind == "array" and not schema.get("items"):
        yield Cause(REQUIRED, "Required value: must be specified", _at(path, "items"))
    if map_type is not None and map_type not in ("granular", "atomic"):
        text = f'Unsupported value: {_shown(map_type)}: supported values: "atomic", "granular"'
        yield Cause(NOT_SUPPORTED, text, _at(path, "x-kubernetes-map-type"))
    if list_type is None:
        if keys:
            yield Cause(REQUIRED, "Required value: must be map if x-kubernetes-list-map-keys is non-empty", at)
        return
    if kind != "array":
        yield Cause(
            INVALID, f"Invalid value: {_shown(kind)}: must be array if x-kubernetes-list-type is specified", _at(path, "type")
        )
        return
    if any(_shape(schema.get("items") or {}, path)):
        return  # reported where the items are walked
    if list_type not in ("atomic", "set", "map"):
        yield Cause(NOT_SUPPORTED, f'Unsupported value: {_shown(list_type)}: supported values: "atomic", "map", "set"', at)
    elif list_type == "map":
        yield from _map_keys(schema, keys or [], path)
    elif list_type == "set":
        items = schema.get("items") or {}
        is_atomic = items.get("x-kubernetes-map-type") == "atomic" or items.get("x-kubernetes-list-type", "atomic") == "atomic"
        if items.get("nullable"):
            yield Cause(
                FORBIDDEN, "Forbidden: cannot be nullable when x-kubernetes-list-type is set", _at(path, "items.nullable")
            )
        if (items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic") or not is_atomic:
            text = "Invalid value: must be atomic as item of a list with x-kubernetes-list-type=set"
            yield Cause(INVALID, text, _at(path, "items"))


def _map_keys(schema: Mapping[str, Any], keys: list[str], path: str) -> Iterator[Cause]:
    at = _at(path, "x-kubernetes-list-map-keys")
    items = schema.get("items") or {}
    properties = items.get("properties") or {}
    if not keys:
        yield Cause(REQUIRED, "Required value: must not be empty if x-kubernetes-list-type is map", at)
    if items.get("type") != "object":
        text = f"Invalid value: {_shown(items.get('type'))}: must be object if parent array's x-kubernetes-list-type is map"
        yield Cause(INVALID, text, _at(path, "items.type"))
    for index, key in enumerate(keys):
        if key in keys[:index]:
            yield Cause("FieldValueDuplicate", f"Duplicate value: {_shown(key)}", f"{at}[{index}]")
        elif not isinstance(properties.get(key), dict):
            yield Cause(INVALID, f"Invalid value: {_shown(key)}: entries must all be names of item properties", f"{at}[{index}]")
        else:
            child = properties[key]
            if child.get("type") in ("object", "array"):
                text = f"Invalid value: {_shown(child['type'])}: must be a scalar type if parent array's {_LIST_TYPE} is map"
                yield Cause(INVALID, text, _at(path, f"items.properties[{key}].type"))
            if "default" not in child and key not in (items.get("required") or ()):
                text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
                yield Cause(REQUIRED, f"Required value: {text}", _at(path, f"items.properties[{key}].default"))


def _rules(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in ("allOf", "anyOf", "oneOf"):
        for index, child in enumerate(schema.get(name) or ()):
            yield f"{name}[{index}]", child
    if "not" in schema:
        yield "not", schema["not"]


def _rule(schema: Mapping[str, Any], path: str, depth: int, *, is_plain: bool) -> Iterator[Cause]:
    """A schema below allOf, anyOf, oneOf, not: it may only narrow, the types are said outside."""
    if depth > MAX_DEPTH:
        yield Cause(INVALID, f"Invalid value: the schema is nested more than {MAX_DEPTH} levels deep", path)
        return
    wrong = list(_shape(schema, path))
    yield from wrong
    if wrong:
        return
    yield from _constraints(schema, path)
    for name in _NOT_IN_RULES:
        if schema.get(name) and not (name == "type" and not is_plain):
            text = (
                "Forbidden: must be empty to be structural" if name == "type" else "Forbidden: must be undefined to be structural"
            )
            yield Cause(FORBIDDEN, text, _at(path, name))
    for name, child in (schema.get("properties") or {}).items():
        yield from _rule(child, _at(path, f"properties[{name}]"), depth + 1, is_plain=True)
    if schema.get("items"):
        yield from _rule(schema["items"], _at(path, "items"), depth + 1, is_plain=True)
    for name, child in _rules(schema):
        yield from _rule(child, _at(path, name), depth + 1, is_plain=is_plain)


def _defaults(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Defaults are values of their own schema, complete and without unknown fields."""
    if "default" in schema:
        value = msgspec.json.decode(msgspec.json.encode(schema["default"]))
        at = _at(path, "default")
        prune, complete = pruner(schema), defaulter(schema)
        for name in (prune(value) or ()) if prune else ():
            yield Cause(INVALID, f"Invalid value: {_shown(schema['default'])}: must not have unknown field {name}", at)
        if complete:
            complete(value)
        yield from explain(value, schema, at)
    for name, child in (schema.get("properties") or {}).items():
        yield from _defaults(child, _at(path, f"properties[{name}]"))
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        yield from _defaults(additional, _at(path, "additionalProperties"))
    if schema.get("items"):
        yield from _defaults(schema["items"], _at(path, "items"))


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()
