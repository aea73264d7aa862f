"""What happens to devices and operations by time alone, under virtual time: staleness, lost nodes, what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from plum_client.client import ApiClient
from plum_client.devices.protocol import Reading
from plum_client.manager import Manager
from plum_client.outgoing import OutgoingClient
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_controller.devices import service
from plum_controller.settings import Settings
from plum_schemas.base import Condition, ObjectKey, ObjectMeta
from plum_schemas.node import Node, NodeStatus
from plum_schemas.operation import Operation, OperationStatus
from plum_schemas.resource import Resource, ResourceSpec, ResourceStatus

from tests.support.control_plane import ControlPlane
from tests.support.devices import ask_for

KEY = ObjectKey("default", "press")


class Site:
    """A control plane with devices, and nodes that a test makes ready or not."""

    def __init__(self, loop: SimulatedLoop, **settings: Any) -> None:
        self.clock = SimulatedClock(loop)
        self.plane = ControlPlane(self.clock, Settings(**settings))
        self.devices: service.Devices | None = None

    async def begin(self) -> ApiClient:
        await self.plane.start()

        def add(manager: Manager) -> None:
            self.devices = service.add_to(manager, self.plane.settings, OutgoingClient("*"))

        self.plane.start_controllers(add, watch_nodes=False)
        self.api = self.plane.client("test")
        return self.api

    async def node(self, ready: str) -> None:
        condition = Condition(type="Ready", status=ready, last_transition_time=self.clock.now())  # type: ignore[arg-type]
        node = await self.api.get(Node, "n1") or await self.api.create(Node(metadata=ObjectMeta(name="n1")))
        await self.api.write_status(msgspec.structs.replace(node, status=NodeStatus(conditions=[condition])))

    async def resource(self, **spec: Any) -> None:
        made = Resource(metadata=ObjectMeta(name=KEY.name, namespace=KEY.namespace), spec=ResourceSpec(**spec))
        await self.api.create(made)

    async def report(self, **values: Any) -> None:
        assert self.devices is not None
        readings = {name: Reading(value=value) for name, value in values.items()}
        await self.devices.recorder.report(KEY, "n1", readings, 0.0, True, "s1")

    async def until(self, fits: Callable[[ResourceStatus], Any], seconds: float = 600.0) -> ResourceStatus:
        async with asyncio.timeout(seconds):
            while True:
                found = await self.api.get(Resource, KEY)
                assert found is not None
                if fits(found.status):
                    return found.status
                await asyncio.sleep(0.1)

    async def ended(self, operation: Operation, seconds: float) -> OperationStatus:
        async with asyncio.timeout(seconds):
            while True:
                found = await self.api.get(Operation, operation.key)
                assert found is not None
                if found.status.finished_at is not None:
                    return found.status
                await asyncio.sleep(seconds / 200)

    async def close(self) -> None:
        if self.devices is not None:
            self.devices.close()
        await self.plane.close()


def simulated(test: Callable[[Site], Awaitable[None]], **settings: Any) -> None:
    async def whole() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        site = Site(loop, **settings)
        await site.begin()
        try:
            await test(site)
        finally:
            await site.close()

    run_simulated(whole(), 7)


def test_a_value_grows_stale_and_is_good_again_when_it_is_reported() -> None:
    async def test(site: Site) -> None:
        await site.node("True")
        await site.resource(node_name="n1", stale_after="10s")
        await site.report(level=1, other=2)
        began = site.clock.monotonic()

        status = await site.until(lambda status: any(one.quality == "stale" for one in status.reported.values()))

        assert 9.9 <= site.clock.monotonic() - began <= 11.0
        assert {one.quality for one in status.reported.values()} == {"stale"}
        await site.report(level=1)
        status = await site.until(lambda status: status.reported["level"].quality == "good")
        assert status.reported["other"].quality == "stale"

    simulated(test)


def test_devices_of_a_lost_node_are_offline_and_what_it_has_is_given_up_in_the_end() -> None:
    async def test(site: Site) -> None:
        await site.node("True")
        await site.resource(node_name="n1")
        await site.report(level=1)
        operation, waiting = await ask_for(site.api, KEY.name), await ask_for(site.api, KEY.name, not_after="1h")
        async with asyncio.timeout(60):
            while (taken := await site.api.get(Operation, operation.key)) is None or not taken.status.node:
                await asyncio.sleep(0.1)
        taken.status.phase, taken.status.deliveries = "Delivered", 1
        await site.api.write_status(taken)

        await site.node("Unknown")

        status = await site.until(lambda status: not status.connection.online, 5.0)
        assert next(one.reason for one in status.conditions if one.type == "Online") == "NodeLost"
        expired, lost = await site.ended(waiting, 4000.0), await site.ended(operation, 90_000.0)
        assert expired.phase == "Expired"
        assert (lost.phase, lost.reason) == ("Unknown", "NodeLost")

    simulated(test)


def test_operations_of_a_node_that_was_deleted_end() -> None:
    async def test(site: Site) -> None:
        await site.node("True")
        await site.resource(node_name="n1")
        operation = await ask_for(site.api, KEY.name)
        async with asyncio.timeout(60):
            while (taken := await site.api.get(Operation, operation.key)) is None or not taken.status.node:
                await asyncio.sleep(0.1)
        taken.status.phase, taken.status.deliveries = "Delivered", 1
        await site.api.write_status(taken)

        await site.api.delete(Node, ObjectKey("", "n1"))

        assert (await site.ended(operation, 60.0)).reason == "NodeGone"

    simulated(test)


def test_ended_operations_go_by_count_and_by_age() -> None:
    async def test(site: Site) -> None:
        await site.resource()
        for number in range(6):
            await ask_for(site.api, KEY.name, name=f"op-{number}", not_after="1s")
            await asyncio.sleep(10.0)

        async with asyncio.timeout(60):
            while len(found := await site.api.list(Operation, "default")) > 3:
                await asyncio.sleep(1.0)
        assert [one.metadata.name for one in found] == ["op-3", "op-4", "op-5"]
        async with asyncio.timeout(2000):
            while await site.api.list(Operation, "default"):
                await asyncio.sleep(10.0)
        assert site.clock.monotonic() > 900

    simulated(test, operations_kept=3, operations_kept_seconds=1000.0)
