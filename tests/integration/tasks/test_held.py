"""Runs that are held, runs that are done in one transaction, and processes that the payload describes."""

from __future__ import annotations

import pytest
from plum_client.errors import InvalidObjectError
from plum_schemas.taskrun import TaskRun

from tests.integration.tasks.support import Tasks
from tests.support.server import RunningServer


async def test_a_held_run_waits_until_it_is_let_go(tasks: Tasks) -> None:
    run = await tasks.start("builtin.echo", payload={"n": 1}, suspend=True)
    held = await tasks.wait(run, lambda found: found.status.reason == "Suspended")
    assert held.status.phase == "Queued"

    await tasks.api.patch(TaskRun, run.key, {"spec": {"suspend": False}})
    done = await tasks.wait(run)

    assert (done.status.phase, done.status.output, done.status.reason) == ("Succeeded", {"n": 1}, "")
    with pytest.raises(InvalidObjectError, match="only one that is Queued can be held"):
        await tasks.api.patch(TaskRun, run.key, {"spec": {"suspend": True}})
    dropped = await tasks.start("builtin.echo", suspend=True)
    await tasks.cancel(dropped)
    assert (await tasks.wait(dropped)).status.phase == "Canceled"


async def test_a_held_run_takes_no_place_of_its_concurrency_key(tasks: Tasks) -> None:
    one = {"executor": "embedded", "task": "builtin.delay", "concurrency": {"key": "k", "limit": 1, "onLimit": "Queue"}}
    await tasks.define("one", **one)
    held = await tasks.start("one", suspend=True, payload={"seconds": 0})
    await tasks.wait(held, lambda found: found.status.reason == "Suspended")

    other = await tasks.run("one", payload={"seconds": 0})
    await tasks.api.patch(TaskRun, held.key, {"spec": {"suspend": False}})

    assert other.status.phase == "Succeeded"
    assert (await tasks.wait(held)).status.phase == "Succeeded"


async def test_builtins_that_only_compute_are_one_write_after_their_creation(server: RunningServer, tasks: Tasks) -> None:
    run = await tasks.run("builtin.transform", payload={"input": {"a": 2}, "expression": "input.a + 1"})

    path = f"/apis/plum.dev/v1/namespaces/{tasks.namespace}/taskruns/{run.metadata.name}/history"
    versions = (await server.get(path)).json()["items"]
    assert len(versions) == 2
    assert run.status.output == 3
    assert run.status.attempt == 1
    assert run.status.fencing_token == 1
    assert run.status.started_at is not None
    assert run.status.finished_at is not None
    assert [(one.number, one.phase) for one in run.status.attempts] == [(1, "Succeeded")]

    failed = await tasks.run("builtin.fail", payload={"times": 2}, retry={"limit": 2, "initial": "10ms", "max": "20ms"})
    assert [(one.number, one.phase) for one in failed.status.attempts] == [(1, "Failed"), (2, "Failed"), (3, "Succeeded")]
    wrong = await tasks.run("builtin.transform", payload={"expression": "input."})
    assert (wrong.status.phase, wrong.status.reason) == ("Failed", "InvalidExpression")


async def test_a_process_without_a_program_is_that_of_the_payload(tasks: Tasks) -> None:
    await tasks.define("any", executor="os_process", process={"env": {"MODE": "fast"}}, defaultPayload={"args": ["-c"]})

    missing = await tasks.run("any", payload={"args": []})
    started = await tasks.start("any", payload={"command": "sh", "args": ["-c", "cat"], "input": "hi", "env": {"K": "V"}})
    pending = await tasks.wait(started, lambda found: found.status.phase == "Pending")

    assert (missing.status.phase, missing.status.reason) == ("Failed", "InvalidExpression")
    assert "spec.payload.command is None" in missing.status.error
    assert pending.status.task is not None
    assert pending.status.task.process is not None
    process = pending.status.task.process
    assert (process.command, process.input) == (["sh", "-c", "cat"], "hi")
    assert [(one.name, one.value) for one in process.env] == [("K", "V")]
    await tasks.cancel(started)
