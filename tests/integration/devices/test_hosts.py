"""Devices on a real agent and on a real controller: the same promises, whoever hosts them."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from plum_client.client import ApiClient
from plum_client.errors import ConflictError, InvalidObjectError, TooManyRequestsError
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.node import Node
from plum_schemas.operation import Operation, OperationSpec
from plum_schemas.resource import Resource, ResourceSpec

from tests.support.agent import NODE, Site, until
from tests.support.devices import VALVE, RawDevice, RefusedError, agent_address, ask_for, ended, operation_until, resource_until
from tests.support.server import started_server

_numbers = itertools.count(1)


@dataclass
class Host:
    """Who serves the devices of a test."""

    api: ApiClient
    address: str
    node: str
    devices: list[RawDevice] = field(default_factory=list)

    async def device(self, name: str = "", session: str = "", **announced: object) -> RawDevice:
        """One that has announced itself and reads its stream."""
        device = RawDevice(self.address, "default", name or f"valve-{next(_numbers)}", session)
        self.devices.append(device)
        await device.announce(**announced)
        await device.follow()
        return device


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("devices")
    with started_server(folder / "controller") as server:
        command = [sys.executable, "-m", "plum_agent", "--node", NODE, "--controller", server.url, "--engine", "none"]
        with (folder / "agent.log").open("ab") as log:
            agent = subprocess.Popen([*command, "--data-dir", str(folder / "agent")], stdout=log, stderr=log, cwd=folder)
        yield server.url, folder
        agent.kill()
        agent.wait()


@pytest.fixture(params=["agent", "controller"])
async def host(request: pytest.FixtureRequest, programs: tuple[str, Path]) -> AsyncIterator[Host]:
    url, folder = programs
    site = Site(folder, url)
    await site.registered()
    await site.api.close()
    api = ApiClient(HttpTransport(url), field_manager="test")
    on_agent = request.param == "agent"
    host = Host(api, agent_address(folder / "agent" / NODE) if on_agent else url, NODE if on_agent else "")
    yield host
    for device in host.devices:
        await device.close()
    await api.close()


def name_of(device: RawDevice) -> str:
    return device.path.rpartition("/")[2]


async def test_an_announced_device_is_a_resource_on_its_node_and_its_reports_are_its_status(host: Host) -> None:
    device = await host.device(type="Valve", heartbeat="20s")
    await device.report(position=40, pressure={"value": 2.5, "quality": "uncertain", "deviceTime": "2026-01-31T08:00:00Z"})

    status = await resource_until(host.api, name_of(device), lambda status: len(status.reported) == 2)

    resource = await host.api.get(Resource, ObjectKey("default", name_of(device)))
    assert resource is not None
    assert (resource.spec.type, resource.spec.node_name, resource.spec.heartbeat) == ("Valve", host.node, "20s")
    assert [one.name for one in resource.spec.model.operations] == ["flush", "home"]
    assert status.reported["position"].value == 40
    assert status.reported["position"].time is not None
    assert status.reported["pressure"].quality == "uncertain"
    assert status.connection.online
    assert (status.connection.session, status.connection.node) == (device.session, host.node)
    assert [(one.type, one.status) for one in status.conditions] == [("Online", "True"), ("Synced", "True")]


async def test_a_report_that_does_not_fit_the_model_is_refused_with_its_field_and_changes_nothing(host: Host) -> None:
    device = await host.device()

    with pytest.raises(RefusedError) as refused:
        await device.report(position="open", colour="red")

    assert refused.value.code == 422
    assert [cause["field"] for cause in refused.value.body["details"]["causes"]] == ["values.position.value", "values.colour"]
    resource = await host.api.get(Resource, ObjectKey("default", name_of(device)))
    assert resource is not None
    assert resource.status.reported == {}


async def test_desired_values_are_told_when_they_differ_and_again_to_a_device_that_comes_back(host: Host) -> None:
    device = await host.device()
    name = name_of(device)
    await device.report(position=10)

    await host.api.patch(Resource, ObjectKey("default", name), {"spec": {"desired": {"position": 70}}})

    assert (await device.next("desired"))["values"] == {"position": 70}
    status = await resource_until(host.api, name, lambda status: "position" in status.delta)
    assert (status.delta["position"].desired, status.delta["position"].reported) == (70, 10)
    again = await host.device(name)
    assert (await again.next("desired"))["values"] == {"position": 70}
    await again.report(position=70)
    status = await resource_until(host.api, name, lambda status: not status.delta)
    assert next(one for one in status.conditions if one.type == "Synced").status == "True"


async def test_an_operation_is_carried_out_and_its_result_is_told(host: Host) -> None:
    device = await host.device()
    operation = await ask_for(host.api, name_of(device), "flush", arguments={"seconds": 5}, timeout="1m")

    command = await device.next("operation")
    await device.move(command["id"], "Accepted")
    await device.move(command["id"], "Running", progress=0.5)
    await operation_until(host.api, operation, lambda status: status.phase == "Running" and status.progress == 0.5)
    await device.move(command["id"], "Succeeded", result={"litres": 3.5, "note": None})
    await device.move(command["id"], "Succeeded", result={"litres": 3.5, "note": None})  # the answer was lost

    status = await ended(host.api, operation)
    assert (command["method"], command["arguments"], command["attempt"]) == ("flush", {"seconds": 5}, 1)
    assert (command["idempotencyKey"], command["timeout"]) == (operation.metadata.uid, 60.0)
    assert (status.phase, status.result, status.node) == ("Succeeded", {"litres": 3.5, "note": None}, host.node)
    assert (status.deliveries, status.attempt, status.session) == (1, 1, device.session)
    assert status.accepted_at is not None
    assert status.accepted_at <= (status.finished_at or status.accepted_at)
    assert [(one.type, one.status) for one in status.conditions] == [("Succeeded", "True")]


async def test_operations_of_a_device_come_one_after_the_other_in_the_order_in_which_they_were_asked_for(host: Host) -> None:
    device = await host.device()
    operations = [await ask_for(host.api, name_of(device)) for _ in range(8)]
    seen = []

    for _ in operations:
        command = await device.next("operation")
        assert device.messages.empty()
        seen.append(command["id"])
        await device.move(command["id"], "Accepted")
        await device.move(command["id"], "Succeeded")

    assert seen == [operation.metadata.uid for operation in operations]
    for operation in operations:
        assert (await ended(host.api, operation)).phase == "Succeeded"


async def test_an_operation_that_is_too_late_is_refused_to_the_device_and_expires(host: Host) -> None:
    device = await host.device()
    operation = await ask_for(host.api, name_of(device), not_after="1s")
    command = await device.next("operation")

    status = await ended(host.api, operation)

    assert (status.phase, status.reason) == ("Expired", "Expired")
    with pytest.raises(RefusedError) as refused:
        await device.move(command["id"], "Accepted")
    assert (refused.value.code, refused.value.reason) == (409, "Expired")


async def test_a_cancelled_operation_is_not_begun_and_one_under_way_is_asked_to_stop(host: Host) -> None:
    device = await host.device()
    first, second = [await ask_for(host.api, name_of(device)) for _ in range(2)]
    command = await device.next("operation")
    await device.move(command["id"], "Accepted")

    for operation in (first, second):
        await host.api.patch(Operation, operation.key, {"spec": {"canceled": True}})

    assert (await device.next("cancel"))["id"] == first.metadata.uid
    await device.move(first.metadata.uid, "Failed", error="stopped half way")
    stopped, never = await ended(host.api, first), await ended(host.api, second)
    assert (stopped.phase, stopped.error) == ("Canceled", "stopped half way")
    assert (never.phase, never.attempt) == ("Canceled", 0)
    with pytest.raises(RefusedError, match="409"):
        await device.move(second.metadata.uid, "Accepted")


async def test_what_took_longer_than_its_timeout_is_asked_to_stop_and_fails(host: Host) -> None:
    device = await host.device()
    operation = await ask_for(host.api, name_of(device), timeout="500ms")
    command = await device.next("operation")
    await device.move(command["id"], "Accepted")

    assert (await device.next("cancel"))["id"] == command["id"]
    await device.move(command["id"], "Failed", error="gave up")

    status = await ended(host.api, operation)
    assert (status.phase, status.reason) == ("Failed", "Timeout")
    assert "500ms" in status.error
    assert "gave up" in status.error


async def test_at_most_once_is_given_to_no_second_session_and_at_least_once_is(host: Host) -> None:
    device = await host.device()
    name = name_of(device)
    once = await ask_for(host.api, name)
    command = await device.next("operation")
    await device.move(command["id"], "Accepted")

    second = await host.device(name)
    status = await ended(host.api, once)
    least = await ask_for(host.api, name, delivery="AtLeastOnce", idempotency_key="key-1")
    first_time = await second.next("operation")
    await second.move(first_time["id"], "Accepted")
    third = await host.device(name)
    again = await third.next("operation")
    await third.move(again["id"], "Accepted")
    with pytest.raises(RefusedError, match="OtherSession"):
        await second.move(again["id"], "Succeeded")
    await third.move(again["id"], "Succeeded", result=7)

    assert (status.phase, status.reason, status.attempt) == ("Unknown", "DeviceRestarted", 1)
    assert (first_time["attempt"], again["attempt"]) == (1, 2)
    assert first_time["idempotencyKey"] == again["idempotencyKey"] == "key-1"
    last = await ended(host.api, least)
    assert (last.phase, last.result, last.attempt) == ("Succeeded", 7, 2)


async def test_a_program_that_lost_its_stream_goes_on_in_its_session(host: Host) -> None:
    device = await host.device()
    under_way = await ask_for(host.api, name_of(device))
    waiting = await ask_for(host.api, name_of(device))
    command = await device.next("operation")
    await device.move(command["id"], "Accepted")
    device.leave()

    await device.announce()
    await device.follow()
    await device.move(command["id"], "Accepted")  # the answer was lost
    await device.move(command["id"], "Succeeded")

    assert (await device.next("operation"))["id"] == waiting.metadata.uid
    assert (await ended(host.api, under_way)).phase == "Succeeded"


async def test_a_silent_device_is_offline_after_two_heartbeats_and_is_not_deleted_nor_is_its_node_touched(host: Host) -> None:
    device = await host.device(heartbeat="500ms")
    name = name_of(device)
    await resource_until(host.api, name, lambda status: status.connection.online)
    device.leave()

    status = await resource_until(host.api, name, lambda status: not status.connection.online)

    online = next(one for one in status.conditions if one.type == "Online")
    assert (online.status, online.reason) == ("False", "Silent")
    if host.node:
        node = await host.api.get(Node, host.node)
        assert node is not None
        assert next(one for one in node.status.conditions if one.type == "Ready").status == "True"
    await device.report()
    await resource_until(host.api, name, lambda status: status.connection.online)


async def test_an_operation_that_the_model_does_not_have_is_refused_with_the_field(host: Host) -> None:
    device = await host.device()

    for spec, fields in (
        ({"method": "fly"}, {"spec.method"}),
        ({"method": "flush"}, {"spec.arguments.seconds"}),
        ({"method": "flush", "arguments": {"seconds": 900, "hard": True}}, {"spec.arguments.seconds", "spec.arguments"}),
    ):
        with pytest.raises(InvalidObjectError) as refused:
            await ask_for(host.api, name_of(device), **spec)
        assert {cause.field for cause in refused.value.causes} == fields
    with pytest.raises(InvalidObjectError, match="there is no Resource nobody"):
        await ask_for(host.api, "nobody")


async def test_a_queue_that_is_full_refuses_and_a_status_takes_only_steps_of_the_table(host: Host) -> None:
    device = await host.device()
    name = name_of(device)
    await host.api.patch(Resource, ObjectKey("default", name), {"spec": {"queueLimit": 2}})
    first = await ask_for(host.api, name)
    await ask_for(host.api, name)
    with pytest.raises(TooManyRequestsError, match="queueLimit"):
        await ask_for(host.api, name)

    command = await device.next("operation")
    await device.move(command["id"], "Accepted")
    await device.move(command["id"], "Succeeded")
    await ended(host.api, first)
    live = await host.api.get(Operation, first.key)
    assert live is not None
    with pytest.raises(ConflictError, match="ended as Succeeded, which is final"):
        await host.api.write_status(msgspec.structs.replace(live, status=msgspec.structs.replace(live.status, phase="Running")))


async def test_what_a_manifest_says_of_a_resource_wins_over_what_its_device_announces(host: Host) -> None:
    name = f"valve-{next(_numbers)}"
    model = msgspec.convert({"properties": VALVE["properties"][:1]}, ResourceSpec.__annotations__ and type(ResourceSpec().model))
    spec = ResourceSpec(type="Tap", model=model, desired={"position": 30})
    await host.api.create(Resource(metadata=ObjectMeta(name=name, namespace="default"), spec=spec))

    device = RawDevice(host.address, "default", name)
    host.devices.append(device)
    welcome = await device.announce(type="Valve")

    assert welcome["desired"] == {"position": 30}
    assert [one["name"] for one in welcome["model"]["properties"]] == ["position"]
    resource = await host.api.get(Resource, ObjectKey("default", name))
    assert resource is not None
    assert (resource.spec.type, resource.spec.node_name) == ("Tap", host.node)


async def test_operations_wait_where_the_device_is_away_and_go_on_when_it_is_there(host: Host) -> None:
    device = await host.device(heartbeat="300ms")
    name = name_of(device)
    await resource_until(host.api, name, lambda status: status.connection.last_seen is not None)
    device.leave()
    await resource_until(host.api, name, lambda status: not status.connection.online)
    operation = await ask_for(host.api, name)
    wanted = (lambda status: status.phase == "Delivered") if host.node else (lambda status: status.reason == "Offline")
    await operation_until(host.api, operation, wanted)

    again = await host.device(name)
    command = await again.next("operation")
    await again.move(command["id"], "Accepted")
    await again.move(command["id"], "Succeeded")

    assert (await ended(host.api, operation)).phase == "Succeeded"


async def test_operations_of_a_deleted_resource_end(host: Host) -> None:
    device = await host.device()
    under_way, waiting = [await ask_for(host.api, name_of(device)) for _ in range(2)]
    command = await device.next("operation")
    await device.move(command["id"], "Accepted")

    await host.api.delete(Resource, ObjectKey("default", name_of(device)))

    assert (await ended(host.api, under_way)).phase == "Unknown"
    assert (await ended(host.api, waiting)).phase == "Canceled"


async def test_operations_that_are_being_handed_over_when_their_resource_goes_end(host: Host) -> None:
    device = await host.device()
    asked = await asyncio.gather(*(ask_for(host.api, name_of(device)) for _ in range(12)))

    await host.api.delete(Resource, ObjectKey("default", name_of(device)))

    for operation in asked:
        assert (await ended(host.api, operation)).phase in ("Canceled", "Unknown")


async def test_only_programs_that_were_told_the_address_speak_for_devices_of_a_node(programs: tuple[str, Path]) -> None:
    _, folder = programs
    await until(lambda: (folder / "agent" / NODE / "devices" / "address").exists(), 30)
    address = agent_address(folder / "agent" / NODE, "default")

    for base, namespace, code in ((address.rpartition("/")[0] + "/x", "default", 403), (address, "other", 403)):
        device = RawDevice(base, namespace, "spy")
        with pytest.raises(RefusedError) as refused:
            await device.announce()
        assert refused.value.code == code
        await device.close()
    device = RawDevice(address, "default", "web-page")
    answer = await device.transport.request("PUT", device.path, {"Origin": "http://evil.example"}, b"{}")
    assert answer.status == 403
    await device.close()


async def test_fields_of_an_operation_that_nobody_may_change(programs: tuple[str, Path]) -> None:
    api = ApiClient(HttpTransport(programs[0]), field_manager="test")
    await api.create(Resource(metadata=ObjectMeta(name="still", namespace="default"), spec=ResourceSpec()))
    operation = await ask_for(api, "still", not_after="1h", arguments={"a": 1})

    with pytest.raises(InvalidObjectError, match="never changes"):
        await api.patch(Operation, operation.key, {"spec": {"arguments": {"a": 2}}})
    await api.patch(Operation, operation.key, {"status": {"expiresAt": None, "sequence": 1}}, subresource="status")

    live = await api.get(Operation, operation.key)
    assert live is not None
    assert (live.status.expires_at, live.status.sequence) == (operation.status.expires_at, operation.status.sequence)
    assert isinstance(live.spec, OperationSpec)
    await api.close()


async def test_a_device_that_is_not_there_is_listed_as_that(programs: tuple[str, Path]) -> None:
    api = ApiClient(HttpTransport(programs[0]), field_manager="test")
    await api.create(Resource(metadata=ObjectMeta(name="nobody", namespace="default"), spec=ResourceSpec()))

    away = await api.list(Resource, "default", fields="status.connection.online=false")
    there = await api.list(Resource, "default", fields="status.connection.online=true")
    await api.close()

    assert "nobody" in {one.metadata.name for one in away}
    assert "nobody" not in {one.metadata.name for one in there}
