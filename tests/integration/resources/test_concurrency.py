"""Many writers at once: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
from typing import Any

from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.options import WriteOptions

from tests.support.resources import World, config_map, deployment


async def increment(world: World, counted: list[int]) -> None:
    """Add one with a JSON patch that holds only for the version it was made from; again until it fits."""
    while True:
        live = world.get("configmaps", "settings")
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/data/n", "value": str(int(live["data"]["n"]) + 1)},
        ]
        try:
            await world.patch("configmaps", "settings", patch, patch_type="json")
        except ApiStatusError as error:
            assert error.code == 422
            counted.append(1)
            await asyncio.sleep(0)
        else:
            return


async def test_increments_that_test_the_revision_are_all_counted(world: World) -> None:
    await world.create("configmaps", config_map(n="0"))
    failed: list[int] = []

    await asyncio.gather(*(increment(world, failed) for _ in range(16) for _ in range(5)))

    assert world.get("configmaps", "settings")["data"]["n"] == "80"


async def test_increments_by_put_are_all_counted(world: World) -> None:
    await world.create("configmaps", config_map(n="0"))

    async def add() -> None:
        while True:
            live = world.get("configmaps", "settings")
            live["data"]["n"] = str(int(live["data"]["n"]) + 1)
            try:
                await world.update("configmaps", live)
            except ApiStatusError as error:
                assert error.code == 409
                await asyncio.sleep(0)
            else:
                return

    await asyncio.gather(*(add() for _ in range(48)))

    assert world.get("configmaps", "settings")["data"]["n"] == "48"


async def test_merge_patches_without_a_revision_never_conflict(world: World) -> None:
    await world.create("configmaps", config_map())

    patches = (world.patch("configmaps", "settings", {"data": {f"k-{number}": "x"}}) for number in range(100))
    await asyncio.gather(*patches)

    assert len(world.get("configmaps", "settings")["data"]) == 100


async def test_of_many_creates_of_a_name_one_succeeds(world: World) -> None:
    made = await asyncio.gather(*(world.create("deployments", deployment()) for _ in range(16)), return_exceptions=True)

    failed = [one for one in made if isinstance(one, ApiStatusError)]
    assert len(failed) == 15
    assert {one.reason for one in failed} == {"AlreadyExists"}


async def test_many_first_applies_make_one_object(world: World) -> None:
    config = {"spec": {"template": {"command": ["x"]}}, "metadata": {"name": "web"}}
    made = await asyncio.gather(*(world.apply("deployments", config, f"m-{number}") for number in range(8)))

    assert len({one["metadata"]["uid"] for one in made}) == 1
    assert len(world.get("deployments", "web")["metadata"]["managedFields"]) == 8


async def test_managers_that_apply_different_fields_do_not_disturb_each_other(widgets: World) -> None:
    async def apply(number: int) -> None:
        for weight in range(5):
            config = {"metadata": {"name": "gear"}, "spec": {"parts": [{"name": f"p-{number}", "weight": weight}]}}
            await widgets.apply("widgets", config, f"m-{number}")

    await asyncio.gather(*(apply(number) for number in range(10)))

    parts = widgets.get("widgets", "gear")["spec"]["parts"]
    assert sorted((part["name"], part["weight"]) for part in parts) == sorted((f"p-{number}", 4) for number in range(10))


async def test_many_deletions_make_one(world: World) -> None:
    await world.create("deployments", deployment())
    watch = world.watch("deployments")

    done = await asyncio.gather(*(world.delete("deployments", "web") for _ in range(8)), return_exceptions=True)

    assert sum(isinstance(one, ApiStatusError) and one.code == 404 for one in done) == 7
    assert watch.seen == [("ADDED", "web"), ("DELETED", "web")]


async def test_finalizers_that_go_at_once_delete_once(world: World) -> None:
    data = deployment()
    names = [f"plum.dev/f-{number}" for number in range(8)]
    data["metadata"]["finalizers"] = names
    await world.create("deployments", data)
    await world.delete("deployments", "web")
    watch = world.watch("deployments")

    async def remove(name: str) -> bool:
        while True:
            live = world.get("deployments", "web")
            index = live["metadata"]["finalizers"].index(name)
            patch = [
                {"op": "test", "path": f"/metadata/finalizers/{index}", "value": name},
                {"op": "remove", "path": f"/metadata/finalizers/{index}"},
            ]
            try:
                return (await world.patch_outcome("deployments", "web", patch, patch_type="json")).gone
            except ApiStatusError as error:
                assert error.code == 422

    gone = await asyncio.gather(*(remove(name) for name in names))

    assert sum(gone) == 1
    assert watch.seen[-1] == ("DELETED", "web")
    assert not world.exists("deployments", "web")


async def test_a_write_that_is_cancelled_lets_the_next_one_in(world: World) -> None:
    await world.create("configmaps", config_map())
    tasks = [asyncio.create_task(world.patch("configmaps", "settings", {"data": {"a": str(number)}})) for number in range(10)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    made = await asyncio.wait_for(world.patch("configmaps", "settings", {"data": {"a": "last"}}), 5)

    assert made["data"]["a"] == "last"


async def test_every_write_is_seen_once_and_in_order(world: World) -> None:
    watch = world.watch("configmaps")

    async def write(number: int) -> None:
        name = f"c-{number}"
        await world.create("configmaps", config_map(name, n="0"))
        for step in range(4):
            await world.patch("configmaps", name, {"data": {"n": str(step + 1)}})
        await world.delete("configmaps", name)

    await asyncio.gather(*(write(number) for number in range(20)))

    revisions = [event.revision for event in watch.events]
    assert revisions == sorted(set(revisions))
    assert len(watch.events) == 20 * 6
    for number in range(20):
        assert [kind for kind, name in watch.seen if name == f"c-{number}"] == ["ADDED", *["MODIFIED"] * 4, "DELETED"]


async def test_what_a_caller_wrote_it_reads(world: World) -> None:
    async def write(number: int) -> None:
        kind, key = world.kind("configmaps"), world.key("configmaps", f"c-{number}", "default")
        body: dict[str, Any] = config_map(key.name, n="x")
        outcome = await world.service.create(kind, "default", body, WriteOptions())
        assert world.service.get(kind, key) == outcome.value
        assert world.cache.revision >= outcome.revision

    await asyncio.gather(*(write(number) for number in range(50)))
