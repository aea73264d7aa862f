"""Workflows that wait for what devices report and operate them: one attempt asks once, a stop stops the device."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from plum_worker import Device, DeviceError, OperationCall

from tests.support.server import RunningServer, started_server

BASE = "/apis/plum.dev/v1/namespaces/default"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with started_server(tmp_path_factory.mktemp("server")) as running:
        yield running


class Oven:
    """A device, and what was done with it."""

    def __init__(self, server: RunningServer, name: str) -> None:
        self.device = Device(name, type="Oven", address=server.url, heartbeat=5)
        self.done: list[str] = []
        self.fail = 0
        self.stopped = threading.Event()
        self.device.declare("temperature", float)
        self.device.operation(self.bake)
        self.device.operation(self.hold)

    def bake(self, what: str, call: OperationCall) -> dict[str, str]:
        self.done.append(call.idempotency_key)
        if self.fail:
            self.fail -= 1
            raise DeviceError("the door is open")
        return {"baked": what}

    def hold(self, call: OperationCall) -> None:
        self.done.append(call.idempotency_key)
        call.cancellation.wait(60)
        self.stopped.set()
        call.cancellation.raise_if_set()


@pytest.fixture
def oven(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[Oven]:
    oven = Oven(server, f"oven-{abs(hash(request.node.name)) % 10**8}")
    with oven.device:
        yield oven


async def start(server: RunningServer, name: str, *nodes: Any, **spec: Any) -> None:
    body = {"apiVersion": "plum.dev/v1", "kind": "Workflow", "metadata": {"name": name}, "spec": {"nodes": list(nodes), **spec}}
    answer = await server.request("POST", f"{BASE}/workflows", body)
    assert answer.status == 201, answer.body
    run = {"apiVersion": "plum.dev/v1", "kind": "WorkflowRun", "metadata": {"name": name}, "spec": {"workflowRef": name}}
    answer = await server.request("POST", f"{BASE}/workflowruns", run)
    assert answer.status == 201, answer.body


async def ended(server: RunningServer, name: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            status = (await server.get(f"{BASE}/workflowruns/{name}")).json().get("status") or {}
            if status.get("phase") in ("Succeeded", "Failed", "Canceled", "Timeout"):
                return dict(status)
            await asyncio.sleep(0.05)


async def operations(server: RunningServer, oven: Oven) -> list[dict[str, Any]]:
    found = (await server.get(f"{BASE}/operations?fieldSelector=spec.resourceRef%3D{oven.device.name}")).json()["items"]
    return sorted(found, key=lambda one: one["metadata"]["name"])


def operate(name: str, oven: Oven, method: str, *depends: str, **more: Any) -> dict[str, Any]:
    config = {"resource": oven.device.name, "method": method} | more.pop("config", {})
    return {"name": name, "type": "operation", "config": config, "dependsOn": list(depends), **more}


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_a_run_waits_for_a_value_and_operates_the_device(server: RunningServer, oven: Oven) -> None:
    warm = f'resource("{oven.device.name}").reported.temperature > 180'
    await start(
        server,
        "warm",
        {"name": "hot", "type": "wait", "wait": {"condition": warm}, "timeout": "60s"},
        operate("bake", oven, "bake", "hot", config={"arguments": {"what": "${{ params.what }}"}, "notAfter": "60s"}),
        params=[{"name": "what", "default": "bread"}],
        outputs={"baked": "${{ nodes.bake.output.baked }}"},
    )
    oven.device.report(temperature=20.0)
    await asyncio.sleep(0.3)
    assert oven.done == []
    oven.device.report(temperature=190.0)

    status = await ended(server, "warm")

    assert status["phase"] == "Succeeded", status
    assert status["outputs"] == {"baked": "bread"}
    [operation] = await operations(server, oven)
    assert operation["metadata"]["ownerReferences"][0]["name"] == "warm"
    assert operation["spec"]["notAfter"] == "1m"
    assert len(oven.done) == 1


async def test_each_attempt_of_a_node_is_one_operation(server: RunningServer, oven: Oven) -> None:
    oven.fail = 2
    retry = {"limit": 3, "initial": "10ms"}
    await start(server, "again", operate("bake", oven, "bake", config={"arguments": {"what": "cake"}}, retry=retry))

    assert (await ended(server, "again"))["phase"] == "Succeeded"
    assert sorted(one["status"]["phase"] for one in await operations(server, oven)) == ["Failed", "Failed", "Succeeded"]
    assert len(set(oven.done)) == len(oven.done) == 3


async def test_a_device_that_refuses_fails_the_run_with_its_words(server: RunningServer, oven: Oven) -> None:
    oven.fail = 1
    await start(server, "refused", operate("bake", oven, "bake", config={"arguments": {"what": "cake"}}))

    status = await ended(server, "refused")

    assert status["phase"] == "Failed"
    rows = (await server.get(f"{BASE}/workflowruns/refused/nodes?node=bake")).json()["items"]
    assert rows[0]["reason"] == "OperationFailed"
    assert "the door is open" in rows[0]["message"]


async def test_an_operation_that_the_model_does_not_have_fails_at_once(server: RunningServer, oven: Oven) -> None:
    oven.device.report(temperature=20.0)

    async def known() -> bool:
        found = await server.get(f"{BASE}/resources/{oven.device.name}")
        return found.status == 200 and bool(found.json()["spec"].get("model"))

    await until(known)
    await start(server, "unknown", operate("sing", oven, "sing", retry={"limit": 5}))

    assert (await ended(server, "unknown"))["phase"] == "Failed"
    rows = (await server.get(f"{BASE}/workflowruns/unknown/nodes?node=sing")).json()["items"]
    assert rows[0]["reason"] == "Refused"
    assert rows[0]["attempt"] == 1
    assert oven.done == []


async def test_a_run_that_is_cancelled_stops_the_device(server: RunningServer, oven: Oven) -> None:
    await start(server, "stopped", operate("hold", oven, "hold"))

    async def holds() -> bool:
        return len(oven.done) == 1

    await until(holds)
    await server.request(
        "PATCH", f"{BASE}/workflowruns/stopped", {"spec": {"state": "Canceled"}}, content_type="application/merge-patch+json"
    )

    assert (await ended(server, "stopped"))["phase"] == "Canceled"

    async def canceled() -> bool:
        return [one["status"]["phase"] for one in await operations(server, oven)] == ["Canceled"]

    await until(canceled)
    assert oven.stopped.is_set()


async def test_a_node_that_names_no_device_is_refused_with_the_place(server: RunningServer) -> None:
    nodes = [{"name": "bake", "type": "operation", "config": {"method": "bake"}}]
    body = {"apiVersion": "plum.dev/v1", "kind": "Workflow", "metadata": {"name": "nameless"}, "spec": {"nodes": nodes}}

    answer = await server.request("POST", f"{BASE}/workflows", body)

    assert answer.status == 422
    assert "spec.nodes[0].config.resource" in answer.json()["message"]
