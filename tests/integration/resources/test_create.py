"""Creates: what the server sets, what it refuses, in which words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from plum_controller.resources.errors import ApiStatusError

from tests.support.resources import World, config_map, deployment, refused, widget


async def test_the_server_sets_uid_revision_generation_and_time(world: World) -> None:
    made = await world.create("deployments", deployment())

    metadata = made["metadata"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", metadata["uid"])
    assert int(metadata["resourceVersion"]) == world.cache.revision
    assert metadata["generation"] == 1
    assert metadata["creationTimestamp"] == "2026-01-31T08:00:00Z"
    assert metadata["namespace"] == "default"
    assert "selfLink" not in metadata
    assert world.get("deployments", "web") == made


async def test_what_the_client_says_about_server_fields_is_ignored(world: World) -> None:
    data = deployment()
    data["metadata"] |= {"uid": "mine", "generation": 9, "creationTimestamp": None, "deletionTimestamp": "2020-01-01T00:00:00Z"}
    data["metadata"] |= {"selfLink": "/x", "managedFields": [{"manager": "x"}], "deletionGracePeriodSeconds": 5}

    made = (await world.create("deployments", data, field_manager="tester"))["metadata"]

    assert made["uid"] != "mine"
    assert made["generation"] == 1
    assert made["creationTimestamp"] == "2026-01-31T08:00:00Z"
    assert {"deletionTimestamp", "deletionGracePeriodSeconds"}.isdisjoint(made)
    assert [entry["manager"] for entry in made["managedFields"]] == ["tester"]


async def test_core_kinds_have_no_generation(world: World) -> None:
    assert "generation" not in (await world.create("configmaps", config_map(a="b")))["metadata"]


async def test_a_resource_version_is_refused(world: World) -> None:
    data = deployment()
    data["metadata"]["resourceVersion"] = "5"

    async with refused(400, "resourceVersion should not be set on objects to be created"):
        await world.create("deployments", data)


async def test_status_is_ignored_without_an_error(world: World) -> None:
    made = await world.create("deployments", {**deployment(), "status": {"replicas": 7}})

    assert made.get("status", {}).get("replicas", 0) == 0


async def test_defaults_of_the_schema_are_stored(world: World) -> None:
    made = await world.create("deployments", deployment(strategy={"type": "Recreate"}))

    assert made["spec"]["strategy"]["maxSurge"] == "25%"
    assert made["spec"]["state"] == "Running"


async def test_short_forms_are_stored_in_the_long_form(world: World) -> None:
    data = deployment()
    data["spec"]["template"]["command"] = "./start.sh --port 80"

    made = await world.create("deployments", data)

    assert made["spec"]["template"]["command"] == ["./start.sh", "--port", "80"]


async def test_api_version_and_kind_may_be_left_out_but_not_be_others(world: World) -> None:
    data = deployment()
    del data["apiVersion"], data["kind"]
    assert (await world.create("deployments", data))["kind"] == "Deployment"

    async with refused(400, "the API version in the data (v1) does not match the expected API version (plum.dev/v1)"):
        await world.create("deployments", {**deployment("b"), "apiVersion": "v1"})
    async with refused(422, 'kind: Invalid value: "Foo": must be Deployment'):
        await world.create("deployments", {**deployment("b"), "kind": "Foo"})
    async with refused(400, "json parse error"):
        await world.create("deployments", [1])  # type: ignore[arg-type]


async def test_a_taken_name_is_refused(world: World) -> None:
    await world.create("deployments", deployment())
    before = world.cache.revision

    async with refused(409, reason="AlreadyExists") as caught:
        await world.create("deployments", deployment())

    assert caught.value.message == 'deployments.plum.dev "web" already exists'
    assert caught.value.details == {"name": "web", "group": "plum.dev", "kind": "deployments"}
    assert world.cache.revision == before


async def test_the_name_of_an_object_that_still_goes_is_taken(world: World) -> None:
    data = deployment()
    data["metadata"]["finalizers"] = ["plum.dev/test"]
    await world.create("deployments", data)
    await world.delete("deployments", "web")

    async with refused(409, 'object is being deleted: deployments.plum.dev "web" already exists', reason="AlreadyExists"):
        await world.create("deployments", deployment())


@pytest.mark.parametrize("name", ["Web", "a_b", "-a", "a-", "a..b", ".", "..", "a/b", "a%b", "x" * 254, "ä"])
async def test_names_are_subdomains(world: World, name: str) -> None:
    async with refused(422, f'ConfigMap "{name}" is invalid: metadata.name: Invalid value: "{name}": '):
        await world.create("configmaps", config_map(name))


async def test_dots_and_253_letters_are_fine(world: World) -> None:
    await world.create("configmaps", config_map("a.b-c.d"))
    await world.create("configmaps", config_map("x" * 253))


async def test_generate_name_adds_five_letters_to_at_most_58(world: World) -> None:
    data = deployment()
    data["metadata"] = {"generateName": "w" * 70}

    made = (await world.create("deployments", data))["metadata"]

    assert re.fullmatch("w{58}[bcdfghjklmnpqrstvwxz2456789]{5}", made["name"])
    assert made["generateName"] == "w" * 70


async def test_a_generated_name_that_is_taken_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.create("deployments", deployment("web-aaaaa"))
    names = iter(["web-aaaaa", "web-aaaaa", "web-bbbbb"])
    monkeypatch.setattr(world.service._context, "generate_name", lambda base: next(names))
    data = deployment()
    data["metadata"] = {"generateName": "web-"}

    assert (await world.create("deployments", data))["metadata"]["name"] == "web-bbbbb"


async def test_a_generated_name_that_stays_taken_is_a_conflict(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.create("deployments", deployment("web-aaaaa"))
    monkeypatch.setattr(world.service._context, "generate_name", lambda base: "web-aaaaa")
    data = deployment()
    data["metadata"] = {"generateName": "web-"}

    async with refused(409, "the server was not able to generate a unique name for the object", reason="AlreadyExists"):
        await world.create("deployments", data)


async def test_without_any_name_it_is_refused(world: World) -> None:
    async with refused(422, "metadata.name: Required value: name or generateName is required"):
        await world.create("deployments", {**deployment(), "metadata": {}})


async def test_the_namespace_must_be_that_of_the_url(world: World) -> None:
    data = deployment()
    data["metadata"]["namespace"] = "kube-system"

    async with refused(400, "the namespace of the provided object does not match the namespace sent on the request"):
        await world.create("deployments", data)


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"replicas": -1}, ("FieldValueInvalid", "spec.replicas")),
        ({"replicas": "two"}, ("FieldValueTypeInvalid", "spec.replicas")),
        ({"state": "Flying"}, ("FieldValueNotSupported", "spec.state")),
        ({"template": None}, ("FieldValueRequired", "spec.template")),
    ],
)
async def test_what_breaks_the_schema_names_field_and_reason(world: World, spec: dict[str, Any], cause: tuple[str, str]) -> None:
    async with refused(422, 'Deployment.plum.dev "web" is invalid: ', reason="Invalid") as caught:
        await world.create("deployments", deployment(**spec))

    assert [(one["reason"], one["field"]) for one in caught.value.details["causes"]] == [cause]
    assert caught.value.details["kind"] == "Deployment"


async def test_rules_between_fields_are_checked_by_the_typed_kind(world: World) -> None:
    async with refused(422, "is invalid"):
        await world.create("deployments", deployment(nodeReplicas={"node-1": 1}))


async def test_several_problems_are_all_told(world: World) -> None:
    data = deployment(replicas=-1, state="Flying")
    data["metadata"]["labels"] = {"a b": "c"}

    async with refused(422, " is invalid: [") as caught:
        await world.create("deployments", data)

    assert len(caught.value.details["causes"]) == 3


async def test_unknown_fields_are_dropped_with_a_warning(world: World) -> None:
    data = deployment(zz=1)
    data["metadata"]["yy"] = 2

    outcome = await world.create_outcome("deployments", data)

    assert sorted(outcome.warnings) == ['unknown field "metadata.yy"', 'unknown field "spec.zz"']
    assert "zz" not in world.get("deployments", "web")["spec"]


async def test_strict_refuses_unknown_and_duplicate_fields(world: World) -> None:
    data = deployment(a=1)
    data["metadata"]["zz"] = 2

    async with refused(400, reason="BadRequest") as caught:
        await world.create("deployments", data, field_validation="Strict", duplicates=('duplicate field "spec.image"',))

    assert caught.value.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.a", unknown field "metadata.zz", duplicate field "spec.image"'
    )


async def test_ignore_drops_in_silence(world: World) -> None:
    outcome = await world.create_outcome("deployments", deployment(zz=1), field_validation="Ignore")

    assert outcome.warnings == ()
    assert "zz" not in world.get("deployments", "web")["spec"]


async def test_bad_options_are_refused(world: World) -> None:
    async with refused(422, 'fieldValidation: Unsupported value: "strict"'):
        await world.create("deployments", deployment(), field_validation="strict")
    async with refused(422, "fieldManager: Too long"):
        await world.create("deployments", deployment(), field_manager="x" * 129)
    async with refused(422, "fieldManager: Invalid value"):
        await world.create("deployments", deployment(), field_manager="a\x07")


async def test_a_dry_run_does_everything_but_store(world: World) -> None:
    before = world.cache.revision

    made = await world.create("deployments", deployment(strategy={}), dry_run=True)

    assert made["metadata"]["uid"]
    assert "resourceVersion" not in made["metadata"]
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"
    assert not world.exists("deployments", "web")
    assert world.cache.revision == before
    async with refused(422, "is invalid"):
        await world.create("deployments", deployment(replicas=-1), dry_run=True)
    async with refused(404, 'namespaces "nowhere" not found'):
        await world.create("deployments", deployment(), "nowhere", dry_run=True)


async def test_an_object_over_the_limit_is_refused(world: World) -> None:
    await world.create("configmaps", config_map("fits", a="x" * 1_000_000))

    data = deployment()
    data["spec"]["template"]["env"] = [{"name": f"V{number}", "value": "x" * 1000} for number in range(1600)]
    async with refused(413, "Request entity too large", reason="RequestEntityTooLarge"):
        await world.create("deployments", data)


async def test_annotations_over_256_kib_are_refused(world: World) -> None:
    data = deployment()
    data["metadata"]["annotations"] = {"a": "x" * 262144}

    async with refused(422, "metadata.annotations: Too long: may not be more than 262144 bytes"):
        await world.create("deployments", data)


async def test_a_finalizer_without_a_domain_warns(world: World) -> None:
    data = deployment()
    data["metadata"]["finalizers"] = ["mine"]

    outcome = await world.create_outcome("deployments", data)

    assert "prefer a domain-qualified finalizer name" in outcome.warnings[0]


async def test_the_writer_owns_the_fields_it_set(world: World) -> None:
    data = deployment()
    data["metadata"]["labels"] = {"a": "b"}

    entry = (await world.create("deployments", data, field_manager="tester"))["metadata"]["managedFields"][0]

    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("tester", "Update", "plum.dev/v1")
    assert entry["time"] == "2026-01-31T08:00:00Z"
    assert entry["fieldsV1"]["f:spec"]["f:replicas"] == {}
    assert entry["fieldsV1"]["f:metadata"]["f:labels"] == {".": {}, "f:a": {}}


async def test_lists_keyed_by_name_refuse_duplicates(widgets: World) -> None:
    async with refused(422, 'spec.parts[1]: Duplicate value: {"name":"a"}'):
        await widgets.create("widgets", widget(parts=[{"name": "a"}, {"name": "a"}]))


async def test_a_disk_that_is_full_is_told_and_nothing_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from plum_controller.store.errors import StoreFullError

    async def full(transaction: Any) -> int:
        raise StoreFullError("no room")

    monkeypatch.setattr(world.store, "commit", full)

    with pytest.raises(ApiStatusError, match="the disk of the store is full; nothing was written") as caught:
        await world.create("deployments", deployment())

    assert (caught.value.code, caught.value.retry_after_seconds) == (503, 10)
    assert not world.exists("deployments", "web")
