"""Runs in a real controller: admission, limits, retries, timeouts, cancellation, retention, and who may write what."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from plum_client.errors import ConflictError, InvalidObjectError
from plum_schemas.base import ObjectKey
from plum_schemas.core import Event
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.taskrun import TaskRun

from tests.integration.tasks.support import Tasks

ECHO = {"executor": "embedded", "task": "builtin.echo"}


async def test_defaults_fill_what_the_payload_leaves_out_and_the_definition_is_pinned(tasks: Tasks) -> None:
    await tasks.define("greet", **ECHO, defaultPayload={"greeting": "hello", "name": "nobody"}, retry={"limit": 2})

    run = await tasks.run("greet", payload={"name": "Ada"}, timeout="5s")

    assert run.status.output == {"greeting": "hello", "name": "Ada"}
    assert run.status.task is not None
    assert (run.status.task.retry.limit, run.status.task.timeout) == (2, "5s")


async def test_an_unfit_payload_fails_and_names_the_field(tasks: Tasks) -> None:
    schema = {
        "type": "object",
        "required": ["width"],
        "properties": {"width": {"type": "integer", "maximum": 10}, "tags": {"items": {"type": "string"}}},
    }
    await tasks.define("resize", **ECHO, payloadSchema=schema)

    missing, wrong = await tasks.run("resize"), await tasks.run("resize", payload={"width": 11, "tags": ["a", 1]})
    fits = await tasks.run("resize", payload={"width": 10})

    assert (missing.status.phase, missing.status.reason, missing.status.attempt) == ("Failed", "InvalidPayload", 0)
    assert "width" in missing.status.error
    assert "spec.payload.width" in wrong.status.error
    assert "spec.payload.tags[1]" in wrong.status.error
    assert fits.status.phase == "Succeeded"


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "objekt"}, "spec.payloadSchema"),
        ({"properties": {"a": {"$ref": "http://example.com/s.json"}}}, "spec.payloadSchema.properties.a"),
    ],
)
async def test_a_schema_that_is_none_is_refused_with_its_place(tasks: Tasks, schema: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidObjectError) as caught:
        await tasks.define("broken", **ECHO, payloadSchema=schema)

    assert caught.value.causes[0].field.startswith(path)


async def test_a_run_waits_for_its_definition_and_says_so(tasks: Tasks) -> None:
    run = await tasks.start("later")
    waiting = await tasks.wait(run, lambda found: bool(found.status.reason))
    await tasks.define("later", **ECHO)

    assert (waiting.status.phase, waiting.status.reason) == ("Queued", "DefinitionMissing")
    assert "TaskDefinition later" in waiting.status.error
    assert (await tasks.wait(run)).status.phase == "Succeeded"


async def test_a_failure_is_retried_as_the_policy_says_and_told_in_events(tasks: Tasks) -> None:
    retry = {"limit": 2, "initial": "20ms", "factor": 2, "jitter": 0.5}
    run = await tasks.run("builtin.fail", payload={"message": "no"}, retry=retry)
    other = await tasks.run("builtin.fail", payload={"reason": "Fatal"}, retry={**retry, "on": ["Error"]})

    assert (run.status.phase, run.status.attempt, len(run.status.attempts)) == ("Failed", 3, 3)
    assert (other.status.phase, other.status.attempt) == ("Failed", 1)

    async def events() -> list[Event]:
        return [one for one in await tasks.api.list(Event, tasks.namespace) if one.involved_object.name == run.metadata.name]

    async with asyncio.timeout(20):
        while not any(event.reason == "Error" and "no" in event.message for event in await events()):
            await asyncio.sleep(0.1)


async def test_a_timeout_ends_an_attempt_and_may_be_retried(tasks: Tasks) -> None:
    run = await tasks.run(
        "builtin.delay", payload={"seconds": 60}, timeout="100ms", retry={"limit": 1, "initial": "10ms", "on": ["Timeout"]}
    )

    assert (run.status.phase, run.status.reason) == ("Timeout", "Timeout")
    assert [attempt.phase for attempt in run.status.attempts] == ["Timeout", "Timeout"]


async def test_a_deadline_keeps_an_attempt_from_starting(tasks: Tasks) -> None:
    deadline = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()

    run = await tasks.run("nothing", deadline=deadline)

    assert (run.status.phase, run.status.reason) == ("Timeout", "DeadlineExceeded")


@pytest.mark.parametrize("phase", ["Queued", "Pending", "Running"])
async def test_a_cancel_is_honoured_in_every_state(tasks: Tasks, phase: str) -> None:
    await tasks.define("nobody", executor="embedded", task="no.such.worker")
    task = {"Queued": "missing", "Pending": "nobody", "Running": "builtin.delay"}[phase]
    run = await tasks.start(task, payload={"seconds": 60})
    await tasks.wait(run, lambda found: found.status.phase == phase and (phase != "Queued" or bool(found.status.reason)))

    await tasks.cancel(run)
    ended = await tasks.wait(run)

    assert (ended.status.phase, ended.status.reason) == ("Canceled", "Canceled")
    assert ended.status.output is None


async def test_a_limit_queues_by_priority(tasks: Tasks) -> None:
    await tasks.define("one", executor="embedded", task="builtin.delay", concurrency={"limit": 1})
    first = await tasks.start("one", payload={"seconds": 1})
    await tasks.wait(first, lambda found: found.status.phase == "Running")
    low = await tasks.start("one", payload={"seconds": 0.1}, priority=1)
    await tasks.wait(low, lambda found: found.status.reason == "ConcurrencyLimit")
    high = await tasks.start("one", payload={"seconds": 0.1}, priority=9)
    await tasks.wait(high, lambda found: found.status.reason == "ConcurrencyLimit")

    ended = [await tasks.wait(run) for run in (first, low, high)]

    starts = [run.status.started_at for run in ended]
    assert starts[0] < starts[2] < starts[1]  # type: ignore[operator]
    assert ended[0].status.finished_at <= starts[2]  # type: ignore[operator]
    assert ended[2].status.finished_at <= starts[1]  # type: ignore[operator]


async def test_a_limit_counts_by_key_and_rejects(tasks: Tasks) -> None:
    concurrency = {"key": "${{ payload.customer }}", "limit": 1, "onLimit": "Reject"}
    await tasks.define("serve", executor="embedded", task="builtin.delay", concurrency=concurrency)
    first = await tasks.start("serve", payload={"seconds": 20, "customer": "a"})
    await tasks.wait(first, lambda found: found.status.phase == "Running")

    same = await tasks.run("serve", payload={"seconds": 0, "customer": "a"})
    other = await tasks.run("serve", payload={"seconds": 0, "customer": "b"})
    wrong = await tasks.run("serve", payload={"seconds": 0})
    await tasks.cancel(first)

    assert (same.status.phase, same.status.reason) == ("Failed", "ConcurrencyLimit")
    assert first.metadata.name in same.status.error
    assert other.status.phase == "Succeeded"
    assert (wrong.status.phase, wrong.status.reason) == ("Failed", "InvalidExpression")
    assert "customer" in wrong.status.error


async def test_a_newer_run_replaces_the_oldest(tasks: Tasks) -> None:
    await tasks.define("newest", executor="embedded", task="builtin.delay", concurrency={"limit": 1, "onLimit": "Replace"})
    old = await tasks.start("newest", payload={"seconds": 60})
    await tasks.wait(old, lambda found: found.status.phase == "Running")

    new = await tasks.run("newest", payload={"seconds": 0})

    assert new.status.phase == "Succeeded"
    assert (await tasks.wait(old)).status.phase == "Canceled"


async def test_finished_runs_are_kept_as_long_as_they_say(tasks: Tasks) -> None:
    run = await tasks.start("builtin.echo", keepFor="1s")
    await tasks.wait(run)

    async with asyncio.timeout(30):
        while await tasks.api.get(TaskRun, run.key) is not None:
            await asyncio.sleep(0.1)


async def test_a_definition_says_whether_anybody_can_execute_it(tasks: Tasks) -> None:
    await tasks.define("orphan", executor="embedded", task="no.such.worker")
    await tasks.define("fine", **ECHO)
    await tasks.define("plugged", executor="plugin", plugin={"name": "absent"})

    async def ready(name: str) -> tuple[str, str]:
        async with asyncio.timeout(20):
            while True:
                found = await tasks.api.get(TaskDefinition, ObjectKey(tasks.namespace, name))
                if found is not None and found.status.conditions:
                    return found.status.conditions[0].status, found.status.conditions[0].reason
                await asyncio.sleep(0.05)

    assert await ready("orphan") == ("False", "NoWorker")
    assert await ready("fine") == ("True", "Executable")
    assert await ready("plugged") == ("False", "PluginMissing")


async def test_nobody_moves_a_run_against_the_table(tasks: Tasks) -> None:
    ended = await tasks.run("builtin.echo")
    await tasks.define("nobody", executor="embedded", task="no.such.worker")
    pending = await tasks.wait(await tasks.start("nobody"), lambda found: found.status.phase == "Pending")

    async def refused(run: TaskRun, **status: Any) -> str:
        with pytest.raises(ConflictError) as caught:
            await tasks.api.patch(TaskRun, run.key, {"status": status}, subresource="status")
        return caught.value.message

    assert "ended as Succeeded, which is final" in await refused(ended, phase="Running")
    assert "does not change any more" in await refused(ended, output={"forged": True})
    assert "cannot become Succeeded; from Pending it can become Running" in await refused(pending, phase="Succeeded")
    assert "it only grows" in await refused(pending, attempt=0)
    assert "decided when it was admitted" in await refused(pending, task={"executor": "embedded", "task": "other"})


async def test_a_run_never_changes_what_it_executes(tasks: Tasks) -> None:
    run = await tasks.run("builtin.echo", payload={"a": 1})

    with pytest.raises(InvalidObjectError, match="never changes what it executes"):
        await tasks.api.update(msgspec.structs.replace(run, spec=msgspec.structs.replace(run.spec, payload={"a": 2})))
