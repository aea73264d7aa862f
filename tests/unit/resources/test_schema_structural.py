"""Which schemas a definition may have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.resources.schema.structural import MAX_DEPTH, check_structural
from plum_schemas.crds import load

from tests.support.structural import Choices, Json, object_of


def of(**properties: Any) -> Json:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


@pytest.mark.parametrize("definition", load(), ids=lambda definition: str(definition["metadata"]["name"]))
def test_the_kinds_of_plum_are_structural(definition: Json) -> None:
    for version in definition["spec"]["versions"]:
        assert check_structural(version["schema"]["openAPIV3Schema"]) == []


@given(st.binary(max_size=60))
def test_structural_schemas_are_accepted_unless_a_default_breaks_its_own_rules(blob: bytes) -> None:
    found = check_structural({"type": "object", "properties": {"spec": object_of(Choices(blob))}})

    assert all("default" in cause.field for cause in found)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "properties",
                        "items",
                        "allOf",
                        "not",
                        "enum",
                        "required",
                        "default",
                        "pattern",
                        "minimum",
                        "x-kubernetes-list-type",
                        "x-kubernetes-list-map-keys",
                        "additionalProperties",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_gets_an_answer(schema: Any) -> None:
    check_structural(schema)
    check_structural({"type": "object", "properties": {"a": schema}})


@pytest.mark.parametrize(
    ("schema", "field", "message"),
    [
        ({}, "type", "Required value: must not be empty at the root"),
        ({"type": "string"}, "type", 'Invalid value: "string": must be object at the root'),
        ({"type": "object", "nullable": True}, "nullable", "Forbidden: nullable cannot be true at the root"),
        ([], "", "Invalid value: a schema is an object"),
        (of(x={}), "properties[spec].properties[x].type", "Required value: must not be empty for specified object fields"),
        (of(x={"type": "array", "items": {}}), "properties[spec].properties[x].items", "Required value: must be specified"),
        (
            of(x={"type": "array", "items": {"description": "?"}}),
            "properties[spec].properties[x].items.type",
            "Required value: must not be empty for specified array items",
        ),
        (of(x={"type": "array"}), "properties[spec].properties[x].items", "Required value: must be specified"),
        (
            of(x={"type": "text"}),
            "properties[spec].properties[x].type",
            'Unsupported value: "text": supported values: "array", "boolean", "integer", "number", "object", "string"',
        ),
        (
            of(x={"type": "string", "x-kubernetes-int-or-string": True}),
            "properties[spec].properties[x].type",
            'Invalid value: "string": must be empty if x-kubernetes-int-or-string is true',
        ),
        (
            of(x={"type": "string", "x-kubernetes-embedded-resource": True}),
            "properties[spec].properties[x].type",
            'Invalid value: "string": must be object if x-kubernetes-embedded-resource is true',
        ),
        (of(x={"$ref": "#/a", "type": "string"}), "properties[spec].properties[x].$ref", "Forbidden: $ref is not supported"),
        (
            of(x={"type": "string", "surprise": 1}),
            "properties[spec].properties[x].surprise",
            "Invalid value: the keyword is not known",
        ),
        (
            of(x={"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
            "properties[spec].properties[x].additionalProperties",
            "Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            of(x={"type": "object", "additionalProperties": False}),
            "properties[spec].properties[x].additionalProperties",
            "Forbidden: additionalProperties cannot be set to false",
        ),
        (
            of(x={"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
            "properties[spec].properties[x].uniqueItems",
            "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            of(x={"type": "string", "pattern": "("}),
            "properties[spec].properties[x].pattern",
            'Invalid value: "(": must be a valid regular expression, without look-around',
        ),
        (
            of(x={"type": "string", "pattern": "(?=a)"}),
            "properties[spec].properties[x].pattern",
            'Invalid value: "(?=a)": must be a valid regular expression, without look-around',
        ),
        (
            of(x={"type": "integer", "multipleOf": 0}),
            "properties[spec].properties[x].multipleOf",
            "Invalid value: 0: must be greater than 0",
        ),
        (
            of(x={"type": "integer", "minimum": "1"}),
            "properties[spec].properties[x].minimum",
            'Invalid value: "1": must be a number',
        ),
        (
            of(x={"type": "string", "maxLength": -1}),
            "properties[spec].properties[x].maxLength",
            "Invalid value: -1: must be a whole number, 0 or more",
        ),
        (
            of(x={"type": "string", "required": "a"}),
            "properties[spec].properties[x].required",
            "Invalid value: must be a list of names",
        ),
        (
            of(x={"type": "string", "anyOf": [{"type": "string"}]}),
            "properties[spec].properties[x].anyOf[0].type",
            "Forbidden: must be empty to be structural",
        ),
        (
            of(x={"type": "string", "not": {"default": 1}}),
            "properties[spec].properties[x].not.default",
            "Forbidden: must be undefined to be structural",
        ),
        (
            of(
                x={
                    "type": "object",
                    "properties": {"a": {"type": "string"}},
                    "allOf": [{"properties": {"a": {"nullable": True}}}],
                }
            ),
            "properties[spec].properties[x].allOf[0].properties[a].nullable",
            "Forbidden: must be undefined to be structural",
        ),
        (
            {"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}},
            "properties[metadata]",
            "Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ),
        (
            of(x={"type": "integer", "default": "a"}),
            "properties[spec].properties[x].default",
            'Invalid value: "string": properties[spec].properties[x].default in body must be of type integer: "string"',
        ),
        (
            of(x={"type": "object", "default": {"b": 1}, "properties": {"a": {"type": "string"}}}),
            "properties[spec].properties[x].default",
            'Invalid value: {"b":1}: must not have unknown field b',
        ),
    ],
)
def test_what_is_wrong_is_named(schema: Any, field: str, message: str) -> None:
    found = check_structural(schema)

    assert (field, message) in [(cause.field, cause.message) for cause in found]


LIST = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "deep": {"type": "object"}, "opt": {"type": "string"}},
    },
}


@pytest.mark.parametrize(
    ("schema", "field", "message"),
    [
        (
            {**LIST, "x-kubernetes-list-type": "bag"},
            "x-kubernetes-list-type",
            'Unsupported value: "bag": supported values: "atomic", "map", "set"',
        ),
        (
            {**LIST, "x-kubernetes-list-type": "map"},
            "x-kubernetes-list-map-keys",
            "Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            {**LIST, "x-kubernetes-list-map-keys": ["name"]},
            "x-kubernetes-list-type",
            "Required value: must be map if x-kubernetes-list-map-keys is non-empty",
        ),
        (
            {**LIST, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["zz"]},
            "x-kubernetes-list-map-keys[0]",
            'Invalid value: "zz": entries must all be names of item properties',
        ),
        (
            {**LIST, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "name"]},
            "x-kubernetes-list-map-keys[1]",
            'Duplicate value: "name"',
        ),
        (
            {**LIST, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["deep"]},
            "items.properties[deep].type",
            'Invalid value: "object": must be a scalar type if parent array\'s x-kubernetes-list-type is map',
        ),
        (
            {**LIST, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["opt"]},
            "items.properties[opt].default",
            "Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            {**LIST, "x-kubernetes-list-type": "set"},
            "items",
            "Invalid value: must be atomic as item of a list with x-kubernetes-list-type=set",
        ),
        (
            {"type": "string", "x-kubernetes-list-type": "set"},
            "type",
            'Invalid value: "string": must be array if x-kubernetes-list-type is specified',
        ),
        (
            {"type": "object", "x-kubernetes-map-type": "bag"},
            "x-kubernetes-map-type",
            'Unsupported value: "bag": supported values: "atomic", "granular"',
        ),
    ],
)
def test_what_is_wrong_with_a_list_is_named(schema: Json, field: str, message: str) -> None:
    found = check_structural(of(x=schema))

    assert (f"properties[spec].properties[x].{field}", message) in [(cause.field, cause.message) for cause in found]


def test_deep_schemas_are_refused_before_they_exhaust_the_stack() -> None:
    schema: Json = {"type": "string"}
    for _ in range(MAX_DEPTH + 5):
        schema = {"type": "object", "properties": {"a": schema}}

    assert [cause.message for cause in check_structural(schema)] == [
        f"Invalid value: the schema is nested more than {MAX_DEPTH} levels deep"
    ]
