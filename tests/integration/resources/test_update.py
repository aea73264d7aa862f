"""Updates of the object and of its parts: revisions, generations, who may change what, and what is no change."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from plum_controller.resources.errors import ApiStatusError

from tests.support.resources import World, config_map, deployment, refused, widget


@pytest.fixture
async def live(world: World) -> dict[str, Any]:
    return await world.create("deployments", deployment(), field_manager="creator")


async def test_a_changed_spec_moves_revision_and_generation(world: World, live: dict[str, Any]) -> None:
    live["spec"]["replicas"] = 5

    made = await world.update("deployments", live)

    assert made["spec"]["replicas"] == 5
    assert made["metadata"]["generation"] == 2
    assert int(made["metadata"]["resourceVersion"]) == world.cache.revision > int(live["metadata"]["resourceVersion"])
    assert world.get("deployments", "web") == made


async def test_changed_metadata_does_not_move_the_generation(world: World, live: dict[str, Any]) -> None:
    live["metadata"]["labels"] = {"a": "b"}

    made = await world.update("deployments", live)

    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["labels"] == {"a": "b"}


async def test_a_stale_revision_is_a_conflict(world: World, live: dict[str, Any]) -> None:
    stale = copy.deepcopy(live)
    live["spec"]["replicas"] = 5
    await world.update("deployments", live)

    async with refused(409, reason="Conflict") as caught:
        await world.update("deployments", stale)

    assert caught.value.message == (
        'Operation cannot be fulfilled on deployments.plum.dev "web": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert caught.value.details == {"name": "web", "group": "plum.dev", "kind": "deployments"}
    assert world.get("deployments", "web")["spec"]["replicas"] == 5


async def test_an_own_kind_needs_the_revision_and_a_core_kind_does_not(world: World, live: dict[str, Any]) -> None:
    del live["metadata"]["resourceVersion"]
    async with refused(422, "metadata.resourceVersion: Invalid value: 0: must be specified for an update"):
        await world.update("deployments", live)

    await world.create("configmaps", config_map(a="1"))
    made = await world.update("configmaps", config_map(a="2"))
    assert made["data"] == {"a": "2"}
    stale = {**made, "metadata": {**made["metadata"], "resourceVersion": "1"}}
    async with refused(409, reason="Conflict"):
        await world.update("configmaps", stale)


async def test_a_revision_that_is_no_number_is_refused(world: World, live: dict[str, Any]) -> None:
    live["metadata"]["resourceVersion"] = "abc"

    async with refused(400, "metadata.resourceVersion"):
        await world.update("deployments", live)


async def test_a_missing_object_is_not_found_except_for_leases(world: World) -> None:
    async with refused(404, 'deployments.plum.dev "web" not found', reason="NotFound"):
        await world.update("deployments", deployment())

    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n"}, "spec": {"holderIdentity": "a"}}
    key = world.key("leases", "n", "plum-node-lease")
    from plum_controller.resources.options import WriteOptions

    first = await world.service.update(world.kind("leases"), key, copy.deepcopy(lease), WriteOptions())
    second = await world.service.update(world.kind("leases"), key, {**lease, "spec": {"holderIdentity": "b"}}, WriteOptions())

    assert (first.created, second.created) == (True, False)
    assert world.get("leases", "n", "plum-node-lease")["spec"]["holderIdentity"] == "b"


async def test_nothing_changed_is_no_write(world: World, live: dict[str, Any]) -> None:
    before, watch = world.cache.revision, world.watch("deployments")
    world.clock.advance(60)

    made = await world.update("deployments", live, field_manager="somebody-else")

    assert made == live
    assert world.cache.revision == before
    assert watch.seen == [("ADDED", "web")]


async def test_what_the_server_owns_is_kept(world: World, live: dict[str, Any]) -> None:
    sent = copy.deepcopy(live)
    sent["metadata"] |= {"creationTimestamp": "1999-01-01T00:00:00Z", "generation": 77}
    sent["spec"]["replicas"] = 3

    made = await world.update("deployments", sent)

    assert made["metadata"]["creationTimestamp"] == live["metadata"]["creationTimestamp"]
    assert made["metadata"]["generation"] == 2


async def test_another_uid_is_a_failed_precondition(world: World, live: dict[str, Any]) -> None:
    uid, live["metadata"]["uid"] = live["metadata"]["uid"], "other"

    async with refused(409, f"Precondition failed: UID in precondition: other, UID in object meta: {uid}", reason="Conflict"):
        await world.update("deployments", live)


async def test_name_and_namespace_must_match_the_url(world: World, live: dict[str, Any]) -> None:
    async with refused(400, "the name of the object (web) does not match the name on the URL (web2)"):
        await world.create("deployments", deployment("web2"))
        await world.update("deployments", live, name="web2")
    live["metadata"]["namespace"] = "other"
    async with refused(400, "the namespace of the provided object does not match the namespace sent on the request"):
        await world.update("deployments", live)


async def test_the_main_endpoint_ignores_status(world: World, live: dict[str, Any]) -> None:
    await world.patch("deployments", "web", {"status": {"readyReplicas": 1}}, subresource="status")
    sent = world.get("deployments", "web")
    sent["status"] = {"readyReplicas": 9}
    sent["spec"]["replicas"] = 4

    made = await world.update("deployments", sent)

    assert made["status"]["readyReplicas"] == 1
    assert made["spec"]["replicas"] == 4


async def test_the_status_endpoint_ignores_everything_else(world: World, live: dict[str, Any]) -> None:
    live["metadata"]["labels"] = {"a": "b"}
    live["metadata"]["finalizers"] = ["plum.dev/x"]
    live["spec"]["replicas"] = 9
    live["status"] = {"readyReplicas": 2}

    made = await world.update("deployments", live, subresource="status")

    assert made["status"]["readyReplicas"] == 2
    assert made["spec"]["replicas"] == 2
    assert made["metadata"]["generation"] == 1
    assert {"labels", "finalizers"}.isdisjoint(made["metadata"])


async def test_the_status_is_validated_too(world: World, live: dict[str, Any]) -> None:
    live["status"] = {"readyReplicas": -1}

    async with refused(422, "status.readyReplicas: Invalid value: -1"):
        await world.update("deployments", live, subresource="status")


async def test_parts_that_a_kind_does_not_have_are_not_found(world: World, live: dict[str, Any]) -> None:
    async with refused(404, "the server could not find the requested resource"):
        await world.update("deployments", live, subresource="finalize")
    cm = await world.create("configmaps", config_map())
    async with refused(404, "the server could not find the requested resource"):
        await world.update("configmaps", cm, subresource="status")


async def test_a_broken_update_changes_nothing(world: World, live: dict[str, Any]) -> None:
    sent = copy.deepcopy(live)
    sent["spec"]["replicas"] = -1

    async with refused(422, "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0"):
        await world.update("deployments", sent)

    assert world.get("deployments", "web") == live


async def test_a_dry_run_of_an_update_answers_as_if(world: World, live: dict[str, Any]) -> None:
    live["spec"]["replicas"] = 9

    made = await world.update("deployments", live, dry_run=True)

    assert made["spec"]["replicas"] == 9
    assert made["metadata"]["generation"] == 2
    assert made["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    assert world.get("deployments", "web")["spec"]["replicas"] == 2


async def test_the_last_finalizer_of_a_deleted_object_takes_it_away(world: World) -> None:
    data = deployment()
    data["metadata"]["finalizers"] = ["plum.dev/x"]
    await world.create("deployments", data)
    await world.delete("deployments", "web")
    watch = world.watch("deployments")
    sent = world.get("deployments", "web")
    sent["metadata"]["finalizers"] = []

    made = await world.update("deployments", sent)

    assert not world.exists("deployments", "web")
    assert "finalizers" not in made["metadata"]
    assert watch.seen == [("ADDED", "web"), ("DELETED", "web")]
    last = watch.events[-1]
    assert b'"finalizers":["plum.dev/x"]' in last.entry.value, "watchers get the last stored state"
    assert b'"resourceVersion":"%d"' % world.cache.revision in last.entry.value, "with the revision of the deletion"


async def test_while_deleting_the_spec_may_change_but_no_finalizer_comes(world: World) -> None:
    data = deployment()
    data["metadata"]["finalizers"] = ["plum.dev/x"]
    await world.create("deployments", data)
    await world.delete("deployments", "web")
    sent = world.get("deployments", "web")
    sent["spec"]["replicas"] = 0
    sent["metadata"]["labels"] = {"a": "b"}
    made = await world.update("deployments", sent)
    assert (made["spec"]["replicas"], made["metadata"]["labels"]) == (0, {"a": "b"})

    made["metadata"]["finalizers"].append("plum.dev/y")
    async with refused(422, "no new finalizers can be added if the object is being deleted"):
        await world.update("deployments", made)


async def test_managed_fields_can_be_cleared_and_replaced(world: World, live: dict[str, Any]) -> None:
    live["metadata"]["managedFields"] = []
    cleared = await world.update("deployments", live)
    assert "managedFields" not in cleared["metadata"]

    again = await world.create("deployments", deployment("b"), field_manager="creator")
    again["metadata"]["managedFields"][0]["manager"] = "renamed"
    replaced = await world.update("deployments", again)
    assert [entry["manager"] for entry in replaced["metadata"]["managedFields"]] == ["renamed"]

    replaced["metadata"]["managedFields"] = [{"operation": "Nonsense"}]
    kept = await world.update("deployments", replaced)
    assert [entry["manager"] for entry in kept["metadata"]["managedFields"]] == ["renamed"]


async def test_an_update_takes_over_the_fields_it_changes(world: World, live: dict[str, Any]) -> None:
    live["spec"]["replicas"] = 5

    made = await world.update("deployments", live, field_manager="scaler")

    owners = {entry["manager"]: entry["fieldsV1"].get("f:spec", {}) for entry in made["metadata"]["managedFields"]}
    assert "f:replicas" in owners["scaler"]
    assert "f:replicas" not in owners["creator"]


async def test_defaults_come_back_when_a_field_is_left_out(widgets: World) -> None:
    made = await widgets.create("widgets", widget(size=1, color="blue"))
    del made["spec"]["color"]

    assert (await widgets.update("widgets", made))["spec"] == {"size": 1, "color": "red"}


async def test_a_value_that_python_calls_equal_is_still_a_change(widgets: World) -> None:
    made = await widgets.create("widgets", widget(free={"a": 1}))
    made["spec"]["free"]["a"] = True

    changed = await widgets.update("widgets", made)

    assert changed["spec"]["free"]["a"] is True
    assert changed["metadata"]["generation"] == 2


async def test_a_retry_after_somebody_faster_in_another_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PUT without a revision is repeated; one with a revision gets the conflict."""
    from plum_controller.store.errors import PreconditionError

    made = await world.create("configmaps", config_map(a="1"))
    commit, failures = world.store.commit, iter([True])

    async def fail_once(transaction: Any) -> int:
        if next(failures, False):
            raise PreconditionError(transaction.writes[0].key, 1, 2)
        return await commit(transaction)

    monkeypatch.setattr(world.store, "commit", fail_once)

    assert (await world.update("configmaps", config_map(a="2")))["data"] == {"a": "2"}

    async def fail(transaction: Any) -> int:
        raise PreconditionError(transaction.writes[0].key, 1, 2)

    monkeypatch.setattr(world.store, "commit", fail)
    with pytest.raises(ApiStatusError) as caught:
        await world.update("configmaps", {**made, "data": {"a": "3"}})
    assert caught.value.code == 409


async def test_what_was_already_wrong_does_not_hold_an_object(widgets: World) -> None:
    """A schema became stricter: the old object keeps its value, loses its finalizer, and takes no new wrong value."""
    await widgets.create("widgets", {**widget(size=9), "metadata": {"name": "gear", "finalizers": ["x.dev/y"]}})
    live = widgets.get("customresourcedefinitions", "widgets.example.com")
    live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]["maximum"] = 5
    await widgets.update("customresourcedefinitions", live)

    made = await widgets.patch("widgets", "gear", {"metadata": {"labels": {"a": "b"}}})
    assert made["spec"]["size"] == 9
    async with refused(422, "spec.size: Invalid value: 8"):
        await widgets.patch("widgets", "gear", {"spec": {"size": 8}})

    await widgets.delete("widgets", "gear")
    outcome = await widgets.patch_outcome("widgets", "gear", {"metadata": {"finalizers": None}})
    assert outcome.gone
