"""A folder is followed: what is written is applied, what is wrong changes nothing, what vanishes is deleted with care."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from plum_schemas.base import Condition, ObjectKey
from plum_schemas.core import ConfigMap
from plum_schemas.sync import REQUEST_ANNOTATION, Sync

from tests.support.syncs import SyncSite, config


def condition(sync: Sync, name: str) -> Condition:
    return next(entry for entry in sync.status.conditions if entry.type == name)


# ---- applying


async def test_what_is_written_is_applied_and_what_leaves_is_deleted(site: SyncSite) -> None:
    site.write("a.yaml", config("a", x="1"))
    site.write("deep/b.yaml", config("b", x="1"))
    await site.follow()
    await site.synced()
    assert await site.inventory() == {"a", "b"}

    site.write("a.yaml", config("a", x="2"))
    site.write("c.yaml", config("c", x="3"))
    (site.folder / "deep/b.yaml").unlink()

    await site.has("a", x="2")
    await site.has("c", x="3")
    done = await site.synced()
    assert await site.names() == await site.inventory() == {"a", "c"}
    assert (done.status.last.failed, done.status.phase) == (0, "Synced")


async def test_an_unchanged_source_writes_nothing(site: SyncSite) -> None:
    site.write("a.yaml", config("a", x="1"))
    await site.follow()
    await site.synced()
    before = site.plane.store.revision

    await site.edit(Sync.info, "fleet", {"metadata": {"annotations": {REQUEST_ANNOTATION: "1"}}})

    async def answered() -> bool:
        return (await site.get()).status.observed_request == "1"

    await site.until(answered)
    await site.restart()
    await site.synced()
    site.write("a.yaml", config("a", x="1"))
    os.utime(site.folder / "a.yaml")
    await site.edit(Sync.info, "fleet", {"metadata": {"annotations": {REQUEST_ANNOTATION: "2"}}})

    async def answered_again() -> bool:
        return (await site.get()).status.observed_request == "2"

    await site.until(answered_again)
    assert site.plane.store.revision == before + 4, "two annotations and two answers, and nothing of the objects"


async def test_an_invalid_file_changes_nothing_and_other_syncs_go_on(site: SyncSite) -> None:
    other = site.root / "other"
    other.mkdir()
    site.write("a.yaml", config("a", x="1"))
    await site.follow()
    await site.follow("other", other)
    await site.synced()

    async with site.at_once():
        site.write("a.yaml", config("a", x="2"))
        site.write("z.yaml", "apiVersion: plum.dev/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  replicas: two\n")
    failed = await site.phase("Failed", "z.yaml:5")
    (other / "o.yaml").write_text(config("o", x="1"))

    await site.has("o", x="1")
    assert await site.data("a") == {"x": "1"}
    assert "spec.replicas" in failed.status.message
    assert condition(failed, "Ready").status == "False"
    site.write("z.yaml", config("z", x="1"))
    await site.has("a", x="2")
    await site.synced()


async def test_all_mistakes_are_found_before_the_first_object_is_applied(site: SyncSite) -> None:
    site.write("a.yaml", config("a", x="1"))
    site.write("b.yaml", config("a", x="2"))
    site.write("c.yaml", "apiVersion: plum.dev/v1\nkind: Deploymint\nmetadata: {name: w}\n")
    await site.follow()

    failed = await site.phase("Failed", "and 1 more")

    assert "is there twice, also at a.yaml:1" in failed.status.message
    assert await site.names() == set()
    assert failed.status.inventory == []


async def test_objects_of_a_kind_that_is_defined_in_the_same_folder(site: SyncSite) -> None:
    definition = """
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        metadata: {name: pumps.plant.example, annotations: {plum.dev/health: "self.spec.flow > 3"}}
        spec:
          group: plant.example
          scope: Namespaced
          names: {plural: pumps, singular: pump, kind: Pump}
          versions:
            - name: v1
              served: true
              storage: true
              schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {flow: {type: integer}}}}}}
        """
    pump = "apiVersion: plant.example/v1\nkind: Pump\nmetadata: {name: p, namespace: plant}\nspec: {flow: FLOW}\n"
    site.write("a-pump.yaml", pump.replace("FLOW", "2"))
    site.write("definition.yaml", definition)
    site.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: plant}\n")
    await site.follow()

    done = await site.synced()

    health = {item.name: (item.result, item.health) for item in done.status.inventory}
    assert health["p"] == ("Applied", "Progressing")
    assert "self.spec.flow > 3" in condition(done, "Healthy").message
    site.write("a-pump.yaml", pump.replace("FLOW", "4"))

    async def healthy() -> bool:
        return condition(await site.get(), "Healthy").status == "True"

    await site.until(healthy)


# ---- order


def pump_like(name: str, **annotations: str) -> str:
    """An object whose health is its own content."""
    rule = {"plum.dev/health": "self.data.ready == 'yes'"}
    return config(
        name, {**rule, **{f"plum.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}}, ready="no"
    )


async def test_waves_and_dependencies_wait_for_health_and_go_in_reverse(site: SyncSite) -> None:
    site.write("a.yaml", pump_like("first", sync_wave="-1"))
    site.write("b.yaml", pump_like("second"))
    site.write("c.yaml", pump_like("third", depends_on="ConfigMap/second"))
    site.write("keep.yaml", config("keep", {"plum.dev/sync-wave": "-5"}, x="1"))
    await site.follow(driftPolicy="Report", maxDelete="100%")

    for name, later in (("first", "second"), ("second", "third")):
        await site.phase("Syncing", f"ConfigMap default/{name}: not yet")
        assert await site.data(later) is None
        await site.edit(ConfigMap.info, name, {"data": {"ready": "yes"}})
        await site.has(name, ready="yes")
    await site.synced()
    await site.edit(ConfigMap.info, "third", {"metadata": {"finalizers": ["test.dev/hold"]}})
    async with site.at_once():
        for name in "abc":
            (site.folder / f"{name}.yaml").unlink()

    await site.phase("Syncing", "third is being deleted")
    assert {"first", "second"} < await site.names(), "what others depend on, and lower waves, wait until they are gone"
    await site.edit(ConfigMap.info, "third", {"metadata": {"finalizers": None}})

    async def only_keep() -> bool:
        return await site.names() == {"keep"}

    await site.until(only_keep)
    await site.synced()
    assert await site.inventory() == {"keep"}


async def test_a_wave_that_does_not_become_healthy_ends_in_a_failure(site: SyncSite) -> None:
    site.write("a.yaml", pump_like("first", sync_wave="-1"))
    site.write("b.yaml", config("second", x="1"))
    await site.follow(waitTimeout="1s")

    await site.phase("Failed", "for more than 1s")

    assert await site.data("second") is None
    await site.edit(ConfigMap.info, "first", {"metadata": {"annotations": {"plum.dev/health": "true"}}})


async def test_a_sync_waits_for_those_it_depends_on(site: SyncSite) -> None:
    base = site.root / "base"
    base.mkdir()
    (base / "b.yaml").write_text(pump_like("base"))
    site.write("a.yaml", config("a", x="1"))
    await site.follow("base", base, driftPolicy="Report")
    await site.synced("base")
    await site.follow(dependsOn=["base"])
    await site.phase("Pending", "waits for the Sync base")

    await site.edit(ConfigMap.info, "base", {"data": {"ready": "yes"}})

    await site.has("a", x="1")


# ---- what deletes nothing


async def fill(site: SyncSite, count: int = 10, **spec: object) -> None:
    for number in range(count):
        site.write(f"{number}.yaml", config(f"c{number}", x="1"))
    await site.follow(**spec)
    await site.synced()


async def test_more_deletions_than_allowed_wait_for_an_approval(site: SyncSite) -> None:
    await fill(site)
    async with site.at_once():
        for number in range(3):
            (site.folder / f"{number}.yaml").unlink()
        site.write("9.yaml", config("c9", x="2"))

    blocked = await site.phase("Blocked", "3 of 10 objects would be deleted, and maxDelete is 20% (2)")

    assert len(await site.names()) == 10
    assert await site.data("c9") == {"x": "1"}, "nothing at all is changed"
    assert {item.name for item in blocked.status.inventory if item.pending_delete} == {"c0", "c1", "c2"}
    await site.edit(Sync.info, "fleet", {"spec": {"approveDelete": blocked.status.attempted_revision}})
    await site.synced()
    assert len(await site.names()) == len(await site.inventory()) == 7
    assert condition(await site.get(), "DeletesBlocked").status == "False"


async def test_an_empty_or_deleted_or_unreadable_folder_deletes_nothing(site: SyncSite) -> None:
    await fill(site, 3, maxDelete="100%")
    away = site.root / "away"

    site.folder.rename(away)
    await site.phase("Failed", "cannot be read: No such file or directory; nothing is changed or deleted")
    site.folder.mkdir()
    await site.phase("Blocked", "an empty source deletes nothing")
    site.folder.rmdir()
    site.folder.symlink_to("/proc/1/task/1/cwd/nowhere")
    await site.phase("Failed", "cannot be read")
    site.folder.unlink()
    away.rename(site.folder)
    (site.folder / "0.yaml").write_text("")
    await site.phase("Failed", "0.yaml:1: is empty")

    assert len(await site.names()) == 3
    site.write("0.yaml", config("c0", x="2"))
    await site.has("c0", x="2")
    await site.synced()
    assert await site.inventory() == {"c0", "c1", "c2"}


async def test_marked_objects_and_those_of_others_are_not_deleted(site: SyncSite) -> None:
    site.write("a.yaml", config("a", {"plum.dev/prune": "disabled"}, x="1"))
    site.write("b.yaml", config("b", x="1"))
    site.write("n.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: plant}\n")
    await site.follow(maxDelete="100%")
    await site.synced()
    await site.edit(ConfigMap.info, "b", {"metadata": {"labels": {"plum.dev/sync": None}}}, manager="thief")

    async def labelled() -> bool:
        found = await site.api.get(ConfigMap, "b", "default")
        return found is not None and found.metadata.labels.get("plum.dev/sync") == "default.fleet"

    await site.until(labelled, "the label is set right")
    for name in ("a", "n"):
        (site.folder / f"{name}.yaml").unlink()

    await site.synced()
    assert await site.names() == {"a", "b"}
    assert await site.inventory() == {"b"}


async def test_without_prune_what_leaves_stays(site: SyncSite) -> None:
    await fill(site, 2, prune=False)
    (site.folder / "0.yaml").unlink()

    await site.synced()

    assert await site.names() == {"c0", "c1"}


async def test_deleting_a_sync_deletes_nothing_else(site: SyncSite) -> None:
    await fill(site, 2)

    await site.api.delete(Sync, ObjectKey("default", "fleet"))
    site.write("0.yaml", config("c0", x="2"))
    await site.restart()

    assert await site.data("c0") == {"x": "1"}
    await site.follow("next")
    await site.synced("next")
    assert await site.data("c0") == {"x": "2"}, "the next Sync takes over what nobody owns any more"


async def test_what_could_not_be_deleted_stays_in_the_inventory(site: SyncSite) -> None:
    await fill(site, 2, maxDelete=5)
    await site.edit(ConfigMap.info, "c0", {"metadata": {"finalizers": ["test.dev/hold"]}})
    (site.folder / "0.yaml").unlink()

    waiting = await site.phase("Syncing", "test.dev/hold")
    assert [(item.name, item.pending_delete) for item in waiting.status.inventory] == [("c0", True), ("c1", False)]
    await site.restart()
    await site.edit(ConfigMap.info, "c0", {"metadata": {"finalizers": None}})

    await site.synced()
    assert await site.names() == await site.inventory() == {"c1"}


# ---- drift


async def test_drift_is_corrected_and_told(site: SyncSite) -> None:
    await fill(site, 2)

    await site.edit(ConfigMap.info, "c0", {"data": {"x": "mine", "y": "new"}}, manager="kubectl-edit")
    await site.has("c0", x="1", y="new")
    await site.api.delete(ConfigMap, ObjectKey("default", "c1"))
    await site.has("c1", x="1")

    async def told() -> bool:
        return len((await site.get()).status.drift) == 2

    await site.until(told)
    deleted, changed = (await site.get()).status.drift
    assert (changed.name, changed.fields, changed.manager, changed.corrected) == ("c0", ["data.x"], "kubectl-edit", True)
    assert (deleted.name, deleted.fields, deleted.corrected) == ("c1", ["(the object)"], True)


async def test_drift_is_only_reported_until_the_manifest_changes(site: SyncSite) -> None:
    await fill(site, 2, driftPolicy="Report")

    await site.edit(ConfigMap.info, "c0", {"data": {"x": "mine"}})

    async def told() -> bool:
        found = await site.get()
        return condition(found, "Drifted").status == "True" and len(found.status.drift) == 1

    await site.until(told)
    plan = await site.reconciler.plan(ObjectKey("default", "fleet"))
    assert plan is not None
    [change] = plan["changes"]
    assert (change["action"], change["detail"], change["manager"]) == ("report", "data.x", "kubectl-edit")
    assert (change["live"]["data"], change["wanted"]["data"]) == ({"x": "mine"}, {"x": "1"})
    await site.restart()
    site.write("1.yaml", config("c1", x="2"))
    await site.has("c1", x="2")
    await site.synced()
    found = await site.get()
    assert await site.data("c0") == {"x": "mine"}
    assert (found.status.drift[0].fields, found.status.drift[0].corrected) == (["data.x"], False)
    site.write("0.yaml", config("c0", x="3"))
    await site.has("c0", x="3")

    async def gone() -> bool:
        return condition(await site.get(), "Drifted").status == "False"

    await site.until(gone)


async def test_two_syncs_that_claim_one_object_are_told(site: SyncSite) -> None:
    other = site.root / "other"
    other.mkdir()
    await fill(site, 1)
    (other / "a.yaml").write_text(config("c0", x="other"))

    await site.follow("other", other, force=True)

    await site.phase("Failed", "a.yaml:3: ConfigMap c0: ConfigMap default/c0 belongs to the Sync default/fleet", "other")
    assert await site.data("c0") == {"x": "1"}
    assert (await site.get("other")).status.inventory == []


async def test_fields_of_others_are_a_conflict_unless_forced(site: SyncSite) -> None:
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}, "data": {"x": "theirs"}}
    await site.api.apply(theirs, kind=ConfigMap.info, field_manager="helm")
    site.write("a.yaml", config("a", x="ours"))
    await site.follow()

    await site.phase("Failed", 'data.x belongs to helm (there: "theirs", here: "ours")')
    (site.folder / "a.yaml").unlink()
    await site.phase("Synced")
    assert await site.data("a") == {"x": "theirs"}, "what was never applied is not deleted"
    site.write("a.yaml", config("a", x="ours"))
    await site.follow(force=True)
    await site.has("a", x="ours")


# ---- holding and going on


async def test_suspended_until_it_is_resumed_or_the_time_has_come(site: SyncSite) -> None:
    site.write("0.yaml", config("c0", x="1"))
    await site.follow(suspend=True, suspendReason="repairs")
    await site.phase("Suspended", "suspended: repairs")
    assert await site.names() == set()

    until = datetime.now(UTC) + timedelta(seconds=1.5)
    await site.follow(suspend=False, suspendUntil=until.isoformat(timespec="seconds").replace("+00:00", "Z"))

    await site.has("c0", x="1")
    assert datetime.now(UTC) >= until.replace(microsecond=0)


async def test_a_rollback_holds_until_the_source_is_newer(site: SyncSite) -> None:
    await fill(site, 1)
    good = (await site.get()).status.applied_revision
    site.write("0.yaml", config("c0", x="bad"))
    await site.has("c0", x="bad")
    bad = (await site.synced()).status.applied_revision

    await site.follow(hold={"revision": good, "newest": bad, "reason": "x is bad"})
    await site.has("c0", x="1")
    held = await site.phase("Synced")
    assert condition(held, "Held").message == f"at {good[:12]}: x is bad"
    await site.restart()
    await site.edit(ConfigMap.info, "c0", {"data": {"x": "drift"}})
    await site.has("c0", x="1")
    site.write("0.yaml", config("c0", x="better"))

    await site.has("c0", x="better")

    async def released() -> bool:
        return condition(await site.get(), "Held").status == "False"

    await site.until(released)


async def test_a_hold_on_a_revision_that_is_not_kept_is_told(site: SyncSite) -> None:
    await fill(site, 1)

    await site.follow(hold={"revision": "0123456789", "reason": ""})

    await site.phase("Failed", "0123456789 of spec.hold is not kept here")


# ---- values from elsewhere


async def test_variables_follow_their_config_map(site: SyncSite) -> None:
    values = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "site", "namespace": "default"},
        "data": {"SITE": "pier3"},
    }
    await site.api.apply(values, kind=ConfigMap.info)
    site.write("a.yaml", config("a", where="${SITE}", text="$${SITE}"))
    await site.follow(substitute={"from": [{"configMap": "site"}]})
    await site.has("a", where="pier3", text="${SITE}")

    await site.edit(ConfigMap.info, "site", {"data": {"SITE": "pier4"}})

    await site.has("a", where="pier4", text="${SITE}")


async def test_a_plan_shows_all_and_changes_nothing_and_hides_secrets(site: SyncSite) -> None:
    await fill(site, 2)
    await site.follow(suspend=True)
    await site.phase("Suspended")
    site.write("0.yaml", config("c0", x="2"))
    (site.folder / "1.yaml").unlink()
    site.write("s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: geheim}\n")
    before = site.plane.store.revision

    plan = await site.reconciler.plan(ObjectKey("default", "fleet"))

    assert plan is not None
    assert [(one["action"], one["name"]) for one in plan["changes"]] == [("change", "c0"), ("create", "s"), ("delete", "c1")]
    assert plan["changes"][0]["detail"] == "data.x"
    assert plan["blocked"] == "suspended"
    assert "geheim" not in str(plan)
    assert "Z2VoZWlt" not in str(plan)
    assert site.plane.store.revision == before


async def test_a_link_out_of_the_folder_is_not_followed(site: SyncSite) -> None:
    site.write("a.yaml", config("a", x="1"))
    (site.folder / "link.yaml").symlink_to("/etc/hostname")
    await site.follow()

    await site.phase("Failed", "link.yaml is a link that leads out of the source")
    assert await site.names() == set()
