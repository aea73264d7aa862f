"""Judging nodes by their leases: pauses of our own are not silence of theirs, fences come before replacements."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.domain.drain import EVICT_ANNOTATION, Eviction, plan_drain, say_drain
from plum_controller.domain.node_health import (
    FENCE_SECONDS,
    Heartbeat,
    PauseDetector,
    alive_until,
    evictable,
    lost_at,
    ready_condition,
    silence,
    wanted_taints,
)
from plum_schemas.base import ObjectMeta, OwnerReference
from plum_schemas.instance import Instance, InstanceSpec
from plum_schemas.node import Drain, Node, NodeSpec, Taint
from plum_schemas.template import Template

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_instance(name: str = "i", owned: bool = True, **template: Any) -> Instance:
    owners = [OwnerReference(api_version="plum.dev/v1", kind="Deployment", name="web", uid="u", controller=True)] if owned else []
    typed = msgspec.convert({"command": ["x"], **template}, Template)
    metadata = ObjectMeta(name=name, namespace="default", uid=name, owner_references=owners)
    return Instance(metadata=metadata, spec=InstanceSpec(node_name="a", template=typed))


def test_a_pause_of_this_process_gives_everybody_a_full_lease() -> None:
    detector = PauseDetector(0.0)
    heartbeat = Heartbeat("r", 0.0, 15.0)
    for second in range(10):
        assert not detector.tick(float(second))

    assert detector.tick(70.0)

    assert alive_until(heartbeat, detector.since) == 85.0


@given(st.lists(st.floats(0.0, 1.99), max_size=50))  # sums of floats are not exact
def test_ticks_without_gaps_never_extend_a_lease(gaps: list[float]) -> None:
    detector = PauseDetector(0.0)
    now = 0.0
    for gap in gaps:
        now += gap
        detector.tick(now)

    assert detector.since == 0.0


@given(st.floats(0, 1e6), st.floats(1, 600), st.booleans(), st.sampled_from([None, "1s", "30s", "10m"]))
def test_nothing_is_lost_before_its_lease_and_nothing_exclusive_before_its_fence(
    seen: float, duration: float, exclusive: bool, lost_after: str | None
) -> None:
    instance = make_instance(exclusive=exclusive, disconnect={"lostAfter": lost_after} if lost_after else {})
    heartbeat = Heartbeat("r", seen, duration)

    lost = lost_at(instance, heartbeat, 0.0)

    assert lost >= alive_until(heartbeat, 0.0)
    if exclusive:
        assert lost >= (seen + duration + FENCE_SECONDS) * (1 - 1e-12)  # sums of floats are not exact


@pytest.mark.parametrize(
    ("heartbeat", "alive", "status", "reason"),
    [
        (None, False, "Unknown", "NeverReported"),
        (Heartbeat("r", 0.0, 15.0), False, "Unknown", "LeaseExpired"),
        (Heartbeat("r", 0.0, 15.0), True, "True", "LeaseRenewed"),
    ],
)
def test_the_ready_condition_says_what_the_lease_says(heartbeat: Heartbeat | None, alive: bool, status: str, reason: str) -> None:
    node = Node(metadata=ObjectMeta(name="a"))

    first = ready_condition(node, heartbeat, alive, NOW)
    node.status.conditions = [first]
    again = ready_condition(node, heartbeat, alive, NOW + timedelta(hours=1))

    assert (first.status, first.reason) == (status, reason)
    assert again == first, "the time of the last transition stays while the status does"


def test_taints_of_the_user_stay_and_ours_come_and_go() -> None:
    users = Taint(key="dedicated", effect="NoSchedule")
    node = Node(metadata=ObjectMeta(name="a"), spec=NodeSpec(taints=[users], unschedulable=True))

    node.spec.taints = wanted_taints(node, True, False, NOW)
    keys = {(t.key, t.effect) for t in node.spec.taints}
    assert keys == {
        ("dedicated", "NoSchedule"),
        ("plum.dev/unschedulable", "NoSchedule"),
        ("plum.dev/unreachable", "NoSchedule"),
        ("plum.dev/unreachable", "NoExecute"),
    }
    assert wanted_taints(node, True, False, NOW + timedelta(hours=1)) == node.spec.taints

    node.spec.unschedulable = False
    assert wanted_taints(node, True, True, NOW) == [users]


def test_a_silent_instance_is_reported_once() -> None:
    instance = make_instance()
    instance.status.phase = "Running"

    first = silence(instance, False, "a", NOW)
    assert (first.status.phase, first.status.ready) == ("Unknown", False)
    assert silence(first, False, "a", NOW + timedelta(hours=1)).status == first.status

    lost = silence(first, True, "a", NOW)
    assert [c.type for c in lost.status.conditions if c.status == "True"] == ["Lost"]


def test_an_instance_that_ended_stays_ended_on_a_silent_node() -> None:
    instance = make_instance()
    instance.status.phase = "Succeeded"

    assert silence(instance, True, "a", NOW).status.phase == "Succeeded"


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        ([], 0.0),
        ([{"key": "fire", "operator": "Exists"}], None),
        ([{"key": "fire", "operator": "Exists", "tolerationSeconds": 100}], 40.0),
        ([{"key": "other", "operator": "Exists"}], 0.0),
    ],
)
def test_toleration_seconds_count_from_when_the_taint_was_added(tolerations: list[dict[str, Any]], seconds: float | None) -> None:
    taint = Taint(key="fire", effect="NoExecute", time_added=NOW - timedelta(seconds=60))

    assert evictable(make_instance(tolerations=tolerations), [taint], NOW) == seconds


def test_a_drain_asks_owners_first_and_removes_at_the_deadline() -> None:
    node = Node(metadata=ObjectMeta(name="a"), spec=NodeSpec(drain=Drain(deadline_seconds=60, requested_at=NOW)))
    owned, alone, pinned = make_instance("owned"), make_instance("alone", owned=False), make_instance("pinned")

    todo = plan_drain(node, [owned, alone, pinned], ["pinned"], NOW)
    assert ([i.metadata.name for i in todo.ask], [i.metadata.name for i in todo.remove]) == (["owned"], ["alone"])
    assert (len(todo.left), todo.wake_after) == (2, 60)

    owned.metadata.annotations[EVICT_ANNOTATION] = "a"
    assert plan_drain(node, [owned], [], NOW).ask == []
    later = plan_drain(node, [owned], [], NOW + timedelta(seconds=60))
    assert [i.metadata.name for i in later.remove] == ["owned"]


def test_a_drain_says_what_still_has_to_go_and_what_will_stay() -> None:
    many = Eviction(left=[f"default/web-{number}" for number in range(5)], staying=["default/sonar-0"])

    assert say_drain(many) == (
        "still here: default/web-0, default/web-1, default/web-2 and 2 more; default/sonar-0 may run only here and stays "
        "(--delete-pinned)"
    )
    assert say_drain(Eviction()) == "nothing is left that has to go"
