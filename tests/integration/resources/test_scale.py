"""The scale subresource of built-in and user-defined kinds."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from plum_controller.resources.options import WriteOptions

from tests.support.resources import World, config_map, deployment, refused, widget


def scale_of(world: World, plural: str = "deployments", name: str = "web") -> dict[str, Any]:
    value = world.service.get_scale(world.kind(plural), world.key(plural, name, "default"))
    scale: dict[str, Any] = msgspec.json.decode(value)
    return scale


async def put(
    world: World, scale: dict[str, Any], plural: str = "deployments", name: str = "web", **options: Any
) -> dict[str, Any]:
    key = world.key(plural, name, "default")
    outcome = await world.service.update_scale(world.kind(plural), key, copy.deepcopy(scale), WriteOptions(**options))
    made: dict[str, Any] = msgspec.json.decode(outcome.value)
    return made


async def patch(world: World, body: Any, patch_type: Any = "merge", **options: Any) -> dict[str, Any]:
    key = world.key("deployments", "web", "default")
    outcome = await world.service.patch_scale(world.kind("deployments"), key, patch_type, body, WriteOptions(**options))
    made: dict[str, Any] = msgspec.json.decode(outcome.value)
    return made


async def test_a_scale_shows_wanted_and_seen_copies(world: World) -> None:
    live = await world.create("deployments", deployment())
    status = {"status": {"replicas": 1, "selector": "plum.dev/deployment=web"}}
    live = await world.patch("deployments", "web", status, subresource="status")

    metadata = live["metadata"]
    assert scale_of(world) == {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")},
        "spec": {"replicas": 2},
        "status": {"replicas": 1, "selector": "plum.dev/deployment=web"},
    }


async def test_a_patch_of_the_scale_sets_the_replicas(world: World) -> None:
    await world.create("deployments", deployment(), field_manager="creator")

    made = await patch(world, {"spec": {"replicas": 7}}, field_manager="kubectl-scale")

    assert (made["kind"], made["spec"]["replicas"]) == ("Scale", 7)
    live = world.get("deployments", "web")
    assert live["spec"]["replicas"] == 7
    assert live["metadata"]["generation"] == 2
    owner = next(entry for entry in live["metadata"]["managedFields"] if entry["manager"] == "kubectl-scale")
    assert owner["subresource"] == "scale"
    assert owner["fieldsV1"] == {"f:spec": {"f:replicas": {}}}


async def test_a_json_patch_of_the_scale(world: World) -> None:
    await world.create("deployments", deployment())
    test = {"op": "test", "path": "/spec/replicas", "value": 2}

    assert (await patch(world, [test, {"op": "replace", "path": "/spec/replicas", "value": 3}], "json"))["spec"]["replicas"] == 3
    async with refused(422, "the server rejected our request"):
        await patch(world, [test], "json")


async def test_a_put_checks_the_revision(world: World) -> None:
    await world.create("deployments", deployment())
    scale = scale_of(world)
    scale["spec"]["replicas"] = 4

    assert (await put(world, scale))["spec"]["replicas"] == 4
    async with refused(409, 'Operation cannot be fulfilled on deployments.plum.dev "web": the object has been modified'):
        await put(world, {**scale, "spec": {"replicas": 5}})
    del scale["metadata"]["resourceVersion"]
    assert (await put(world, {**scale, "spec": {"replicas": 5}}))["spec"]["replicas"] == 5


async def test_absent_replicas_are_zero_as_go_sends_them(world: World) -> None:
    await world.create("deployments", deployment())

    assert (await put(world, {"metadata": {"name": "web"}, "spec": {}}))["spec"]["replicas"] == 0


async def test_the_same_number_is_no_write(world: World) -> None:
    await world.create("deployments", deployment())
    before = world.cache.revision

    await patch(world, {"spec": {"replicas": 2}})

    assert world.cache.revision == before


async def test_what_is_no_number_of_copies_is_refused(world: World) -> None:
    await world.create("deployments", deployment())

    async with refused(422, 'Deployment.plum.dev "web" is invalid: spec.replicas: Invalid value: -1'):
        await patch(world, {"spec": {"replicas": -1}})
    async with refused(400, "spec.replicas must be a 32-bit integer"):
        await patch(world, {"spec": {"replicas": "many"}})
    async with refused(400, "expected input object type to be Scale"):
        await put(world, deployment())
    async with refused(400, "the name of the object (b) does not match"):
        await put(world, {"metadata": {"name": "b"}, "spec": {"replicas": 1}})


async def test_kinds_without_scale_have_none(world: World) -> None:
    await world.create("configmaps", config_map())

    async with refused(404, "the server could not find the requested resource"):
        scale_of(world, "configmaps", "settings")
    async with refused(404, 'deployments.plum.dev "x" not found'):
        scale_of(world, name="x")
    async with refused(404, 'deployments.plum.dev "x" not found'):
        await put(world, {"spec": {"replicas": 1}}, name="x")


async def test_a_users_kind_scales_by_the_paths_it_declares(widgets: World) -> None:
    await widgets.create("widgets", widget(size=1))

    made = await put(widgets, {"metadata": {"name": "gear"}, "spec": {"replicas": 3}}, "widgets", "gear")

    assert made["spec"]["replicas"] == 3
    assert widgets.get("widgets", "gear")["spec"]["replicas"] == 3
