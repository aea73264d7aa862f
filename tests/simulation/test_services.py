"""Services of a whole fleet under virtual time and seeded faults: nobody is led to what does not run."""

from __future__ import annotations

import asyncio

import pytest
from plum_client.errors import NoEndpointError
from plum_client.resolver import Resolver
from plum_schemas.deployment import Deployment
from plum_schemas.endpoint import Endpoint
from plum_schemas.instance import Instance

from tests.support.simulation import SimulatedFleet, simulate

OFFER: dict[str, object] = {
    "ports": [{"name": "http", "port": 0, "protocol": "http"}],
    "services": [{"name": "orders", "port": "http"}],
}


async def endpoints(fleet: SimulatedFleet) -> list[Endpoint]:
    return list(await fleet.api.list(Endpoint, "default"))


async def in_step(fleet: SimulatedFleet) -> bool:
    """Whether exactly the ready instances have endpoints, all of them passing."""
    ready = {i.metadata.uid for i in await fleet.instances("web") if i.status.ready and i.metadata.deletion_timestamp is None}
    found = await endpoints(fleet)
    return {e.spec.instance_uid for e in found} == ready and all(e.status.state == "passing" for e in found)


def test_a_node_without_its_lease_has_no_endpoints_until_it_is_back() -> None:
    async def scenario(fleet: SimulatedFleet) -> None:
        await fleet.deploy("web", 3, OFFER)
        await fleet.until(lambda: fleet.available("web", 3))
        await fleet.until(lambda: in_step(fleet))

        fleet.nodes.cut_off("node-0000")

        async def none_there() -> bool:
            return all(e.spec.node_name != "node-0000" for e in await endpoints(fleet))

        took = await fleet.until(none_there)
        assert took <= 15 + 1
        await fleet.nodes.reconnect("node-0000")
        await fleet.until(lambda: fleet.available("web", 3))
        await fleet.until(lambda: in_step(fleet))

    simulate(scenario, seed=11, nodes=3)


async def watched(fleet: SimulatedFleet, wrong: list[str], answered: list[int]) -> None:
    """Resolve all the time, and look whether what was given runs. A node that is cut off may run it until its lease ends."""
    async with Resolver(fleet.plane.client("caller"), random=fleet.random) as resolver:
        while True:
            await asyncio.sleep(0.05)
            try:
                spec = (await resolver.resolve("orders")).endpoint.spec
            except NoEndpointError:
                continue
            answered.append(1)
            node = fleet.nodes.nodes[spec.node_name]
            if spec.instance_uid not in node.running and not node.cut:
                wrong.append(f"{spec.instance_name} on {spec.node_name} at {fleet.clock.monotonic():.2f}")


async def chaos(fleet: SimulatedFleet) -> None:
    """Rollouts, kills, stops, cut links and restarts of the controllers, with somebody who resolves all the time."""
    dice = fleet.random
    wrong: list[str] = []
    answered: list[int] = []
    fleet.nodes.delay = lambda: dice.choice([0.0, 0.05, 0.5])
    await fleet.deploy("web", 6, OFFER)
    caller = asyncio.create_task(watched(fleet, wrong, answered))
    try:
        for step in range(20):
            await asyncio.sleep(dice.uniform(0, 15))
            fault = dice.randrange(6)
            name = dice.choice(fleet.names)
            if fault == 0:
                fleet.nodes.cut_off(name)
            elif fault == 1:
                for node in fleet.nodes.nodes.values():
                    if node.cut:
                        await fleet.nodes.reconnect(node.name)
            elif fault == 2:
                await fleet.restart_controllers(dice.choice([0.0, 0.5]))
            elif fault == 3:
                await fleet.deploy("web", 6, {**OFFER, "command": ["run", f"v{step}"]})
            elif fault == 4:
                await fleet.deploy("web", 6, OFFER, state=dice.choice(["Stopped", "Running"]))
            elif victims := await fleet.instances("web"):
                await fleet.api.delete(Instance, dice.choice(victims).key)
        for node in fleet.nodes.nodes.values():
            if node.cut:
                await fleet.nodes.reconnect(node.name)
        await fleet.deploy("web", 6, OFFER, state="Running")
        await fleet.until(lambda: fleet.available("web", 6), 1800)
        await fleet.until(lambda: in_step(fleet), 60)
        assert caller.done() is False, caller
    finally:
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    assert len(answered) > 100
    assert not wrong, wrong[:5]
    assert await fleet.api.get(Deployment, "web", "default")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_led_to_what_does_not_run(seed: int) -> None:
    simulate(chaos, seed=seed, nodes=5)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100))
def test_nobody_is_led_to_what_does_not_run_many_times(seed: int) -> None:
    simulate(chaos, seed=2000 + seed, nodes=6)
