"""Reservations and taints of devices on a real controller with a real agent."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plum_client.client import ApiClient
from plum_client.errors import ConflictError
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.instance import INSTANCE_FINALIZER, Instance, InstanceSpec
from plum_schemas.operation import Holder, Operation
from plum_schemas.resource import Resource, ResourceSpec
from plum_schemas.template import Template, Toleration
from plum_schemas.workflowrun import WorkflowRun

from tests.support.agent import NODE, Site, until_async
from tests.support.devices import RawDevice, ask_for, ended, operation_until, resource_until
from tests.support.server import started_server

_numbers = itertools.count(1)


class Place:
    """A controller with one node, and things that reserve."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.api = ApiClient(HttpTransport(url), field_manager="test")

    async def resource(self, **spec: Any) -> str:
        name = f"radar-{next(_numbers)}"
        await self.api.create(Resource(metadata=ObjectMeta(name=name, namespace="default"), spec=ResourceSpec(**spec)))
        return name

    async def instance(self, *resources: str, mode: str = "Exclusive", node: str = "", **template: Any) -> Instance:
        reservations = [{"resource": name, "mode": mode} for name in resources]
        made = msgspec.convert({"command": ["sleep", "600"], "reservations": reservations, **template}, Template)
        metadata = ObjectMeta(name=f"user-{next(_numbers)}", namespace="default", finalizers=[INSTANCE_FINALIZER])
        return await self.api.create(Instance(metadata=metadata, spec=InstanceSpec(node_name=node, template=made)))

    async def until_instance(self, instance: Instance, fits: Any) -> Instance:
        found = await until_async(
            lambda: self.api.get(Instance, instance.key), lambda one: one is not None and fits(one.status), 30.0
        )
        assert found is not None
        return found

    async def running(self, instance: Instance) -> Instance:
        return await self.until_instance(instance, lambda status: status.phase == "Running")

    async def waiting(self, instance: Instance, why: str = "") -> Instance:
        return await self.until_instance(
            instance, lambda status: status.reason == "WaitsForReservation" and why in status.message
        )

    async def end(self, instance: Instance) -> None:
        await self.api.delete(Instance, instance.key)

    async def run(self, *resources: str, seconds: float = 600) -> WorkflowRun:
        definition = {
            "reservations": [{"resource": name} for name in resources],
            "nodes": [{"name": "wait", "type": "wait", "wait": {"duration": f"{seconds}s"}}],
        }
        manifest = {
            "apiVersion": "plum.dev/v1",
            "kind": "WorkflowRun",
            "metadata": {"name": f"run-{next(_numbers)}", "namespace": "default"},
            "spec": {"definition": definition},
        }
        return msgspec.convert(await self.api.create(manifest, kind=WorkflowRun.info), WorkflowRun)

    async def until_run(self, run: WorkflowRun, fits: Any) -> WorkflowRun:
        found = await until_async(
            lambda: self.api.get(WorkflowRun, run.key), lambda one: one is not None and fits(one.status), 30.0
        )
        assert found is not None
        return found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("reservations")
    with started_server(folder / "controller") as server:
        command = [sys.executable, "-m", "plum_agent", "--node", NODE, "--controller", server.url, "--engine", "none"]
        with (folder / "agent.log").open("ab") as log:
            command += ["--data-dir", str(folder / "agent"), "--on-stop", "stop"]
            agent = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        yield server.url
        agent.terminate()
        agent.wait(60)


@pytest.fixture
async def place(url: str, tmp_path: Path) -> AsyncIterator[Place]:
    site = Site(tmp_path, url)
    await site.registered()
    await site.api.close()
    place = Place(url)
    yield place
    await place.api.close()


async def test_a_device_has_one_exclusive_holder_at_a_time_and_the_next_starts_when_it_ends(place: Place) -> None:
    radar = await place.resource()
    first = await place.instance(radar)
    await place.running(first)
    second, pinned = await place.instance(radar), await place.instance(radar, node=NODE)

    waits = await place.waiting(second, f"{radar} is held by Instance {first.metadata.name}")
    await place.waiting(pinned)

    assert waits.spec.node_name == ""
    status = await resource_until(place.api, radar, lambda status: len(status.waiting) == 2)
    assert [claim.name for claim in status.reservations] == [first.metadata.name]
    await place.end(first)
    await until_async(lambda: place.api.get(Instance, first.key), lambda found: found is None, 30.0)
    status = await resource_until(place.api, radar, lambda status: len(status.waiting) == 1 and status.reservations)
    following = second if status.reservations[0].name == second.metadata.name else pinned
    await place.running(following)


async def test_operations_of_others_are_refused_and_those_of_the_holder_are_not(place: Place) -> None:
    radar = await place.resource()
    run = await place.run(radar)
    await place.until_run(run, lambda status: status.phase == "Running")

    with pytest.raises(ConflictError, match=f"reserved by WorkflowRun {run.metadata.name}"):
        await ask_for(place.api, radar, "scan")
    own = await ask_for(place.api, radar, "scan", holder=Holder(kind="WorkflowRun", name=run.metadata.name))

    device = RawDevice(place.url, "default", radar)
    await device.announce(model=None)
    await device.follow()
    command = await device.next("operation")
    await device.move(command["id"], "Accepted")
    await device.move(command["id"], "Succeeded")
    assert (await ended(place.api, own)).phase == "Succeeded"
    await place.api.patch(WorkflowRun, run.key, {"spec": {"state": "Canceled"}})
    await resource_until(place.api, radar, lambda status: not status.reservations)
    await ask_for(place.api, radar, "scan")
    await device.close()


async def test_a_run_waits_for_all_its_devices_and_says_for_which(place: Place) -> None:
    one, other = await place.resource(), await place.resource()
    holder = await place.instance(other)
    await place.running(holder)

    run = await place.run(one, other, seconds=0.01)

    waits = await place.until_run(run, lambda status: status.reason == "WaitsForReservation")
    assert waits.status.phase == "Queued"
    status = await resource_until(place.api, one, lambda status: status.waiting)
    assert status.reservations == []
    assert f"{other} is held by Instance {holder.metadata.name}" in status.waiting[0].reason
    await place.end(holder)
    await place.until_run(run, lambda status: status.phase == "Succeeded")
    for name in (one, other):
        await resource_until(place.api, name, lambda status: not status.reservations and not status.waiting)


async def test_those_that_share_hold_together_and_one_that_wants_it_alone_waits(place: Place) -> None:
    radar = await place.resource()
    sharing = [await place.instance(radar, mode="Shared") for _ in range(2)]
    for instance in sharing:
        await place.running(instance)
    alone = await place.instance(radar)
    await place.waiting(alone, f"{radar} is held by")
    late = await place.instance(radar, mode="Shared")

    await place.waiting(late, f"Instance {alone.metadata.name} waits for {radar} longer")  # it does not overtake

    for instance in sharing:
        await place.end(instance)
    await place.running(alone)


async def test_a_taint_lets_wait_what_does_not_tolerate_it_and_ends_what_holds_the_device(place: Place) -> None:
    radar = await place.resource()
    holder = await place.instance(radar)
    await place.running(holder)
    key = ObjectKey("default", radar)
    taint = {"key": "calibrating", "effect": "NoSchedule"}
    await place.api.patch(Resource, key, {"spec": {"taints": [taint]}})
    asked = Holder(kind="Instance", name=holder.metadata.name)
    tolerates = [Toleration(key="calibrating", operator="Exists")]

    waiting = await ask_for(place.api, radar, "scan", holder=asked)
    tolerant = await ask_for(place.api, radar, "scan", holder=asked, tolerations=tolerates)

    status = await operation_until(place.api, waiting, lambda status: status.reason == "Tainted")
    assert status.error == f"resource {radar} has taint calibrating:NoSchedule"
    await operation_until(place.api, tolerant, lambda status: status.reason == "Offline")
    await place.api.patch(Resource, key, {"spec": {"taints": [taint | {"effect": "NoExecute"}]}})
    assert (await ended(place.api, waiting)).phase == "Canceled"
    await until_async(lambda: place.api.get(Instance, holder.key), lambda found: found is None, 30.0)
    live = await place.api.get(Operation, tolerant.key)
    assert live is not None
    assert live.status.phase == "Queued"
