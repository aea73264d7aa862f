"""Marks for values of secrets: what is stored holds none, what is executed holds all, and no data is taken for a mark."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_flow import secret_marks
from plum_flow.calls import TaskFailedError
from plum_flow.expressions import UnresolvedError, compile_value
from plum_flow.workflow.graph import compile_definition
from plum_flow.workflow.marked_params import misuse
from plum_schemas.base import ObjectMeta
from plum_schemas.core import Secret
from plum_schemas.taskrun import SecretMark, TaskRun, TaskRunSpec
from plum_schemas.workflow import WorkflowSpec, normalize_definition

SECRETS = {"db": {"user": "ann", "password": "s3cr3t-pass"}, "token": {"value": "t0k3n-of-us"}}


def marked(payload: Any, values: dict[str, Any] | None = None) -> tuple[Any, Any]:
    template = compile_value(payload, frozenset({"secrets", "nodes"}))
    return secret_marks.marked(lambda more: template.evaluate({**(values or {}), **more}), template.references, SECRETS, "c" * 32)


def test_what_is_stored_holds_no_value_and_what_is_executed_holds_all() -> None:
    payload = {
        "dsn": "pg://${{ secrets.db.user }}:${{ secrets.db.password }}@h",
        "list": ["${{ secrets.token }}", 1],
        "plain": "x",
    }
    given, marks = marked(payload)

    assert "s3cr3t" not in msgspec.json.encode(given).decode()
    assert {(mark.name, mark.key) for mark in marks} == {("db", "user"), ("db", "password"), ("token", "value")}
    run = TaskRun(metadata=ObjectMeta(name="r"), spec=TaskRunSpec(task_ref="t", payload=given, secrets=marks))
    stored = {
        name: Secret(metadata=ObjectMeta(name=name), data={k: base64.b64encode(v.encode()).decode() for k, v in keys.items()})
        for name, keys in SECRETS.items()
    }
    executed = secret_marks.revealed(run, secret_marks.values_of(run, stored))
    assert executed.spec.payload == {"dsn": "pg://ann:s3cr3t-pass@h", "list": ["t0k3n-of-us", 1], "plain": "x"}
    with pytest.raises(TaskFailedError, match=r"needs Secret .*/token"):
        secret_marks.values_of(run, {"db": stored["db"], "token": None})


def test_an_expression_that_computes_with_a_value_is_refused() -> None:
    for text in (
        "${{ size(secrets.token) }}",
        "${{ secrets.token.startsWith('t0') ? 'yes' : 'no' }}",
    ):
        with pytest.raises(UnresolvedError, match="computes with the value of a secret"):
            marked({"v": text})
    assert marked({"v": "${{ 'Bearer ' + secrets.token }}"})[1]


@given(st.text(), st.text())
def test_data_is_never_taken_for_a_mark(before: str, after: str) -> None:
    forged = f"{before}secret:{'d' * 32}:0000;{after}"
    given, marks = marked({"data": "${{ nodes.a.output }}", "own": "${{ secrets.token }}"}, {"nodes": {"a": {"output": forged}}})

    values = {mark.marker: SECRETS[mark.name][mark.key] for mark in marks}
    assert secret_marks.put_in(given, values) == {"data": forged, "own": "t0k3n-of-us"}


def test_a_run_passes_on_the_marks_it_was_given_and_computes_with_none() -> None:
    mark = SecretMark(marker=f"secret:{'e' * 32}:0000;", name="db", key="password")
    held = secret_marks.Held([mark], {mark.marker: "s3cr3t-pass"})
    data = {"nodes": {"a": {"output": {"list": [f"pg:{mark.marker}"]}}}}

    def given(payload: Any) -> tuple[Any, list[SecretMark]]:
        template = compile_value(payload, frozenset({"secrets", "nodes"}))
        return secret_marks.marked(
            lambda more: template.evaluate({**data, **more}), template.references, SECRETS, "c" * 32,
            held, lambda more: template.evaluate({**held.put_in(data), **more}),
        )  # fmt: skip

    payload, marks = given({"dsn": "${{ nodes.a.output.list[0] }}", "own": "${{ secrets.token }}"})
    assert [(one.name, one.key) for one in marks] == [("token", "value"), ("db", "password")]
    assert "s3cr3t" not in msgspec.json.encode(payload).decode()
    values = held.values | {marks[0].marker: "t0k3n-of-us"}
    assert secret_marks.put_in(payload, values) == {"dsn": "pg:s3cr3t-pass", "own": "t0k3n-of-us"}
    with pytest.raises(UnresolvedError, match="computes with the value of a secret"):
        given({"n": "${{ size(nodes.a.output.list[0]) }}"})


WORK = {"name": "x", "taskRef": "work"}
MAP = {"name": "m", "type": "map", "items": "${{ params.deep.list }}"}


@pytest.mark.parametrize(
    ("node", "where", "what"),
    [
        (WORK | {"when": "params.token == 'x'"}, "node x: when", "params.token"),
        (WORK | {"when": "params.deep.list.size() > 0"}, "node x: when", "params.deep.list"),
        ({"name": "b", "type": "branch", "condition": "input.token == ''"}, "node b: condition", "input.token"),
        ({"name": "l", "type": "loop", "while": "params.token != 'a'", "body": [WORK]}, "node l: while", "params.token"),
        (MAP | {"body": [WORK | {"when": "item != ''"}]}, "node x: when", "item"),
        (WORK | {"when": "params.plain == 'x'", "payload": {"v": "${{ params.token }}"}}, "", ""),
        (MAP | {"body": [WORK | {"when": "loop.i > 0"}]}, "", ""),
    ],
)  # fmt: skip
def test_conditions_that_would_compare_a_mark_are_found_before_the_run_starts(
    node: dict[str, Any], where: str, what: str
) -> None:
    mark = SecretMark(marker=f"secret:{'e' * 32}:0000;", name="db", key="password")
    params = {"token": mark.marker, "plain": "x", "deep": {"list": [f"pg:{mark.marker}"], "n": 1}}
    body = {"nodes": [node]}
    normalize_definition(body)
    plan = compile_definition(msgspec.convert(body, WorkflowSpec))

    found = misuse(plan, params, [mark])
    assert found.startswith(f"{where} computes with {what}, ") if what else found == ""
