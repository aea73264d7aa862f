"""Watches: from when on, in which order, through which selector, and which combinations are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from plum_controller.resources.errors import ApiStatusError

from tests.support.resources import Recorder, World, config_map, deployment, refused, until


def revisions(recorder: Recorder) -> list[int]:
    return [event.revision for event in recorder.events]


async def label(world: World, name: str, **labels: str | None) -> None:
    await world.patch("configmaps", name, {"metadata": {"labels": labels}})


@pytest.mark.parametrize("revision", [None, "", "0"])
async def test_without_a_revision_everything_there_is_added_first(world: World, revision: str | None) -> None:
    await world.create("configmaps", config_map("a"))
    await world.create("configmaps", config_map("b"))

    watch = world.watch("configmaps", revision=revision)
    await world.create("configmaps", config_map("c"))
    await world.patch("configmaps", "a", {"data": {"x": "y"}})
    await world.delete("configmaps", "b")

    assert watch.seen == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c"), ("MODIFIED", "a"), ("DELETED", "b")]


async def test_from_a_revision_everything_after_it_comes_once(world: World) -> None:
    await world.create("configmaps", config_map("a"))
    since = world.cache.revision
    await world.patch("configmaps", "a", {"data": {"x": "1"}})
    await world.create("deployments", deployment())

    watch = world.watch("configmaps", revision=str(since))
    await until(lambda: len(watch.events) == 1)
    await world.delete("configmaps", "a")

    assert watch.seen == [("MODIFIED", "a"), ("DELETED", "a")]
    assert revisions(watch) == sorted(set(revisions(watch)))


async def test_every_line_is_the_stored_object(world: World) -> None:
    watch = world.watch("configmaps")
    await world.create("configmaps", config_map("a"))

    line = msgspec.json.decode(watch.events[0].line())

    assert line == {"type": "ADDED", "object": world.get("configmaps", "a")}


async def test_a_revision_before_the_history_is_expired(world: World) -> None:
    for name in "abc":
        await world.create("configmaps", config_map(name))
    await world.store.compact(world.store.revision)

    with pytest.raises(ApiStatusError, match=r"too old resource version: 1 \(\d+\)") as caught:
        world.watch("configmaps", revision="1")

    assert (caught.value.code, caught.value.reason) == (410, "Expired")


async def test_a_revision_in_the_future_waits(world: World) -> None:
    watch = world.watch("configmaps", revision=str(world.cache.revision + 2))
    await world.create("configmaps", config_map("a"))
    await world.create("configmaps", config_map("b"))
    assert watch.events == []

    await world.create("configmaps", config_map("c"))
    assert watch.seen == [("ADDED", "c")]


async def test_an_object_that_starts_or_stops_to_match_is_added_or_deleted(world: World) -> None:
    watch = world.watch("configmaps", labels="app=x")
    await world.create("configmaps", config_map("a"))
    await label(world, "a", app="x")
    await label(world, "a", other="1")
    before = world.get("configmaps", "a")
    await label(world, "a", app="y")
    await world.delete("configmaps", "a")

    assert watch.seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    last = msgspec.json.decode(watch.events[-1].line())["object"]
    assert last["metadata"].pop("resourceVersion") == str(watch.events[-1].revision), "with the new revision"
    before["metadata"].pop("resourceVersion")
    assert last == before, "the previous object"


async def test_one_namespace_or_one_name(world: World) -> None:
    elsewhere = world.watch("configmaps", namespace="kube-system")
    named = world.watch("configmaps", namespace="default", fields="metadata.name=b")
    for name in "ab":
        await world.create("configmaps", config_map(name))
        await world.create("configmaps", config_map(name), "kube-system")

    assert elsewhere.seen == [("ADDED", "a"), ("ADDED", "b")]
    assert named.seen == [("ADDED", "b")]


async def test_declared_fields_select_watched_objects(world: World) -> None:
    watch = world.watch("instances", fields="spec.nodeName=node-1")
    data: dict[str, Any] = {"metadata": {"name": "i"}, "spec": {"template": {"command": ["x"]}}}
    await world.create("instances", data)
    await world.patch("instances", "i", {"spec": {"nodeName": "node-1"}})

    assert watch.seen == [("ADDED", "i")]


async def test_a_closed_watch_hears_nothing(world: World) -> None:
    watch = world.watch("configmaps")
    assert watch.watcher is not None
    watch.watcher.close()

    await world.create("configmaps", config_map("a"))

    assert watch.events == []


async def test_initial_events_need_the_right_match(world: World) -> None:
    async with refused(422, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"):
        world.watch("configmaps", send_initial_events=True)
    async with refused(422, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"):
        world.watch("configmaps", send_initial_events=False, match="Exact", revision="1")
    async with refused(422, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"):
        world.watch("configmaps", match="NotOlderThan", revision="1")


async def test_initial_events_start_with_all_there_is(world: World) -> None:
    await world.create("configmaps", config_map("a"))
    since = str(world.cache.revision)

    for revision in (None, "", "0", since):
        watch = world.watch("configmaps", send_initial_events=True, match="NotOlderThan", revision=revision)
        assert watch.seen == [("ADDED", "a")]
        assert watch.watcher is not None
        assert watch.watcher.revision == world.cache.revision

    without = world.watch("configmaps", send_initial_events=False, match="NotOlderThan", revision=since)
    assert without.seen == []


async def test_bad_selectors_and_revisions_are_refused(world: World) -> None:
    async with refused(400, "field label not supported: spec.x"):
        world.watch("configmaps", fields="spec.x=1")
    async with refused(400, "resourceVersion"):
        world.watch("configmaps", revision="x")
