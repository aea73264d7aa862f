"""Expressions: types are kept, texts are filled, mistakes are found when they are stored, none costs too much, secrets hide."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_flow.expressions import (
    ExpressionError,
    Redactor,
    UnresolvedError,
    check_value,
    compile_condition,
    compile_value,
    secret_values,
)
from plum_flow.expressions.template import names_of

NAMES = names_of(
    {"params", "nodes", "steps", "loop", "item", "secrets", "run", "variables", "input"},
    members={"find-all", "scan", "2nd"},
    tables={"kv"},
)
VALUES: dict[str, Any] = {
    "params": {"zone": 7, "name": "north", "tags": ["a", "b"], "none": None},
    "nodes": {"scan": {"output": {"contacts": 3, "by": {"x": [1, 2]}}}, "find-all": {"output": {"n": 1.5}}, "2nd": {"output": 2}},
    "steps": {"pull": {"output": {"body": {"rows": 4}, "体": {"城市": "上海", "x1城": 2}}}},
    "loop": {"i": 2},
    "item": {"id": "x"},
    "run": {"id": "r-1"},
    "variables": {"source": "http://a", "batch": 500},
    "input": {"x": True},
    "kv": {"plant/level": 81},
    "secrets": {"db": {"password": "hunter22"}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ params.zone }}", 7),
        ("${{params.tags}}", ["a", "b"]),
        ("zone ${{ params.zone }}!", "zone 7!"),
        ("${{ params.tags }} of ${{ params.name }}", '["a","b"] of north'),
        ("x${{ params.none }}", "x"),
        ("${{ nodes.scan.output.contacts > 2 }}", True),
        ("${{ nodes.find-all.output.n }}", 1.5),
        ("${{ nodes.2nd.output }}", 2),
        ('${{ "nodes.find-all" }}', "nodes.find-all"),
        ("${{ loop.i * 10 }}", 20),
        ("${{ item.id }}-${{ run.id }}", "x-r-1"),
        ("{{variables.source}}", "http://a"),
        ("{{ variables.batch }}", 500),
        ("{{steps.pull.output.body}}", {"rows": 4}),
        ("{{input.x}}", True),
        ("{{ .Names }} and {{ values }}", "{{ .Names }} and {{ values }}"),
        ("$${{ params.zone }}", "${{ params.zone }}"),
        ('${{ {"a": {"b": 1}}.a.b }}', 1),
        ('${{ "}}" }}', "}}"),
        ("${{ nodes.scan.output.?missing.orValue(5) }}", 5),
        ('${{ duration("90s") }}', "90s"),
        ('${{ timestamp("2026-01-02T03:04:05Z") }}', "2026-01-02T03:04:05Z"),
        ('${{ kv("plant", "level") > 80 }}', True),
        ("${{ steps.pull.output.体.城市 }}", "上海"),
        ("{{steps.pull.output.体.x1城}} 个", "2 个"),
        ("${{ steps.pull.output.体.?没有.orValue('无.体') }}", "无.体"),
        ("plain", "plain"),
    ],
)
def test_gives_the_value(text: str, value: Any) -> None:
    assert compile_value(text, NAMES).evaluate(VALUES) == value


def test_replaces_everywhere_and_shares_what_is_constant() -> None:
    constant = {"deep": [1, {"x": None}]}

    template = compile_value({"a": ["${{ loop.i }}", 1], "b": constant}, NAMES)

    found = template.evaluate(VALUES)
    assert found == {"a": [2, 1], "b": constant}
    assert found["b"] is constant
    assert not template.is_constant
    assert compile_value(constant, NAMES).is_constant


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${{ param.zone }}", "undeclared reference to 'param'"),
        ("${{ params.zone + }}", "unexpected"),
        ("${{ params.zone", "not closed"),
        ("${{ size(1) }}", "no matching overload"),
        ("${{ kv(params.name, 'x') }}", "must be texts"),
        ("${{ " + "(" * 100 + "1" + ")" * 100 + " }}", "nested"),
        ("${{ }}", "unexpected the end"),
    ],
)
def test_refuses_what_can_never_work(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message.replace("(", r"\(").replace(")", r"\)")):
        compile_value(text, NAMES)


def test_names_the_place_of_every_wrong_expression() -> None:
    value = {"a": ["${{ params.x }}", {"b": "${{ nope }}"}], "c": "${{ 1 + }}"}

    assert {error.field for error in check_value(value, "spec.nodes[0].payload", NAMES)} == {
        "spec.nodes[0].payload.a[1].b",
        "spec.nodes[0].payload.c",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${{ nodes.scan.output.missing }}", "no such key: missing"),
        ("${{ params.name + 1 }}", "no such overload"),
        ("${{ 1 / (params.zone - 7) }}", "division|divi"),
    ],
)
def test_says_why_there_is_no_value(text: str, message: str) -> None:
    with pytest.raises(UnresolvedError, match=message):
        compile_value(text, NAMES).evaluate(VALUES)


def test_no_expression_stalls_whoever_evaluates_it() -> None:
    big = {"params": {"l": list(range(2000)), "t": "x" * 100_000}}
    for text in (
        "${{ params.l.all(a, params.l.all(b, params.l.all(c, a + b + c >= 0))) }}",
        "${{ params.l.map(a, params.t + params.t) }}",
        "${{ params.l.map(a, params.l.map(b, params.l)) }}",
    ):
        template = compile_value(text, NAMES)
        with pytest.raises(UnresolvedError, match=r"costs more|more than"):
            template.evaluate(big)


def test_knows_what_it_refers_to() -> None:
    template = compile_value(
        {"a": "${{ nodes.scan.output.x + nodes['find-all'].output }}", "b": "${{ secrets.db.password }} ${{ kv('a', 'b/c') }}"},
        NAMES,
    )

    assert template.references.below("nodes", "steps") == {"scan", "find-all"}
    assert template.references.paths_of("secrets") == {("db", "password")}
    assert template.references.paths_of("kv") == {("a/b/c",)}
    assert compile_value("${{ nodes.exists(n, n == 'a') }}", NAMES).references.below("nodes") is None
    assert compile_value("${{ [1].map(params, params) }}", NAMES).references.roots() == set()


@pytest.mark.parametrize("text", ["params.zone == 7", "${{ params.zone == 7 }}", "{{ params.zone == 7 }}"])
def test_conditions_need_no_braces(text: str) -> None:
    assert compile_condition(text, NAMES.variables).is_true(VALUES)


def test_a_condition_is_true_or_false() -> None:
    with pytest.raises(UnresolvedError, match="true or false"):
        compile_condition("params.zone", NAMES.variables).is_true(VALUES)


def test_secrets_are_found_by_key_or_alone() -> None:
    secrets = {"db": {"password": "p1", "user": "u"}, "token": {"whatever": "t1"}, "both": {"value": "v", "x": "y"}}

    def of(text: str) -> Any:
        template = compile_value(text, NAMES)
        return template.evaluate({"secrets": secret_values(template.references, secrets)})

    assert of("${{ secrets.db.password }}:{{secrets.token}}:${{ secrets.both }}") == "p1:t1:v"
    for text, message in (
        ("${{ secrets.db }}", "name one"),
        ("${{ secrets.none }}", "no Secret none"),
        ("${{ secrets.db.pin }}", "no key pin"),
        ("${{ secrets }}", "name the Secret"),
    ):
        with pytest.raises(UnresolvedError, match=message):
            of(text)


def test_values_of_secrets_are_hidden() -> None:
    hide = Redactor(["hunter2", "hunter22", "a"])

    assert hide({"x": ["say hunter22", {"hunter2": "a"}], "n": 1}) == {"x": ["say ***", {"***": "a"}], "n": 1}
    assert not Redactor([])


@given(st.text(max_size=40))
def test_any_text_is_a_value_or_refused(text: str) -> None:
    """Nothing but the two errors comes out, whatever is written."""
    try:
        template = compile_value("${{" + text + "}}", NAMES)
        template.evaluate(VALUES)
    except (ExpressionError, UnresolvedError):
        pass
