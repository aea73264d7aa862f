"""Which endpoints follow from instances, and the states of those that are checked from outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.domain.endpoint_health import Health, after_check, check_of, known_of, said_of
from plum_controller.domain.endpoints import differs, endpoint_name, offers_of, wanted, why_not
from plum_schemas.artifact import Artifact, ArtifactSpec
from plum_schemas.base import ObjectMeta
from plum_schemas.endpoint import Endpoint, EndpointSpec, EndpointStatus
from plum_schemas.instance import BoundPort, Instance, InstanceSpec, InstanceStatus
from plum_schemas.names import is_subdomain
from plum_schemas.service import HealthCheck, Service, ServiceSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_instance(template: dict[str, Any] | None = None, **status: Any) -> Instance:
    body = {
        "command": ["serve"],
        "ports": [{"name": "http", "port": 0, "protocol": "http"}, {"name": "admin", "port": 9000}],
        "services": [{"name": "orders", "port": "http", "version": "1.2.0", "weight": 30, "labels": {"tier": "gold"}}],
        **(template or {}),
    }
    spec = msgspec.convert({"nodeName": "node-1", "template": body}, InstanceSpec)
    bound = [BoundPort(name="http", port=41000, protocol="http"), BoundPort(name="admin", port=9000)]
    known = {"phase": "Running", "ready": True, "address": "10.0.0.7", "ports": bound} | status
    metadata = ObjectMeta(name="web-1", namespace="default", uid="u-1", labels={"app": "web"})
    return Instance(metadata=metadata, spec=spec, status=InstanceStatus(**known))


def make_service(name: str = "orders", **spec: Any) -> Service:
    return Service(metadata=ObjectMeta(name=name, namespace="default"), spec=msgspec.convert(spec, ServiceSpec))


def test_a_ready_instance_has_an_endpoint_for_each_service_of_its_template() -> None:
    (endpoint,) = wanted(make_instance(), node_labels={"zone": "a"})

    spec = endpoint.spec
    assert (spec.service, spec.address, spec.port, spec.protocol) == ("orders", "10.0.0.7", 41000, "http")
    assert (spec.version, spec.weight, spec.labels, spec.zone, spec.node_name) == ("1.2.0", 30, {"tier": "gold"}, "a", "node-1")
    assert (spec.instance_name, spec.instance_uid) == ("web-1", "u-1")
    assert endpoint.metadata.owner_references[0].uid == "u-1"


def test_a_service_selects_instances_by_labels_and_takes_their_first_port_or_the_one_it_names() -> None:
    instance = make_instance({"services": []})

    by_default = wanted(instance, [make_service(selector={"app": "web"})])
    by_name = wanted(instance, [make_service(selector={"app": "web"}, port="admin", protocol="grpc", version="2")])

    assert [(e.spec.port, e.spec.protocol) for e in by_default] == [(41000, "http")]
    assert [(e.spec.port, e.spec.protocol, e.spec.version) for e in by_name] == [(9000, "grpc", "2")]
    assert not wanted(instance, [make_service(selector={"app": "other"})])
    assert not wanted(instance, [make_service()]), "an empty selector finds what templates name, and nothing else"
    assert not wanted(instance, [make_service(selector={"app": "web"}, port="missing")])


def test_the_template_and_a_service_that_name_the_same_port_make_one_endpoint() -> None:
    (endpoint,) = wanted(make_instance(), [make_service(selector={"app": "web"}, port="http", version="9")])

    assert endpoint.spec.version == "1.2.0", "the word of the template counts"


@pytest.mark.parametrize(
    "change",
    [
        {"ready": False},
        {"phase": "Stopping"},
        {"phase": "Unknown", "ready": False, "reason": "NodeSilent"},
        {"address": ""},
        {"observed_restart_request": "an older one"},
    ],
)
def test_an_instance_that_does_not_serve_has_none_and_says_why(change: dict[str, Any]) -> None:
    instance = make_instance(None, **change)

    assert wanted(instance) == []
    assert why_not(instance)


def test_an_instance_that_is_to_stop_has_none_before_its_agent_has_heard_of_it() -> None:
    deleted, stopped = make_instance(), make_instance()
    deleted.metadata.deletion_timestamp = NOW
    stopped.spec.state = "Stopped"

    assert wanted(deleted) == wanted(stopped) == []


def test_a_template_that_names_no_services_offers_those_of_its_package() -> None:
    body = {"name": "sonar", "version": "2.1.0", "sha256": "0" * 64}
    body |= {"services": [{"name": "detectTarget", "port": 3300, "protocol": "http"}, {"name": "admin", "port": 9000}]}
    artifact = Artifact(metadata=ObjectMeta(name="sonar"), spec=msgspec.convert(body, ArtifactSpec))

    made = wanted(make_instance({"services": []}), artifact=artifact)
    assert [(e.spec.service, e.spec.port, e.spec.protocol, e.spec.version) for e in made] == [
        ("detectTarget", 3300, "http", "2.1.0"),
        ("admin", 9000, "tcp", "2.1.0"),
    ]
    assert [e.spec.service for e in wanted(make_instance(), artifact=artifact)] == ["orders"]


def test_an_incarnation_has_endpoints_of_its_own_and_a_moved_port_a_new_one() -> None:
    first = wanted(make_instance())[0]
    again = make_instance()
    again.metadata.uid = "u-2"
    moved = make_instance(None, ports=[BoundPort(name="http", port=41001)])

    assert len({first.metadata.name, wanted(again)[0].metadata.name, wanted(moved)[0].metadata.name}) == 3
    assert not differs(first, wanted(make_instance())[0])
    assert differs(first, wanted(make_instance({"services": [{"name": "orders", "port": "http"}]}))[0])


def test_a_port_that_the_agent_still_has_to_choose_is_left_out() -> None:
    assert [o.port for o in offers_of(make_instance(None, ports=[]))] == []


@given(st.lists(st.text(min_size=1, max_size=300), min_size=2, max_size=2), st.text(max_size=8))
def test_names_of_endpoints_are_valid_and_equal_only_for_equal_arguments(words: list[str], other: str) -> None:
    name = endpoint_name(words[0], words[1], "uid")

    assert is_subdomain(name)
    assert (endpoint_name(words[0], words[1] + other, "uid") == name) is (not other)


CHECK = HealthCheck(success_threshold=2, failure_threshold=3, startup_grace="10s")


def answers(check: HealthCheck, *given: str, age: float = 100.0) -> list[str]:
    health, states = Health(), []
    for why in given:
        health = after_check(health, why, check, age)
        states.append(health.state)
    return states


def test_states_follow_the_thresholds() -> None:
    assert answers(CHECK, "", "") == ["warning", "passing"]
    assert answers(CHECK, "", "", "no", "no", "no") == ["warning", "passing", "warning", "warning", "critical"]
    assert answers(CHECK, "no", "no", "no", "", "") == ["warning", "warning", "critical", "critical", "passing"]


def test_failures_within_the_startup_grace_do_not_count_until_it_has_passed_once() -> None:
    assert answers(CHECK, *["no"] * 20, age=5) == ["warning"] * 20
    assert answers(CHECK, "", "", "no", "no", "no", age=5)[-1] == "critical"


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_only_enough_failures_in_a_row_make_critical_and_enough_successes_make_passing(
    seen: list[bool], good: int, bad: int
) -> None:
    check = HealthCheck(success_threshold=good, failure_threshold=bad)
    health = Health()

    for number, ok in enumerate(seen):
        before, health = health, after_check(health, "" if ok else "no", check, 1e6)
        tail = seen[: number + 1]
        if health.state == "critical" != before.state:
            assert tail[-bad:] == [False] * bad
        if health.state == "passing" != before.state:
            assert tail[-good:] == [True] * good
        assert not (health.state == "passing" and not ok), "the first failure is seen"


def make_endpoint(**spec: Any) -> Endpoint:
    metadata = ObjectMeta(name="e", namespace="default", creation_timestamp=NOW, generation=1)
    return Endpoint(metadata=metadata, spec=EndpointSpec(service="orders", address="10.0.0.9", port=80, **spec))


def test_an_endpoint_kept_by_heartbeats_is_critical_without_one() -> None:
    endpoint = make_endpoint(ttl="15s", heartbeat_at=NOW)

    assert said_of(endpoint, NOW + timedelta(seconds=14)) is None
    late = said_of(endpoint, NOW + timedelta(seconds=15))
    assert late is not None
    assert late.state == "critical"
    unhealthy = said_of(make_endpoint(healthy=False), NOW)
    assert unhealthy is not None
    assert unhealthy.state == "critical"


def test_agents_check_instances_and_services_check_what_has_no_check_of_its_own() -> None:
    own, shared = HealthCheck(period="1s"), HealthCheck(period="2s")
    service = make_service()
    service.spec.health_check = shared

    assert check_of(make_endpoint(instance_uid="u", instance_name="web-1"), service) is None
    assert check_of(make_endpoint(), service) is shared
    assert check_of(make_endpoint(health_check=own), service) is own
    assert check_of(make_endpoint(ttl="5s"), service) is None
    assert check_of(make_endpoint(), None) is None


def test_a_new_controller_goes_on_from_the_state_that_was_written() -> None:
    endpoint = make_endpoint()
    endpoint.status = EndpointStatus(observed_generation=1, state="passing")

    health = after_check(known_of(endpoint), "no", HealthCheck(startup_grace="1h", failure_threshold=1), 1.0)

    assert health.state == "critical", "it had passed before, so there is no grace any more"
