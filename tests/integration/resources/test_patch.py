"""JSON, merge and strategic merge patches."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.resources import World, config_map, deployment, refused


@pytest.fixture
async def live(world: World) -> dict[str, Any]:
    data = deployment()
    data["metadata"]["labels"] = {"a": "b"}
    return await world.create("deployments", data)


async def test_a_merge_patch_merges_and_null_deletes(world: World, live: dict[str, Any]) -> None:
    patch = {"metadata": {"labels": {"a": None, "c": "d"}}, "spec": {"replicas": 7}}

    made = await world.patch("deployments", "web", patch)

    assert made["metadata"]["labels"] == {"c": "d"}
    assert made["spec"]["replicas"] == 7
    assert made["metadata"]["generation"] == 2


async def test_the_last_label_takes_the_labels_with_it(world: World, live: dict[str, Any]) -> None:
    assert "labels" not in (await world.patch("deployments", "web", {"metadata": {"labels": {"a": None}}}))["metadata"]


async def test_a_patch_that_changes_nothing_is_no_write(world: World, live: dict[str, Any]) -> None:
    before = world.cache.revision
    world.clock.advance(60)

    for patch in ({}, {"spec": {"replicas": 2}}, {"metadata": {"labels": {"zz": None}}}, {"metadata": {"annotations": {}}}):
        outcome = await world.patch_outcome("deployments", "web", patch, field_manager="other")
        assert not outcome.changed

    assert world.cache.revision == before
    assert world.get("deployments", "web") == live


async def test_a_revision_inside_the_patch_must_be_the_live_one(world: World, live: dict[str, Any]) -> None:
    revision = live["metadata"]["resourceVersion"]

    await world.patch("deployments", "web", {"metadata": {"resourceVersion": revision}, "spec": {"replicas": 3}})

    async with refused(409, "the object has been modified", reason="Conflict"):
        await world.patch("deployments", "web", {"metadata": {"resourceVersion": revision}, "spec": {"replicas": 4}})


async def test_a_json_patch_with_tests(world: World, live: dict[str, Any]) -> None:
    revision = live["metadata"]["resourceVersion"]
    patch = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": revision},
        {"op": "add", "path": "/metadata/finalizers", "value": ["plum.dev/x"]},
        {"op": "replace", "path": "/spec/replicas", "value": 4},
    ]

    made = await world.patch("deployments", "web", patch, patch_type="json")

    assert made["metadata"]["finalizers"] == ["plum.dev/x"]
    assert made["spec"]["replicas"] == 4
    async with refused(422, "the server rejected our request due to an error in our request", reason="Invalid") as caught:
        await world.patch("deployments", "web", patch, patch_type="json")
    assert caught.value.details == {}


async def test_a_json_patch_with_a_missing_path_is_unprocessable(world: World, live: dict[str, Any]) -> None:
    async with refused(422, "the server rejected our request"):
        await world.patch("deployments", "web", [{"op": "remove", "path": "/spec/nothing"}], patch_type="json")


@pytest.mark.parametrize(("patch_type", "patch"), [("json", {"spec": {}}), ("merge", [1]), ("merge", "x"), ("json", [5])])
async def test_what_is_no_patch_is_a_bad_request(world: World, live: dict[str, Any], patch_type: str, patch: Any) -> None:
    async with refused(400, "error decoding patch", reason="BadRequest"):
        await world.patch("deployments", "web", patch, patch_type=patch_type)


async def test_a_missing_object_is_not_found(world: World) -> None:
    async with refused(404, 'deployments.plum.dev "web" not found'):
        await world.patch("deployments", "web", {})


async def test_the_result_is_validated_like_an_update(world: World, live: dict[str, Any]) -> None:
    async with refused(422, "spec.replicas: Invalid value: -1"):
        await world.patch("deployments", "web", {"spec": {"replicas": -1}})
    async with refused(422, "spec.template: Required value"):
        await world.patch("deployments", "web", {"spec": {"template": None}})


async def test_uid_and_deletion_time_cannot_be_patched(world: World, live: dict[str, Any]) -> None:
    async with refused(422, 'metadata.uid: Invalid value: "x": field is immutable'):
        await world.patch("deployments", "web", {"metadata": {"uid": "x"}})
    async with refused(422, "metadata.deletionTimestamp: Invalid value: ", "field is immutable"):
        await world.patch("deployments", "web", {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})


async def test_the_name_cannot_be_patched(world: World, live: dict[str, Any]) -> None:
    async with refused(400, "the name of the object (b) does not match the name on the URL (web)"):
        await world.patch("deployments", "web", {"metadata": {"name": "b"}})


async def test_a_label_that_is_no_text_is_a_bad_request(world: World, live: dict[str, Any]) -> None:
    async with refused(400, "cannot unmarshal number into Go struct field ObjectMeta.labels of type string"):
        await world.patch("deployments", "web", {"metadata": {"labels": {"a": 1}}})


async def test_strict_refuses_unknown_fields_of_a_patch_as_invalid(world: World, live: dict[str, Any]) -> None:
    patch = {"spec": {"zz": 1}}

    async with refused(422, 'patch: Invalid value: "{\\"spec\\":{\\"zz\\":1}}": strict decoding error: unknown field "spec.zz"'):
        await world.patch("deployments", "web", patch, field_validation="Strict")

    outcome = await world.patch_outcome("deployments", "web", patch)
    assert outcome.warnings == ('unknown field "spec.zz"',)
    assert not outcome.changed


async def test_status_patches_touch_only_the_status(world: World, live: dict[str, Any]) -> None:
    patch = {"spec": {"replicas": 9}, "metadata": {"labels": {"x": "y"}}, "status": {"readyReplicas": 2}}

    made = await world.patch("deployments", "web", patch, subresource="status")

    assert (made["status"]["readyReplicas"], made["spec"]["replicas"], made["metadata"]["labels"]) == (2, 2, {"a": "b"})
    assert made["metadata"]["generation"] == 1


async def test_strategic_merge_is_only_for_core_kinds(world: World, live: dict[str, Any]) -> None:
    async with refused(415, "the body of the request was in an unknown format", reason="UnsupportedMediaType"):
        await world.patch("deployments", "web", {}, patch_type="strategic")

    data = config_map(a="1", b="2")
    data["metadata"]["finalizers"] = ["plum.dev/x", "plum.dev/y"]
    await world.create("configmaps", data)
    patch = {
        "data": {"a": None, "c": "3"},
        "metadata": {
            "$deleteFromPrimitiveList/finalizers": ["plum.dev/x"],
            "$setElementOrder/finalizers": ["plum.dev/z", "plum.dev/y"],
            "finalizers": ["plum.dev/z"],
        },
    }
    made = await world.patch("configmaps", "settings", patch, patch_type="strategic")
    assert made["data"] == {"b": "2", "c": "3"}
    assert made["metadata"]["finalizers"] == ["plum.dev/z", "plum.dev/y"]


async def test_force_is_only_for_apply(world: World, live: dict[str, Any]) -> None:
    async with refused(422, "force: Forbidden: may not be specified for non-apply patch"):
        await world.patch("deployments", "web", {}, force=True)


async def test_a_dry_run_stores_nothing(world: World, live: dict[str, Any]) -> None:
    made = await world.patch("deployments", "web", {"spec": {"replicas": 9}}, dry_run=True)

    assert made["spec"]["replicas"] == 9
    assert world.get("deployments", "web") == live


async def test_short_forms_are_understood_in_patches(world: World, live: dict[str, Any]) -> None:
    made = await world.patch("deployments", "web", {"spec": {"template": {"command": "sleep 5"}}})

    assert made["spec"]["template"]["command"] == ["sleep", "5"]


async def test_the_last_finalizer_can_go_by_a_json_patch(world: World) -> None:
    data = deployment()
    data["metadata"]["finalizers"] = ["plum.dev/x"]
    await world.create("deployments", data)
    await world.delete("deployments", "web")

    outcome = await world.patch_outcome(
        "deployments", "web", [{"op": "remove", "path": "/metadata/finalizers/0"}], patch_type="json"
    )

    assert outcome.gone
    assert not world.exists("deployments", "web")
