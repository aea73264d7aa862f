"""Deletion: at once, by finalizers, by policy, with preconditions, and of whole collections."""

from __future__ import annotations

from typing import Any

from plum_controller.resources.options import DeleteOptions, ListOptions

from tests.support.resources import World, decode, deployment, refused


async def make(world: World, name: str = "web", *finalizers: str, **labels: str) -> dict[str, Any]:
    data = deployment(name)
    data["metadata"] |= {"finalizers": list(finalizers), "labels": labels}
    return await world.create("deployments", data)


async def test_without_finalizers_it_is_gone_at_once(world: World) -> None:
    live = await make(world)
    watch = world.watch("deployments")

    outcome = await world.delete("deployments", "web")

    assert outcome.gone
    assert outcome.uid == live["metadata"]["uid"]
    assert not world.exists("deployments", "web")
    assert watch.seen == [("ADDED", "web"), ("DELETED", "web")]
    assert b'"resourceVersion":"%d"' % world.cache.revision in watch.events[-1].entry.value
    async with refused(404, 'deployments.plum.dev "web" not found'):
        await world.delete("deployments", "web")


async def test_a_new_object_of_the_name_is_another_incarnation(world: World) -> None:
    first = await make(world)
    await world.delete("deployments", "web")
    second = await make(world)

    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert second["metadata"]["generation"] == 1


async def test_finalizers_hold_it_with_a_mark(world: World) -> None:
    await make(world, "web", "plum.dev/x")

    outcome = await world.delete("deployments", "web")

    metadata = decode(outcome)["metadata"]
    assert not outcome.gone
    assert metadata["deletionTimestamp"] == "2026-01-31T08:00:00Z"
    assert metadata["deletionGracePeriodSeconds"] == 0
    assert metadata["generation"] == 2
    assert world.get("deployments", "web")["metadata"] == metadata


async def test_deleting_again_is_no_write(world: World) -> None:
    await make(world, "web", "plum.dev/x")
    await world.delete("deployments", "web")
    before = world.cache.revision
    world.clock.advance(60)

    outcome = await world.delete("deployments", "web")

    assert not outcome.changed
    assert world.cache.revision == before


async def test_background_deletes_now(world: World) -> None:
    await make(world)

    assert (await world.delete("deployments", "web", propagation="Background")).gone


async def test_foreground_waits_for_the_collector(world: World) -> None:
    await make(world)

    outcome = await world.delete("deployments", "web", propagation="Foreground")

    assert not outcome.gone
    assert decode(outcome)["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert (await world.patch_outcome("deployments", "web", {"metadata": {"finalizers": None}})).gone


async def test_orphan_waits_for_the_collector(world: World) -> None:
    await make(world, "web", "plum.dev/x")

    outcome = await world.delete("deployments", "web", propagation="Orphan")

    assert decode(outcome)["metadata"]["finalizers"] == ["plum.dev/x", "orphan"]


async def test_a_later_deletion_may_choose_another_policy(world: World) -> None:
    await make(world)
    await world.delete("deployments", "web", propagation="Foreground")

    orphan = await world.delete("deployments", "web", propagation="Orphan")
    assert decode(orphan)["metadata"]["finalizers"] == ["orphan"]
    kept = await world.delete("deployments", "web")
    assert not kept.changed
    assert (await world.delete("deployments", "web", propagation="Background")).gone


async def test_a_bad_policy_is_refused(world: World) -> None:
    await make(world)

    async with refused(422, 'propagationPolicy: Unsupported value: "Sideways"'):
        await world.delete("deployments", "web", propagation="Sideways")


async def test_preconditions_must_hold(world: World) -> None:
    live = await make(world)
    uid, revision = live["metadata"]["uid"], live["metadata"]["resourceVersion"]

    async with refused(
        409, f"the UID in the precondition (other) does not match the UID in record ({uid})", reason="Conflict"
    ) as caught:
        await world.delete("deployments", "web", uid="other")
    assert caught.value.details["kind"] == "Deployment"
    async with refused(
        409, f"the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({revision})"
    ):
        await world.delete("deployments", "web", revision="1")

    assert (await world.delete("deployments", "web", uid=uid, revision=revision)).gone


async def test_a_dry_run_deletes_nothing(world: World) -> None:
    await make(world)
    before = world.cache.revision

    assert (await world.delete("deployments", "web", dry_run=True)).gone
    await make(world, "held", "plum.dev/x")
    marked = await world.delete("deployments", "held", dry_run=True)

    assert decode(marked)["metadata"]["deletionTimestamp"]
    assert "deletionTimestamp" not in world.get("deployments", "held")["metadata"]
    assert world.exists("deployments", "web")
    assert world.cache.revision == before + 1


async def test_a_collection_goes_by_selector_and_each_by_its_own_rules(world: World) -> None:
    await make(world, "a", app="x")
    await make(world, "b", "plum.dev/x", app="x")
    await make(world, "c", app="y")

    gone = await world.service.delete_collection(
        world.kind("deployments"), ListOptions(namespace="default", labels="app=x"), DeleteOptions()
    )

    assert len(gone) == 2
    assert await world.names("deployments") == ["b", "c"]
    assert "deletionTimestamp" in world.get("deployments", "b")["metadata"]
    assert "deletionTimestamp" not in world.get("deployments", "c")["metadata"]


async def test_a_large_collection_goes(world: World) -> None:
    for number in range(150):
        await world.create("configmaps", {"metadata": {"name": f"c-{number}"}})

    await world.service.delete_collection(world.kind("configmaps"), ListOptions(), DeleteOptions())

    assert await world.names("configmaps") == []
