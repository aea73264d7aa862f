"""Devices without a program of their own: reached by HTTP, from a node and from the controller, or through a worker."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plum_client.client import ApiClient
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.operation import Operation
from plum_schemas.resource import Resource, ResourceSpec, ResourceStatus
from plum_schemas.taskrun import TaskRun

from tests.support.agent import NODE, Site
from tests.support.devices import VALVE, ask_for, ended, operation_until, resource_until
from tests.support.server import started_server


class Appliance:
    """An HTTP device: it takes what is posted, and tells its states as text."""

    def __init__(self) -> None:
        self.states = {"position": "10", "pressure": "2.5", "serial": "A7"}
        self.posted: list[dict[str, Any]] = []
        self.behaviour = "good"
        self.url = ""

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._one, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/device"
        return server

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
            body = json.loads(await reader.readexactly(length)) if length else {}
            status, answer = self._answer(head.split()[0], body)
            if self.behaviour == "silent" and "method" in body:
                return
            if self.behaviour == "slow" and "method" in body:
                await asyncio.sleep(60)
            data = json.dumps(answer).encode()
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(data), data))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, method: str, body: dict[str, Any]) -> tuple[int, Any]:
        if method == "get":
            return 200, {"states": self.states}
        self.posted.append(body)
        if "desired" in body:
            self.states.update({one["name"]: one["value"] for one in body["operations"]})
        if self.behaviour == "broken" and "method" in body:
            return 500, {"error": "motor blocked"}
        return 200, {"done": body.get("method")}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, str]]:
    folder = tmp_path_factory.mktemp("drivers")
    with started_server(folder / "controller", env={"PLUM_WORKER_LEASE_SECONDS": "3"}) as server:
        command = [sys.executable, "-m", "plum_agent", "--node", NODE, "--controller", server.url, "--engine", "none"]
        with (folder / "agent.log").open("ab") as log:
            agent = subprocess.Popen([*command, "--data-dir", str(folder / "agent")], stdout=log, stderr=log, cwd=folder)
        yield server.url, folder, server.workers
        agent.kill()
        agent.wait()


@pytest.fixture
async def api(programs: tuple[str, Path, str]) -> AsyncIterator[ApiClient]:
    url, folder, _ = programs
    site = Site(folder, url)
    await site.registered()
    yield site.api
    await site.api.close()


@pytest.fixture
async def appliance() -> AsyncIterator[Appliance]:
    appliance = Appliance()
    server = await appliance.serve()
    yield appliance
    server.close()


async def reached(api: ApiClient, name: str, appliance: Appliance, node: str, **driver: Any) -> None:
    """A Resource that is reached by HTTP, and online."""
    http = {"url": appliance.url, "poll": "300ms", "timeout": "2s", **driver}
    spec = msgspec.convert({"nodeName": node, "model": VALVE, "driver": {"http": http}, "heartbeat": "1s"}, ResourceSpec)
    await api.create(Resource(metadata=ObjectMeta(name=name, namespace="default"), spec=spec))
    await resource_until(api, name, lambda status: status.connection.online)


@pytest.mark.parametrize("node", [NODE, ""], ids=["agent", "controller"])
async def test_an_http_device_is_read_told_and_operated(api: ApiClient, appliance: Appliance, node: str) -> None:
    name = f"http-{node or 'here'}"
    await reached(api, name, appliance, node)

    status = await resource_until(api, name, lambda status: len(status.reported) == 2)
    assert {one: value.value for one, value in status.reported.items()} == {"position": 10, "pressure": 2.5}
    await api.patch(Resource, ObjectKey("default", name), {"spec": {"desired": {"position": 60}}})
    await resource_until(api, name, lambda status: status.reported["position"].value == 60 and not status.delta)
    done = await ended(api, await ask_for(api, name, "flush", arguments={"seconds": 3}))
    assert (done.phase, done.result, done.node) == ("Succeeded", {"done": "flush"}, node)
    call = next(one for one in appliance.posted if "method" in one)
    assert call["arguments"] == {"seconds": 3}
    assert call["operations"] == [{"name": "seconds", "value": "3"}]
    appliance.behaviour = "broken"
    failed = await ended(api, await ask_for(api, name))
    assert (failed.phase, failed.reason) == ("Failed", "DeviceFailed")
    assert "answered 500" in failed.error
    assert "motor blocked" in failed.error


async def test_a_call_of_which_nobody_knows_whether_it_happened_is_unknown_and_never_made_again(
    api: ApiClient, appliance: Appliance
) -> None:
    await reached(api, "http-silent", appliance, "")
    appliance.behaviour = "silent"

    status = await ended(api, await ask_for(api, "http-silent"))

    assert (status.phase, status.reason, status.attempt) == ("Unknown", "NoAnswer", 1)
    assert len([one for one in appliance.posted if "method" in one]) == 1
    appliance.behaviour = "good"
    assert (await ended(api, await ask_for(api, "http-silent"))).phase == "Succeeded"


async def test_a_call_that_is_cancelled_is_given_up(api: ApiClient, appliance: Appliance) -> None:
    await reached(api, "http-slow", appliance, "", timeout="1m")
    appliance.behaviour = "slow"
    operation = await ask_for(api, "http-slow")
    await operation_until(api, operation, lambda status: status.phase == "Accepted")

    await api.patch(Operation, operation.key, {"spec": {"canceled": True}})

    assert (await ended(api, operation)).phase == "Canceled"


async def test_a_worker_carries_out_operations_of_its_device(
    api: ApiClient, programs: tuple[str, Path, str], tmp_path: Path
) -> None:
    spec = msgspec.convert({"model": VALVE, "driver": {"worker": {"task": "valve"}}, "nodeName": "elsewhere"}, ResourceSpec)
    await api.create(Resource(metadata=ObjectMeta(name="by-worker", namespace="default"), spec=spec))
    alone = await resource_until(api, "by-worker", lambda status: status.connection.reason == "NoWorker")
    late = await ask_for(api, "by-worker", not_after="300ms")
    expired = await ended(api, late)
    program = tmp_path / "worker.py"
    program.write_text(
        "from plum_worker import Worker\n\nworker = Worker()\n\n\n"
        "@worker.task('valve')\ndef valve(payload):\n"
        "    if payload['method'] == 'home':\n        raise ValueError('no home')\n"
        "    return {'did': payload['method'], 'on': payload['resource'], **payload['arguments']}\n\n\nworker.run()\n"
    )
    env = {"PATH": "/usr/bin:/bin", "CONTROLLER_BASE": programs[0], "CONTROLLER_GRPC_ADDR": programs[2]}
    with (tmp_path / "worker.log").open("ab") as log:
        worker = subprocess.Popen([sys.executable, str(program)], env=env, stdout=log, stderr=log, cwd=tmp_path)
    try:
        done = await ended(api, await ask_for(api, "by-worker", "flush", arguments={"seconds": 2}))
        failed = await ended(api, await ask_for(api, "by-worker"))
        there = await resource_until(api, "by-worker", lambda status: status.connection.online)
    finally:
        worker.kill()
        worker.wait()
    gone = await resource_until(api, "by-worker", lambda status: not status.connection.online, 60)
    waiting = await ask_for(api, "by-worker")
    held = await operation_until(api, waiting, lambda status: status.reason == "Offline")
    assert [online(status) for status in (alone, there, gone)] == [
        ("False", "NoWorker"),
        ("True", "Connected"),
        ("False", "NoWorker"),
    ]
    assert (alone.connection.last_seen, held.phase) == (None, "Queued")
    assert (expired.phase, [run async for run in runs_of(api, late)]) == ("Expired", [])
    assert (done.phase, done.result) == ("Succeeded", {"did": "flush", "on": "by-worker", "seconds": 2})
    assert (failed.phase, failed.reason) == ("Failed", "DeviceFailed")
    assert "no home" in failed.error


async def test_an_http_device_that_does_not_answer_is_offline_with_the_reason(api: ApiClient) -> None:
    appliance = Appliance()
    server = await appliance.serve()
    for node in (NODE, ""):
        await reached(api, f"http-gone-{node or 'here'}", appliance, node)
        never = {"nodeName": node, "heartbeat": "1s", "driver": {"http": {"url": "http://127.0.0.1:1/x", "timeout": "1s"}}}
        metadata = ObjectMeta(name=f"http-never-{node or 'here'}", namespace="default")
        await api.create(Resource(metadata=metadata, spec=msgspec.convert(never, ResourceSpec)))
    server.close()

    for name in ("http-gone", "http-never"):
        for where in (NODE, "here"):
            status = await resource_until(api, f"{name}-{where}", lambda status: status.connection.reason == "DriverFailed", 60)
            assert (status.connection.online, online(status)) == (False, ("False", "DriverFailed"))
            assert (status.connection.last_seen is None) == (name == "http-never")


async def test_a_run_that_no_worker_took_in_time_is_expired_and_never_begun(
    api: ApiClient, programs: tuple[str, Path, str], tmp_path: Path
) -> None:
    """The worker is there, and busy until the time is over."""
    spec = msgspec.convert({"driver": {"worker": {"task": "press"}}, "operationsAtOnce": 2}, ResourceSpec)
    await api.create(Resource(metadata=ObjectMeta(name="busy", namespace="default"), spec=spec))
    program, done = tmp_path / "worker.py", tmp_path / "done"
    program.write_text(
        "import sys, time\nfrom plum_worker import Worker\n\nworker = Worker(capacity=1)\n\n\n"
        "@worker.task('press')\ndef press(payload):\n"
        "    open(sys.argv[1], 'a').write(payload['method'] + '\\n')\n"
        "    time.sleep(payload['arguments'].get('seconds', 0))\n\n\nworker.run()\n"
    )
    env = {"PATH": "/usr/bin:/bin", "CONTROLLER_BASE": programs[0], "CONTROLLER_GRPC_ADDR": programs[2]}
    with (tmp_path / "worker.log").open("ab") as log:
        worker = subprocess.Popen([sys.executable, str(program), str(done)], env=env, stdout=log, stderr=log, cwd=tmp_path)
    try:
        await resource_until(api, "busy", lambda status: status.connection.online, 60)
        long = await ask_for(api, "busy", "long", arguments={"seconds": 4})
        await operation_until(api, long, lambda status: status.phase == "Accepted")
        while not done.exists():
            await asyncio.sleep(0.02)
        late = await ended(api, await ask_for(api, "busy", "late", not_after="1s"))
        assert (await ended(api, long)).phase == "Succeeded"
        assert (await ended(api, await ask_for(api, "busy", "after"))).phase == "Succeeded"
    finally:
        worker.kill()
        worker.wait()
    assert (late.phase, done.read_text().split()) == ("Expired", ["long", "after"])


def online(status: ResourceStatus) -> tuple[str, str]:
    found = next(one for one in status.conditions if one.type == "Online")
    return found.status, found.reason


async def runs_of(api: ApiClient, operation: Operation) -> AsyncIterator[str]:
    for run in await api.list(TaskRun, "default"):
        if operation.metadata.uid in run.metadata.name:
            yield run.metadata.name
