"""The wait between "it is to stop" and the stop: until nobody is led to the instance, and never longer than it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from plum_agent.delivery import DeliveryQueue, Report
from plum_agent.withdrawal import HEARD_SECONDS, LONGEST_SECONDS, wait_withdrawn
from plum_client.fake import FakeApi
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_schemas.base import ObjectMeta
from plum_schemas.endpoint import Endpoint, EndpointSpec
from plum_schemas.instance import Instance, InstanceSpec, InstanceStatus


def make_instance(ready: bool = True, **template: Any) -> Instance:
    body = {"command": ["serve"], "services": [{"name": "orders", "port": 80}], **template}
    spec = msgspec.convert({"nodeName": "node-1", "template": body}, InstanceSpec)
    return Instance(metadata=ObjectMeta(name="web", namespace="default", uid="u"), spec=spec, status=InstanceStatus(ready=ready))


def make_endpoint(instance: str = "web", node: str = "node-1") -> Endpoint:
    spec = EndpointSpec(service="orders", address="10.0.0.1", port=80, instance_name=instance, node_name=node)
    return Endpoint(metadata=ObjectMeta(name=f"{instance}-orders", namespace="default"), spec=spec)


async def nothing(report: Report) -> None:
    return


Scenario = Callable[[FakeApi, DeliveryQueue], Awaitable[None]]


def simulate(scenario: Scenario, *objects: Any, send: Any = nothing) -> None:
    async def main(loop: SimulatedLoop) -> None:
        api = FakeApi(*objects, clock=SimulatedClock(loop), kinds=[Endpoint])
        delivery = DeliveryQueue(send, None, loop.random)
        running = asyncio.create_task(delivery.run())
        try:
            await scenario(api, delivery)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run_simulated(main)


async def timed(api: FakeApi, delivery: DeliveryQueue, instance: Instance, seconds: float = 5.0) -> tuple[bool, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    done = await wait_withdrawn(api.client(), delivery, instance, seconds)
    return done, loop.time() - began


def test_it_waits_until_the_endpoint_is_gone_and_watchers_have_heard() -> None:
    async def scenario(api: FakeApi, delivery: DeliveryQueue) -> None:
        removal = asyncio.create_task(remove_after(api, 0.4))
        done, took = await timed(api, delivery, make_instance())
        await removal

        assert done
        assert 0.4 + HEARD_SECONDS <= took < 0.4 + HEARD_SECONDS + 0.1

    simulate(scenario, make_endpoint(), make_endpoint("other"))


async def remove_after(api: FakeApi, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await api.client().delete(Endpoint, make_endpoint().key)


def test_what_was_withdrawn_before_gives_watchers_their_time_too() -> None:
    async def scenario(api: FakeApi, delivery: DeliveryQueue) -> None:
        done, took = await timed(api, delivery, make_instance())
        assert done
        assert took >= HEARD_SECONDS
        assert await timed(api, delivery, make_instance(ready=False)) == (True, 0.0), "nobody was led to it"
        assert await timed(api, delivery, make_instance(services=[])) == (True, 0.0), "nothing leads to it"

    simulate(scenario)


@pytest.mark.parametrize("seconds", [0.3, 60.0])
def test_a_controller_that_does_not_withdraw_it_holds_the_stop_for_a_second_at_most(seconds: float) -> None:
    async def scenario(api: FakeApi, delivery: DeliveryQueue) -> None:
        done, took = await timed(api, delivery, make_instance(), seconds)
        assert not done
        assert took == pytest.approx(min(seconds, LONGEST_SECONDS))

    simulate(scenario, make_endpoint())


def test_a_controller_that_is_away_holds_nothing() -> None:
    async def scenario(api: FakeApi, delivery: DeliveryQueue) -> None:
        api.faults.refuse = 1.0
        assert await timed(api, delivery, make_instance()) == (False, 0.0)

    simulate(scenario, make_endpoint())


def test_its_own_report_is_delivered_first() -> None:
    sent = asyncio.Event()

    async def slowly(report: Report) -> None:
        await asyncio.sleep(0.5)
        sent.set()

    async def scenario(api: FakeApi, delivery: DeliveryQueue) -> None:
        delivery.put(Report(namespace="default", name="web", uid="u", status={"ready": False}))
        done, _ = await timed(api, delivery, make_instance(ready=False))
        assert done
        assert sent.is_set()

    simulate(scenario, send=slowly)
