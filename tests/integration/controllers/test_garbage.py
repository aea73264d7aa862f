"""Ownership and deletion on the whole control plane: what is owned goes with its owner, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from plum_client.client import ApiClient
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_schemas.base import KindInfo, ObjectKey, ObjectMeta, OwnerReference
from plum_schemas.core import ConfigMap, Event, Namespace, ObjectReference

from tests.support.control_plane import ControlPlane

Scenario = Callable[[ControlPlane, ApiClient], Awaitable[None]]


def on_control_plane(scenario: Scenario) -> None:
    """Run a scenario in virtual time on the real controllers."""

    async def main(loop: SimulatedLoop) -> None:
        plane = ControlPlane(SimulatedClock(loop))
        await plane.start()
        try:
            plane.start_controllers(watch_nodes=False)
            await scenario(plane, plane.client("test"))
        finally:
            await plane.close()

    run_simulated(main)


async def make(api: ApiClient, name: str, *owners: ConfigMap, block: bool = True, **metadata: Any) -> ConfigMap:
    """A ConfigMap owned by others."""
    references = [
        OwnerReference(api_version="v1", kind="ConfigMap", name=o.metadata.name, uid=o.metadata.uid, block_owner_deletion=block)
        for o in owners
    ]
    meta = ObjectMeta(name=name, namespace="default", owner_references=references, **metadata)
    return await api.create(ConfigMap(metadata=meta))


async def names(api: ApiClient, namespace: str = "default") -> set[str]:
    return {o.metadata.name for o in await api.list(ConfigMap, namespace)}


async def settle() -> None:
    await asyncio.sleep(30)


def test_background_deletion_takes_all_generations_along() -> None:
    async def scenario(plane: ControlPlane, api: ApiClient) -> None:
        parent = await make(api, "parent")
        child = await make(api, "child", parent)
        await make(api, "grandchild", child)
        await make(api, "stranger")

        await api.delete(ConfigMap, parent.key)
        await settle()

        assert await names(api) == {"stranger"}

    on_control_plane(scenario)


def test_foreground_deletion_keeps_the_owner_until_its_dependents_are_gone() -> None:
    async def scenario(plane: ControlPlane, api: ApiClient) -> None:
        parent = await make(api, "parent")
        child = await make(api, "child", parent, finalizers=["test.dev/hold"])

        await api.delete(ConfigMap, parent.key, propagation="Foreground")
        await settle()
        assert await names(api) == {"parent", "child"}

        live = await api.get(ConfigMap, child.key)
        assert live is not None
        assert live.metadata.deletion_timestamp is not None
        await api.patch(ConfigMap, child.key, {"metadata": {"finalizers": None}})
        await settle()
        assert await names(api) == set()

    on_control_plane(scenario)


def test_orphan_deletion_leaves_the_dependents_without_owner() -> None:
    async def scenario(plane: ControlPlane, api: ApiClient) -> None:
        parent = await make(api, "parent")
        child = await make(api, "child", parent)

        await api.delete(ConfigMap, parent.key, propagation="Orphan")
        await settle()

        live = await api.get(ConfigMap, child.key)
        assert live is not None
        assert live.metadata.owner_references == []
        assert await names(api) == {"child"}

    on_control_plane(scenario)


def test_a_dependent_with_another_owner_only_loses_the_dead_one() -> None:
    async def scenario(plane: ControlPlane, api: ApiClient) -> None:
        one, other = await make(api, "one"), await make(api, "other")
        child = await make(api, "child", one, other)

        await api.delete(ConfigMap, one.key)
        await settle()

        live = await api.get(ConfigMap, child.key)
        assert live is not None
        assert [o.name for o in live.metadata.owner_references] == ["other"]

    on_control_plane(scenario)


def test_an_owner_of_another_uid_is_no_owner() -> None:
    async def scenario(plane: ControlPlane, api: ApiClient) -> None:
        parent = await make(api, "parent")
        parent.metadata.uid = "00000000-0000-0000-0000-000000000000"
        await make(api, "child", parent)
        await settle()

        assert await names(api) == {"parent"}

    on_control_plane(scenario)


def test_an_owner_of_an_unknown_kind_costs_nothing() -> None:
    async def scenario(plane: ControlPlane, api: ApiClient) -> None:
        reference = OwnerReference(api_version="nobody.dev/v1", kind="Ghost", name="g", uid="u")
        await api.create(ConfigMap(metadata=ObjectMeta(name="child", namespace="default", owner_references=[reference])))
        await settle()

        assert await names(api) == {"child"}

    on_control_plane(scenario)


def test_dependents_that_were_orphaned_while_no_controller_ran_are_collected_later() -> None:
    async def scenario(plane: ControlPlane, api: ApiClient) -> None:
        parent = await make(api, "parent")
        await make(api, "child", parent)
        await plane.stop_controllers()
        await api.delete(ConfigMap, parent.key)
        assert await names(api) == {"child"}

        plane.start_controllers(watch_nodes=False)
        await settle()

        assert await names(api) == set()

    on_control_plane(scenario)


def test_a_deleted_namespace_is_emptied_and_goes() -> None:
    async def scenario(plane: ControlPlane, api: ApiClient) -> None:
        await api.create(Namespace(metadata=ObjectMeta(name="plant")))
        for number in range(5):
            await api.create(ConfigMap(metadata=ObjectMeta(name=f"c{number}", namespace="plant")))
        held = ObjectMeta(name="held", namespace="plant", finalizers=["test.dev/hold"])
        await api.create(ConfigMap(metadata=held))

        await api.delete(Namespace, "plant")
        await settle()
        assert await names(api, "plant") == {"held"}
        namespace = await api.get(Namespace, "plant")
        assert namespace is not None
        assert "1 configmaps" in namespace.status.conditions[0].message

        await api.patch(ConfigMap, ObjectKey("plant", "held"), {"metadata": {"finalizers": None}})
        await settle()
        assert await api.get(Namespace, "plant") is None

    on_control_plane(scenario)


def test_objects_of_a_user_defined_kind_are_collected_too() -> None:
    async def scenario(plane: ControlPlane, api: ApiClient) -> None:
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "pumps.test.dev"},
            "spec": {
                "group": "test.dev",
                "scope": "Namespaced",
                "names": {"plural": "pumps", "kind": "Pump"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}],
            },
        }
        crds = KindInfo(
            kind="CustomResourceDefinition", plural="customresourcedefinitions", group="apiextensions.k8s.io", namespaced=False
        )
        pumps = KindInfo(kind="Pump", plural="pumps", group="test.dev")
        await api.create(definition, kind=crds)
        await settle()
        parent = await make(api, "parent")
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": parent.metadata.uid}
        metadata = {"name": "p", "namespace": "default", "ownerReferences": [owner]}
        await api.create({"apiVersion": "test.dev/v1", "kind": "Pump", "metadata": metadata}, kind=pumps)

        await api.delete(ConfigMap, parent.key)
        await settle()

        assert await api.get(pumps, "p", "default") is None

    on_control_plane(scenario)


def test_events_go_an_hour_after_they_were_last_seen() -> None:
    async def scenario(plane: ControlPlane, api: ApiClient) -> None:
        reference = ObjectReference(kind="ConfigMap", namespace="default", name="x")
        event = Event(
            metadata=ObjectMeta(name="e", namespace="default"), involved_object=reference, last_timestamp=plane.clock.now()
        )
        await api.create(event)

        await asyncio.sleep(3500)
        assert await api.get(Event, "e", "default") is not None
        await asyncio.sleep(200)
        assert await api.get(Event, "e", "default") is None

    on_control_plane(scenario)


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_a_deployment_takes_its_instances_and_revisions_along(propagation: Any) -> None:
    from plum_schemas.deployment import Deployment, DeploymentSpec
    from plum_schemas.instance import Instance
    from plum_schemas.revision import Revision
    from plum_schemas.template import Template

    async def scenario(plane: ControlPlane, api: ApiClient) -> None:
        spec = DeploymentSpec(replicas=3, template=Template(command=["x"]))
        await api.create(Deployment(metadata=ObjectMeta(name="web", namespace="default"), spec=spec))
        await settle()
        assert len(await api.list(Instance)) == 3

        await api.delete(Deployment, ObjectKey("default", "web"), propagation=propagation)
        await settle()

        assert len(await api.list(Instance)) == len(await api.list(Revision)) == 0
        assert await api.get(Deployment, "web", "default") is None

    on_control_plane(scenario)
