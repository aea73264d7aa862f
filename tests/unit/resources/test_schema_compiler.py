"""Prune, default, validate: laws over random schemas, and Kubernetes' texts."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.resources.errors import Cause
from plum_controller.resources.schema.compiler import CompiledSchema
from plum_controller.resources.schema.metadata import OBJECT_META
from plum_controller.resources.schema.validation import explain, fast_schema
from plum_controller.resources.schema.values import is_same
from plum_schemas.crds import load
from plum_schemas.scalars import DURATION_PATTERN

from tests.support.structural import Choices, Json, object_of, schema_of, value_of

blobs = st.binary(min_size=0, max_size=80)


def random_kind(blob: bytes) -> Json:
    return {"type": "object", "properties": {"spec": object_of(Choices(blob))}}


def random_object(schema: Json, blob: bytes) -> Json:
    return {
        "apiVersion": "x/v1",
        "kind": "X",
        "metadata": {"name": "x"},
        "spec": value_of(Choices(blob), schema["properties"]["spec"]),
    }


def make(**properties: Any) -> CompiledSchema:
    return CompiledSchema({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})


def causes(schema: Json, value: Any) -> list[Cause]:
    """What is wrong with `spec.x`."""
    return make(x=schema).validate({"spec": {"x": value}})


def cause(schema: Json, value: Any) -> Cause:
    (only,) = causes(schema, value)
    return only


@given(blobs, blobs)
def test_validity_agrees_with_json_schema(schema_blob: bytes, value_blob: bytes) -> None:
    schema = schema_of(Choices(schema_blob))
    value = value_of(Choices(value_blob), schema)

    is_valid = jsonschema_rs.Draft202012Validator(fast_schema(schema), pattern_options=jsonschema_rs.RegexOptions()).is_valid(
        value
    )

    assert is_valid == (not explain(value, schema, "x"))


@given(blobs, blobs)
def test_pruning_again_finds_nothing(schema_blob: bytes, value_blob: bytes) -> None:
    schema = random_kind(schema_blob)
    obj = random_object(schema, value_blob)
    compiled = CompiledSchema(schema)
    before = copy.deepcopy(obj)

    removed = compiled.prune(obj)

    assert compiled.prune(obj) == []
    assert bool(removed) == (not is_same(obj, before))
    assert len(removed) == len(set(removed))


@given(blobs, blobs)
def test_pruning_removes_exactly_what_it_reports(schema_blob: bytes, value_blob: bytes) -> None:
    schema = random_kind(schema_blob)
    obj = random_object(schema, value_blob)
    before = copy.deepcopy(obj)

    for path in CompiledSchema(schema).prune(obj):
        *parents, name = steps(path)
        place: Any = before
        for step in parents:
            place = place[step]
        del place[name]

    assert is_same(obj, before)


def steps(path: str) -> list[Any]:
    """`spec.a[0].b` as keys and indexes."""
    parts = path.replace("[", ".[").split(".")
    return [int(part[1:-1]) if part.startswith("[") else part for part in parts]


@given(blobs, blobs)
def test_defaulting_again_changes_nothing(schema_blob: bytes, value_blob: bytes) -> None:
    schema = random_kind(schema_blob)
    obj = random_object(schema, value_blob)
    compiled = CompiledSchema(schema)

    compiled.default(obj)
    once = copy.deepcopy(obj)
    compiled.default(obj)

    assert is_same(obj, once)


@given(blobs, blobs)
def test_defaulting_only_adds_and_drops_nulls(schema_blob: bytes, value_blob: bytes) -> None:
    schema = random_kind(schema_blob)
    obj = random_object(schema, value_blob)
    before = copy.deepcopy(obj)

    CompiledSchema(schema).default(obj)

    assert_kept(before, obj)


def assert_kept(before: Any, after: Any) -> None:
    if isinstance(before, dict):
        for name, value in before.items():
            if value is not None:
                assert_kept(value, after[name])
    elif isinstance(before, list):
        assert len(before) == len(after)
        for old, new in zip(before, after, strict=True):
            if old is not None:
                assert_kept(old, new)
    else:
        assert is_same(before, after)


@given(blobs, blobs)
def test_pruning_and_defaulting_keep_a_valid_object_valid(schema_blob: bytes, value_blob: bytes) -> None:
    schema = random_kind(schema_blob)
    obj = random_object(schema, value_blob)
    compiled = CompiledSchema(schema)
    compiled.default(obj)
    if compiled.validate(obj) or combines(schema):
        return

    compiled.prune(obj)

    assert compiled.validate(obj) == []


def combines(schema: Any) -> bool:
    """Rules about the presence of fields may ask for what pruning takes away."""
    if not isinstance(schema, dict):
        return False
    rules = ("oneOf", "anyOf", "allOf", "not", "minProperties", "maxProperties")
    return any(name in schema for name in rules) or any(combines(child) for child in schema.values())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "b", "spec", "metadata"]), inner),
    )
)
def test_any_json_is_taken_without_an_exception(value: Any) -> None:
    schema = random_kind(bytes([8, 0, 8, 1, 6, 2, 8, 7, 1, 2, 3, 4, 5, 6, 7, 8] * 3))
    compiled = CompiledSchema(schema)
    obj = {"metadata": value, "spec": value, "extra": value}

    compiled.prune(obj)
    compiled.default(obj)
    compiled.validate(obj)


@pytest.mark.parametrize("definition", load(), ids=lambda definition: str(definition["metadata"]["name"]))
def test_every_kind_of_plum_compiles(definition: Json) -> None:
    for version in definition["spec"]["versions"]:
        compiled = CompiledSchema(version["schema"]["openAPIV3Schema"])
        obj: Json = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "zz": 1}

        assert compiled.prune(obj) == ["zz"]
        compiled.default(obj)
        assert all(problem.reason == "FieldValueRequired" for problem in compiled.validate(obj))


def test_unknown_fields_are_named_by_their_path() -> None:
    item = {"type": "object", "properties": {"name": {"type": "string"}}}
    compiled = make(
        env={"type": "array", "items": item},
        labels={"type": "object", "additionalProperties": item},
        free={"x-kubernetes-preserve-unknown-fields": True},
    )
    obj = {
        "metadata": {"name": "x", "zz": 1},
        "spec": {"a": 1, "env": [{}, {"name": "A", "b": 1}], "labels": {"k": {"c": 1}}, "free": {"d": 1}},
        "extra": 1,
    }

    assert sorted(compiled.prune(obj)) == ["extra", "metadata.zz", "spec.a", "spec.env[1].b", "spec.labels.k.c"]
    assert obj == {"metadata": {"name": "x"}, "spec": {"env": [{}, {"name": "A"}], "labels": {"k": {}}, "free": {"d": 1}}}


def test_an_unknown_field_without_a_name_is_a_field_like_others() -> None:
    compiled = make(inner={"type": "object", "properties": {"a": {"type": "string"}}})

    assert compiled.prune({"spec": {"": 1, "inner": {"": {}}}}) == ["spec.", "spec.inner."]


def test_unknown_fields_may_be_kept_around_known_ones() -> None:
    inner = {"type": "object", "properties": {"a": {"type": "string"}}}
    compiled = make(x={"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"inner": inner}})
    obj = {"spec": {"x": {"unknown": {"b": 1}, "inner": {"b": 1}}}}

    assert compiled.prune(obj) == ["spec.x.inner.b"]
    assert obj == {"spec": {"x": {"unknown": {"b": 1}, "inner": {}}}}


def test_an_embedded_resource_has_metadata_of_its_own() -> None:
    compiled = make(
        x={"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object", "properties": {}}}}
    )
    obj: Json = {"spec": {"x": {"apiVersion": "v1", "metadata": {"name": "a", "zz": 1, "labels": None}, "b": 1}}}

    assert sorted(compiled.prune(obj)) == ["spec.x.b", "spec.x.metadata.zz"]
    compiled.default(obj)
    assert obj["spec"]["x"]["metadata"] == {"name": "a"}
    assert compiled.validate(obj) == [Cause("FieldValueRequired", "Required value", "spec.x.kind")]


def test_defaults_fill_only_what_is_missing_inside_parents_that_are_there() -> None:
    inner = {"type": "object", "properties": {"n": {"type": "integer", "default": 3}}}
    compiled = make(
        a={"type": "string", "default": "x"},
        inner=inner,
        list={"type": "array", "items": inner},
        map={"type": "object", "additionalProperties": inner},
    )

    obj: Json = {"spec": {"inner": {}, "list": [{}, {"n": 4}], "map": {"k": {}}}}
    compiled.default(obj)
    assert obj == {"spec": {"a": "x", "inner": {"n": 3}, "list": [{"n": 3}, {"n": 4}], "map": {"k": {"n": 3}}}}

    obj = {"spec": {}}
    compiled.default(obj)
    assert obj == {"spec": {"a": "x"}}


def test_defaults_inside_defaults_are_filled_and_never_shared() -> None:
    compiled = make(
        x={
            "type": "object",
            "default": {"list": []},
            "properties": {"n": {"type": "integer", "default": 1}, "list": {"type": "array", "items": {"type": "string"}}},
        }
    )
    first: Json = {"spec": {}}
    second: Json = {"spec": {}}

    compiled.default(first)
    compiled.default(second)
    first["spec"]["x"]["list"].append("changed")

    assert second == {"spec": {"x": {"list": [], "n": 1}}}


def test_null_means_missing_unless_the_field_is_nullable() -> None:
    compiled = make(
        foo={"type": "string", "nullable": False, "default": "default"},
        bar={"type": "string", "nullable": True},
        baz={"type": "string"},
        both={"type": "string", "nullable": True, "default": "x"},
        text={"type": "string"},
    )
    obj: Json = {
        "metadata": {"labels": None, "name": "x"},
        "spec": {"foo": None, "bar": None, "baz": None, "both": None, "text": "null"},
    }

    compiled.default(obj)

    assert obj == {"metadata": {"name": "x"}, "spec": {"foo": "default", "bar": None, "both": None, "text": "null"}}


def test_nulls_in_metadata_go_even_if_there_are_no_others() -> None:
    obj: Json = {"metadata": {"creationTimestamp": None, "name": "x"}, "spec": {}}

    make().default(obj)

    assert obj == {"metadata": {"name": "x"}, "spec": {}}


def test_true_is_not_the_allowed_one() -> None:
    schema = {"x-kubernetes-preserve-unknown-fields": True, "enum": [1, [0]]}

    assert causes(schema, 1) == [] == causes(schema, 1.0) == causes(schema, [0])
    assert cause(schema, True).message == 'Unsupported value: true: supported values: "1", "[0]"'
    assert cause(schema, [False]).reason == "FieldValueNotSupported"


def test_null_in_maps_and_lists() -> None:
    compiled = make(
        map={"type": "object", "additionalProperties": {"type": "string"}},
        list={"type": "array", "items": {"type": "string", "default": "x"}},
        free={"x-kubernetes-preserve-unknown-fields": True},
    )
    obj: Json = {"spec": {"map": {"a": None, "b": "c"}, "list": ["y", None], "free": {"a": None}}}

    compiled.default(obj)

    assert obj == {"spec": {"map": {"b": "c"}, "list": ["y", "x"], "free": {"a": None}}}


def test_a_required_field_that_is_null_is_missing() -> None:
    compiled = CompiledSchema(
        {"type": "object", "properties": {"spec": {"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}}}}
    )
    obj: Json = {"spec": {"x": None}}

    compiled.default(obj)

    assert compiled.validate(obj) == [Cause("FieldValueRequired", "Required value", "spec.x")]


@pytest.mark.parametrize(
    ("schema", "value", "reason", "message"),
    [
        (
            {"type": "integer", "minimum": 0},
            -1,
            "FieldValueInvalid",
            "Invalid value: -1: spec.x in body should be greater than or equal to 0",
        ),
        (
            {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
            0,
            "FieldValueInvalid",
            "Invalid value: 0: spec.x in body should be greater than 0",
        ),
        (
            {"type": "integer", "maximum": 65535},
            65536,
            "FieldValueInvalid",
            "Invalid value: 65536: spec.x in body should be less than or equal to 65535",
        ),
        (
            {"type": "number", "maximum": 1.5, "exclusiveMaximum": True},
            1.5,
            "FieldValueInvalid",
            "Invalid value: 1.5: spec.x in body should be less than 1.5",
        ),
        (
            {"type": "integer", "multipleOf": 2},
            3,
            "FieldValueInvalid",
            "Invalid value: 3: spec.x in body should be a multiple of 2",
        ),
        (
            {"type": "number", "multipleOf": 0.1},
            0.25,
            "FieldValueInvalid",
            "Invalid value: 0.25: spec.x in body should be a multiple of 0.1",
        ),
        (
            {"type": "integer", "format": "int32"},
            2**31,
            "FieldValueInvalid",
            "Invalid value: 2147483648: Checked value must be of type integer with format int32 in spec.x",
        ),
        (
            {"type": "integer"},
            "string",
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.x in body must be of type integer: "string"',
        ),
        (
            {"type": "integer"},
            1.5,
            "FieldValueTypeInvalid",
            'Invalid value: "number": spec.x in body must be of type integer: "number"',
        ),
        (
            {"type": "string"},
            1,
            "FieldValueTypeInvalid",
            'Invalid value: "integer": spec.x in body must be of type string: "integer"',
        ),
        (
            {"type": "string"},
            None,
            "FieldValueTypeInvalid",
            'Invalid value: "null": spec.x in body must be of type string: "null"',
        ),
        (
            {"type": "boolean"},
            [],
            "FieldValueTypeInvalid",
            'Invalid value: "array": spec.x in body must be of type boolean: "array"',
        ),
        (
            {"type": "array", "items": {"type": "string"}},
            {},
            "FieldValueTypeInvalid",
            'Invalid value: "object": spec.x in body must be of type array: "object"',
        ),
        (
            {"type": "object", "properties": {}},
            True,
            "FieldValueTypeInvalid",
            'Invalid value: "boolean": spec.x in body must be of type object: "boolean"',
        ),
        (
            {"x-kubernetes-int-or-string": True},
            True,
            "FieldValueTypeInvalid",
            'Invalid value: "boolean": spec.x in body must be of type integer,string: "boolean"',
        ),
        (
            {"type": "string", "enum": ["Rolling", "Recreate"]},
            "Foo",
            "FieldValueNotSupported",
            'Unsupported value: "Foo": supported values: "Rolling", "Recreate"',
        ),
        ({"type": "integer", "enum": [1, 2]}, 3, "FieldValueNotSupported", 'Unsupported value: 3: supported values: "1", "2"'),
        (
            {"type": "string", "pattern": "^a$"},
            "b",
            "FieldValueInvalid",
            "Invalid value: \"b\": spec.x in body should match '^a$'",
        ),
        (
            {"type": "string", "pattern": DURATION_PATTERN},
            "3 days",
            "FieldValueInvalid",
            'Invalid value: "3 days": spec.x in body should be a span of time such as 30s, 5m or 1h30m',
        ),
        (
            {"type": "string", "pattern": "^a$"},
            "a\n",
            "FieldValueInvalid",
            "Invalid value: \"a\\n\": spec.x in body should match '^a$'",
        ),
        (
            {"type": "string", "minLength": 1},
            "",
            "FieldValueInvalid",
            'Invalid value: "": spec.x in body should be at least 1 chars long',
        ),
        ({"type": "string", "maxLength": 2}, "abc", "FieldValueTooLong", "Too long: may not be more than 2 bytes"),
        (
            {"type": "string", "format": "date-time"},
            "now",
            "FieldValueTypeInvalid",
            'Invalid value: "now": spec.x in body must be of type date-time: "now"',
        ),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
            [],
            "FieldValueInvalid",
            "Invalid value: 0: spec.x in body should have at least 1 items",
        ),
        (
            {"type": "array", "items": {"type": "string"}, "maxItems": 1},
            ["a", "b"],
            "FieldValueTooMany",
            "Too many: 2: must have at most 1 item",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
            {},
            "FieldValueInvalid",
            "Invalid value: 0: spec.x in body should have at least 1 properties",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 2},
            {"a": "", "b": "", "c": ""},
            "FieldValueTooMany",
            "Too many: 3: must have at most 2 items",
        ),
        (
            {"x-kubernetes-preserve-unknown-fields": True, "not": {"required": ["a"]}},
            {"a": 1},
            "FieldValueInvalid",
            'Invalid value: "": "spec.x" must not validate the schema (not)',
        ),
    ],
)
def test_problems_read_as_in_kubernetes(schema: Json, value: Any, reason: str, message: str) -> None:
    assert cause(schema, value) == Cause(reason, message, "spec.x")


def test_problems_inside_are_named_by_their_path() -> None:
    item = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"list": {"type": "array", "items": item}, "map": {"type": "object", "additionalProperties": item}},
    }

    fields = [problem.field for problem in causes(schema, {"list": [{"name": "a"}, {}, {"name": 1}], "map": {"k": {}}})]

    assert fields == ["spec.x.list[1].name", "spec.x.list[2].name", "spec.x.map.k.name"]


def test_combined_rules_say_which_rule_and_the_nearest_reason() -> None:
    either = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}

    assert causes({**either, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": "", "b": ""}) == [
        Cause(
            "FieldValueInvalid",
            'Invalid value: "": "spec.x" must validate one and only one schema (oneOf). Found 2 valid alternatives',
            "spec.x",
        )
    ]
    assert causes({**either, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {}) == [
        Cause(
            "FieldValueInvalid",
            'Invalid value: "": "spec.x" must validate one and only one schema (oneOf). Found none valid',
            "spec.x",
        ),
        Cause("FieldValueRequired", "Required value", "spec.x.a"),
    ]
    assert causes({**either, "anyOf": [{"required": ["a", "b"]}, {"required": ["b"]}]}, {}) == [
        Cause("FieldValueInvalid", 'Invalid value: "": "spec.x" must validate at least one schema (anyOf)', "spec.x"),
        Cause("FieldValueRequired", "Required value", "spec.x.b"),
    ]
    assert [problem.field for problem in causes({**either, "allOf": [{"required": ["a"]}]}, {})] == ["spec.x.a", "spec.x"]


LIST_MAP: Json = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["port", "protocol"],
    "items": {"type": "object", "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}}},
}


@pytest.mark.parametrize(
    ("schema", "value", "found"),
    [
        ({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}, ["a", "b", "a"], [('"a"', 2)]),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "set",
                "items": {"type": "object", "x-kubernetes-map-type": "atomic", "x-kubernetes-preserve-unknown-fields": True},
            },
            [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
            [('{"a":1,"b":2}', 1)],
        ),
        (
            {"type": "array", "x-kubernetes-list-type": "set", "items": {"x-kubernetes-preserve-unknown-fields": True}},
            [1, True, "1"],
            [],
        ),
        (
            LIST_MAP,
            [{"port": 1}, {"port": 1, "protocol": "UDP"}, {"port": 1, "protocol": "TCP"}],
            [('{"port":1,"protocol":"TCP"}', 2)],
        ),
        (LIST_MAP, [{"port": 1}, {"port": 2}], []),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}}},
            },
            [{"name": "A"}, {"name": "B"}, {"name": "A"}, {"name": "A"}],
            [('{"name":"A"}', 2), ('{"name":"A"}', 3)],
        ),
        ({"type": "array", "items": {"type": "string"}}, ["a", "a"], []),
    ],
)
def test_duplicates_are_named_by_value_and_place(schema: Json, value: Any, found: list[tuple[str, int]]) -> None:
    assert causes(schema, value) == [
        Cause("FieldValueDuplicate", f"Duplicate value: {text}", f"spec.x[{index}]") for text, index in found
    ]


def test_duplicates_are_found_inside_maps_and_lists() -> None:
    inner = {
        "type": "object",
        "properties": {"s": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}},
    }
    schema = {
        "type": "object",
        "properties": {"m": {"type": "object", "additionalProperties": inner}, "l": {"type": "array", "items": inner}},
    }

    fields = [problem.field for problem in causes(schema, {"m": {"k": {"s": ["a", "a"]}}, "l": [{}, {"s": ["a", "a"]}]})]

    assert fields == ["spec.x.m.k.s[1]", "spec.x.l[1].s[1]"]


@pytest.mark.parametrize(
    ("format_name", "good", "bad"),
    [
        (
            "date-time",
            ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.123456+02:00", "2016-12-31T23:59:60Z"],
            ["2024-01-01", "2024-13-01T00:00:00Z", ""],
        ),
        ("date", ["2024-02-29"], ["2023-02-29", "20240229"]),
        ("duration", ["1h30m", "0", "1.5s"], ["", "1", "h"]),
        ("byte", ["aGVsbG8=", ""], ["aGVsbG8", "ä"]),
        ("ipv4", ["10.0.0.1"], ["10.0.0.256", "::1"]),
        ("ipv6", ["::1"], ["10.0.0.1"]),
        ("cidr", ["10.0.0.0/8", "10.0.0.1/8"], ["10.0.0.0"]),
        ("mac", ["01:23:45:67:89:ab"], ["01:23:45"]),
        ("uri", ["http://a/b", "/a"], ["a b", "plain"]),
        ("hostname", ["a.example", "a-b"], ["-a", "a..b", ""]),
        ("email", ["a@b.c"], ["a"]),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000"], ["123"]),
        ("anything", ["x"], []),
    ],
)
def test_formats(format_name: str, good: list[str], bad: list[str]) -> None:
    schema = {"type": "string", "format": format_name}

    assert all(causes(schema, text) == [] for text in good)
    assert all(len(causes(schema, text)) == 1 for text in bad)


def test_a_pattern_cannot_stall_the_server() -> None:
    schema = {"type": "string", "pattern": "^(a+)+$"}

    assert len(causes(schema, "a" * 5000 + "!")) == 1


def test_metadata_is_known() -> None:
    compiled = CompiledSchema({"type": "object"})
    obj = {"metadata": dict.fromkeys(OBJECT_META["properties"], "x"), "apiVersion": "v1", "kind": "X"}

    assert compiled.prune(obj) == []
