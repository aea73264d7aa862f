"""Builtins, run by a real controller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from plum_client.errors import InvalidObjectError
from plum_schemas.base import ObjectMeta
from plum_schemas.core import ConfigMap

from tests.integration.tasks.support import Tasks


async def test_echo_answers_with_its_payload_and_every_step_is_in_the_status(tasks: Tasks) -> None:
    run = await tasks.run("builtin.echo", payload={"a": 1, "b": [True, None]})

    status = run.status
    assert (status.phase, status.output, status.attempt, status.fencing_token) == ("Succeeded", {"a": 1, "b": [True, None]}, 1, 1)
    assert status.idempotency_key == run.metadata.uid
    assert status.queued_at and status.started_at and status.finished_at
    assert status.conditions[0].status == "True"
    assert [attempt.phase for attempt in status.attempts] == ["Succeeded"]


async def test_delay_and_sleep_wait_and_give_the_payload_back(tasks: Tasks) -> None:
    runs = await asyncio.gather(
        tasks.run("builtin.delay", payload={"seconds": 0.2}), tasks.run("builtin.sleep", payload={"duration": "200ms"})
    )

    for run in runs:
        assert run.status.phase == "Succeeded"
        assert run.status.finished_at is not None and run.status.started_at is not None
        assert (run.status.finished_at - run.status.started_at).total_seconds() >= 0.195  # timers count in milliseconds


async def test_fail_fails_with_what_it_was_told_and_only_as_often(tasks: Tasks) -> None:
    failed = await tasks.run("builtin.fail", payload={"message": "no luck", "reason": "Luck", "code": "7"})
    recovered = await tasks.run("builtin.fail", payload={"times": 2}, retry={"limit": 3, "initial": "10ms"})

    assert (failed.status.phase, failed.status.error, failed.status.reason) == ("Failed", "no luck", "Luck")
    assert (recovered.status.phase, recovered.status.attempt) == ("Succeeded", 3)


async def test_kv_puts_gets_lists_and_deletes_in_the_namespace_of_the_run(tasks: Tasks) -> None:
    key = "plant/Level A"
    put = await tasks.run("builtin.kv", payload={"operation": "put", "key": key, "value": 7})
    again = await tasks.run("builtin.kv", payload={"operation": "put", "key": key, "value": 8})
    got = await tasks.run("builtin.kv", payload={"key": key})
    listed = await tasks.run("builtin.kv", payload={"operation": "list", "prefix": "plant/"})
    gone = await tasks.run("builtin.kv", payload={"operation": "delete", "key": key})
    missing = await tasks.run("builtin.kv", payload={"key": key, "default": "none"})

    assert [run.status.phase for run in (put, again, got, listed, gone, missing)] == ["Succeeded"] * 6
    assert (got.status.output["value"], got.status.output["type"]) == (8, "int")
    assert listed.status.output["entries"] == {key: 8}
    assert gone.status.output["deleted"] is True
    assert missing.status.output == {"key": key, "found": False, "value": "none"}


async def test_transform_evaluates_expressions_over_its_input(tasks: Tasks) -> None:
    values = {"input": {"items": [1, 2, 3], "name": "x"}}
    mapped = await tasks.run(
        "builtin.transform", payload={**values, "output": {"n": "input.items.size()", "up": "input.name + 'y'"}}
    )
    whole = await tasks.run("builtin.transform", payload={**values, "expression": "input.items.filter(i, i > 1)"})
    wrong = await tasks.run("builtin.transform", payload={**values, "expression": "input.items +"})

    assert mapped.status.output == {"n": 3, "up": "xy"}
    assert whole.status.output == [2, 3]
    assert (wrong.status.phase, wrong.status.reason) == ("Failed", "InvalidExpression")
    assert "spec.payload.expression" in wrong.status.error


async def test_wait_ends_when_an_object_is_as_it_was_told(tasks: Tasks) -> None:
    condition = {"kind": "ConfigMap", "name": "gate", "condition": "object.data.open == 'yes'"}
    run = await tasks.start("builtin.wait", payload=condition)
    await tasks.wait(run, lambda found: found.status.phase == "Running")
    gate = await tasks.api.create(ConfigMap(metadata=ObjectMeta(name="gate", namespace=tasks.namespace), data={"open": "no"}))
    await tasks.api.patch(ConfigMap, gate.key, {"data": {"open": "yes"}})

    assert (await tasks.wait(run)).status.output == {"met": True}


@pytest.mark.parametrize(
    ("task", "payload", "said"),
    [
        ("builtin.delay", {"seconds": "soon"}, "spec.payload.seconds"),
        ("builtin.kv", {"operation": "steal"}, "spec.payload.operation"),
        ("builtin.kv", {"operation": "put", "key": "a", "type": "int", "value": "x"}, "spec.value"),
        ("builtin.wait", {"kind": "Secret", "name": "a", "condition": "true"}, "spec.payload.kind"),
        ("builtin.wait", {}, "either until"),
        ("builtin.transform", {}, "either output or expression"),
        ("builtin.fail", {"times": "two"}, "spec.payload.times"),
    ],
)
async def test_an_unfit_payload_is_named_and_not_tried_again(tasks: Tasks, task: str, payload: dict[str, Any], said: str) -> None:
    run = await tasks.run(task, payload=payload, retry={"limit": 2, "initial": "10ms"})

    assert run.status.phase == "Failed"
    assert said in run.status.error
    assert run.status.attempt == 1 or "spec.value" in said


async def test_a_builtin_that_there_is_not_is_refused_when_it_is_written(tasks: Tasks) -> None:
    with pytest.raises(InvalidObjectError, match=r"spec\.taskRef.*builtin\.echo"):
        await tasks.start("builtin.ehco")
