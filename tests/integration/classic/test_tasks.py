"""`/v1/tasks`, `/v1/task-defs` and their streams: the forms of the system before, over TaskRuns and TaskDefinitions."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.support.server import HttpAnswer, RunningServer

Json = dict[str, Any]
PAYLOAD = '{"n":1}'
TASK_FIELDS = {
    "TaskID", "Name", "Executor", "TargetKind", "TargetRef", "State", "PayloadJSON", "ResultJSON", "Error", "TimeoutSec",
    "MaxRetries", "Attempt", "ScheduledOn", "CreatedAt", "StartedAt", "FinishedAt", "Labels", "OriginTaskID",
}  # fmt: skip


async def call(server: RunningServer, method: str, path: str, body: object = None) -> HttpAnswer:
    return await server.request(method, f"/v1{path}", body)


async def until(server: RunningServer, path: str, holds: Callable[[Json], bool]) -> Json:
    async with asyncio.timeout(30):
        while True:
            answer = await call(server, "GET", path)
            if answer.status == 200 and holds(found := answer.json()):
                return found
            await asyncio.sleep(0.05)


async def made(server: RunningServer, **body: Any) -> str:
    answer = await call(server, "POST", "/tasks", body)
    assert answer.status == 200, answer.body
    task_id = answer.json()["taskId"]
    assert re.fullmatch("[0-9a-f]{32}", task_id)
    return task_id


async def test_a_task_is_held_started_read_and_repeated(server: RunningServer) -> None:
    task = await made(server, name="builtin.echo", payload={"n": 1}, labels={"site": "pier 3"}, timeoutSec=5, maxRetries=2)

    held = (await call(server, "GET", f"/tasks/{task}")).json()
    assert set(held) == TASK_FIELDS
    assert (held["State"], held["Name"], held["Executor"], held["PayloadJSON"]) == (
        "Queued",
        "builtin.echo",
        "embedded",
        '{"n":1}',
    )
    assert (held["TimeoutSec"], held["MaxRetries"], held["Labels"], held["FinishedAt"]) == (5, 2, {"site": "pier 3"}, 0)
    listed = (await server.get("/apis/plum.dev/v1/namespaces/default/taskruns")).json()["items"]
    [run] = [one for one in listed if one["metadata"]["uid"].replace("-", "") == task]
    assert run["spec"]["suspend"] is True

    assert (await call(server, "POST", f"/tasks/start/{task}")).status == 204
    done = await until(server, f"/tasks/{task}", lambda found: found["State"] == "Succeeded")
    assert (done["ResultJSON"], done["Error"], done["Attempt"]) == ('{"n":1}', "", 1)
    assert done["FinishedAt"] >= done["StartedAt"] >= done["CreatedAt"] > 0

    again = (await call(server, "POST", f"/tasks/rerun/{task}")).json()["taskId"]
    repeated = await until(server, f"/tasks/{again}", lambda found: found["State"] == "Succeeded")
    assert (repeated["OriginTaskID"], repeated["PayloadJSON"], repeated["Name"]) == (task, '{"n":1}', "builtin.echo")
    assert {task, again} <= {one["TaskID"] for one in (await call(server, "GET", "/tasks")).json()}
    page = await call(server, "GET", "/tasks?limit=1")
    assert (len(page.json()), 'rel="next"' in page.headers["link"]) == (1, True)
    assert (await call(server, "DELETE", f"/tasks/{task}")).status == 204
    assert (await call(server, "GET", f"/tasks/{task}")).status == 404


async def test_actions_cancel_and_refusals(server: RunningServer) -> None:
    task = await made(server, name="builtin.delay", payload={"seconds": 60}, autoStart=True)
    await until(server, f"/tasks/{task}", lambda found: found["State"] == "Running")

    assert (await call(server, "POST", f"/tasks/{task}?action=cancel")).status == 204
    await until(server, f"/tasks/{task}", lambda found: found["State"] == "Canceled")
    assert (await call(server, "POST", f"/tasks/cancel/{task}")).status == 204  # it has ended
    held = await made(server, name="builtin.echo")
    assert (await call(server, "POST", f"/tasks/{held}?action=start")).status == 204

    refused = {
        ("POST", "/tasks", '{"executor": "embedded"}'): (400, "name required"),
        ("POST", "/tasks", '{"name": "x", "executor": "robot"}'): (400, "executor is 'robot'"),
        ("POST", "/tasks", '{"name": "x", "timeoutSec": -1}'): (400, "timeoutSec is -1"),
        ("POST", "/tasks", '{"name": "builtin.nothing"}'): (400, "there is no such builtin"),
        ("POST", "/tasks", '{"name": "x", "payload": [1]}'): (400, "payload is [1]"),
        ("POST", "/tasks", '{"name": "x", "executor": "service"}'): (400, "targetRef is missing"),
        ("POST", f"/tasks/{held}?action=jump", ""): (400, "action is 'jump'"),
        ("POST", "/tasks/start/0123456789abcdef0123456789abcdef", ""): (404, "not found"),
        ("POST", "/tasks/rerun/nobody", ""): (404, "not found"),
        ("PUT", "/tasks", "{}"): (405, "method not allowed"),
    }
    for (method, path, body), (status, words) in refused.items():
        answer = await server.request(method, f"/v1{path}", body.encode())
        assert (answer.status, words in answer.body.decode(), answer.body.count(b"\n")) == (status, True, 1), answer.body


async def test_executors_and_targets_become_definitions(server: RunningServer) -> None:
    service = await made(server, name="report", executor="service", targetKind="service", targetRef="analyzeTask",
                         labels={"servicePath": "/run", "serviceVersion": "2"})  # fmt: skip
    payload = {"command": "python3", "args": ["a.py"], "workingDir": "/opt/x", "input": "hi", "env": {"K": "V"}}
    process = await made(server, Name="scan", Executor="os_process", TargetKind="node", TargetRef="boat1", Payload=payload)
    worker = await made(server, name="Näch Plan", targetKind="node", targetRef="boat1")

    async def spec_of(task: str) -> Json:
        listed = (await server.get("/apis/plum.dev/v1/namespaces/default/taskruns")).json()["items"]
        return next(one["spec"]["task"] for one in listed if one["metadata"]["uid"].replace("-", "") == task)

    assert {"name": "analyzeTask", "path": "/run", "version": "2"}.items() <= (await spec_of(service))["service"].items()
    assert (await spec_of(process))["nodeName"] == "boat1"
    assert (await spec_of(worker))["task"] == "Näch Plan"
    assert (await spec_of(worker))["nodeSelector"] == {"plum.dev/node": "boat1"}
    shown = {task: (await call(server, "GET", f"/tasks/{task}")).json() for task in (service, process, worker)}
    assert [(one["Name"], one["Executor"], one["TargetKind"], one["TargetRef"]) for one in shown.values()] == [
        ("report", "service", "service", "analyzeTask"),
        ("scan", "os_process", "node", "boat1"),
        ("Näch Plan", "embedded", "node", "boat1"),
    ]
    assert shown[service]["Labels"] == {"servicePath": "/run", "serviceVersion": "2"}
    await call(server, "POST", f"/tasks/start/{process}")
    pending = await until(server, f"/tasks/{process}", lambda found: found["State"] == "Pending")
    assert pending["Attempt"] == 1


async def test_definitions_are_made_run_referenced_and_deleted(server: RunningServer) -> None:
    body = {"name": "Greet all", "executor": "embedded", "labels": {"team": "a"}, "defaultPayload": {"greeting": "hello"}}
    answer = await call(server, "POST", "/task-defs", body)
    wanted = answer.json()["defId"]

    assert answer.status == 200
    assert (await call(server, "POST", "/task-defs", body)).status == 409
    for wrong in ({}, {"name": "builtin.mine"}):
        assert (await call(server, "POST", "/task-defs", wrong)).status == 400
    shown = (await call(server, "GET", f"/task-defs/{wanted}")).json()
    assert shown.pop("CreatedAt") > 0
    assert shown == {
        "DefID": wanted, "Name": "Greet all", "Executor": "embedded", "TargetKind": "", "TargetRef": "", "Labels": {"team": "a"},
        "DefaultPayloadJSON": '{"greeting":"hello"}',
    }  # fmt: skip
    listed = (await call(server, "GET", "/task-defs")).json()
    echo = next(one["DefID"] for one in listed if one["Name"] == "builtin.echo")
    assert wanted in {one["DefID"] for one in listed}

    answer = await call(server, "POST", f"/task-defs/{wanted}?action=run", {"payload": {"to": "all"}, "timeoutSec": 9})
    task = await until(server, f"/tasks/{answer.json()['taskId']}", lambda found: found["State"] == "Pending")
    assert (task["Name"], task["OriginTaskID"], task["TimeoutSec"]) == ("Greet all", wanted, 9)
    assert task["PayloadJSON"] == '{"greeting":"hello","to":"all"}'
    busy = await call(server, "DELETE", f"/task-defs?id={wanted}")
    assert (busy.status, busy.json()) == (409, {"referenced": 1})
    await call(server, "POST", f"/tasks/cancel/{task['TaskID']}")
    await until(server, f"/tasks/{task['TaskID']}", lambda found: found["State"] == "Canceled")
    assert (await call(server, "DELETE", f"/task-defs?id={wanted}")).status == 204
    assert (await call(server, "GET", f"/task-defs/{wanted}")).status == 404
    assert (await call(server, "DELETE", "/task-defs")).status == 400
    assert (await call(server, "DELETE", f"/task-defs?id={echo}")).status == 403
    ran = (await call(server, "POST", f"/task-defs/{echo}?action=run", {"payload": {"a": 1}})).json()["taskId"]
    done = await until(server, f"/tasks/{ran}", lambda found: found["State"] == "Succeeded")
    assert (done["OriginTaskID"], done["ResultJSON"]) == (echo, '{"a":1}')
    assert (await call(server, "POST", f"/task-defs/{echo}?action=fly")).status == 400


@contextlib.asynccontextmanager
async def events(server: RunningServer, path: str) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
    try:
        yield reader
    finally:
        writer.close()


async def data(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(30):
        while True:
            line = (await reader.readline()).decode().strip()
            if line.startswith("data: "):
                return line.removeprefix("data: ")


async def test_streams_say_that_something_changed(server: RunningServer) -> None:
    assert (await server.get("/v1/stream")).status == 400
    assert (await server.get("/v1/stream?nodeId=__none__")).status == 400
    async with (
        events(server, "/v1/tasks/stream") as tasks,
        events(server, "/v1/stream?nodeId=__kv__:classic-topic") as kv,
        events(server, "/v1/stream?nodeId=boat9") as node,
    ):
        assert [await data(reader) for reader in (tasks, kv, node)] == ["init"] * 3
        await made(server, name="builtin.echo")
        assert await data(tasks) == "tasks"
        await server.request("PUT", "/v1/kv/classic-topic/a", {"value": "1"})
        assert await data(kv) == "kv"
        instance = {"nodeName": "boat9", "template": {"command": ["true"]}, "state": "Stopped"}
        answer = await server.request("POST", "/apis/plum.dev/v1/namespaces/default/instances",
            {"apiVersion": "plum.dev/v1", "kind": "Instance", "metadata": {"name": "classic-1"}, "spec": instance})  # fmt: skip
        assert answer.status == 201, answer.body
        assert await data(node) == "assignments"
