"""Whole agents on the fake driver under simulated time: hours of crashes, restarts and outages in a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import msgspec
import pytest
from plum_agent.agent import NodeAgent, Shared
from plum_agent.drivers.fake import FakeDriver, FakeOptions
from plum_agent.lease import LeaseKeeper, NodeLease
from plum_agent.node import Facts
from plum_agent.ports import PortBook
from plum_client.client import ApiClient
from plum_client.fake import FakeApi
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_client.transport import Request, Response
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.instance import INSTANCE_FINALIZER, Instance, InstanceSpec
from plum_schemas.node import Node
from plum_schemas.template import Template

FACTS = Facts("x86_64", "host", "Linux", "6", "2", "1Gi", "127.0.0.1", "boot", "0", ("process",))


def make_instance(name: str, node: str, **template: object) -> Instance:
    made = msgspec.convert({"command": ["x"], **template}, Template)
    metadata = ObjectMeta(name=name, namespace="default", uid=name, generation=1, finalizers=[INSTANCE_FINALIZER])
    return Instance(metadata=metadata, spec=InstanceSpec(node_name=node, template=made))


class Fleet:
    """Agents of several nodes in one simulation."""

    def __init__(self, loop: SimulatedLoop, api: FakeApi, nodes: list[str], options: FakeOptions) -> None:
        clock = SimulatedClock(loop)
        api.clock = clock
        self.driver = FakeDriver(options, clock, loop.random)
        client = ApiClient(api)
        self.agents = []
        for node in nodes:
            lease = NodeLease(node, 15.0, clock, None)
            chance = Random(loop.random.random())
            shared = Shared(client, self.driver, clock, FACTS, None, PortBook(False), None, None, random=chance)
            self.agents.append(NodeAgent(node, None, lease, shared, workers=4))
        keeper = LeaseKeeper([agent.lease for agent in self.agents], clock, lambda node, held: None)
        self.tasks = [asyncio.create_task(agent.run()) for agent in self.agents]
        self.tasks.append(asyncio.create_task(keeper.run(client)))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class LateAnswers(FakeApi):
    """Once it is armed, the node is called silent again while the answer to its next status is on its way."""

    armed = False

    async def silence(self) -> None:
        found = self.get(Instance, "i0")
        assert found is not None
        status = msgspec.structs.replace(found.status, phase="Unknown", ready=False, reason="NodeSilent")
        await self.client("node-controller").write_status(msgspec.structs.replace(found, status=status))

    async def send(self, request: Request) -> Response:
        response = await super().send(request)
        if self.armed and request.method == "PATCH" and request.path.endswith("/instances/i0/status"):
            self.armed = False
            await self.silence()
            await asyncio.sleep(1)
        return response


def test_a_status_that_is_overwritten_before_its_answer_arrives_is_told_again() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api = LateAnswers(make_instance("i0", "n0"))
        fleet = Fleet(loop, api, ["n0"], FakeOptions(start=0.05, ready=0.2, stop=0.1))
        await asyncio.sleep(5)
        await api.silence()
        api.armed = True
        await asyncio.sleep(5)
        found = api.get(Instance, "i0")
        await fleet.stop()
        assert not api.armed
        assert found is not None and (found.status.phase, found.status.ready) == ("Running", True)

    run_simulated(main)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_a_crashing_fleet_on_a_bad_network_stays_true_for_hours_and_goes_without_a_trace(seed: int) -> None:
    nodes = [f"n{number}" for number in range(5)]

    async def main(loop: SimulatedLoop) -> None:
        instances = [
            make_instance(f"i{number}", nodes[number % 5], backoff={"initial": "1s", "max": "30s"}) for number in range(25)
        ]
        api = FakeApi(*instances, seed=seed)
        api.faults.refuse = api.faults.lose_answer = api.faults.conflict = 0.03
        api.faults.cut_watch = 0.01
        fleet = Fleet(loop, api, nodes, FakeOptions(start=0.05, ready=0.2, stop=0.1, crash_rate=0.01))
        for _ in range(3):
            await asyncio.sleep(900)
            await asyncio.sleep(loop.random.random())
        phases = Counter(instance.status.phase for instance in api.list(Instance))
        assert set(phases) <= {"Running", "Starting"}
        assert phases["Running"] > 15
        assert len(fleet.driver) <= 25
        restarts = [instance.status.restarts for instance in api.list(Instance)]
        assert min(restarts) > 5

        api.faults.refuse = 1.0
        await asyncio.sleep(600)
        api.faults.refuse = 0.03
        for instance in instances:
            while True:
                try:
                    await ApiClient(api).delete(Instance, instance.key)
                    break
                except Exception:
                    await asyncio.sleep(0.1)
        await asyncio.sleep(120)
        assert api.list(Instance) == []
        assert len(fleet.driver) == 0
        assert all(not agent.reconciler.units for agent in fleet.agents)
        await fleet.stop()

    run_simulated(main, seed=seed)


def test_an_idle_fleet_writes_nothing_but_its_leases() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api = FakeApi(*(make_instance(f"i{number}", "n0") for number in range(20)))
        fleet = Fleet(loop, api, ["n0"], FakeOptions(ready=0.1))
        await asyncio.sleep(30)
        assert all(instance.status.ready for instance in api.list(Instance))
        before = api.writes

        await asyncio.sleep(3600)

        renewals = api.writes - before
        assert 700 <= renewals <= 740
        await fleet.stop()

    run_simulated(main)


def test_the_length_of_the_lease_follows_the_node() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api = FakeApi()
        fleet = Fleet(loop, api, ["n0"], FakeOptions())
        await asyncio.sleep(20)
        await ApiClient(api).patch(Node, "n0", {"spec": {"leaseSeconds": 3}})
        await asyncio.sleep(2)
        before = api.writes

        await asyncio.sleep(30)

        assert fleet.agents[0].lease.seconds == 3
        assert 28 <= api.writes - before <= 32
        await fleet.stop()

    run_simulated(main)


def test_exclusive_instances_wait_for_the_lease_and_end_with_it() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api = FakeApi(make_instance("alone", "n0", exclusive=True), make_instance("free", "n0"))
        fleet = Fleet(loop, api, ["n0"], FakeOptions())
        await asyncio.sleep(10)
        assert api.get(Instance, "alone").status.phase == "Running"  # type: ignore[union-attr]
        assert len(fleet.driver) == 2

        api.faults.refuse = 1.0
        await asyncio.sleep(20)
        assert len(fleet.driver) == 1, "only the exclusive one is gone"
        api.faults.refuse = 0.0
        await asyncio.sleep(40)

        alone = api.get(Instance, "alone")
        assert alone is not None
        assert (alone.status.phase, alone.status.restarts) == ("Running", 1)
        assert alone.status.last_exit is not None
        assert alone.status.last_exit.reason == "Fenced"
        free = api.get(Instance, "free")
        assert free is not None
        assert free.status.restarts == 0
        await fleet.stop()

    run_simulated(main)


def test_an_object_made_anew_under_the_same_name_gets_a_run_of_its_own() -> None:
    async def main(loop: SimulatedLoop) -> None:
        first = make_instance("web", "n0")
        api = FakeApi(first)
        fleet = Fleet(loop, api, ["n0"], FakeOptions(stop=1.0))
        await asyncio.sleep(5)
        client = ApiClient(api)
        pid = api.get(Instance, "web").status.pid  # type: ignore[union-attr]
        await client.patch(Instance, ObjectKey("default", "web"), {"metadata": {"finalizers": None}})
        await client.delete(Instance, ObjectKey("default", "web"))

        second = make_instance("web", "n0")
        second.metadata.uid = ""
        await client.create(second)
        await asyncio.sleep(10)

        found = api.get(Instance, "web")
        assert found is not None
        assert found.status.phase == "Running"
        assert found.status.pid != pid
        assert found.status.restarts == 0
        assert len(fleet.driver) == 1
        await fleet.stop()

    run_simulated(main)
