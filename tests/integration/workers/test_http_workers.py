"""HTTP workers and the classic routes: registered with a url, sent the task, asked for nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from plum_schemas.base import ObjectMeta
from plum_schemas.taskrun import TaskRun, TaskRunSpec
from plum_schemas.worker import Worker, WorkerSpec

from tests.integration.tasks.support import Tasks
from tests.support.server import HttpAnswer, RunningServer

_NUMBERS = itertools.count(1)
Handler = Callable[[dict[str, Any], dict[str, str]], tuple[int, bytes]]


@contextlib.asynccontextmanager
async def http_server(handler: Handler, delay: float = 0.0) -> AsyncIterator[str]:
    """Answers POSTs. Its address."""

    open_tasks: set[Any] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_tasks.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            await asyncio.sleep(delay)
            status, answer = handler(body, headers)
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        open_tasks.discard(asyncio.current_task())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/run"
    finally:
        server.close()
        for task in open_tasks:
            task.cancel()
        await asyncio.gather(*open_tasks, return_exceptions=True)


async def start(tasks: Tasks, task: str, payload: dict[str, Any] | None = None, **more: Any) -> TaskRun:
    spec = {"task": {"executor": "embedded", "task": task, **more}, "payload": payload or {}}
    name = f"run-{next(_NUMBERS)}"
    return await tasks.api.create(
        TaskRun(metadata=ObjectMeta(name=name, namespace=tasks.namespace), spec=msgspec.convert(spec, TaskRunSpec))
    )


async def post(server: RunningServer, tasks: Tasks, path: str, body: Any) -> HttpAnswer:
    return await server.request("POST", f"{path}?namespace={tasks.namespace}", body)


async def get(server: RunningServer, tasks: Tasks, path: str, method: str = "GET") -> HttpAnswer:
    return await server.request(method, f"{path}?namespace={tasks.namespace}")


async def test_a_registered_worker_is_sent_the_task_and_its_answer_is_the_result(server: RunningServer, tasks: Tasks) -> None:
    seen: list[tuple[dict[str, Any], dict[str, str]]] = []

    def handler(body: dict[str, Any], headers: dict[str, str]) -> tuple[int, bytes]:
        seen.append((body, headers))
        how = body["payload"].get("how", "")
        return {"": (200, b'{"ok":true}'), "text": (200, b"plain"), "empty": (204, b""), "bad": (422, b"no such zone")}[how]

    async with http_server(handler) as url:
        body = {"workerId": "Cam_1", "nodeId": "boat1", "url": url, "tasks": ["photo"], "labels": {"a": "b"}, "capacity": 2}
        assert (await post(server, tasks, "/v1/workers/register", body)).status == 204
        assert (await post(server, tasks, "/v1/workers/register", body)).status == 204

        runs = [await start(tasks, "photo", {"how": how} if how else {}) for how in ("", "text", "empty", "bad")]
        ended = [await tasks.wait(run) for run in runs]

    assert [run.status.output for run in ended[:3]] == [{"ok": True}, "plain", None]
    assert (ended[3].status.phase, ended[3].status.reason) == ("Failed", "HttpStatus")
    assert "422: no such zone" in ended[3].status.error
    first, headers = next(item for item in seen if not item[0]["payload"])
    assert first == {"taskId": runs[0].metadata.uid.replace("-", ""), "name": "photo", "payload": {}}
    assert (headers["x-plum-attempt"], headers["idempotency-key"]) == ("1", ended[0].status.idempotency_key)


async def test_the_classic_routes_answer_in_their_shapes(server: RunningServer, tasks: Tasks) -> None:
    body = {"workerId": "w1", "nodeId": "boat1", "url": "http://127.0.0.1:9/", "tasks": ["photo"], "labels": {"a": "b"}}
    assert (await post(server, tasks, "/v1/workers/register", body)).status == 204
    embedded = {"workerId": "e1", "nodeId": "boat2", "instanceId": "i-1", "appName": "Cam", "appVersion": "1", "tasks": ["x"]}
    assert (await post(server, tasks, "/v1/embedded-workers/register", embedded)).status == 201

    (worker,) = (await get(server, tasks, "/v1/workers")).json()
    assert worker.pop("LastSeen") > 1_600_000_000
    assert worker == {
        "WorkerID": "w1",
        "NodeID": "boat1",
        "URL": "http://127.0.0.1:9/",
        "Tasks": ["photo"],
        "Labels": {"a": "b"},
        "Capacity": 1,
    }
    found = (await get(server, tasks, "/v1/embedded-workers/e1")).json()
    assert (found["WorkerID"], found["NodeID"], found["InstanceID"], found["AppName"]) == ("e1", "boat2", "i-1", "Cam")
    assert [one["WorkerID"] for one in (await get(server, tasks, "/v1/embedded-workers")).json()] == ["e1"]

    assert (await post(server, tasks, "/v1/workers/heartbeat", {"workerId": "w1"})).status == 204
    assert (await post(server, tasks, "/v1/embedded-workers/heartbeat", {"workerId": "e1"})).status == 204
    assert (await get(server, tasks, "/v1/workers/w1", "DELETE")).status == 204
    assert (await get(server, tasks, "/v1/workers/w1")).status == 404
    assert (await get(server, tasks, "/v1/workers/e1")).status == 404
    assert (await get(server, tasks, "/v1/workers")).json() == []


async def test_what_cannot_be_registered_is_refused_in_a_line(server: RunningServer, tasks: Tasks) -> None:
    refused = [
        await post(server, tasks, "/v1/workers/register", {}),
        await post(server, tasks, "/v1/workers/register", {"workerId": "w", "url": "ftp://x"}),
        await post(server, tasks, "/v1/embedded-workers/register", {"workerId": "w"}),
        await post(server, tasks, "/v1/workers/heartbeat", {"workerId": "ghost"}),
        await get(server, tasks, "/v1/workers/ghost", "DELETE"),
        await get(server, tasks, "/v1/workers", "PUT"),
    ]

    assert [answer.status for answer in refused] == [400, 400, 400, 404, 404, 405]
    assert refused[0].body == b"workerId required\n"
    assert all(answer.body.count(b"\n") == 1 for answer in refused)


async def test_one_that_cannot_be_reached_uses_up_no_attempt_and_is_shown(server: RunningServer, tasks: Tasks) -> None:
    async with http_server(lambda body, headers: (200, b"1")) as url:
        pass  # nobody listens there any more
    spec = WorkerSpec(tasks=["photo"], protocol="http", url=url)
    worker = await tasks.api.create(Worker(metadata=ObjectMeta(name="gone", namespace=tasks.namespace), spec=spec))
    run = await start(tasks, "photo")
    async with asyncio.timeout(20):
        while (found := await tasks.api.get(Worker, worker.key)) is None or found.status.phase != "Lost":
            await asyncio.sleep(0.05)
    assert found.status.conditions[0].reason == "Unreachable"

    async with http_server(lambda body, headers: (200, b'"here"')) as url:
        await tasks.api.patch(Worker, worker.key, {"spec": {"url": url}})
        ended = await tasks.wait(run)

    assert (ended.status.output, ended.status.attempt) == ("here", 1)
    async with asyncio.timeout(20):
        while (found := await tasks.api.get(Worker, worker.key)) is None or found.status.phase != "Ready":
            await asyncio.sleep(0.05)


async def test_timeout_and_cancellation_end_the_request(server: RunningServer, tasks: Tasks) -> None:
    async with http_server(lambda body, headers: (200, b"1"), delay=30) as url:
        spec = WorkerSpec(tasks=["slow"], protocol="http", url=url)
        await tasks.api.create(Worker(metadata=ObjectMeta(name="slow", namespace=tasks.namespace), spec=spec))
        late = await start(tasks, "slow", timeout="200ms")
        assert (await tasks.wait(late)).status.phase == "Timeout"

        canceled = await start(tasks, "slow")
        await tasks.wait(canceled, lambda found: found.status.phase == "Running")
        await tasks.cancel(canceled)
        assert (await tasks.wait(canceled)).status.phase == "Canceled"
        following = await start(tasks, "slow")
        await tasks.wait(following, lambda found: found.status.phase == "Running")
        await tasks.cancel(following)
