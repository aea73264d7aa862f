"""CustomResourceDefinitions: what makes one sound, when its kind is served, and how it ends."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
from plum_controller.resources.options import ListOptions

from tests.support.resources import ManualClock, World, config_map, decode, definition, make_store, refused, until, widget

CRDS = "customresourcedefinitions"


def conditions(data: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in data["status"]["conditions"]}


async def test_the_answer_to_the_create_says_that_it_is_established(world: World) -> None:
    made = await world.create(CRDS, definition())

    assert conditions(made) == {"NamesAccepted": "True", "Established": "True"}
    assert made["status"]["acceptedNames"] == {
        "plural": "widgets",
        "singular": "widget",
        "kind": "Widget",
        "listKind": "WidgetList",
    }
    assert made["status"]["storedVersions"] == ["v1"]
    assert made["spec"]["conversion"] == {"strategy": "None"}
    assert made["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]


async def test_its_kind_is_served_at_once(world: World) -> None:
    before = world.registry.generation
    await world.create(CRDS, definition())

    kind = world.registry.by_path("example.com", "v1", "widgets")
    assert kind is not None
    assert kind is world.registry.by_kind("example.com/v1", "Widget")
    assert kind.info.namespaced
    assert kind.info.has_status
    assert (kind.info.singular, kind.info.list_kind) == ("widget", "WidgetList")
    assert kind.info.scale is not None
    assert world.registry.generation > before
    made = await world.create("widgets", widget(size=1))
    assert made["spec"] == {"size": 1, "color": "red"}
    assert made["metadata"]["generation"] == 1


async def test_its_selectable_fields_select(widgets: World) -> None:
    await widgets.create("widgets", widget("a", color="blue"))
    await widgets.create("widgets", widget("b"))

    assert await widgets.names("widgets", fields="spec.color=red") == ["b"]
    async with refused(400, "field label not supported: spec.size"):
        await widgets.names("widgets", fields="spec.size=1")


async def test_fields_that_become_selectable_later_find_what_is_stored(widgets: World) -> None:
    await widgets.create("widgets", widget("a", size=3))
    live = widgets.get(CRDS, "widgets.example.com")
    live["spec"]["versions"][0]["selectableFields"].append({"jsonPath": ".spec.size"})
    await widgets.update(CRDS, live)

    assert await widgets.names("widgets", fields="spec.size=3") == ["a"]


async def test_a_changed_schema_holds_at_once(widgets: World) -> None:
    live = widgets.get(CRDS, "widgets.example.com")
    live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]["maximum"] = 5
    made = await widgets.update(CRDS, live)

    assert made["metadata"]["generation"] == 2
    async with refused(422, "spec.size: Invalid value: 6"):
        await widgets.create("widgets", widget(size=6))


async def test_updating_with_the_same_is_no_write(widgets: World) -> None:
    live = widgets.get(CRDS, "widgets.example.com")
    before = widgets.cache.revision
    widgets.clock.advance(50)

    assert await widgets.update(CRDS, live) == live
    assert widgets.cache.revision == before


def set_at(data: dict[str, Any], path: str, value: Any) -> None:
    """Set, or with None remove, what is at a dotted path."""
    *above, last = (int(part) if part.isdigit() else part for part in path.split("."))
    found: Any = data
    for part in above:
        found = found[part]
    if value is None:
        del found[last]
    else:
        found[last] = value


VERSION = "spec.versions.0"
SCHEMA = f"{VERSION}.schema.openAPIV3Schema"


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (
            "metadata.name",
            "gadgets.example.com",
            'metadata.name: Invalid value: "gadgets.example.com": must be spec.names.plural+',
        ),
        ("spec", "x", "spec: Invalid value"),
        ("spec.group", None, "spec.group: Required value"),
        ("spec.scope", "Galaxy", "spec.scope: Unsupported value"),
        ("spec.names.kind", "Wid get", "spec.names.kind: Invalid value"),
        ("spec.names.listKind", "Widget", "kind and listKind may not be the same"),
        ("spec.conversion", {"strategy": "Webhook"}, 'spec.conversion.strategy: Unsupported value: "Webhook"'),
        ("spec.preserveUnknownFields", True, "spec.preserveUnknownFields: Invalid value: true: cannot be true"),
        ("metadata.name", "widgets.policy.k8s.io", "must be spec.names.plural"),
        (f"{VERSION}.storage", False, "must have exactly one version marked as storage version"),
        (f"{VERSION}.schema", None, "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"),
        (f"{SCHEMA}.properties.spec.type", None, "schema.openAPIV3Schema.properties[spec].type: Required value"),
        (f"{VERSION}.subresources.scale.specReplicasPath", ".status.x", "specReplicasPath: Invalid value"),
        (f"{VERSION}.selectableFields", [{"jsonPath": ".metadata.name"}], "spec.versions[0].selectableFields[0].jsonPath"),
    ],
)
async def test_an_unsound_definition_is_refused(world: World, path: str, value: Any, problem: str) -> None:
    data = definition()
    set_at(data, path, value)

    async with refused(422, problem, reason="Invalid"):
        await world.create(CRDS, data)


async def test_a_version_is_named_once(world: World) -> None:
    data = definition()
    data["spec"]["versions"].append({**data["spec"]["versions"][0], "storage": False})

    async with refused(422, "spec.versions[1]", "Duplicate value"):
        await world.create(CRDS, data)


async def test_a_group_without_a_dot_is_refused(world: World) -> None:
    async with refused(422, 'spec.group: Invalid value: "example": should be a domain with at least one dot'):
        await world.create(CRDS, definition(group="example"))


async def test_built_in_kinds_cannot_be_redefined(world: World) -> None:
    async with refused(422, "metadata.name: Forbidden: the kind is built in"):
        await world.create(CRDS, definition("deployments", "plum.dev"))


async def test_what_names_stored_objects_cannot_change(widgets: World) -> None:
    live = widgets.get(CRDS, "widgets.example.com")
    live["spec"]["scope"] = "Cluster"

    async with refused(422, 'spec.scope: Invalid value: "Cluster": field is immutable'):
        await widgets.update(CRDS, live)


async def test_taken_names_wait_until_they_are_free(widgets: World) -> None:
    second = definition("gizmos")
    second["spec"]["names"]["shortNames"] = ["widget"]

    made = await widgets.create(CRDS, second)

    assert conditions(made) == {"NamesAccepted": "False", "Established": "False"}
    assert widgets.registry.by_path("example.com", "v1", "gizmos") is None
    await widgets.delete(CRDS, "widgets.example.com")
    await until(lambda: widgets.registry.by_path("example.com", "v1", "gizmos") is not None)
    assert conditions(widgets.get(CRDS, "gizmos.example.com")) == {"NamesAccepted": "True", "Established": "True"}


async def test_names_of_built_in_kinds_are_taken_only_in_their_group(world: World) -> None:
    assert conditions(await world.create(CRDS, definition("deployments", "example.com")))["Established"] == "True"


async def test_deleting_a_definition_removes_its_objects_then_itself(widgets: World) -> None:
    for number in range(5):
        await widgets.create("widgets", widget(f"w-{number}"))
    watch, before = widgets.watch("widgets"), widgets.registry.generation

    outcome = await widgets.delete(CRDS, "widgets.example.com")

    assert not outcome.gone
    assert conditions(decode(outcome))["Terminating"] == "True"
    await until(lambda: not widgets.exists(CRDS, "widgets.example.com"))
    assert [kind for kind, _ in watch.seen] == ["ADDED"] * 5 + ["DELETED"] * 5
    assert widgets.registry.by_path("example.com", "v1", "widgets") is None
    assert widgets.registry.generation > before
    assert widgets.cache.count("widgets.example.com") == 0


async def test_objects_with_finalizers_keep_the_definition(widgets: World) -> None:
    await widgets.create("widgets", {**widget(), "metadata": {"name": "gear", "finalizers": ["x.dev/y"]}})
    await widgets.delete(CRDS, "widgets.example.com")
    await until(lambda: "deletionTimestamp" in widgets.get("widgets", "gear")["metadata"])

    async with refused(405, "create is not supported", reason="MethodNotAllowed"):
        await widgets.create("widgets", widget("new"))
    assert widgets.exists(CRDS, "widgets.example.com")

    await widgets.patch("widgets", "gear", {"metadata": {"finalizers": None}})
    await until(lambda: not widgets.exists(CRDS, "widgets.example.com"))


async def test_no_object_outlives_its_definition(world: World) -> None:
    """Creates race with the deletion of the definition."""
    for _ in range(5):
        await world.create(CRDS, definition())

        async def fill(number: int) -> None:
            for index in range(10):
                try:
                    await world.create("widgets", widget(f"w-{number}-{index}"))
                except KeyError:
                    return
                except Exception as error:
                    assert getattr(error, "code", None) in (404, 405)
                    return

        await asyncio.gather(*(fill(number) for number in range(4)), world.delete(CRDS, "widgets.example.com"))
        await until(lambda: not world.exists(CRDS, "widgets.example.com"))
        assert world.cache.count("widgets.example.com") == 0


async def test_a_create_that_comes_too_late_is_refused(widgets: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The definition goes between the checks of a create and its commit."""
    commit, first = widgets.store.commit, True

    async def slow(transaction: Any) -> int:
        nonlocal first
        if first:
            first = False
            await widgets.delete(CRDS, "widgets.example.com")
            await until(lambda: not widgets.exists(CRDS, "widgets.example.com"))
        return await commit(transaction)

    monkeypatch.setattr(widgets.store, "commit", slow)

    async with refused(404, "the server could not find the requested resource"):
        await widgets.create("widgets", widget())
    assert widgets.cache.count("widgets.example.com") == 0


async def test_a_controller_that_starts_again_knows_kinds_and_finishes_deletions(tmp_path: Path) -> None:
    first = World(make_store("sqlite", tmp_path), ManualClock())
    await first.start()
    await first.create(CRDS, definition())
    await first.create(CRDS, definition("anvils"))
    await first.create("widgets", widget(color="blue"))
    await first.create("anvils", {"metadata": {"name": "a"}, "spec": {"color": "blue"}})
    await first.service.close()  # the cleaner does not run any more
    await first.delete(CRDS, "widgets.example.com")
    await first.stop()

    second = World(make_store("sqlite", tmp_path), ManualClock())
    await second.start()
    try:
        await until(lambda: not second.exists(CRDS, "widgets.example.com"))
        assert second.registry.by_path("example.com", "v1", "widgets") is None
        assert await second.names("anvils", fields="spec.color=blue") == ["a"]
    finally:
        await second.stop()


async def test_every_served_version_shows_every_object(world: World) -> None:
    data = definition()
    old = {**copy.deepcopy(data["spec"]["versions"][0]), "name": "v1beta1", "storage": False}
    data["spec"]["versions"].append(old)
    await world.create(CRDS, data)
    watch = world.watch("widgets.v1beta1.example.com")

    made = await world.create("widgets.v1beta1.example.com", {**widget(size=1), "apiVersion": "example.com/v1beta1"})
    assert made["apiVersion"] == "example.com/v1beta1"
    assert world.get("widgets.v1.example.com", "gear")["apiVersion"] == "example.com/v1"
    assert world.get("widgets.v1beta1.example.com", "gear") == made
    assert b'"apiVersion":"example.com/v1beta1"' in watch.events[0].line()

    made["spec"]["size"] = 2
    assert (await world.update("widgets.v1beta1.example.com", made))["apiVersion"] == "example.com/v1beta1"
    patched = await world.patch("widgets.v1.example.com", "gear", {"spec": {"size": 3}})
    assert (patched["apiVersion"], patched["metadata"]["generation"]) == ("example.com/v1", 3)
    result = await world.service.list(world.kind("widgets.v1beta1.example.com"), ListOptions())
    assert b'"apiVersion":"example.com/v1beta1"' in result.values[0]


async def test_another_storage_version_is_remembered(widgets: World) -> None:
    await widgets.create("widgets", widget(size=1))
    live = widgets.get(CRDS, "widgets.example.com")
    versions = live["spec"]["versions"]
    versions.append({**copy.deepcopy(versions[0]), "name": "v2"})
    versions[0]["storage"] = False

    made = await widgets.update(CRDS, live)

    assert made["status"]["storedVersions"] == ["v1", "v2"]
    assert widgets.get("widgets.v2.example.com", "gear")["apiVersion"] == "example.com/v2"
    assert widgets.get("widgets.v1.example.com", "gear")["apiVersion"] == "example.com/v1"
    made["spec"]["versions"] = [version for version in made["spec"]["versions"] if version["name"] == "v2"]
    async with refused(422, 'status.storedVersions[0]: Invalid value: "v1": must appear in spec.versions'):
        await widgets.update(CRDS, made)


async def test_a_version_that_is_not_served_is_not_found(world: World) -> None:
    data = definition()
    data["spec"]["versions"].append(
        {**copy.deepcopy(data["spec"]["versions"][0]), "name": "v0", "storage": False, "served": False}
    )
    await world.create(CRDS, data)

    assert world.registry.by_path("example.com", "v0", "widgets") is None
    assert world.registry.by_path("example.com", "v1", "widgets") is not None


async def test_cluster_wide_kinds_have_no_namespace(world: World) -> None:
    await world.create(CRDS, definition(scope="Cluster"))

    made = await world.create("widgets", widget())

    assert "namespace" not in made["metadata"]
    async with refused(400, "the namespace of the provided object does not match"):
        await world.create("widgets", {**widget("b"), "metadata": {"name": "b", "namespace": "default"}})


async def test_definitions_can_be_applied(world: World) -> None:
    first = await world.apply(CRDS, definition(), "tool")
    before = world.cache.revision

    assert await world.apply(CRDS, definition(), "tool") == first
    assert world.cache.revision == before
    assert conditions(first)["Established"] == "True"


async def test_built_in_kinds_are_all_there(world: World) -> None:
    for resource in ("namespaces", "secrets", "events", "leases.coordination.k8s.io", "deployments.plum.dev", "nodes.plum.dev"):
        kind = world.registry.by_resource(resource)
        assert kind is not None, resource
        assert kind.is_builtin
    assert next(iter(world.registry.all())).info.group == ""
    await world.create("configmaps", config_map())


@pytest.mark.parametrize(("keyword", "value"), [("properties", True), ("required", True), ("type", 5)])
async def test_items_of_a_keyed_list_without_sense_are_refused(world: World, keyword: str, value: Any) -> None:
    data = definition()
    set_at(data, f"{SCHEMA}.properties.spec.properties.parts.items.{keyword}", value)

    async with refused(422, "schema.openAPIV3Schema.properties[spec].properties[parts].items"):
        await world.create(CRDS, data)


async def test_groups_of_kubernetes_need_an_approval(world: World) -> None:
    data = definition()
    data["spec"]["group"] = "example.k8s.io"
    data["metadata"]["name"] = "widgets.example.k8s.io"
    async with refused(422, "protected groups must have approval annotation"):
        await world.create(CRDS, copy.deepcopy(data))
    data["metadata"]["annotations"] = {"api-approved.kubernetes.io": "maybe"}
    async with refused(422, 'must be the address of the approval, or a text that starts with "unapproved"'):
        await world.create(CRDS, copy.deepcopy(data))

    data["metadata"]["annotations"] = {"api-approved.kubernetes.io": "https://example.com/approval"}
    made = await world.create(CRDS, data)

    conditions = {condition["type"]: condition["status"] for condition in made["status"]["conditions"]}
    assert conditions["KubernetesAPIApprovalPolicyConformant"] == "True"
