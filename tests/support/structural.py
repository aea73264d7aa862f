"""Random structural schemas, and values that nearly fit them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class Choices:
    """Decisions read from bytes: one blob is cheaper to draw than every decision, and still shrinks."""

    def __init__(self, blob: bytes) -> None:
        self._blob = blob
        self._at = 0

    def below(self, bound: int) -> int:
        self._at += 1
        return self._blob[self._at - 1] % bound if self._at <= len(self._blob) else 0

    def of(self, options: list[Any]) -> Any:
        return options[self.below(len(options))]


def schema_of(choices: Choices, depth: int = 0) -> Json:
    """A structural schema of any kind."""
    kind = choices.below(9 if depth < 3 else 6)
    if kind == 0:
        return _maybe(
            choices, {"type": "string"}, [("enum", ["x", "y"]), ("minLength", 1), ("maxLength", 2), ("pattern", "^[a-y]*$")]
        )
    if kind == 1:
        schema = {"type": "integer"}
        return _maybe(
            choices, schema, [("minimum", 0), ("maximum", 3), ("multipleOf", 2), ("format", "int32"), ("exclusiveMinimum", True)]
        )
    if kind == 2:
        return _maybe(choices, {"type": "number"}, [("minimum", 0.5), ("maximum", 2), ("exclusiveMaximum", True)])
    if kind == 3:
        return _maybe(choices, {"type": "boolean"}, [("enum", [True])])
    if kind == 4:
        return _maybe(choices, {"x-kubernetes-int-or-string": True}, [("pattern", "^[0-9]+%$"), ("minimum", 1)])
    if kind == 5:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if kind == 6:
        return _list_of(choices, depth)
    if kind == 7:
        return _maybe(
            choices,
            {"type": "object", "additionalProperties": schema_of(choices, depth + 1)},
            [("minProperties", 1), ("maxProperties", 1)],
        )
    return object_of(choices, depth)


def object_of(choices: Choices, depth: int = 0) -> Json:
    properties = {name: schema_of(choices, depth + 1) for name in ("a", "b", "c")[: 1 + choices.below(3)]}
    schema: Json = {"type": "object", "properties": properties}
    if choices.below(3) == 1:
        schema["required"] = ["a"]
    if choices.below(5) == 1:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    combination = choices.below(10)
    if combination == 1:
        schema["anyOf"] = [{"required": ["a"]}, {"required": ["b"]}]
    if combination == 2:
        schema["oneOf"] = [{"required": ["a"]}, {"required": ["b"]}]
    if combination == 3:
        schema["not"] = {"required": ["c"]}
    if combination == 4:
        schema["allOf"] = [{"properties": {"a": {"enum": ["x", 1, True]}}}]
    return schema


def _list_of(choices: Choices, depth: int) -> Json:
    kind = choices.below(4)
    if kind == 1:
        return {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}
    if kind == 2:
        item = object_of(choices, depth + 1)
        item["properties"]["name"] = {"type": "string"}
        item["required"] = ["name"]
        return {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item}
    return _maybe(choices, {"type": "array", "items": schema_of(choices, depth + 1)}, [("minItems", 1), ("maxItems", 1)])


def _maybe(choices: Choices, schema: Json, rules: list[tuple[str, Any]]) -> Json:
    for name, value in rules:
        if choices.below(4) == 1:
            schema[name] = value
    if "exclusiveMinimum" in schema and "minimum" not in schema:
        del schema["exclusiveMinimum"]
    if "exclusiveMaximum" in schema and "maximum" not in schema:
        del schema["exclusiveMaximum"]
    if choices.below(6) == 1:
        schema["nullable"] = True
    if choices.below(4) == 1:
        default = default_of(schema)
        if default is not None:
            schema["default"] = default
    return schema


def default_of(schema: Json) -> Any:
    kind = schema.get("type")
    if kind == "string" and "enum" not in schema:
        return "ab"
    if kind == "integer":
        return 2
    return {"object": None, "boolean": True, "number": 1, "array": None}.get(kind or "")


def value_of(choices: Choices, schema: Json, depth: int = 0) -> Any:
    """A value that mostly fits."""
    if choices.below(12) == 1:
        return _any(choices, depth)
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        return choices.of([1, "5%", 0, "x"])
    if kind == "string":
        return choices.of(["x", "", "y", "abc", "Z"])
    if kind == "integer":
        return choices.of([2, 0, 1, 3, 4, -1, 2.0, 1.5, 2**40])
    if kind == "number":
        return choices.of([1, 0.5, 2, 0, 2.5])
    if kind == "boolean":
        return choices.of([True, False])
    if kind == "array":
        return [value_of(choices, schema["items"], depth + 1) for _ in range(choices.below(4))]
    value: Json = {}
    for name, child in (schema.get("properties") or {}).items():
        if choices.below(4):
            value[name] = value_of(choices, child, depth + 1)
    if choices.below(3) == 1:
        additional = schema.get("additionalProperties")
        value["extra"] = value_of(choices, additional, depth + 1) if isinstance(additional, dict) else _any(choices, depth)
    return value


def _any(choices: Choices, depth: int) -> Any:
    kind = choices.below(9 if depth < 4 else 7)
    if kind == 7:
        return [_any(choices, depth + 1)]
    if kind == 8:
        return {"a": _any(choices, depth + 1)}
    return [None, True, 1, 1.5, "x", {}, []][kind]
