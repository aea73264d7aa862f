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
from plum_schemas.base import ObjectMeta
from plum_schemas.core import Secret
from plum_schemas.taskrun import TaskRun, TaskRunSpec

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
