"""What every API promises its clients: the same tests over the fake API, the real one in process, and the real one over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace
from plum_client.codec import revision_of
from plum_client.controller import Controller
from plum_client.errors import (
    AlreadyExistsError,
    BadRequestError,
    ConflictError,
    InvalidObjectError,
    NotFoundError,
    RevisionCompactedError,
)
from plum_client.finalizers import ensure_finalizer, remove_finalizer
from plum_client.informer import Informer
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_client.writes import recorded_writes
from plum_schemas.base import Condition, ObjectKey, ObjectMeta
from plum_schemas.core import ConfigMap
from plum_schemas.deployment import Deployment
from plum_schemas.instance import Instance
from plum_schemas.lease import Lease, LeaseSpec

from tests.support.api import TARGETS, Target, make_deployment, make_instance, make_settings, settle, watching

HOLD = "plum.dev/test"
WEB = ObjectKey("default", "web")


@pytest.fixture(params=sorted(TARGETS))
async def target(request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    async with TARGETS[request.param]() as target:
        yield target


# ---- creating and reading


async def test_create_gives_identity_and_get_gives_it_back(target: Target) -> None:
    created = await target.api.create(make_deployment())
    found = await target.api.get(Deployment, "web", "default")

    assert found == created
    assert created.metadata.uid
    assert created.metadata.generation == 1
    assert created.metadata.creation_timestamp is not None
    assert int(created.metadata.resource_version) > 0


async def test_get_of_a_missing_object_is_none(target: Target) -> None:
    assert await target.api.get(Deployment, "absent", "default") is None


async def test_a_name_can_be_taken_once(target: Target) -> None:
    await target.api.create(make_settings("a"))

    with pytest.raises(AlreadyExistsError) as caught:
        await target.api.create(make_settings("a"))

    assert caught.value.reason == "AlreadyExists"
    assert isinstance(caught.value, ConflictError)


async def test_a_generated_name_starts_with_what_was_asked_for(target: Target) -> None:
    first, second = [
        await target.api.create(ConfigMap(metadata=ObjectMeta(generate_name="job-", namespace="default"))) for _ in range(2)
    ]

    assert first.metadata.name.startswith("job-")
    assert first.metadata.name != second.metadata.name


async def test_an_object_without_a_name_is_refused(target: Target) -> None:
    with pytest.raises(InvalidObjectError):
        await target.api.create(ConfigMap(metadata=ObjectMeta(namespace="default")))


async def test_create_ignores_the_status(target: Target) -> None:
    wanted = make_deployment()
    wanted.status.replicas = 7

    created = await target.api.create(wanted)

    assert created.status.replicas == 0


async def test_a_dry_run_stores_nothing(target: Target) -> None:
    answer = await target.api.create(make_settings("a", x="1"), dry_run=True)

    assert answer.data == {"x": "1"}
    assert await target.api.get(ConfigMap, "a", "default") is None


async def test_untyped_objects_are_dictionaries(target: Target) -> None:
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}

    created = await target.api.create(body, "default", kind=ConfigMap.info)
    created["data"]["x"] = "2"
    await target.api.update(created, kind=ConfigMap.info)
    found = await target.api.get(ConfigMap.info, "a", "default")

    assert found is not None
    assert found["data"] == {"x": "2"}


# ---- updating


async def test_update_replaces_the_spec_and_moves_the_generation(target: Target) -> None:
    created = await target.api.create(make_deployment(replicas=2))

    updated = await target.api.update(replace(created, spec=replace(created.spec, replicas=5)))

    assert updated.spec.replicas == 5
    assert updated.metadata.generation == 2
    assert int(updated.metadata.resource_version) > int(created.metadata.resource_version)


async def test_update_of_a_stale_object_is_a_conflict(target: Target) -> None:
    created = await target.api.create(make_deployment())
    await target.api.update(replace(created, spec=replace(created.spec, replicas=5)))

    with pytest.raises(ConflictError) as caught:
        await target.api.update(replace(created, spec=replace(created.spec, replicas=6)))

    assert not isinstance(caught.value, AlreadyExistsError)
    assert caught.value.reason == "Conflict"


async def test_update_needs_a_resource_version(target: Target) -> None:
    await target.api.create(make_deployment())

    with pytest.raises(InvalidObjectError) as caught:
        await target.api.update(make_deployment(replicas=9))

    assert caught.value.causes[0].field == "metadata.resourceVersion"


async def test_update_of_a_missing_object_is_not_found(target: Target) -> None:
    created = await target.api.create(make_deployment())
    await target.api.delete(Deployment, WEB)

    with pytest.raises(NotFoundError):
        await target.api.update(created)


async def test_a_write_that_changes_nothing_is_no_write(target: Target) -> None:
    created = await target.api.create(make_deployment())
    async with watching(target.api.watch(Deployment, since=created.metadata.resource_version)) as watch:
        same = await target.api.update(created)
        patched = await target.api.patch(Deployment, WEB, {"spec": {"replicas": 2}})
        await target.api.patch(Deployment, WEB, {"spec": {"replicas": 3}})
        await watch.until(1)

    assert same.metadata.resource_version == patched.metadata.resource_version == created.metadata.resource_version
    assert [event.object.spec.replicas for event in watch.events] == [3]


async def test_labels_do_not_move_the_generation(target: Target) -> None:
    await target.api.create(make_deployment())

    labelled = await target.api.patch(Deployment, WEB, {"metadata": {"labels": {"a": "b"}}})

    assert labelled.metadata.labels == {"a": "b"}
    assert labelled.metadata.generation == 1


async def test_status_and_spec_are_written_apart(target: Target) -> None:
    created = await target.api.create(make_deployment())

    status = replace(created.status, replicas=2)
    reported = await target.api.write_status(replace(created, spec=replace(created.spec, replicas=9), status=status))
    updated = await target.api.update(replace(reported, status=replace(status, replicas=8)))

    assert reported.status.replicas == 2
    assert reported.spec.replicas == 2
    assert reported.metadata.generation == 1
    assert updated.status.replicas == 2


async def test_a_stale_status_is_a_conflict(target: Target) -> None:
    created = await target.api.create(make_deployment())
    await target.api.patch(Deployment, WEB, {"spec": {"replicas": 3}})

    with pytest.raises(ConflictError):
        await target.api.write_status(replace(created, status=replace(created.status, replicas=1)))


async def test_a_status_patch_leaves_the_rest_alone(target: Target) -> None:
    await target.api.create(make_deployment())

    patch = {"status": {"replicas": 4}, "spec": {"replicas": 9}, "metadata": {"labels": {"a": "b"}}}
    patched = await target.api.patch(Deployment, WEB, patch, subresource="status")

    assert (patched.status.replicas, patched.spec.replicas, patched.metadata.labels) == (4, 2, {})


async def test_put_creates_a_lease(target: Target) -> None:
    lease = Lease(metadata=ObjectMeta(name="node-1", namespace="default"), spec=LeaseSpec(holder_identity="a"))

    await target.api.update(lease)
    found = await target.api.get(Lease, "node-1", "default")

    assert found is not None
    assert found.spec.holder_identity == "a"


async def test_scale_sets_the_replicas(target: Target) -> None:
    await target.api.create(make_deployment(replicas=2))

    await target.api.scale(Deployment, WEB, 6)
    found = await target.api.get(Deployment, WEB)

    assert found is not None
    assert found.spec.replicas == 6
    assert found.metadata.generation == 2


# ---- patching


async def test_a_merge_patch_sets_and_removes(target: Target) -> None:
    await target.api.create(make_settings("a", {"keep": "1", "drop": "1"}, x="1", y="1"))

    patch = {"metadata": {"labels": {"drop": None, "new": "1"}}, "data": {"y": "2"}}
    patched = await target.api.patch(ConfigMap, ObjectKey("default", "a"), patch)

    assert patched.metadata.labels == {"keep": "1", "new": "1"}
    assert patched.data == {"x": "1", "y": "2"}


async def test_a_merge_patch_with_a_stale_version_is_a_conflict(target: Target) -> None:
    created = await target.api.create(make_settings("a"))
    key = created.key
    await target.api.patch(ConfigMap, key, {"data": {"x": "1"}})

    with pytest.raises(ConflictError):
        version = created.metadata.resource_version
        await target.api.patch(ConfigMap, key, {"metadata": {"resourceVersion": version}, "data": {"x": "2"}})


async def test_a_json_patch_operates_on_paths(target: Target) -> None:
    await target.api.create(make_settings("a", x="1", y="1"))

    operations = [
        {"op": "test", "path": "/data/x", "value": "1"},
        {"op": "replace", "path": "/data/x", "value": "2"},
        {"op": "remove", "path": "/data/y"},
        {"op": "add", "path": "/metadata/annotations", "value": {"plum.dev/x": "1"}},
        {"op": "replace", "path": "/metadata/annotations/plum.dev~1x", "value": "2"},
    ]
    patched = await target.api.patch(ConfigMap, "a", operations, type="json")

    assert patched.data == {"x": "2"}
    assert patched.metadata.annotations == {"plum.dev/x": "2"}


async def test_a_json_patch_whose_test_fails_is_invalid(target: Target) -> None:
    await target.api.create(make_settings("a", x="1"))

    with pytest.raises(InvalidObjectError):
        operations = [{"op": "test", "path": "/data/x", "value": "other"}, {"op": "remove", "path": "/data/x"}]
        await target.api.patch(ConfigMap, "a", operations, type="json")

    found = await target.api.get(ConfigMap, "a", "default")
    assert found is not None
    assert found.data == {"x": "1"}


async def test_a_patch_of_a_missing_object_is_not_found(target: Target) -> None:
    with pytest.raises(NotFoundError):
        await target.api.patch(ConfigMap, "absent", {"data": {"x": "1"}})


# ---- applying


async def test_apply_creates_and_then_changes(target: Target) -> None:
    await target.api.apply(make_settings("a", x="1", y="1"))
    applied = await target.api.apply(make_settings("a", x="2"))

    assert applied.data == {"x": "2"}


async def test_apply_keeps_the_fields_of_others(target: Target) -> None:
    await target.api.apply(make_settings("a", x="1"), field_manager="one")
    applied = await target.api.apply(make_settings("a", y="1"), field_manager="two")

    assert applied.data == {"x": "1", "y": "1"}


async def test_apply_of_a_field_of_another_manager_is_a_conflict_unless_forced(target: Target) -> None:
    await target.api.apply(make_settings("a", x="1"), field_manager="one")

    with pytest.raises(ConflictError) as caught:
        await target.api.apply(make_settings("a", x="2"), field_manager="two")
    forced = await target.api.apply(make_settings("a", x="2"), field_manager="two", force=True)

    assert "one" in caught.value.message
    assert caught.value.causes[0].field == ".data.x"
    assert forced.data == {"x": "2"}


async def test_applying_the_same_again_changes_nothing(target: Target) -> None:
    first = await target.api.apply(make_settings("a", x="1"))
    second = await target.api.apply(make_settings("a", x="1"))

    assert second.metadata.resource_version == first.metadata.resource_version


# ---- deleting


async def test_delete_removes_and_may_be_repeated(target: Target) -> None:
    await target.api.create(make_settings("a"))

    await target.api.delete(ConfigMap, "a")
    await target.api.delete(ConfigMap, "a")

    assert await target.api.get(ConfigMap, "a", "default") is None


async def test_delete_of_another_incarnation_is_a_conflict(target: Target) -> None:
    created = await target.api.create(make_settings("a"))

    with pytest.raises(ConflictError):
        await target.api.delete(ConfigMap, "a", uid="another")
    with pytest.raises(ConflictError):
        await target.api.delete(ConfigMap, "a", revision="1")
    await target.api.delete(ConfigMap, "a", uid=created.metadata.uid)
    with pytest.raises(NotFoundError):
        await target.api.delete(ConfigMap, "a", uid=created.metadata.uid)


async def test_a_finalizer_holds_a_deletion(target: Target) -> None:
    await target.api.create(make_deployment(finalizers=[HOLD]))

    await target.api.delete(Deployment, WEB)
    held = await target.api.get(Deployment, WEB)
    assert held is not None
    assert held.metadata.deletion_timestamp is not None
    assert held.metadata.generation == 2
    version = held.metadata.resource_version
    await target.api.delete(Deployment, WEB)
    again = await target.api.get(Deployment, WEB)
    assert again is not None
    assert again.metadata.resource_version == version

    await remove_finalizer(target.api, held, HOLD)
    assert await target.api.get(Deployment, WEB) is None


async def test_no_finalizer_is_added_to_what_is_being_deleted(target: Target) -> None:
    await target.api.create(make_settings("a"))
    found = await ensure_finalizer(target.api, await _read(target, "a"), HOLD)
    assert await ensure_finalizer(target.api, found, HOLD) is found
    await target.api.delete(ConfigMap, "a")

    with pytest.raises(InvalidObjectError):
        await ensure_finalizer(target.api, await _read(target, "a"), "plum.dev/late")


async def test_an_object_that_is_being_deleted_keeps_its_name(target: Target) -> None:
    await target.api.create(make_deployment(finalizers=[HOLD]))
    await target.api.delete(Deployment, WEB)

    with pytest.raises(AlreadyExistsError):
        await target.api.create(make_deployment())


@pytest.mark.parametrize(("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
async def test_propagation_is_left_to_the_garbage_collector(target: Target, propagation: Any, finalizer: str) -> None:
    await target.api.create(make_deployment())

    await target.api.delete(Deployment, WEB, propagation=propagation)
    held = await target.api.get(Deployment, WEB)

    assert held is not None
    assert held.metadata.finalizers == [finalizer]


async def test_delete_collection_deletes_what_matches(target: Target) -> None:
    for name, color in (("a", "red"), ("b", "blue"), ("c", "red")):
        await target.api.create(make_settings(name, {"color": color}))

    await target.api.delete_collection(ConfigMap, "default", labels="color=red")

    assert [found.metadata.name for found in await target.api.list(ConfigMap, "default")] == ["b"]


# ---- listing


async def test_lists_are_in_key_order_and_paged_from_one_snapshot(target: Target) -> None:
    for number in (3, 1, 4, 2, 0):
        await target.api.create(make_settings(f"s-{number}"))

    listed = await target.api.list(ConfigMap, "default", limit=2)

    assert [found.metadata.name for found in listed.items] == [f"s-{number}" for number in range(5)]
    assert int(listed.revision) >= max(int(found.metadata.resource_version) for found in listed)


async def test_label_selectors(target: Target) -> None:
    for name, color in (("a", "red"), ("b", "blue"), ("c", "")):
        await target.api.create(make_settings(name, {"color": color} if color else {}))

    async def names(labels: str) -> list[str]:
        return [found.metadata.name for found in await target.api.list(ConfigMap, "default", labels=labels)]

    assert await names("color=red") == ["a"]
    assert await names("color!=red") == ["b", "c"]
    assert await names("color in (red, blue)") == ["a", "b"]
    assert await names("!color") == ["c"]
    with pytest.raises(BadRequestError):
        await names("color==(")


async def test_field_selectors(target: Target) -> None:
    for name, node in (("a", "node-1"), ("b", "node-2"), ("c", "")):
        await target.api.create(make_instance(name, node))

    async def names(fields: str) -> list[str]:
        return [found.metadata.name for found in await target.api.list(Instance, fields=fields)]

    assert await names("spec.nodeName=node-1") == ["a"]
    assert await names("spec.nodeName=") == ["c"]
    assert await names("spec.nodeName!=node-1,metadata.name!=c") == ["b"]
    with pytest.raises(BadRequestError):
        await names("spec.unknown=1")


# ---- watching


async def test_a_watch_from_nothing_begins_with_what_is_there(target: Target) -> None:
    await target.api.create(make_settings("a"))
    async with watching(target.api.watch(ConfigMap, "default")) as watch:
        await watch.until(1)
        await target.api.create(make_settings("b"))
        await target.api.patch(ConfigMap, "a", {"data": {"x": "1"}})
        await target.api.delete(ConfigMap, "b")

        assert await watch.until(4) == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


async def test_a_watch_resumes_without_gap_or_repetition(target: Target) -> None:
    first = await target.api.create(make_settings("a"))
    await target.api.create(make_settings("b"))
    async with watching(target.api.watch(ConfigMap, "default", since=first.metadata.resource_version)) as watch:
        await watch.until(1)
    await target.api.create(make_settings("c"))
    await target.api.delete(ConfigMap, "b")

    async with watching(target.api.watch(ConfigMap, "default", since=watch.events[-1].revision)) as resumed:
        await target.api.create(make_settings("d"))
        assert await resumed.until(3) == [("ADDED", "c"), ("DELETED", "b"), ("ADDED", "d")]

    revisions = [revision_of(event.revision) for event in resumed.events]
    assert revisions == sorted(revisions)
    assert revisions[0] > revision_of(watch.events[-1].revision)


async def test_a_watch_from_too_long_ago_is_refused(target: Target) -> None:
    first = await target.api.create(make_settings("a"))
    await target.api.create(make_settings("b"))
    await target.compact()

    with pytest.raises(RevisionCompactedError):
        async for _ in target.api.watch(ConfigMap, since=first.metadata.resource_version):
            raise AssertionError("an event came")


async def test_what_starts_or_stops_to_match_is_added_or_deleted(target: Target) -> None:
    created = await target.api.create(make_instance("a"))
    watch_of_node = target.api.watch(Instance, fields="spec.nodeName=node-1", since=created.metadata.resource_version)
    watch_of_label = target.api.watch(Instance, labels="color=red", since=created.metadata.resource_version)
    async with watching(watch_of_node) as on_node, watching(watch_of_label) as red:
        await target.api.patch(Instance, created.key, {"metadata": {"labels": {"color": "red"}}})
        await target.api.patch(Instance, created.key, {"spec": {"nodeName": "node-1"}})
        last = await target.api.patch(Instance, created.key, {"metadata": {"labels": {"color": "blue"}}})
        await target.api.delete(Instance, created.key)

        assert await on_node.until(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
        assert await red.until(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]

    left = red.events[-1]
    assert left.object.metadata.labels == {"color": "red"}
    assert left.revision == last.metadata.resource_version


async def test_a_deletion_carries_its_own_revision(target: Target) -> None:
    created = await target.api.create(make_settings("a"))
    async with watching(target.api.watch(ConfigMap, since=created.metadata.resource_version)) as watch:
        with recorded_writes() as written:
            await target.api.delete(ConfigMap, "a")
        await watch.until(1)

    assert int(watch.events[0].revision) > int(created.metadata.resource_version)
    assert written[0].revision == int(watch.events[0].revision)


async def test_every_write_tells_its_revision(target: Target) -> None:
    with recorded_writes() as written:
        created = await target.api.create(make_settings("a"))
        patched, _ = await asyncio.gather(
            target.api.patch(ConfigMap, "a", {"data": {"x": "1"}}), target.api.create(make_settings("b"))
        )

    revisions = {write.key.name: write.revision for write in written}
    assert revisions["a"] == int(patched.metadata.resource_version) > int(created.metadata.resource_version)
    assert target.api.last_revision == max(revisions.values())


# ---- what is built on it


async def test_an_informer_follows(target: Target) -> None:
    await target.api.create(make_instance("a", "node-1"))
    informer = Informer(target.api, Instance, indexers={"node": lambda instance: [instance.spec.node_name]})
    following = asyncio.create_task(informer.run())
    try:
        await informer.wait_synced()
        await target.api.create(make_instance("b", "node-1"))
        last = await target.api.patch(Instance, ObjectKey("default", "a"), {"metadata": {"labels": {"x": "1"}}})

        assert await informer.wait_for(int(last.metadata.resource_version))
        assert sorted(found.metadata.name for found in informer.by_index("node", "node-1")) == ["a", "b"]
        assert informer.get(last.key) == last
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


class CountCopies:
    """Keeps as many ConfigMaps as a Deployment has replicas, and counts them in a condition."""

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._deployments = manager.informer(Deployment)
        self._copies = manager.informer(ConfigMap, labels="copy")

    async def reconcile(self, key: ObjectKey) -> Result:
        deployment = self._deployments.get(key)
        if deployment is None:
            return Result.wait_for_change()
        for number in range(len(self._copies), deployment.spec.replicas or 0):
            await self._api.create(make_settings(f"copy-{number}", {"copy": "yes"}))
        ready = Condition(type="Ready", status="True", reason="Counted", message=str(len(self._copies)))
        if deployment.status.conditions != [ready]:
            await self._api.write_status(replace(deployment, status=replace(deployment.status, conditions=[ready])))
        return Result.wait_for_change()


async def test_a_controller_reads_its_own_writes(target: Target) -> None:
    manager = Manager(target.api)
    manager.add(Controller("copies", CountCopies(manager), Deployment, workers=2))
    running = asyncio.create_task(manager.run())
    try:
        await target.api.create(make_deployment(replicas=3))
        copies = manager.informer(ConfigMap, labels="copy")
        await settle(lambda: len(copies) == 3)
        await target.api.scale(Deployment, WEB, 5)
        await settle(lambda: len(copies) == 5)
        await manager.idle()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert manager.controllers[0].errors == 0
    assert [found.metadata.name for found in await target.api.list(ConfigMap, labels="copy")] == [f"copy-{n}" for n in range(5)]


async def _read(target: Target, name: str) -> ConfigMap:
    found = await target.api.get(ConfigMap, name, "default")
    assert found is not None
    return found
