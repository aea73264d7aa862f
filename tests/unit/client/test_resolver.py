"""The resolver against the API in memory: what it answers, keeps while the controller is away, and learns from requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from plum_client.errors import ApiUnavailableError, NoEndpointError, NotConnectedError
from plum_client.fake import FakeApi
from plum_client.resolver import Resolver
from plum_client.resolver_http import key_of
from plum_client.resolver_strategies import Place
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated, settle
from plum_schemas.base import ObjectMeta
from plum_schemas.endpoint import Endpoint, EndpointSpec, EndpointStatus
from plum_schemas.service import Service, ServiceSpec


def make(number: int, state: Any = "passing", **spec: Any) -> Endpoint:
    typed = EndpointSpec(service="orders", address=f"10.0.0.{number}", port=80, **spec)
    metadata = ObjectMeta(name=f"e{number}", namespace="default", uid=f"u{number}")
    return Endpoint(metadata=metadata, spec=typed, status=EndpointStatus(state=state))


def policy(**spec: Any) -> Service:
    return Service(metadata=ObjectMeta(name="orders", namespace="default"), spec=msgspec.convert(spec, ServiceSpec))


Scenario = Callable[[FakeApi, Resolver], Awaitable[None]]


def simulate(scenario: Scenario, *objects: Any, place: Place | None = None) -> None:
    async def main(loop: SimulatedLoop) -> None:
        api = FakeApi(*objects, clock=SimulatedClock(loop), seed=loop.seed, kinds=[Endpoint, Service])
        async with Resolver(api.client(), place=place, random=loop.random) as resolver:
            await scenario(api, resolver)

    run_simulated(main)


async def addresses(resolver: Resolver, count: int, **options: Any) -> list[str]:
    return [(await resolver.resolve("orders", **options)).address.removeprefix("10.0.0.") for _ in range(count)]


def test_without_a_service_object_endpoints_are_given_in_turn() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        assert Counter(await addresses(resolver, 9)) == {"1:80": 3, "2:80": 3, "3:80": 3}

    simulate(scenario, make(1), make(2), make(3), make(4, "critical"))


def test_a_withdrawn_endpoint_is_not_given_once_the_watch_has_said_so_and_a_new_one_is() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        await addresses(resolver, 1)
        await api.client().delete(Endpoint, make(1).key)
        await api.client().create(make(3))
        await settle()

        assert set(await addresses(resolver, 8)) == {"2:80"}, "a new one without a state waits while another passes"
        live = await api.client().get(Endpoint, make(3).key)
        assert live is not None
        await api.client().write_status(msgspec.structs.replace(live, status=EndpointStatus(state="passing")))
        await settle()
        assert set(await addresses(resolver, 8)) == {"2:80", "3:80"}

    simulate(scenario, make(1), make(2))


def test_the_last_good_answer_is_given_and_marked_stale_while_the_controller_is_away() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        assert not (await resolver.resolve("orders")).stale

        api.faults.refuse = 1.0
        api.cut_watches()
        await asyncio.sleep(5)
        away = await resolver.resolve("orders")
        assert (away.stale, away.address) == (True, "10.0.0.1:80")
        with pytest.raises(ApiUnavailableError):
            await resolver.resolve("never-asked-before")

        api.faults.refuse = 0.0
        await asyncio.sleep(60)
        assert not (await resolver.resolve("orders")).stale

    simulate(scenario, make(1))


def test_a_watch_that_the_server_ends_as_usual_is_no_absence() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        await resolver.resolve("orders")
        api.cut_watches()
        await settle()

        assert not (await resolver.resolve("orders")).stale
        await asyncio.sleep(1.5)
        assert not (await resolver.resolve("orders")).stale

    simulate(scenario, make(1))


def test_callers_on_a_node_get_what_is_near_as_long_as_there_is_something() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        assert set(await addresses(resolver, 5)) == {"2:80"}
        await api.client().delete(Endpoint, make(2).key)
        await settle()
        assert set(await addresses(resolver, 5)) == {"1:80"}

    objects = [make(1, node_name="n1", zone="a"), make(2, node_name="n2", zone="a"), make(3, node_name="n3", zone="b")]
    simulate(scenario, *objects, place=Place("n2", "a"))


def test_nobody_reached_is_tried_elsewhere_and_avoided_longer_each_time() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        asked: list[str] = []

        async def attempt(endpoint: Endpoint) -> str:
            asked.append(endpoint.spec.address)
            if endpoint.spec.address == "10.0.0.1":
                raise NotConnectedError("refused")
            return "fine"

        assert [await resolver.call("orders", attempt) for _ in range(10)] == ["fine"] * 10
        assert asked.count("10.0.0.1") == 1
        for number, pause in enumerate((1.1, 2.1, 4.1), 2):
            await asyncio.sleep(pause - 0.2)
            assert [await resolver.call("orders", attempt) for _ in range(4)] == ["fine"] * 4
            assert asked.count("10.0.0.1") == number - 1, "not yet"
            await asyncio.sleep(0.2)
            assert [await resolver.call("orders", attempt) for _ in range(4)] == ["fine"] * 4
            assert asked.count("10.0.0.1") == number

    simulate(scenario, make(1), make(2))


def test_only_named_reasons_are_tried_again_and_the_last_failure_is_told() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        answers = iter([503, 502, 503, 503, 503])

        async def attempt(endpoint: Endpoint) -> int:
            return next(answers)

        def judge(status: int) -> str:
            return str(status)

        assert await resolver.call("orders", attempt, judge=judge) == 502, "503 is tried again, 502 is not"
        assert await resolver.call("orders", attempt, judge=judge) == 503
        assert list(answers) == [], "three attempts with limit 2"

    simulate(scenario, make(1), make(2), policy(retries={"limit": 2, "on": ["503"]}))


def test_an_attempt_that_takes_too_long_is_a_timeout() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        asked: list[str] = []

        async def attempt(endpoint: Endpoint) -> str:
            asked.append(endpoint.spec.address)
            await asyncio.sleep(60)
            return "late"

        with pytest.raises(TimeoutError):
            await resolver.call("orders", attempt)
        assert len(set(asked)) == 2

    simulate(scenario, make(1), make(2), policy(timeout="2s", retries={"limit": 1, "on": ["timeout"]}))


def test_an_open_circuit_spares_the_endpoint_until_one_request_finds_it_well() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        ill = True
        asked: list[float] = []
        loop = asyncio.get_running_loop()

        async def attempt(endpoint: Endpoint) -> int:
            asked.append(loop.time())
            return 500 if ill else 200

        def judge(status: int) -> str:
            return str(status) if status >= 500 else ""

        for _ in range(3):
            assert await resolver.call("orders", attempt, judge=judge) == 500
        with pytest.raises(NoEndpointError, match="circuits of all 1"):
            await resolver.call("orders", attempt, judge=judge)
        assert len(asked) == 3

        await asyncio.sleep(10)
        ill = False
        assert [await resolver.call("orders", attempt, judge=judge) for _ in range(5)] == [200] * 5

    simulate(scenario, make(1), policy(circuitBreaker={"failures": 3, "openFor": "10s"}))


def test_a_caller_that_gives_up_leaves_the_circuit_to_the_next_one() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        async def fail(endpoint: Endpoint) -> None:
            raise ConnectionResetError

        async def hang(endpoint: Endpoint) -> None:
            await asyncio.sleep(1e6)

        async def answer(endpoint: Endpoint) -> str:
            return "fine"

        with pytest.raises(ConnectionResetError):
            await resolver.call("orders", fail)
        await asyncio.sleep(10)
        task = asyncio.create_task(resolver.call("orders", hang))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert await resolver.call("orders", answer) == "fine"

    simulate(scenario, make(1), policy(circuitBreaker={"failures": 1, "openFor": "10s"}))


def test_an_outlier_is_left_out_for_an_interval() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        asked: Counter[str] = Counter()

        async def attempt(endpoint: Endpoint) -> int:
            asked[endpoint.spec.address] += 1
            return 500 if endpoint.spec.address == "10.0.0.1" else 200

        def judge(status: int) -> str:
            return str(status) if status >= 500 else ""

        for _ in range(60):
            await resolver.call("orders", attempt, judge=judge)
        assert asked["10.0.0.1"] == 5
        await asyncio.sleep(31)
        for _ in range(6):
            await resolver.call("orders", attempt, judge=judge)
        assert asked["10.0.0.1"] > 5

    ejection = {"errorPercent": 50, "minRequests": 5, "interval": "30s", "maxEjectedPercent": 50}
    simulate(scenario, make(1), make(2), make(3), policy(outlierEjection=ejection))


def test_requests_go_where_the_fewest_are_under_way() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        asked: Counter[str] = Counter()

        async def attempt(endpoint: Endpoint) -> None:
            asked[endpoint.spec.address] += 1
            await asyncio.sleep(10 if endpoint.spec.address == "10.0.0.1" else 0.1)

        async def caller() -> None:
            for _ in range(10):
                await resolver.call("orders", attempt)

        await asyncio.gather(caller(), caller())
        assert asked["10.0.0.1"] < asked["10.0.0.2"] / 4

    simulate(scenario, make(1), make(2), policy(strategy="leastActive"))


def test_a_key_leads_to_the_same_endpoint() -> None:
    async def scenario(api: FakeApi, resolver: Resolver) -> None:
        for customer in range(10):
            assert len(set(await addresses(resolver, 5, key=f"customer-{customer}"))) == 1
        assert len({(await addresses(resolver, 1, key=f"customer-{customer}"))[0] for customer in range(40)}) == 3

    simulate(scenario, make(1), make(2), make(3), policy(strategy="consistentHash", hashKey="header:X-Customer"))


def test_the_key_of_a_request_is_where_the_service_says() -> None:
    by_header = ServiceSpec(strategy="sticky", hash_key="header:X-User")
    by_query = ServiceSpec(strategy="sticky", hash_key="query:user")

    assert key_of(by_header, "/x", {"x-user": "ann"}) == "ann"
    assert key_of(by_query, "/x?user=bob&y=1", {}) == "bob"
    assert key_of(by_query, "/x", {}) == key_of(ServiceSpec(), "/x", {}) == ""
