"""Time travel: an object as it was at a revision or a time, and everybody who wrote it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from tests.support.resources import World, config_map, deployment, refused


async def at(world: World, moment: str, name: str = "web", plural: str = "deployments") -> dict[str, object]:
    value = await world.service.get_at(world.kind(plural), world.key(plural, name, "default"), moment)
    data: dict[str, object] = msgspec.json.decode(value)
    return data


async def test_an_object_as_it_was_at_a_revision(world: World) -> None:
    first = await world.create("deployments", deployment())
    await world.create("configmaps", config_map())
    second = await world.patch("deployments", "web", {"spec": {"replicas": 5}})
    await world.delete("deployments", "web")

    assert await at(world, first["metadata"]["resourceVersion"]) == first
    assert await at(world, str(int(second["metadata"]["resourceVersion"]) - 1)) == first
    assert await at(world, second["metadata"]["resourceVersion"]) == second
    for gone in (str(world.cache.revision), str(int(first["metadata"]["resourceVersion"]) - 1)):
        async with refused(404, 'deployments.plum.dev "web" not found'):
            await at(world, gone)


async def test_an_object_as_it_was_at_a_time(world: World) -> None:
    first = await world.create("deployments", deployment())
    await asyncio.sleep(0.02)
    between = datetime.now(UTC).isoformat()
    await asyncio.sleep(0.02)
    await world.patch("deployments", "web", {"spec": {"replicas": 5}})

    assert await at(world, between) == first
    assert await at(world, between.replace("+", " ")) == first, "a + in a query arrives as a space"
    assert (await at(world, "2999-01-01T00:00:00Z"))["metadata"]["generation"] == 2  # type: ignore[index]


async def test_cluster_wide_objects_have_a_past_too(world: World) -> None:
    revision = str(world.cache.revision)
    await world.patch("namespaces", "default", {"metadata": {"labels": {"a": "b"}}})

    value = await world.service.get_at(world.kind("namespaces"), world.key("namespaces", "default", ""), revision)

    assert "a" not in msgspec.json.decode(value)["metadata"]["labels"]


@pytest.mark.parametrize("moment", ["yesterday", "2026-01-31T08:00:00", "", "-5"])
async def test_what_is_neither_revision_nor_time_is_refused(world: World, moment: str) -> None:
    await world.create("deployments", deployment())

    async with refused(400, "at is"):
        await at(world, moment)


async def test_a_forgotten_or_future_moment_is_told(world: World) -> None:
    await world.create("deployments", deployment())
    await world.patch("deployments", "web", {"spec": {"replicas": 5}})
    await world.store.compact(world.store.revision)

    async with refused(410, "is no longer kept", reason="Expired"):
        await at(world, "1")
    async with refused(410, "is no longer kept", reason="Expired"):
        await at(world, "2000-01-01T00:00:00Z")
    async with refused(504, "Too large resource version"):
        await at(world, "999999")


async def test_the_history_names_operation_and_manager_newest_first(world: World) -> None:
    key = world.key("deployments", "web", "default")
    await world.create("deployments", deployment(), field_manager="creator")
    world.clock.advance(1)
    await world.patch("deployments", "web", {"spec": {"replicas": 5}}, field_manager="scaler")
    world.clock.advance(1)
    await world.patch("deployments", "web", {"status": {"readyReplicas": 1}}, subresource="status", field_manager="agent")
    world.clock.advance(1)
    await world.apply("deployments", {"metadata": {"name": "web"}, "spec": {"replicas": 6}}, "tool", force=True)
    await world.delete("deployments", "web")
    await world.create("deployments", deployment(), field_manager="second")

    versions = await world.service.history(world.kind("deployments"), key)

    assert [(version.operation, version.manager) for version in versions] == [
        ("create", "second"), ("delete", ""), ("update", "tool"),
        ("update", "agent"), ("update", "scaler"), ("create", "creator"),
    ]  # fmt: skip
    revisions = [version.revision for version in versions]
    assert revisions == sorted(revisions, reverse=True)
    assert [msgspec.json.decode(version.value)["spec"]["replicas"] for version in versions] == [2, 6, 6, 5, 5, 2]
    assert all(abs(version.time - datetime.now(UTC).timestamp()) < 60 for version in versions)


async def test_managers_within_one_second_are_told_apart(world: World) -> None:
    await world.create("deployments", deployment(), field_manager="a-creator")
    for number, manager in enumerate(["b", "c", "b", "a-creator"]):
        await world.patch(
            "deployments", "web", {"metadata": {"annotations": {f"from-{manager}": str(number)}}}, field_manager=manager
        )

    versions = await world.service.history(world.kind("deployments"), world.key("deployments", "web", "default"))

    assert versions[-1].manager == "a-creator"
    assert [version.manager for version in versions[2:4]] == ["c", "b"]


async def test_whom_a_field_was_taken_from_did_not_write(world: World) -> None:
    await world.create("deployments", deployment(), field_manager="a-creator")
    for replicas, manager in [(5, "b"), (6, "c"), (7, "b")]:
        await world.patch("deployments", "web", {"spec": {"replicas": replicas}}, field_manager=manager)
    for manager in ("b", "c"):
        await world.patch("deployments", "web", {"metadata": {"annotations": {manager: "y"}}}, field_manager=manager)
    await world.patch("deployments", "web", {"spec": {"replicas": 8}}, field_manager="c")

    versions = await world.service.history(world.kind("deployments"), world.key("deployments", "web", "default"))

    assert [version.manager for version in versions] == ["c", "c", "b", "b", "c", "b", "a-creator"]


async def test_the_history_is_limited_and_still_names_the_manager(world: World) -> None:
    await world.create("deployments", deployment(), field_manager="creator")
    for number in range(5):
        world.clock.advance(1)
        await world.patch("deployments", "web", {"spec": {"replicas": 10 + number}}, field_manager=f"m-{number}")

    versions = await world.service.history(world.kind("deployments"), world.key("deployments", "web", "default"), 2)

    assert [version.manager for version in versions] == ["m-4", "m-3"]


async def test_what_never_was_has_no_history(world: World) -> None:
    async with refused(404, 'deployments.plum.dev "web" not found'):
        await world.service.history(world.kind("deployments"), world.key("deployments", "web", "default"))
