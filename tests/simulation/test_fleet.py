"""Whole fleets under virtual time and seeded faults: rollouts, lost nodes, cut links, controllers that die."""

from __future__ import annotations

import asyncio

import pytest
from plum_schemas.instance import Instance
from plum_schemas.node import Node

from tests.support.simulation import SimulatedFleet, simulate

SEEDS = range(5)
SOAK_SEEDS = range(200)


def test_a_deployment_runs_on_all_nodes() -> None:
    async def scenario(fleet: SimulatedFleet) -> None:
        await fleet.deploy("web", 12)

        await fleet.until(lambda: fleet.available("web", 12))

        used = {instance.spec.node_name for instance in await fleet.instances("web")}
        assert used == set(fleet.names)
        assert fleet.running == 12

    simulate(scenario, seed=1, nodes=4)


def test_an_idle_fleet_sees_no_not_ready_and_no_replacement() -> None:
    async def scenario(fleet: SimulatedFleet) -> None:
        await fleet.deploy("web", 10)
        await fleet.until(lambda: fleet.available("web", 10))
        names = {instance.metadata.name for instance in await fleet.instances("web")}
        transitions = {n.metadata.name: _ready_since(n) for n in await fleet.api.list(Node)}

        await asyncio.sleep(3600)

        assert {instance.metadata.name for instance in await fleet.instances("web")} == names
        assert {n.metadata.name: _ready_since(n) for n in await fleet.api.list(Node)} == transitions
        assert len(fleet.nodes.started) == 10

    simulate(scenario, seed=2, nodes=5)


def _ready_since(node: Node) -> object:
    ready = next(c for c in node.status.conditions if c.type == "Ready")
    assert ready.status == "True"
    return ready.last_transition_time


def test_a_lost_node_is_noticed_within_its_lease_and_its_instances_are_replaced() -> None:
    async def scenario(fleet: SimulatedFleet) -> None:
        await fleet.deploy("web", 6)
        await fleet.until(lambda: fleet.available("web", 6))

        fleet.nodes.cut_off("node-0000")
        took = await fleet.until(lambda: _not_ready(fleet, "node-0000"))
        assert took <= 15 + 1
        await fleet.until(lambda: _elsewhere(fleet, 6))

    simulate(scenario, seed=3, nodes=3)


async def _not_ready(fleet: SimulatedFleet, name: str) -> bool:
    node = await fleet.api.get(Node, name)
    assert node is not None
    return any(c.type == "Ready" and c.status != "True" for c in node.status.conditions)


async def _elsewhere(fleet: SimulatedFleet, count: int) -> bool:
    return sum(i.status.ready for i in await fleet.instances("web") if i.spec.node_name != "node-0000") == count


def test_a_healed_partition_restarts_nothing_and_ends_with_the_wanted_number() -> None:
    async def scenario(fleet: SimulatedFleet) -> None:
        await fleet.deploy("web", 6)
        await fleet.until(lambda: fleet.available("web", 6))
        originals = {i.metadata.uid for i in await fleet.instances("web") if i.spec.node_name == "node-0000"}

        fleet.nodes.cut_off("node-0000")
        await fleet.until(lambda: _elsewhere(fleet, 6))
        assert set(fleet.nodes.nodes["node-0000"].running) == originals, "healthy workloads on a cut-off node go on"
        await fleet.nodes.reconnect("node-0000")
        await fleet.until(lambda: fleet.available("web", 6))

        assert {i.metadata.uid for i in await fleet.instances("web")} >= originals, "keepOriginal keeps the originals"
        assert [copy.uid for copy in fleet.nodes.started].count(next(iter(originals))) == 1

    simulate(scenario, seed=4, nodes=3)


def test_a_controller_that_was_away_gives_every_node_a_full_lease() -> None:
    async def scenario(fleet: SimulatedFleet) -> None:
        await fleet.deploy("web", 5)
        await fleet.until(lambda: fleet.available("web", 5))
        before = {i.metadata.uid for i in await fleet.instances("web")}

        await fleet.restart_controllers(away_seconds=3600)
        await asyncio.sleep(120)

        assert {i.metadata.uid for i in await fleet.instances("web")} == before
        assert len(fleet.nodes.started) == 5

    simulate(scenario, seed=5, nodes=5)


def test_an_instance_without_a_place_says_why_and_gets_one_when_there_is_room() -> None:
    async def scenario(fleet: SimulatedFleet) -> None:
        await fleet.deploy("picky", 1, {"nodeSelector": {"zone": "b"}})
        await asyncio.sleep(5)
        instance = (await fleet.instances("picky"))[0]
        refusals = instance.status.scheduling.refusals if instance.status.scheduling else []
        assert {r.node_name for r in refusals} == set(fleet.names)
        assert {r.reason for r in refusals} == {"NodeSelectorMismatch"}

        await fleet.api.patch(Node, "node-0001", {"metadata": {"labels": {"zone": "b"}}})
        await fleet.until(lambda: fleet.available("picky", 1))

        live = await fleet.api.get(Instance, instance.key)
        assert live is not None
        assert live.spec.node_name == "node-0001"
        assert live.status.scheduling is None

    simulate(scenario, seed=6, nodes=3)


def test_a_drained_node_is_emptied_without_going_below_what_must_be_available() -> None:
    async def scenario(fleet: SimulatedFleet) -> None:
        await fleet.deploy("web", 4)
        await fleet.until(lambda: fleet.available("web", 4))
        lowest = 4

        patch = {"spec": {"unschedulable": True, "drain": {"requestedAt": fleet.clock.now().isoformat()}}}
        await fleet.api.patch(Node, "node-0000", patch)
        for _ in range(400):
            lowest = min(
                lowest, sum(i.status.ready and i.metadata.deletion_timestamp is None for i in await fleet.instances("web"))
            )
            await asyncio.sleep(0.05)

        node = await fleet.api.get(Node, "node-0000")
        assert node is not None
        assert any(c.type == "Drained" and c.status == "True" for c in node.status.conditions)
        assert lowest >= 3
        assert all(i.spec.node_name != "node-0000" for i in await fleet.instances("web"))
        assert await fleet.available("web", 4)

    simulate(scenario, seed=7, nodes=3)


async def chaos(fleet: SimulatedFleet) -> None:
    """A minute of everything at once, then quiet; the fleet must end as wanted."""
    dice = fleet.random
    fleet.nodes.delay = lambda: dice.choice([0.0, 0.1, 2.0])
    await fleet.deploy("web", 6)
    await fleet.deploy("one", 1, {"exclusive": True})
    template = 1
    for _ in range(25):
        await asyncio.sleep(dice.uniform(0, 20))
        fault = dice.randrange(6)
        name = dice.choice(fleet.names)
        if fault == 0:
            fleet.nodes.cut_off(name)
        elif fault == 1:
            for node in fleet.nodes.nodes.values():
                if node.cut:
                    await fleet.nodes.reconnect(node.name)
        elif fault == 2:
            await fleet.restart_controllers(dice.choice([0.0, 5.0, 60.0]))
        elif fault == 3:
            template += 1
            await fleet.deploy("web", 6, {"command": ["run", f"v{template}"]})
        elif fault == 4:
            await fleet.deploy("one", 1, {"exclusive": True, "command": ["run", f"v{dice.randrange(3)}"]})
        else:
            victims = await fleet.instances("web")
            if victims:
                await fleet.api.delete(Instance, dice.choice(victims).key)
    for node in fleet.nodes.nodes.values():
        if node.cut:
            await fleet.nodes.reconnect(node.name)
    fleet.nodes.delay = lambda: 0.0
    await fleet.until(lambda: fleet.available("web", 6), 1800)
    await fleet.until(lambda: fleet.available("one", 1), 1800)
    await asyncio.sleep(60)
    assert fleet.running == 7, "what runs is what the API says"


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_fleet_survives_chaos(seed: int) -> None:
    simulate(chaos, seed=seed, nodes=5)


@pytest.mark.soak
@pytest.mark.parametrize("seed", SOAK_SEEDS)
def test_a_fleet_survives_chaos_many_times(seed: int) -> None:
    simulate(chaos, seed=1000 + seed, nodes=7)


@pytest.mark.parametrize("nodes", [200, pytest.param(1000, marks=pytest.mark.soak)])
def test_a_large_fleet_loses_a_twentieth_and_its_instances_run_elsewhere(nodes: int) -> None:
    wanted = nodes * 3 // 2

    async def scenario(fleet: SimulatedFleet) -> None:
        await fleet.deploy("web", wanted)
        await fleet.until(lambda: fleet.available("web", wanted))

        lost = set(fleet.names[: nodes // 20])
        for name in lost:
            fleet.nodes.cut_off(name)
        await asyncio.sleep(40)
        ready = [i for i in await fleet.instances("web") if i.status.ready and i.spec.node_name not in lost]
        assert len(ready) == wanted

    simulate(scenario, seed=8, nodes=nodes)
