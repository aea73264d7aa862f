"""Controllers against the API in memory: they come to rest, and a crash between any two writes changes nothing in the end."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from plum_client.fake import CrashError, FakeApi, Faults
from plum_client.manager import Manager
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_client.testing import converge
from plum_controller.controllers import deployment, scheduler
from plum_schemas.base import Condition, ObjectMeta
from plum_schemas.deployment import Deployment, DeploymentSpec
from plum_schemas.instance import INSTANCE_FINALIZER, Instance
from plum_schemas.node import Node, NodeStatus
from plum_schemas.revision import Revision


def make_deployment(template: str = "v1", **spec: Any) -> Deployment:
    spec.setdefault("replicas", 3)
    typed = msgspec.convert({"template": {"command": [template]}, **spec}, DeploymentSpec)
    return Deployment(metadata=ObjectMeta(name="web", namespace="default", uid="web-uid", generation=1), spec=typed)


def make_node(name: str) -> Node:
    ready = [Condition(type="Ready", status="True", reason="LeaseRenewed")]
    return Node(metadata=ObjectMeta(name=name), status=NodeStatus(conditions=ready, runtimes=["process"]))


def add_all(manager: Manager) -> None:
    deployment.add_to(manager, pace=0.0)
    scheduler.add_to(manager)


def fleet(loop: SimulatedLoop, *objects: Any, faults: Faults | None = None, seed: int = 0) -> FakeApi:
    nodes = [make_node(f"node-{number}") for number in range(3)]
    api = FakeApi(*nodes, *objects, clock=SimulatedClock(loop), seed=seed)
    if faults is not None:
        api.faults = faults
    return api


def placed(api: FakeApi) -> list[tuple[str, str]]:
    """Template and node of every instance, without the hash in its name."""
    return sorted((i.spec.template.command[0], i.spec.node_name) for i in api.list(Instance))


def test_a_deployment_gets_instances_revision_and_status() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api = fleet(loop, make_deployment())

        await converge(api, add_all)

        assert placed(api) == [("v1", "node-0"), ("v1", "node-1"), ("v1", "node-2")]
        assert all(i.metadata.finalizers == [INSTANCE_FINALIZER] for i in api.list(Instance))
        assert [r.spec.number for r in api.list(Revision)] == [1]
        status = api.list(Deployment)[0].status
        assert (status.replicas, status.updated_replicas, status.revision, status.observed_generation) == (3, 3, 1, 1)

    run_simulated(main)


@pytest.mark.parametrize("node_replicas", [None, {"node-0": 2, "node-2": 1}])
def test_a_crash_after_any_write_ends_in_the_same_state(node_replicas: dict[str, int] | None) -> None:
    spec: dict[str, Any] = {"nodeReplicas": node_replicas, "replicas": None} if node_replicas else {"replicas": 3}

    async def main(loop: SimulatedLoop) -> None:
        clean = fleet(loop, make_deployment(**spec))
        await converge(clean, add_all)
        want = placed(clean)
        assert len(want) == 3

        for crash_after in range(1, clean.writes + 1):
            api = fleet(loop, make_deployment(**spec))
            api.crash_after = crash_after
            with suppress(CrashError):  # a crash in the event recorder's own task ends that task only
                await converge(api, add_all)
            assert api.writes == crash_after
            await converge(api, add_all)
            assert placed(api) == want, f"after a crash behind write {crash_after}"
            assert len(api.list(Revision)) == 1

    run_simulated(main)


@pytest.mark.parametrize("seed", range(10))
def test_lost_answers_and_cut_watches_make_no_second_instance(seed: int) -> None:
    async def main(loop: SimulatedLoop) -> None:
        faults = Faults(latency=(0.0, 0.05), lose_answer=0.1, refuse=0.1, cut_watch=0.1, conflict=0.1)
        api = fleet(loop, make_deployment(replicas=6), faults=faults, seed=seed)

        await converge(api, add_all, timeout=600, rounds=100)

        assert len(api.list(Instance)) == 6
        assert all(instance.spec.node_name for instance in api.list(Instance))

    run_simulated(main, seed)


def test_scaling_and_state_change_in_place() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api = fleet(loop, make_deployment())
        await converge(api, add_all)
        uids = {i.metadata.uid for i in api.list(Instance)}
        client = api.client()

        await client.patch(Deployment, api.list(Deployment)[0].key, {"spec": {"state": "Stopped", "replicas": 4}})
        await converge(api, add_all)

        assert uids < {i.metadata.uid for i in api.list(Instance)}
        assert {i.spec.state for i in api.list(Instance)} == {"Stopped"}
        assert len(api.list(Revision)) == 1

    run_simulated(main)


def test_labels_of_the_template_reach_running_instances_and_old_ones_go() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api = fleet(loop, make_deployment(template="v1"))
        await converge(api, add_all)
        uids = {i.metadata.uid for i in api.list(Instance)}
        client, key = api.client(), api.list(Deployment)[0].key

        await client.patch(Deployment, key, {"spec": {"template": {"metadata": {"labels": {"tier": "front", "old": "yes"}}}}})
        await converge(api, add_all)
        await client.patch(Deployment, key, {"spec": {"template": {"metadata": {"labels": {"old": None}}}}})
        await converge(api, add_all)

        assert {i.metadata.uid for i in api.list(Instance)} == uids
        assert all(i.metadata.labels.get("tier") == "front" and "old" not in i.metadata.labels for i in api.list(Instance))

    run_simulated(main)


def test_a_name_that_is_taken_by_a_stranger_is_said_and_left_alone() -> None:
    async def main(loop: SimulatedLoop) -> None:
        api = fleet(loop, make_deployment(replicas=1))
        await converge(api, add_all)
        mine = api.list(Instance)[0]
        stranger = Instance(metadata=ObjectMeta(name=mine.metadata.name, namespace="default"), spec=mine.spec)
        other = fleet(loop, make_deployment(replicas=1), stranger)

        with pytest.raises(AssertionError):
            await converge(other, add_all, rounds=3, timeout=30)

        assert [i.metadata.owner_references for i in other.list(Instance) if i.metadata.name == mine.metadata.name] == [[]]

    run_simulated(main)
