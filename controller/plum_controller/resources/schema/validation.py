"""Which values a schema refuses, and why, in Kubernetes' words.

    explain(value, schema, path) -> causes        the slow walk, for values that are known to be wrong
    fast_schema(schema) -> JSON Schema            the same rules for jsonschema-rs, which answers only yes or no

The two descriptions of the rules must agree; a property test compares them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from plum_schemas.scalars import DURATION_PATTERN

from plum_controller.resources.errors import INVALID, NOT_SUPPORTED, REQUIRED, TOO_LONG, TYPE_INVALID, Cause
from plum_controller.resources.schema.formats import INTEGER_RANGES, STRING_FORMATS
from plum_controller.resources.schema.values import is_same

TOO_MANY = "FieldValueTooMany"
_WORDS = {DURATION_PATTERN: "should be a span of time such as 30s, 5m or 1h30m"}
"""What patterns of Plum's own schemas mean, where the pattern itself says little."""

_encode = msgspec.json.Encoder(order="sorted").encode


def fast_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of an OpenAPI schema."""
    out: dict[str, Any] = {}
    types = ["integer", "string"] if schema.get("x-kubernetes-int-or-string") else [schema["type"]] if schema.get("type") else []
    if types:
        out["type"] = [*types, "null"] if schema.get("nullable") else types if len(types) > 1 else types[0]
    for name in (
        "enum",
        "pattern",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "multipleOf",
    ):
        if name in schema:
            out[name] = schema[name]
    for bound in ("minimum", "maximum"):
        if bound in schema:
            exclusive = "exclusive" + bound.capitalize()
            out[exclusive if schema.get(exclusive) is True else bound] = schema[bound]
    if schema.get("format") in STRING_FORMATS:
        out["format"] = schema["format"]
    if schema.get("required"):
        out["required"] = schema["required"]
    if schema.get("format") in INTEGER_RANGES and schema.get("type") == "integer":
        low, high = INTEGER_RANGES[schema["format"]]
        out.setdefault("allOf", []).append({"minimum": low, "maximum": high})
    properties = schema.get("properties") or {}
    if schema.get("x-kubernetes-embedded-resource"):
        out["required"] = sorted({"apiVersion", "kind", *out.get("required", ())})
        properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}, **properties}
    if properties:
        out["properties"] = {name: fast_schema(child) for name, child in properties.items()}
    if "additionalProperties" in schema:
        additional = schema["additionalProperties"]
        out["additionalProperties"] = fast_schema(additional) if isinstance(additional, dict) else additional
    if schema.get("items"):
        out["items"] = fast_schema(schema["items"])
    for name in ("allOf", "anyOf", "oneOf"):
        if schema.get(name):
            out[name] = [*out.get(name, ()), *(fast_schema(child) for child in schema[name])]
    if "not" in schema:
        out["not"] = fast_schema(schema["not"])
    return out


@functools.lru_cache(maxsize=1024)
def pattern_check(pattern: str) -> Callable[[Any], bool]:
    """Whether a text contains a match. Linear in the text, whatever the pattern. Raises ValueError for a bad one."""
    import jsonschema_rs

    is_valid: Callable[[Any], bool] = jsonschema_rs.Draft202012Validator(
        {"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions()
    ).is_valid
    return is_valid


def explain(value: Any, schema: Mapping[str, Any], path: str) -> list[Cause]:
    """Every problem of a value."""
    return list(_problems(value, schema, path))


def _problems(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    kind = type(value)
    expected = "integer,string" if schema.get("x-kubernetes-int-or-string") else schema.get("type", "")
    if expected and not _has_type(value, expected) and not (value is None and schema.get("nullable")):
        yield _wrong_type(path, expected, json.dumps(_type_name(value)))
        return
    if "enum" in schema and not any(is_same(value, allowed) for allowed in schema["enum"]):
        yield Cause(NOT_SUPPORTED, f"Unsupported value: {shown(value)}: supported values: {_options(schema['enum'])}", path)
    if kind is str:
        yield from _string_problems(value, schema, path)
    elif kind is int or kind is float:
        yield from _number_problems(value, schema, path)
    elif kind is dict:
        yield from _object_problems(value, schema, path)
    elif kind is list:
        yield from _list_problems(value, schema, path)
    yield from _combined_problems(value, schema, path)


def _has_type(value: Any, expected: str) -> bool:
    name = _type_name(value)
    if name in expected.split(","):
        return True
    if expected == "number":
        return name == "integer"
    return name == "number" and "integer" in expected and float(value).is_integer()


def _type_name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "null")


def _wrong_type(path: str, expected: str, shown: str) -> Cause:
    return Cause(TYPE_INVALID, f"Invalid value: {shown}: {path} in body must be of type {expected}: {shown}", path)


def _invalid(path: str, value: Any, text: str) -> Cause:
    return Cause(INVALID, f"Invalid value: {shown(value)}: {path} in body {text}", path)


def _string_problems(value: str, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield Cause(TOO_LONG, f"Too long: may not be more than {schema['maxLength']} bytes", path)
    if "minLength" in schema and len(value) < schema["minLength"]:
        yield _invalid(path, value, f"should be at least {schema['minLength']} chars long")
    if "pattern" in schema and not pattern_check(schema["pattern"])(value):
        wanted = _WORDS.get(schema["pattern"])
        yield _invalid(path, value, wanted or f"should match '{schema['pattern']}'")
    check = STRING_FORMATS.get(schema.get("format", ""))
    if check is not None and not check(value):
        yield _wrong_type(path, schema["format"], shown(value))


def _number_problems(value: float, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if schema.get("type") == "integer" and schema.get("format") in INTEGER_RANGES:
        low, high = INTEGER_RANGES[schema["format"]]
        if not low <= value <= high:
            text = f"Checked value must be of type integer with format {schema['format']} in {path}"
            yield Cause(INVALID, f"Invalid value: {shown(value)}: {text}", path)
    minimum, maximum = schema.get("minimum"), schema.get("maximum")
    if maximum is not None:
        if schema.get("exclusiveMaximum") is True and value >= maximum:
            yield _invalid(path, value, f"should be less than {shown(maximum)}")
        elif value > maximum:
            yield _invalid(path, value, f"should be less than or equal to {shown(maximum)}")
    if minimum is not None:
        if schema.get("exclusiveMinimum") is True and value <= minimum:
            yield _invalid(path, value, f"should be greater than {shown(minimum)}")
        elif value < minimum:
            yield _invalid(path, value, f"should be greater than or equal to {shown(minimum)}")
    step = schema.get("multipleOf")
    if step is not None and not _is_multiple(value, step):
        yield _invalid(path, value, f"should be a multiple of {shown(step)}")


def _is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    from fractions import Fraction

    return (Fraction(str(value)) / Fraction(str(step))).denominator == 1


def _object_problems(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    size = len(value)
    if "maxProperties" in schema and size > schema["maxProperties"]:
        yield Cause(TOO_MANY, f"Too many: {size}: must have at most {_items(schema['maxProperties'])}", path)
    if "minProperties" in schema and size < schema["minProperties"]:
        yield _invalid(path, size, f"should have at least {schema['minProperties']} properties")
    properties = schema.get("properties") or {}
    required = list(schema.get("required") or ())
    if schema.get("x-kubernetes-embedded-resource"):
        required += [name for name in ("apiVersion", "kind") if name not in required]
        properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}, **properties}
    for name in required:
        if name not in value:
            yield Cause(REQUIRED, "Required value", _child(path, name))
    additional = schema.get("additionalProperties")
    for name, child in value.items():
        child_schema = properties.get(name, additional)
        if child_schema is False:
            yield Cause("FieldValueForbidden", "Forbidden: the field is not declared", _child(path, name))
        elif isinstance(child_schema, dict):
            yield from _problems(child, child_schema, _child(path, name))


def _list_problems(value: list[Any], schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    size = len(value)
    if "maxItems" in schema and size > schema["maxItems"]:
        yield Cause(TOO_MANY, f"Too many: {size}: must have at most {_items(schema['maxItems'])}", path)
    if "minItems" in schema and size < schema["minItems"]:
        yield _invalid(path, size, f"should have at least {schema['minItems']} items")
    items = schema.get("items")
    if items:
        for index, child in enumerate(value):
            yield from _problems(child, items, f"{path}[{index}]")


def _combined_problems(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if schema.get("allOf"):
        found = [cause for child in schema["allOf"] for cause in _problems(value, child, path)]
        if found:
            yield from found
            yield _combination(path, "must validate all the schemas (allOf)")
    if schema.get("anyOf"):
        attempts = [explain(value, child, path) for child in schema["anyOf"]]
        if all(attempts):
            yield _combination(path, "must validate at least one schema (anyOf)")
            yield from min(attempts, key=len)
    if schema.get("oneOf"):
        attempts = [explain(value, child, path) for child in schema["oneOf"]]
        valid = sum(not attempt for attempt in attempts)
        if valid != 1:
            found_text = f"Found {valid} valid alternatives" if valid else "Found none valid"
            yield _combination(path, f"must validate one and only one schema (oneOf). {found_text}")
            if not valid:
                yield from min(attempts, key=len)
    if "not" in schema and not explain(value, schema["not"], path):
        yield _combination(path, "must not validate the schema (not)")


def _combination(path: str, text: str) -> Cause:
    return Cause(INVALID, f'Invalid value: "": {json.dumps(path)} {text}', path)


def _child(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _items(count: int) -> str:
    return f"{count} items" if count != 1 else "1 item"


def _options(values: list[Any]) -> str:
    return ", ".join(
        json.dumps(value if isinstance(value, str) else _encode(value).decode(), ensure_ascii=False) for value in values
    )


def shown(value: Any) -> str:
    """A value as Kubernetes prints it: 3, "x", {"name":"A"}."""
    if type(value) is float and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return _encode(value).decode()
