"""Tasks that call: addresses, endpoints of services over HTTP and gRPC, and plugins."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from plum_client.client import ApiClient
from plum_client.http_transport import HttpTransport
from plum_proto.generated.plum.task.task_service_pb2 import TaskRequest, TaskResponse
from plum_schemas.base import ObjectMeta
from plum_schemas.core import Namespace, Secret
from plum_schemas.endpoint import Endpoint, EndpointSpec

from tests.integration.tasks.support import Tasks
from tests.support.server import RunningServer, running_server

EXAMPLE = Path(__file__).parents[3] / "manifests" / "57-tasks" / "plugin"
Answer = Callable[[str, dict[str, str], bytes], tuple[int, bytes]]


@asynccontextmanager
async def serve(answer: Answer) -> AsyncIterator[int]:
    """An HTTP server: its port."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        status, content = answer(first, headers, body)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(content)) + content)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def endpoint(tasks: Tasks, service: str, port: int, name: str = "") -> None:
    spec = EndpointSpec(service=service, address="127.0.0.1", port=port)
    await tasks.api.create(Endpoint(metadata=ObjectMeta(name=name or f"{service}-{port}", namespace=tasks.namespace), spec=spec))


async def test_an_http_task_sends_what_it_was_told_and_keeps_secrets_to_itself(tasks: Tasks) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []

    def answer(first: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        seen.append((first, headers, body))
        return 200, json.dumps({"you": headers["authorization"], "n": 1}).encode()

    data = {"token": base64.b64encode(b"hush-hush").decode()}
    await tasks.api.create(Secret(metadata=ObjectMeta(name="hook", namespace=tasks.namespace), data=data))
    async with serve(answer) as port:
        http = {
            "method": "PUT",
            "url": f"http://127.0.0.1:{port}/items/${{{{ payload.id }}}}",
            "headers": {"Authorization": "Bearer ${{ secrets.hook.token }}"},
            "body": {"amount": "${{ payload.amount }}"},
        }
        run = await tasks.run({"executor": "http", "http": http}, payload={"id": "a7", "amount": 3})

    assert run.status.phase == "Succeeded", run.status.error
    assert seen[0][0] == "PUT /items/a7 HTTP/1.1"
    assert seen[0][1]["authorization"] == "Bearer hush-hush"
    assert seen[0][1]["idempotency-key"] == run.metadata.uid
    assert json.loads(seen[0][2]) == {"amount": 3}
    assert run.status.output["body"] == {"you": "Bearer ***", "n": 1}


async def test_a_status_that_retry_names_is_tried_again_with_the_same_key(tasks: Tasks) -> None:
    keys: list[str] = []

    def answer(first: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        keys.append(headers["idempotency-key"])
        return (503, b"busy") if len(keys) < 3 else (200, b"done")

    async with serve(answer) as port:
        task = {"executor": "http", "http": {"url": f"http://127.0.0.1:{port}/"}}
        run = await tasks.run(task, retry={"limit": 5, "initial": "10ms", "on": ["503"]})
        refused = await tasks.run({"executor": "http", "http": {"url": f"http://127.0.0.1:{port}/"}}, retry={"limit": 0})

    assert (run.status.phase, run.status.attempt, run.status.output["body"]) == ("Succeeded", 3, "done")
    assert len(set(keys[:3])) == 1
    assert refused.status.phase == "Succeeded"


async def test_the_controllers_own_port_and_metadata_addresses_are_refused(tasks: Tasks, server: RunningServer) -> None:
    for url in (f"{server.url}/api/v1/namespaces", "http://169.254.169.254/latest/"):
        run = await tasks.run({"executor": "http", "http": {"method": "GET", "url": url}}, retry={"limit": 3})

        assert (run.status.phase, run.status.reason, run.status.attempt) == ("Failed", "NotAllowed", 1)
        assert "PLUM_OUTGOING_ALLOW" in run.status.error


async def test_a_service_task_asks_an_endpoint_in_the_classic_form(tasks: Tasks) -> None:
    asked: list[dict[str, Any]] = []

    def answer(first: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        asked.append({"first": first, "key": headers["idempotency-key"], **json.loads(body)})
        return 200, b'{"sum": 5}'

    async with serve(answer) as port:
        await endpoint(tasks, "adder", port)
        await endpoint(tasks, "adder", 1, "nobody-there")
        await tasks.define(
            "add", executor="service", service={"name": "adder", "path": "/run"}, retry={"limit": 3, "initial": "10ms"}
        )
        runs = [await tasks.run("add", payload={"a": 2, "b": 3}) for _ in range(4)]

    assert [run.status.phase for run in runs] == ["Succeeded"] * 4, [run.status.error for run in runs]
    assert runs[0].status.output == {"sum": 5}
    assert asked[0] == {
        "first": "POST /run HTTP/1.1",
        "key": runs[0].metadata.uid,
        "taskId": runs[0].metadata.name,
        "name": "add",
        "payload": {"a": 2, "b": 3},
    }


async def test_a_service_without_endpoints_fails_with_its_reason(tasks: Tasks) -> None:
    run = await tasks.run({"executor": "service", "service": {"name": "nobody"}})

    assert (run.status.phase, run.status.reason) == ("Failed", "NoEndpoint")


async def test_a_service_task_speaks_grpc(tasks: Tasks) -> None:
    async def execute(request: TaskRequest, context: Any) -> TaskResponse:
        payload = json.loads(request.payload)
        if payload.get("fail"):
            return TaskResponse(task_id=request.task_id, error="it was asked to")
        return TaskResponse(task_id=request.task_id, result=json.dumps({"name": request.name, "twice": payload["n"] * 2}))

    handler = grpc.unary_unary_rpc_method_handler(
        execute, request_deserializer=TaskRequest.FromString, response_serializer=TaskResponse.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("plum.task.TaskService", {"ExecuteTask": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        await endpoint(tasks, "doubler", port)
        task = {"executor": "service", "service": {"name": "doubler", "protocol": "grpc"}}
        run, failed = await tasks.run(task, payload={"n": 4}), await tasks.run(task, payload={"fail": True})
    finally:
        await server.stop(0)

    assert run.status.output["twice"] == 8, run.status.error
    assert (failed.status.phase, failed.status.error) == ("Failed", "it was asked to")


@pytest.mark.slow
async def test_an_executor_from_another_package_is_installed_and_found(tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--target",
        str(target),
        str(EXAMPLE),
    ]
    installing = await asyncio.create_subprocess_exec(*install, stderr=asyncio.subprocess.PIPE)
    _, errors = await installing.communicate()
    assert installing.returncode == 0, errors.decode()

    async with running_server(tmp_path / "controller", env={"PYTHONPATH": _python_path(target)}) as server:
        client = ApiClient(HttpTransport(server.url), field_manager="test")
        await client.create(Namespace(metadata=ObjectMeta(name="plugins")))
        tasks = Tasks(client, "plugins")
        await tasks.define("loud", executor="plugin", plugin={"name": "shout", "config": {"mark": "?!"}})
        loud = await tasks.run("loud", payload={"text": "who is there"})
        failed = await tasks.run("loud", payload={"text": 7})
        absent = await tasks.run({"executor": "plugin", "plugin": {"name": "absent"}}, retry={"limit": 2})
        await client.close()

    assert loud.status.output == {"text": "WHO IS THERE?!"}
    assert (failed.status.phase, failed.status.error) == ("Failed", "ValueError: payload.text is 7; give a text")
    assert (absent.status.reason, absent.status.attempt) == ("PluginMissing", 1)
    assert "shout" in absent.status.error


def _python_path(target: Path) -> str:
    import os

    return os.pathsep.join(filter(None, (str(target), os.environ.get("PYTHONPATH", ""))))
