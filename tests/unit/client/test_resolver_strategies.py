"""How endpoints are chosen and left out: properties of the strategies, of circuits and of ejection."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_client.resolver_breakers import Circuit, Count, lets_through, on_end, on_start, outliers
from plum_client.resolver_strategies import (
    STRATEGIES,
    Chooser,
    Place,
    Wanted,
    identity,
    nearest,
    pick_by_hash,
    pick_in_turn,
    pick_least_active,
    pick_random,
    usable,
)
from plum_schemas.base import ObjectMeta
from plum_schemas.endpoint import Endpoint, EndpointSpec, EndpointStatus
from plum_schemas.service import CircuitBreaker, OutlierEjection


def make(number: int, weight: int = 100, state: Any = "passing", **spec: Any) -> Endpoint:
    typed = EndpointSpec(service="orders", address=f"10.0.0.{number}", port=80, weight=weight, **spec)
    return Endpoint(metadata=ObjectMeta(name=f"e{number}"), spec=typed, status=EndpointStatus(state=state))


weights = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@given(weights)
def test_in_turn_each_is_chosen_as_often_as_its_weight_says(shares: list[int]) -> None:
    endpoints = [make(number, weight) for number, weight in enumerate(shares)]
    credits: dict[str, int] = {}
    chosen = []

    for _ in range(2 * sum(shares)):
        one, credits = pick_in_turn(endpoints, credits)
        chosen.append(one.metadata.name)

    assert Counter(chosen) == {f"e{number}": 2 * weight for number, weight in enumerate(shares)}
    if len(set(shares)) == 1 < len(shares):
        assert all(a != b for a, b in pairwise(chosen)), "equal weights are in strict turn"


@given(weights)
def test_random_follows_the_weights(shares: list[int]) -> None:
    endpoints = [make(number, weight) for number, weight in enumerate(shares)]

    chosen = Counter(pick_random(endpoints, (ticket + 0.5) / sum(shares)).metadata.name for ticket in range(sum(shares)))

    assert chosen == {f"e{number}": weight for number, weight in enumerate(shares)}


@given(st.integers(2, 8), st.text(max_size=10))
def test_a_key_moves_only_when_its_own_endpoint_goes(count: int, key: str) -> None:
    endpoints = [make(number) for number in range(count)]
    before = pick_by_hash(endpoints, key)

    for gone in endpoints:
        left = [endpoint for endpoint in endpoints if endpoint is not gone]
        assert (pick_by_hash(left, key) is before) is (gone is not before)


def test_keys_spread_by_weight() -> None:
    endpoints = [make(1, 10), make(2, 30)]

    chosen = Counter(pick_by_hash(endpoints, f"customer-{number}").metadata.name for number in range(4000))

    assert 0.70 < chosen["e2"] / 4000 < 0.80


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.floats(0, 1, exclude_max=True))
def test_the_least_active_is_chosen(loads: list[int], draw: float) -> None:
    endpoints = [make(number) for number in range(len(loads))]
    active = {identity(endpoint): load for endpoint, load in zip(endpoints, loads, strict=True)}

    chosen = pick_least_active(endpoints, active, draw)

    assert active[identity(chosen)] == min(loads)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_gives_one_of_those_offered_and_weight_nought_takes_none(strategy: str) -> None:
    chooser = Chooser(Random(1).random)
    endpoints = usable([make(1), make(2), make(3, weight=0)])

    chosen = {chooser.choose(strategy, "orders", endpoints, f"key-{number}").metadata.name for number in range(50)}

    assert chosen == {"e1", "e2"}


def test_a_sticky_key_stays_when_others_come_and_moves_when_its_endpoint_goes() -> None:
    chooser = Chooser(Random(1).random)
    few = [make(1), make(2)]
    many = [make(number) for number in range(1, 30)]
    before = {f"k{n}": chooser.choose("sticky", "orders", few, f"k{n}") for n in range(20)}

    after = {f"k{n}": chooser.choose("sticky", "orders", many, f"k{n}") for n in range(20)}

    assert {key: identity(one) for key, one in before.items()} == {key: identity(one) for key, one in after.items()}
    assert identity(chooser.choose("sticky", "orders", [make(5), make(6)], "k1")) in ("10.0.0.5:80", "10.0.0.6:80")


def test_passing_ones_take_requests_and_warning_ones_only_when_there_is_no_other() -> None:
    passing, warning, critical = make(1), make(2, state="warning"), make(3, state="critical")

    assert usable([passing, warning, critical]) == [passing]
    assert usable([warning, critical]) == [warning]
    assert usable([critical]) == []
    assert usable([make(1, version="1.0.0"), make(2, version="2.0.0")], Wanted(version="2.0.0"))[0].metadata.name == "e2"
    assert usable([make(1, protocol="grpc")], Wanted(protocol="http")) == []


def test_one_server_that_is_registered_twice_is_chosen_once() -> None:
    registered = make(1, ttl="15s")
    registered.metadata.name = "a-registration"

    assert [endpoint.metadata.name for endpoint in usable([registered, make(1)])] == ["e1"]


def test_callers_prefer_their_node_then_their_zone_then_anything() -> None:
    endpoints = [make(1, node_name="n1", zone="a"), make(2, node_name="n2", zone="a"), make(3, node_name="n3", zone="b")]

    def near(node: str, zone: str) -> list[str]:
        return [endpoint.metadata.name for endpoint in nearest(endpoints, Place(node, zone))]

    assert near("n2", "a") == ["e2"]
    assert near("n9", "a") == ["e1", "e2"]
    assert near("n9", "z") == near("", "") == ["e1", "e2", "e3"]


POLICY = CircuitBreaker(failures=3, open_for="10s")


def test_a_circuit_opens_after_failures_in_a_row_and_one_request_tries_it_again() -> None:
    circuit = Circuit()
    for _ in range(2):
        circuit = on_end(on_start(circuit), POLICY, False, 0)
    circuit = on_end(on_start(circuit), POLICY, True, 0)
    assert lets_through(circuit, POLICY, 0)
    for _ in range(3):
        circuit = on_end(on_start(circuit), POLICY, False, 1)
    assert not lets_through(circuit, POLICY, 10.9)

    assert lets_through(circuit, POLICY, 11)
    trying = on_start(circuit)
    assert not lets_through(trying, POLICY, 11), "only one"
    assert not lets_through(on_end(trying, POLICY, False, 12), POLICY, 21)
    assert on_end(trying, POLICY, True, 12) == Circuit()


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 5)), max_size=60))
def test_an_open_circuit_lets_at_most_one_request_through_per_time(steps: list[tuple[bool, float]]) -> None:
    circuit, now, tries = Circuit(), 0.0, []

    for ok, pause in steps:
        now += pause
        if not lets_through(circuit, POLICY, now):
            continue
        if circuit.opened_at is not None:
            tries.append(now)
        circuit = on_end(on_start(circuit), POLICY, ok, now)
        if ok:
            tries.clear()

    assert all(b - a >= 10 for a, b in pairwise(tries))


def test_an_answer_from_before_the_circuit_opened_does_not_close_it() -> None:
    opened = Circuit(3, 5.0)

    assert on_end(opened, POLICY, True, 6.0) == opened


ejection = st.builds(
    OutlierEjection,
    error_percent=st.integers(1, 100),
    min_requests=st.integers(1, 10),
    max_ejected_percent=st.integers(0, 100),
)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=10), ejection, st.integers(0, 3))
def test_ejection_takes_the_worst_and_never_more_than_allowed(
    seen: list[tuple[int, int]], policy: OutlierEjection, already: int
) -> None:
    counts = {f"e{number}": Count(max(a, b), min(a, b)) for number, (a, b) in enumerate(seen)}
    names = set(counts)
    out = sorted(names)[:already]

    ejected = outliers(counts, policy, names, out)

    assert len(ejected) + len(out) <= max(len(out), len(names) * policy.max_ejected_percent / 100)
    assert not set(ejected) & set(out)
    for name in ejected:
        assert counts[name].requests >= policy.min_requests
        assert counts[name].errors * 100 >= policy.error_percent * counts[name].requests
    shares = [counts[name].errors / counts[name].requests for name in ejected]
    assert shares == sorted(shares, reverse=True)
