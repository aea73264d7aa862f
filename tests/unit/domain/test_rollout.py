"""The rollout decision: it gets there, keeps enough instances available on the way, and comes to rest."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_controller.domain.members import HOME_NODE_ANNOTATION, REPLACES_ANNOTATION
from plum_controller.domain.rollout_plan import NodeView
from plum_schemas.deployment import Canary, CanaryStep, Failover, Strategy
from plum_schemas.int_or_percent import resolve
from plum_schemas.template import Disconnect, Template

from tests.support.fleet import START, Fleet, make_deployment


def running_fleet(**spec: object) -> Fleet:
    """A fleet whose first revision runs everywhere."""
    fleet = Fleet(make_deployment(**spec))
    fleet.settle()
    fleet.pass_time(fleet.deployment.spec.strategy.min_ready_seconds)
    fleet.settle()
    assert fleet.reason("Progressing") == "RolloutComplete"
    return fleet


@pytest.mark.parametrize("replicas", [0, 1, 3, 10])
def test_a_new_deployment_gets_its_instances(replicas: int) -> None:
    fleet = running_fleet(replicas=replicas)

    assert fleet.running("v1") == replicas
    assert fleet.deployment.status.available_replicas == replicas


def test_one_replica_is_the_default_when_neither_form_is_given() -> None:
    fleet = running_fleet(replicas=None)

    assert fleet.running("v1") == 1


@pytest.mark.parametrize(
    "strategy", [{}, {"type": "Recreate"}, {"maxSurge": 0, "maxUnavailable": 1}, {"maxSurge": 3, "maxUnavailable": 0}]
)
def test_a_new_template_replaces_the_old_one(strategy: dict[str, object]) -> None:
    fleet = running_fleet(replicas=4, strategy=strategy)

    fleet.change(template="v2")
    fleet.settle()

    assert (fleet.running("v1"), fleet.running("v2")) == (0, 4)
    assert fleet.deployment.status.revision == 2


def test_recreate_starts_nothing_before_the_old_ones_are_gone() -> None:
    fleet = running_fleet(replicas=2, strategy={"type": "Recreate"})

    fleet.change(template="v2")
    fleet.step()
    fleet.step()

    assert fleet.running("v2") == 0
    assert all(i.metadata.deletion_timestamp for i in fleet.instances.values())


def test_a_change_of_labels_and_scale_restarts_nothing() -> None:
    fleet = running_fleet(replicas=3)
    before = set(fleet.instances)

    fleet.deployment.metadata.labels = {"new": "label"}
    fleet.deployment.spec.template.metadata.labels = {"tier": "front"}
    fleet.change(replicas=5)
    fleet.settle()

    assert before < set(fleet.instances)
    assert len(fleet.instances) == 5


def test_a_restart_annotation_makes_new_instances() -> None:
    fleet = running_fleet(replicas=2)
    before = set(fleet.instances)

    fleet.deployment.spec.template.metadata.annotations = {"plum.dev/restartedAt": "2026-01-01T00:00:00Z"}
    fleet.deployment.metadata.generation += 1
    fleet.settle()

    assert not before & set(fleet.instances)


def test_paused_moves_nothing_but_follows_the_scale() -> None:
    fleet = running_fleet(replicas=3)

    fleet.change(template="v2", paused=True)
    fleet.settle()
    assert (fleet.running("v1"), fleet.running("v2")) == (3, 0)

    fleet.change(replicas=5)
    fleet.settle()
    assert (fleet.running("v1"), fleet.running("v2")) == (5, 0)

    fleet.change(paused=False)
    fleet.settle()
    assert (fleet.running("v1"), fleet.running("v2")) == (0, 5)


@pytest.mark.parametrize("on_failure", ["Pause", "Rollback", "Ignore"])
def test_a_crash_looping_rollout_never_takes_more_than_max_unavailable(on_failure: str) -> None:
    fleet = running_fleet(
        replicas=4, strategy={"maxSurge": 1, "maxUnavailable": 1, "progressDeadlineSeconds": 60, "onFailure": on_failure}
    )
    fleet.works = lambda instance: instance.spec.template.command == ["v1"]

    fleet.change(template="broken")
    lowest = 4
    for _ in range(100):
        fleet.step()
        for instance in list(fleet.instances.values()):
            if instance.metadata.deletion_timestamp is not None:
                fleet.stop(instance)
            elif instance.status.phase == "Pending":
                fleet.start(instance)
        lowest = min(lowest, fleet.available)
        fleet.pass_time(1)

    assert lowest == 3
    if on_failure == "Rollback":
        assert (fleet.running("v1"), fleet.running("broken")) == (4, 0)
        assert fleet.reason("Progressing") == "RolledBack"
    else:
        assert fleet.running("v1") == 3
        assert fleet.reason("Progressing") == "ProgressDeadlineExceeded"


def test_flapping_readiness_is_no_progress() -> None:
    fleet = running_fleet(
        replicas=2, strategy={"maxSurge": 1, "maxUnavailable": 0, "progressDeadlineSeconds": 30, "minReadySeconds": 5}
    )
    fleet.works = lambda instance: instance.spec.template.command == ["v1"]
    fleet.change(template="flaps")

    for second in range(40):
        fleet.step()
        for instance in fleet.instances.values():
            if instance.spec.template.command == ["flaps"]:
                fleet.works = lambda instance, on=second % 4 < 2: bool(on)
                fleet.start(instance)
        fleet.pass_time(1)

    assert fleet.reason("Progressing") == "ProgressDeadlineExceeded"


def test_after_a_rollback_a_new_template_is_tried_and_the_failed_one_is_not() -> None:
    fleet = running_fleet(replicas=2, strategy={"progressDeadlineSeconds": 10, "onFailure": "Rollback"})
    fleet.works = lambda instance: instance.spec.template.command != ["broken"]
    fleet.change(template="broken")
    reasons = set()
    for _ in range(30):
        fleet.step()
        reasons.add(fleet.reason("Progressing"))
        for instance in list(fleet.instances.values()):
            fleet.stop(instance) if instance.metadata.deletion_timestamp else fleet.start(instance)
        fleet.pass_time(1)
    assert fleet.running("v1") == 2
    assert reasons == {"RollingOut", "RolledBack"}, "a rollout that goes back is never said to have stopped"

    fleet.change(replicas=3)
    fleet.settle()
    assert (fleet.running("v1"), fleet.running("broken")) == (3, 0)

    fleet.change(template="v3")
    fleet.settle()
    assert fleet.running("v3") == 3


def test_min_ready_seconds_hold_the_rollout() -> None:
    fleet = Fleet(make_deployment(replicas=1, strategy={"minReadySeconds": 10}))
    fleet.step()
    fleet.start(next(iter(fleet.instances.values())))

    todo = fleet.step()
    assert fleet.deployment.status.available_replicas == 0
    assert todo.wake_after == pytest.approx(10)

    fleet.pass_time(10)
    fleet.step()
    assert fleet.deployment.status.available_replicas == 1


def test_canary_waits_at_each_step() -> None:
    steps = [CanaryStep(weight=25, pause="60s"), CanaryStep(replicas=2, pause="0")]
    fleet = running_fleet(replicas=4)
    fleet.change(strategy=Strategy(type="Canary", canary=Canary(steps=steps)), template="v2")

    fleet.settle()
    assert (fleet.running("v1"), fleet.running("v2")) == (3, 1)
    assert fleet.reason("Progressing") == "CanaryPaused"

    fleet.pass_time(60)
    fleet.settle()
    assert (fleet.running("v1"), fleet.running("v2")) == (2, 2)

    fleet.pass_time(10_000)
    fleet.settle()
    assert fleet.running("v2") == 2

    fleet.deployment.metadata.annotations["plum.dev/canary-resume"] = f"{fleet.deployment.status.rollout.hash}/1"
    fleet.settle()
    assert (fleet.running("v1"), fleet.running("v2")) == (0, 4)


def test_stopped_keeps_the_objects() -> None:
    fleet = running_fleet(replicas=3)
    before = set(fleet.instances)

    fleet.change(state="Stopped")
    for instance in fleet.instances.values():
        instance.status.phase = "Stopped"
        instance.status.ready = False
    fleet.settle()

    assert set(fleet.instances) == before
    assert fleet.reason("Available") == "Stopped"


def test_node_replicas_are_placed_where_the_user_said() -> None:
    nodes = {"a": NodeView(True), "b": NodeView(True)}
    fleet = Fleet(make_deployment(replicas=None, nodeReplicas={"a": 2, "b": 1}), nodes)

    fleet.settle()

    assert sorted(i.spec.node_name for i in fleet.instances.values()) == ["a", "a", "b"]


def test_a_node_that_does_not_exist_is_named() -> None:
    fleet = Fleet(make_deployment(replicas=None, nodeReplicas={"a": 1, "ghost": 1}), {"a": NodeView(True)})

    fleet.settle()

    assert fleet.running("v1") == 1
    assert fleet.reason("Available") == "NodeMissing"


@pytest.mark.parametrize("failover", [True, False])
def test_what_is_lost_on_its_node_is_not_replaced_on_that_node(failover: bool) -> None:
    """Though the node still looks usable: its replacement would be lost as well, and so on without end."""
    fleet = Fleet(make_deployment(replicas=None, nodeReplicas={"a": 1}), {"a": NodeView(True)})
    fleet.deployment.spec.template.disconnect.replace = failover
    fleet.settle()
    fleet.lose(next(iter(fleet.instances.values())))

    fleet.settle()

    on_a = [i for i in fleet.instances.values() if i.spec.node_name == "a"]
    assert len(on_a) == 1
    assert len(fleet.instances) == (2 if failover else 1)


def test_a_lost_instance_is_replaced_and_the_original_stays_when_it_returns() -> None:
    fleet = running_fleet(replicas=2)
    lost = next(iter(fleet.instances.values()))

    fleet.lose(lost)
    fleet.settle()
    replacement = next(i for i in fleet.instances.values() if REPLACES_ANNOTATION in i.metadata.annotations)
    assert replacement.metadata.annotations[REPLACES_ANNOTATION] == lost.metadata.name
    assert len(fleet.instances) == 3

    fleet.lose(lost, False)
    fleet.settle()
    assert lost.metadata.name in fleet.instances
    assert replacement.metadata.name not in fleet.instances


def test_keep_replacement_deletes_the_original_on_return() -> None:
    fleet = running_fleet(replicas=1)
    fleet.change(template="v1")
    fleet.deployment.spec.template = Template(command=["v1"], disconnect=Disconnect(reconcile="keepReplacement"))
    fleet.settle()
    lost = next(iter(fleet.instances.values()))

    fleet.lose(lost)
    fleet.settle()
    fleet.lose(lost, False)
    fleet.settle()

    assert lost.metadata.name not in fleet.instances
    assert fleet.available == 1


@pytest.mark.parametrize("policy", ["keepReplacement", "keepOriginal", "longestRunning"])
def test_copies_that_are_both_alive_are_no_surplus_until_the_one_to_stay_is_available(policy: str) -> None:
    template = {"command": ["v1"], "disconnect": {"reconcile": policy}}
    fleet = Fleet(make_deployment(replicas=3, template=template))
    fleet.settle()
    originals = dict(fleet.instances)
    for original in originals.values():
        fleet.lose(original)
    fleet.step()
    replacements = {name: i for name, i in fleet.instances.items() if name not in originals}
    for replacement in replacements.values():
        fleet.start(replacement)
    for original in originals.values():
        fleet.lose(original, False)

    fleet.settle()

    kept = replacements if policy == "keepReplacement" else originals
    assert set(fleet.instances) == set(kept)
    assert fleet.deployment.status.available_replicas == 3


def test_replace_false_starts_nothing() -> None:
    fleet = Fleet(make_deployment(replicas=1))
    fleet.deployment.spec.template = Template(command=["v1"], disconnect=Disconnect(replace=False))
    fleet.settle()
    fleet.lose(next(iter(fleet.instances.values())))

    fleet.settle()

    assert len(fleet.instances) == 1


def test_an_exclusive_original_is_deleted_together_with_the_start_of_its_replacement() -> None:
    fleet = Fleet(make_deployment(replicas=1))
    fleet.deployment.spec.template = Template(command=["v1"], exclusive=True)
    fleet.settle()
    lost = next(iter(fleet.instances.values()))
    fleet.lose(lost)

    fleet.step()

    assert lost.metadata.deletion_timestamp is not None
    assert fleet.running("v1") == 1


@pytest.mark.parametrize("failback", ["Never", "Automatic"])
def test_an_instance_goes_home_only_when_asked_to(failback: str) -> None:
    nodes = {"a": NodeView(True, START), "b": NodeView(True, START)}
    fleet = Fleet(make_deployment(replicas=None, nodeReplicas={"a": 1}), nodes)
    fleet.deployment.spec.failover = Failover(failback=failback, failback_stable_seconds=60)  # type: ignore[arg-type]
    fleet.settle()
    original = next(iter(fleet.instances.values()))
    fleet.nodes["a"] = NodeView(False)
    fleet.lose(original)
    fleet.settle()
    away = next(i for i in fleet.instances.values() if HOME_NODE_ANNOTATION in i.metadata.annotations)
    away.spec.node_name = "b"
    fleet.stop(original)
    fleet.nodes["a"] = NodeView(True, fleet.now)

    fleet.settle()
    assert away.metadata.name in fleet.instances
    fleet.pass_time(61)
    fleet.settle()

    assert (away.metadata.name in fleet.instances) == (failback == "Never")
    assert fleet.running("v1") == 1


def test_failed_instances_are_replaced_after_a_growing_wait() -> None:
    fleet = running_fleet(replicas=1)
    waits = []
    for _ in range(4):
        instance = max(fleet.instances.values(), key=lambda i: i.metadata.creation_timestamp or START)
        instance.status.phase = "Failed"
        instance.status.ready = False
        instance.status.finished_at = fleet.now
        todo = fleet.step()
        assert todo.wake_after is not None
        waits.append(round(todo.wake_after))
        assert not todo.create
        fleet.pass_time(todo.wake_after)
        assert len(fleet.step().create) == 1

    assert waits == [1, 2, 4, 8]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Fleet, random.Random]:
    replicas = draw(st.integers(0, 8))
    surge = draw(st.sampled_from([0, 1, 2, "25%", "100%"]))
    unavailable = draw(st.sampled_from([0, 1, "25%", "50%"]))
    policy = draw(st.sampled_from(["TerminationStarted", "TerminationComplete"]))
    strategy = {"maxSurge": surge, "maxUnavailable": unavailable, "replacementPolicy": policy, "progressDeadlineSeconds": 100_000}
    by_node = draw(st.booleans())
    spec: dict[str, object] = {"strategy": strategy}
    spec |= {"replicas": None, "nodeReplicas": {"a": replicas, "b": 1}} if by_node else {"replicas": replicas}
    nodes = {"a": NodeView(True, START), "b": NodeView(True, START)}
    return Fleet(make_deployment(**spec), nodes), random.Random(draw(st.integers(0, 2**32)))


@settings(max_examples=150, deadline=None)
@given(worlds(), st.lists(st.sampled_from(["v1", "v2", "v3"]), max_size=4))
def test_deleting_never_takes_the_fleet_below_what_must_be_available(
    world: tuple[Fleet, random.Random], templates: list[str]
) -> None:
    fleet, dice = world
    wanted = sum((fleet.deployment.spec.node_replicas or {"": fleet.deployment.spec.replicas or 0}).values())
    strategy = fleet.deployment.spec.strategy
    unavailable = min(wanted, resolve(strategy.max_unavailable, wanted, round_up=False))
    surge = resolve(strategy.max_surge, wanted, round_up=True)
    floor = wanted - (unavailable if unavailable or surge else min(1, wanted))

    for template in ["v1", *templates]:
        fleet.change(template=template)
        for _ in range(dice.randrange(1, 25)):
            before = fleet.available
            todo = fleet.step()
            assert fleet.available >= min(before, floor)
            occupying = [
                i
                for i in fleet.instances.values()
                if strategy.replacement_policy == "TerminationComplete" or not i.metadata.deletion_timestamp
            ]
            assert len(occupying) <= wanted + max(surge, 0)
            for instance in list(fleet.instances.values()):
                if instance.metadata.deletion_timestamp is not None:
                    if dice.random() < 0.5:
                        fleet.stop(instance)
                elif instance.status.phase == "Pending" and dice.random() < 0.5:
                    fleet.start(instance)
            assert todo.wanted == wanted
            fleet.now += timedelta(seconds=1)

    fleet.settle()
    assert fleet.running(fleet.deployment.spec.template.command[0]) == wanted == len(fleet.instances)
    writes = fleet.writes
    fleet.step()
    assert fleet.writes == writes, "a fleet at rest writes nothing"


def test_a_program_without_probes_that_crashes_soon_replaces_nothing() -> None:
    fleet = running_fleet(replicas=2, strategy={"maxSurge": 1, "maxUnavailable": 0, "progressDeadlineSeconds": 30})
    fleet.change(template="crashes")

    for tenth in range(400):
        fleet.step()
        for instance in fleet.instances.values():
            if instance.spec.template.command == ["crashes"] and tenth % 8 == 0:
                fleet.start(instance)
                instance.status.restarts = tenth // 8
        fleet.pass_time(0.1)

    assert fleet.running("v1") == 2
    assert fleet.reason("Progressing") == "ProgressDeadlineExceeded"


def test_a_readiness_probe_is_trusted_at_once() -> None:
    fleet = Fleet(make_deployment(replicas=1, template={"command": ["v1"], "probes": {"readiness": {"tcp": {"port": 80}}}}))
    fleet.step()
    fleet.start(next(iter(fleet.instances.values())))

    fleet.step()

    assert fleet.deployment.status.available_replicas == 1
