"""Endpoints and Services against the API in memory: they follow instances, come to rest, and survive crashes and lost answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from plum_client.fake import CrashError, FakeApi, Faults
from plum_client.manager import Manager
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_client.testing import converge
from plum_controller.controllers import endpoint, endpoint_health, service
from plum_schemas.artifact import Artifact, ArtifactSpec
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.endpoint import Endpoint, EndpointSpec
from plum_schemas.instance import BoundPort, Instance, InstanceSpec, InstanceStatus
from plum_schemas.node import Node
from plum_schemas.probes import TcpAction
from plum_schemas.service import HealthCheck, Service, ServiceSpec


class World:
    """Answers the checks of endpoints: what is in `down` does not answer, what is in `hanging` never does."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.hanging: set[str] = set()
        self.asked: list[str] = []

    async def ask(self, one: Endpoint, check: HealthCheck) -> str:
        address = one.spec.address
        self.asked.append(address)
        if address in self.hanging:
            await asyncio.sleep(1e9)
        return "connection refused" if address in self.down else ""

    def add_all(self, manager: Manager) -> None:
        endpoint.add_to(manager)
        endpoint_health.add_to(manager, self.ask)
        service.add_to(manager)


def make_instance(name: str, *, node: str = "node-1", ready: bool = True, **spec: Any) -> Instance:
    template = {"ports": [{"name": "http", "port": 8080}], "services": [{"name": "orders", "port": "http"}]}
    typed = msgspec.convert({"nodeName": node, "template": {"command": ["serve"], **template, **spec}}, InstanceSpec)
    metadata = ObjectMeta(name=name, namespace="default", uid=f"uid-{name}", generation=1, labels={"app": "web"})
    bound = [BoundPort(name="http", port=8080)]
    status = InstanceStatus(phase="Running", ready=ready, address="10.0.0.1", ports=bound)
    return Instance(metadata=metadata, spec=typed, status=status)


def make_service(**spec: Any) -> Service:
    metadata = ObjectMeta(name="orders", namespace="default", uid="uid-orders", generation=1)
    return Service(metadata=metadata, spec=msgspec.convert(spec, ServiceSpec))


def make_endpoint(name: str, address: str, **spec: Any) -> Endpoint:
    metadata = ObjectMeta(name=name, namespace="default", uid=f"uid-{name}", generation=1)
    return Endpoint(metadata=metadata, spec=EndpointSpec(service="orders", address=address, port=80, **spec))


def serving(api: FakeApi) -> dict[str, str]:
    """State of each endpoint by its instance, or by its address where there is none."""
    return {e.spec.instance_name or e.spec.address: e.status.state for e in api.list(Endpoint)}


async def change(api: FakeApi, name: str, **status: Any) -> None:
    """What an agent reports."""
    live = await api.client().get(Instance, name, "default")
    assert live is not None
    await api.client().write_status(msgspec.structs.replace(live, status=msgspec.structs.replace(live.status, **status)))


def fleet(loop: SimulatedLoop, *objects: Any, **options: Any) -> FakeApi:
    nodes = [Node(metadata=ObjectMeta(name=f"node-{n}", labels={"zone": f"zone-{n}"})) for n in (1, 2)]
    return FakeApi(*nodes, *objects, clock=SimulatedClock(loop), **options)


def test_endpoints_come_with_readiness_and_go_before_the_end() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api, world = fleet(loop, make_instance("a"), make_instance("b", ready=False)), World()
        await converge(api, world.add_all)
        assert serving(api) == {"a": "passing"}
        assert api.list(Endpoint)[0].spec.zone == "zone-1"

        await change(api, "b", ready=True)
        await converge(api, world.add_all)
        assert serving(api) == {"a": "passing", "b": "passing"}

        await change(api, "a", ready=False, phase="Unknown", reason="NodeSilent")
        await api.client().patch(Instance, ObjectKey("default", "b"), {"spec": {"state": "Stopped"}})
        await converge(api, world.add_all)
        assert serving(api) == {}, "a silent node and a stop take them away, whatever else is said"

    run_simulated(main)


def test_an_endpoint_that_was_deleted_or_changed_by_hand_is_put_right() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api, world = fleet(loop, make_instance("a"), make_instance("b")), World()
        await converge(api, world.add_all)
        first, second = api.list(Endpoint)

        await api.client().delete(Endpoint, first.key)
        await api.client().patch(Endpoint, second.key, {"spec": {"port": 1}})
        await converge(api, world.add_all)

        assert serving(api) == {"a": "passing", "b": "passing"}
        assert {e.spec.port for e in api.list(Endpoint)} == {8080}

    run_simulated(main)


def test_a_package_offers_its_services_even_when_it_is_known_late() -> None:
    async def main(loop: SimulatedLoop) -> None:
        plain = make_instance("a", services=[], artifact={"name": "sonar", "version": "2.1.0"})
        api, world = fleet(loop, plain, kinds=[Artifact]), World()
        await converge(api, world.add_all)
        assert serving(api) == {}

        body = {"name": "sonar", "version": "2.1.0", "sha256": "0" * 64, "services": [{"name": "detectTarget", "port": 8080}]}
        metadata = ObjectMeta(name="sonar-2.1.0", namespace="default")
        await api.client().create(Artifact(metadata=metadata, spec=msgspec.convert(body, ArtifactSpec)))
        await converge(api, world.add_all)
        assert [(e.spec.service, e.spec.version, e.status.state) for e in api.list(Endpoint)] == [
            ("detectTarget", "2.1.0", "passing")
        ]

    run_simulated(main)


def test_a_service_finds_instances_by_label_until_its_selector_changes() -> None:
    async def main(loop: SimulatedLoop) -> None:
        plain = make_instance("a", services=[])
        api, world = fleet(loop, plain, make_service(selector={"app": "web"}, version="7")), World()
        await converge(api, world.add_all)
        assert [(e.spec.instance_name, e.spec.version) for e in api.list(Endpoint)] == [("a", "7")]

        await api.client().patch(Service, ObjectKey("default", "orders"), {"spec": {"selector": {"app": "other"}}})
        await converge(api, world.add_all)
        assert api.list(Endpoint) == []

    run_simulated(main)


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_after_any_write_and_lost_answers_end_in_the_same_state(seed: int) -> None:
    objects = [make_instance("a"), make_instance("b"), make_service(), make_endpoint("out", "192.0.2.1")]

    async def main(loop: SimulatedLoop) -> None:
        clean = fleet(loop, *objects)
        await converge(clean, World().add_all)
        want = serving(clean)
        assert want == {"a": "passing", "b": "passing", "192.0.2.1": "passing"}

        for crash_after in range(1, clean.writes + 1):
            api = fleet(loop, *objects)
            api.crash_after = crash_after
            with suppress(CrashError):
                await converge(api, World().add_all)
            await converge(api, World().add_all)
            assert serving(api) == want, f"after a crash behind write {crash_after}"

        faulty = fleet(loop, *objects, seed=seed)
        faulty.faults = Faults(latency=(0.0, 0.05), lose_answer=0.1, refuse=0.1, cut_watch=0.1, conflict=0.1)
        await converge(faulty, World().add_all, timeout=600, rounds=100)
        assert serving(faulty) == want

    run_simulated(main, seed)


def test_a_service_counts_its_endpoints_and_says_why_nobody_answers() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api, world = fleet(loop, make_service()), World()

        async def said() -> tuple[int, str, str]:
            await asyncio.sleep(1)
            await converge(api, world.add_all)
            await asyncio.sleep(1)
            await converge(api, world.add_all)
            status = api.list(Service)[0].status
            (available,) = status.conditions
            return status.passing, available.reason, available.message

        assert (await said())[:2] == (0, "NoInstances")

        await api.client().create(make_instance("a", ready=False))
        await change(api, "a", ready=False, phase="Starting", message="waiting for the readiness probe")
        passing, reason, message = await said()
        assert (passing, reason) == (0, "NoReadyInstance")
        assert "a: waiting for the readiness probe" in message

        await change(api, "a", ready=True, phase="Running", address="10.0.0.1")
        assert await said() == (1, "EndpointsPassing", "1 of 1 endpoints take requests")

    run_simulated(main)


def test_checks_make_endpoints_critical_and_passing_again_and_a_hanging_one_delays_none() -> None:
    check = HealthCheck(tcp=TcpAction(port="http"), period="2s", timeout="1s", failure_threshold=2)

    async def main(loop: SimulatedLoop) -> None:
        api, world = fleet(loop, make_service(), make_endpoint("hung", "hung"), make_endpoint("good", "good")), World()
        await api.client().patch(Service, ObjectKey("default", "orders"), {"spec": {"healthCheck": msgspec.to_builtins(check)}})
        world.hanging.add("hung")
        manager = Manager(api.client(), api.clock, random=api.random)
        world.add_all(manager)
        running = asyncio.create_task(manager.run())
        try:
            await asyncio.sleep(0.5)
            assert serving(api) == {"hung": "warning", "good": "passing"}
            await asyncio.sleep(4)
            assert serving(api) == {"hung": "critical", "good": "passing"}
            before = api.writes
            await asyncio.sleep(60)
            assert api.writes - before <= 10, "a state that stays costs no writes"
            assert world.asked.count("good") in range(30, 36)

            world.hanging.clear()
            world.down.add("good")
            await asyncio.sleep(5)
            assert serving(api) == {"hung": "passing", "good": "critical"}
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run_simulated(main)


def test_endpoints_kept_by_heartbeats_become_critical_and_are_forgotten_after_an_hour() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api, world = fleet(loop), World()
        beat = make_endpoint("device", "10.0.0.9", ttl="15s", heartbeat_at=api.clock.now())
        await api.client().create(beat)
        manager = Manager(api.client(), api.clock, random=api.random)
        world.add_all(manager)
        running = asyncio.create_task(manager.run())
        try:
            await asyncio.sleep(1)
            assert serving(api) == {"10.0.0.9": "passing"}
            await asyncio.sleep(15)
            assert serving(api) == {"10.0.0.9": "critical"}
            patch = {"spec": {"heartbeatAt": api.clock.now().isoformat()}}
            await api.client().patch(Endpoint, ObjectKey("default", "device"), patch)
            await asyncio.sleep(1)
            assert serving(api) == {"10.0.0.9": "passing"}
            await asyncio.sleep(3700)
            assert api.list(Endpoint) == []
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run_simulated(main)


def test_what_an_application_registered_is_critical_until_it_is_ready_and_goes_with_it() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api, world = fleet(loop, make_instance("a", ready=False, services=[])), World()
        own = {"instance_name": "a", "instance_uid": "uid-a", "ttl": "1h", "heartbeat_at": api.clock.now()}
        await api.client().create(make_endpoint("self", "10.0.0.1", **own))
        await converge(api, world.add_all)
        assert serving(api) == {"a": "critical"}

        await change(api, "a", ready=True)
        await converge(api, world.add_all)
        assert serving(api) == {"a": "passing"}

        await api.client().patch(Instance, ObjectKey("default", "a"), {"spec": {"state": "Stopped"}})
        await converge(api, world.add_all)
        assert serving(api) == {}

    run_simulated(main)
