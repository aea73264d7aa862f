"""Rules of schemas: where they are checked, what they compare with, and what is said when they do not hold."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from plum_controller.resources.cel_rules import SchemaRules, check_rules
from plum_controller.resources.schema.compiler import CompiledSchema


def schema(spec: dict[str, Any], *rules: Any, **properties: Any) -> dict[str, Any]:
    """A schema whose spec has these rules and properties."""
    made = [rule if isinstance(rule, dict) else {"rule": rule} for rule in rules]
    part = {"type": "object", "properties": properties, **({"x-kubernetes-validations": made} if made else {}), **spec}
    return {"type": "object", "properties": {"spec": part}}


INTEGER = {"type": "integer"}


def broken(openapi: dict[str, Any], new: Any, old: Any = None) -> list[tuple[str, str]]:
    wrapped = None if old is None else {"spec": old}
    return [(cause.field, cause.message) for cause in SchemaRules(openapi).check({"spec": new}, wrapped)]


def test_a_rule_that_does_not_hold_names_its_place_and_says_its_message() -> None:
    openapi = schema({}, {"rule": "self.min <= self.max", "message": "min may not be above max"}, min=INTEGER, max=INTEGER)

    assert broken(openapi, {"min": 1, "max": 2}) == []
    assert broken(openapi, {"min": 3, "max": 2}) == [("spec", 'Invalid value: "object": min may not be above max')]


def test_reasons_field_paths_and_message_expressions() -> None:
    openapi = schema(
        {},
        {
            "rule": "self.a < 5",
            "reason": "FieldValueForbidden",
            "fieldPath": ".a",
            "messageExpression": "'a is ' + string(self.a)",
        },
        {"rule": "has(self.b)", "reason": "FieldValueRequired", "fieldPath": ".b", "message": "b is needed"},
        {"rule": "self.a != 9", "messageExpression": "string(1 / 0)", "message": "said instead"},
        {"rule": "self.a != 9"},
        a=INTEGER,
        b=INTEGER,
    )

    assert broken(openapi, {"a": 9}) == [
        ("spec.a", "Forbidden: a is 9"),
        ("spec.b", "Required value: b is needed"),
        ("spec", 'Invalid value: "object": said instead'),
        ("spec", 'Invalid value: "object": failed rule: self.a != 9'),
    ]


def test_rules_hold_at_every_level() -> None:
    positive = {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0", "message": "must be positive"}]}
    openapi = schema(
        {}, list={"type": "array", "items": positive}, map={"type": "object", "additionalProperties": positive}, one=positive
    )

    assert broken(openapi, {"list": [1, -1], "map": {"a": 1, "b": -2, "c/d": -3}, "one": -4}) == [
        ("spec.list[1]", "Invalid value: -1: must be positive"),
        ("spec.map.b", "Invalid value: -2: must be positive"),
        ("spec.map[c/d]", "Invalid value: -3: must be positive"),
        ("spec.one", "Invalid value: -4: must be positive"),
    ]


def test_the_root_sees_the_name() -> None:
    openapi = schema({}) | {"x-kubernetes-validations": [{"rule": "self.metadata.name.startsWith('x') && self.kind == 'K'"}]}
    rules = SchemaRules(openapi)

    assert rules.check({"kind": "K", "apiVersion": "a/v1", "metadata": {"name": "xa"}}, None) == []
    assert [cause.field for cause in rules.check({"kind": "K", "metadata": {"name": "a"}}, None)] == ["<root>"]


def test_transitions_are_asked_only_when_there_was_something() -> None:
    openapi = schema({}, size={**INTEGER, "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "may only grow"}]})

    assert broken(openapi, {"size": 1}) == []
    assert broken(openapi, {"size": 1}, {}) == []
    assert broken(openapi, {"size": 2}, {"size": 1}) == []
    assert broken(openapi, {"size": 1}, {"size": 2}) == [("spec.size", "Invalid value: 1: may only grow")]


def test_optional_old_values_are_asked_for_new_ones_too() -> None:
    rule = {"rule": "oldSelf.hasValue() || self == 0", "optionalOldSelf": True, "message": "must begin at 0"}
    openapi = schema({}, count={**INTEGER, "x-kubernetes-validations": [rule]})

    assert broken(openapi, {"count": 0}) == [] and broken(openapi, {"count": 5}, {"count": 0}) == []
    assert broken(openapi, {"count": 5}) == [("spec.count", "Invalid value: 5: must begin at 0")]


def test_items_of_list_maps_are_compared_with_those_of_their_key() -> None:
    item = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "size": INTEGER},
        "x-kubernetes-validations": [{"rule": "self.size >= oldSelf.size"}],
    }
    disks = {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    openapi = schema({}, disks=disks)
    before = {"disks": [{"name": "a", "size": 1}, {"name": "b", "size": 5}]}

    assert (
        broken(openapi, {"disks": [{"name": "b", "size": 5}, {"name": "c", "size": 0}, {"name": "a", "size": 2}]}, before) == []
    )
    shrunk = broken(openapi, {"disks": [{"name": "b", "size": 4}]}, before)
    assert [field for field, _ in shrunk] == ["spec.disks[0]"]


def test_an_error_in_a_rule_refuses_and_says_why() -> None:
    openapi = schema(
        {}, "self.map[self.key] > 0", map={"type": "object", "additionalProperties": INTEGER}, key={"type": "string"}
    )

    assert broken(openapi, {"map": {"a": 1}, "key": "b"}) == [
        ("spec", 'Invalid value: "object": no such key: b evaluating rule: failed rule: self.map[self.key] > 0')
    ]


def test_an_object_that_costs_too_much_is_refused_and_no_further_rule_is_asked() -> None:
    numbers = {"type": "array", "items": INTEGER}
    openapi = schema({}, "self.list.all(a, self.list.all(b, self.list.all(c, a + b + c >= 0)))", "false", list=numbers)

    problems = broken(openapi, {"list": list(range(500))})

    assert len(problems) == 1
    assert "costs more than it may" in problems[0][1]


@pytest.mark.parametrize(
    ("rule", "field", "words"),
    [
        ({"rule": ""}, "rule", "rule is not specified"),
        ({"rule": "self.zz > 1"}, "rule", "ERROR: <input>:1:6: undefined field 'zz'\n | self.zz > 1\n | .....^"),
        ({"rule": "self.n + 1"}, "rule", "must evaluate to a bool"),
        ({"rule": "self.n > 1 &&\nself.q", "message": "m"}, "rule", "<input>:2:6: undefined field 'q'\n | self.q"),
        ({"rule": "self.n > 1 &&\ntrue"}, "message", "message must be specified"),
        ({"rule": "true", "message": " "}, "message", "single line"),
        ({"rule": "true", "messageExpression": "1"}, "messageExpression", "must evaluate to a string"),
        ({"rule": "true", "messageExpression": "self.zz"}, "messageExpression", "undefined field"),
        ({"rule": "true", "reason": "Because"}, "reason", 'supported values: "FieldValueDuplicate"'),
        ({"rule": "true", "optionalOldSelf": True}, "optionalOldSelf", "may not be set if oldSelf is not used"),
    ],
)
def test_rules_that_can_never_run_are_refused_with_the_definition(rule: dict[str, Any], field: str, words: str) -> None:
    causes = list(check_rules(schema({}, rule, n=INTEGER)))

    assert [cause.field for cause in causes] == [f"properties[spec].x-kubernetes-validations[0].{field}"]
    assert words in causes[0].message


def test_values_before_cannot_be_found_in_plain_lists() -> None:
    item = {**INTEGER, "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}

    causes = list(check_rules(schema({}, list={"type": "array", "items": item})))

    assert "uncorrelatable" in causes[0].message


def test_nothing_is_loaded_for_schemas_without_rules() -> None:
    import subprocess

    program = (
        "import sys; from plum_controller.resources.schema.compiler import CompiledSchema;"
        "CompiledSchema({'type': 'object'}).check_rules({}, None);"
        "sys.exit(any('domain.cel' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
    assert CompiledSchema(schema({}, "self.n > 1", n=INTEGER)).check_rules({"spec": {"n": 0}}, None) != []
