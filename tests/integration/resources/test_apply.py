"""Server-side apply through the service: owners, conflicts, force, what is given up."""

from __future__ import annotations

from typing import Any

from tests.support.resources import World, deployment, refused, widget

TEMPLATE = {"command": ["sleep", "1"]}


def config(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


async def test_applying_to_nothing_creates(world: World) -> None:
    outcome = await world.patch_outcome(
        "deployments", "web", {**deployment(), "status": {"readyReplicas": 3}}, patch_type="apply", field_manager="tool"
    )

    made = world.get("deployments", "web")
    assert outcome.created
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["namespace"] == "default"
    assert made["spec"]["strategy"]["maxSurge"] == "25%"
    assert made.get("status", {}).get("readyReplicas", 0) == 0
    entry = made["metadata"]["managedFields"][0]
    assert (entry["manager"], entry["operation"]) == ("tool", "Apply")
    assert "f:strategy" not in entry["fieldsV1"]["f:spec"], "defaults belong to nobody"
    assert "f:status" not in entry["fieldsV1"]


async def test_applying_again_changes_nothing_not_even_a_time(world: World) -> None:
    first = await world.apply("deployments", config(replicas=2, template=TEMPLATE), "tool")
    before = world.cache.revision
    world.clock.advance(100)

    second = await world.apply("deployments", config(replicas=2, template=TEMPLATE), "tool")

    assert second == first
    assert world.cache.revision == before


async def test_another_value_for_a_field_of_another_manager_is_a_conflict(world: World) -> None:
    await world.apply("deployments", config(replicas=2, template=TEMPLATE), "bob")

    async with refused(409, reason="Conflict") as caught:
        await world.apply("deployments", config(replicas=3), "alice")

    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "bob": .spec.replicas'
    assert caught.value.details["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "bob"', "field": ".spec.replicas"}
    ]
    assert world.get("deployments", "web")["spec"]["replicas"] == 2


async def test_the_owner_by_update_is_named_with_its_version(world: World) -> None:
    await world.create("deployments", deployment(), field_manager="kubectl-create")

    async with refused(409, 'conflict with "kubectl-create" using plum.dev/v1: .spec.replicas'):
        await world.apply("deployments", config(replicas=3), "alice")


async def test_several_conflicts_are_listed(world: World) -> None:
    await world.apply("deployments", config(replicas=2, state="Running", template=TEMPLATE), "bob")

    async with refused(409, 'Apply failed with 2 conflicts: conflicts with "bob":\n- .spec.replicas\n- .spec.state'):
        await world.apply("deployments", config(replicas=3, state="Stopped"), "alice")


async def test_the_same_value_makes_a_second_owner(world: World) -> None:
    await world.apply("deployments", config(replicas=2, template=TEMPLATE), "bob")
    made = await world.apply("deployments", config(replicas=2), "alice")

    assert {entry["manager"] for entry in made["metadata"]["managedFields"]} == {"alice", "bob"}
    assert made["metadata"]["generation"] == 1
    # bob gives the field up, alice still wants it
    kept = await world.apply("deployments", config(template=TEMPLATE), "bob")
    assert kept["spec"]["replicas"] == 2


async def test_force_takes_the_field(world: World) -> None:
    await world.apply("deployments", config(replicas=2, template=TEMPLATE), "bob")

    made = await world.apply("deployments", config(replicas=3), "alice", force=True)

    assert made["spec"]["replicas"] == 3
    owners = {entry["manager"]: entry["fieldsV1"]["f:spec"] for entry in made["metadata"]["managedFields"]}
    assert "f:replicas" in owners["alice"]
    assert "f:replicas" not in owners["bob"]


async def test_what_is_no_longer_applied_goes(widgets: World) -> None:
    await widgets.apply("widgets", config("gear", size=1, parts=[{"name": "a", "weight": 1}, {"name": "b"}]), "tool")

    made = await widgets.apply("widgets", config("gear", parts=[{"name": "b"}]), "tool")

    assert made["spec"] == {"color": "red", "parts": [{"name": "b"}]}
    assert made["metadata"]["generation"] == 2


async def test_items_of_a_list_map_have_separate_owners(widgets: World) -> None:
    await widgets.apply("widgets", config("gear", parts=[{"name": "a", "weight": 1}]), "bob")

    made = await widgets.apply("widgets", config("gear", parts=[{"name": "b", "weight": 2}]), "alice")
    assert made["spec"]["parts"] == [{"name": "a", "weight": 1}, {"name": "b", "weight": 2}]

    async with refused(409, 'conflict with "bob": .spec.parts[name="a"].weight'):
        await widgets.apply("widgets", config("gear", parts=[{"name": "a", "weight": 5}]), "alice")


async def test_a_scaler_keeps_its_field_when_the_applier_leaves_it_out(world: World) -> None:
    await world.apply("deployments", config(template=TEMPLATE), "tool")
    assert world.get("deployments", "web")["spec"]["replicas"] == 1
    await world.patch("deployments", "web", {"spec": {"replicas": 8}}, field_manager="scaler")

    made = await world.apply("deployments", config(template={"command": ["sleep", "2"]}), "tool")

    assert made["spec"]["replicas"] == 8


async def test_a_short_form_and_its_long_form_are_the_same_configuration(world: World) -> None:
    first = await world.apply("deployments", config(replicas=1, template={"command": "sleep 1"}), "tool")
    second = await world.apply("deployments", config(replicas=1, template={"command": ["sleep", "1"]}), "tool")

    assert first == second


async def test_the_request_must_be_complete(world: World) -> None:
    whole = {**deployment()}
    async with refused(422, "fieldManager: Required value: is required for apply patch"):
        await world.patch("deployments", "web", whole, patch_type="apply", field_manager="")
    async with refused(400, "invalid object type: /, Kind="):
        await world.patch("deployments", "web", {"metadata": {"name": "web"}}, patch_type="apply")
    async with refused(400, "the name of the object (web) does not match the name on the URL (other)"):
        await world.patch("deployments", "other", whole, patch_type="apply")
    whole["metadata"] = {"name": "web", "managedFields": []}
    async with refused(400, "metadata.managedFields must be nil"):
        await world.patch("deployments", "web", whole, patch_type="apply")


async def test_an_undeclared_field_is_refused_whatever_the_validation(world: World) -> None:
    what = "failed to create typed patch object (default/web; plum.dev/v1, Kind=Deployment)"
    for validation in ("Strict", "Warn", "Ignore"):
        async with refused(400, f"{what}: .spec.zz: field not declared in schema"):
            await world.apply("deployments", config(zz=1, template=TEMPLATE), "tool", field_validation=validation)


async def test_null_creation_time_is_accepted(world: World) -> None:
    data = config(template=TEMPLATE)
    data["metadata"]["creationTimestamp"] = None

    assert (await world.apply("deployments", data, "tool"))["metadata"]["creationTimestamp"] == "2026-01-31T08:00:00Z"
    assert (await world.apply("deployments", data, "tool"))["metadata"]["creationTimestamp"] == "2026-01-31T08:00:00Z"


async def test_a_stale_revision_in_the_configuration_is_a_conflict(world: World) -> None:
    made = await world.apply("deployments", config(template=TEMPLATE), "tool")
    data = config(template={"command": ["sleep", "2"]})
    data["metadata"]["resourceVersion"] = str(int(made["metadata"]["resourceVersion"]) - 1)

    async with refused(409, "the object has been modified"):
        await world.apply("deployments", data, "tool")


async def test_the_status_is_applied_at_its_own_endpoint(world: World) -> None:
    status = {"metadata": {"name": "web"}, "status": {"readyReplicas": 1}}
    async with refused(404, 'deployments.plum.dev "web" not found'):
        await world.apply("deployments", status, "agent", subresource="status")

    await world.apply("deployments", config(template=TEMPLATE), "tool")
    made = await world.apply("deployments", status, "agent", subresource="status")

    assert made["status"]["readyReplicas"] == 1
    entry = next(entry for entry in made["metadata"]["managedFields"] if entry["manager"] == "agent")
    assert entry["subresource"] == "status"
    assert set(entry["fieldsV1"]) == {"f:status"}


async def test_an_apply_is_validated(world: World) -> None:
    async with refused(422, "spec.replicas: Invalid value: -1"):
        await world.apply("deployments", config(replicas=-1, template=TEMPLATE), "tool")


async def test_a_dry_run_of_an_apply_stores_nothing(world: World) -> None:
    made = await world.apply("deployments", config(template=TEMPLATE), "tool", dry_run=True)

    assert made["metadata"]["uid"]
    assert not world.exists("deployments", "web")


async def test_applied_finalizers_are_added_and_removed(widgets: World) -> None:
    await widgets.create("widgets", {**widget(), "metadata": {"name": "gear", "finalizers": ["x.dev/other"]}})
    data = config("gear", size=1)
    data["metadata"]["finalizers"] = ["x.dev/mine"]

    made = await widgets.apply("widgets", data, "tool")
    assert made["metadata"]["finalizers"] == ["x.dev/other", "x.dev/mine"]

    made = await widgets.apply("widgets", config("gear", size=1), "tool")
    assert made["metadata"]["finalizers"] == ["x.dev/other"]
