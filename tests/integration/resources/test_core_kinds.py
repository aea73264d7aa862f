"""Kinds with habits of their own: Event, Secret, ConfigMap, Lease."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.resources import World, config_map, refused


def event(name: str = "web.1", **fields: Any) -> dict[str, Any]:
    involved = {"kind": "Deployment", "namespace": "default", "name": "web", "uid": "u-1", "apiVersion": "plum.dev/v1"}
    return {
        "metadata": {"name": name},
        "involvedObject": involved,
        "reason": "Started",
        "message": "m",
        "type": "Normal",
        **fields,
    }


async def test_events_are_found_by_what_they_are_about(world: World) -> None:
    await world.create("events", event("a", source={"component": "scheduler"}))
    await world.create("events", event("b", type="Warning", reportingComponent="plum.dev/agent"))
    about = "involvedObject.name=web,involvedObject.namespace=default,involvedObject.kind=Deployment,involvedObject.uid=u-1"

    for selector, found in [
        (about, ["a", "b"]),
        ("involvedObject.apiVersion=plum.dev/v1,reason=Started", ["a", "b"]),
        ("type=Warning", ["b"]),
        ("type!=Warning", ["a"]),
        ("source=scheduler", ["a"]),
        ("reportingComponent=plum.dev/agent", ["b"]),
        ("involvedObject.name=other", []),
    ]:
        assert await world.names("events", fields=selector) == found, selector


async def test_an_event_is_counted_up_by_a_strategic_patch(world: World) -> None:
    data = event()
    data["metadata"] = {"generateName": "web."}
    made = await world.create("events", {**data, "count": 1})

    patched = await world.patch(
        "events", made["metadata"]["name"], {"count": 2, "lastTimestamp": "2026-01-31T09:00:00Z"}, patch_type="strategic"
    )

    assert patched["count"] == 2
    assert "generation" not in patched["metadata"]


async def test_text_of_a_secret_becomes_data(world: World) -> None:
    made = await world.create("secrets", {"metadata": {"name": "s"}, "stringData": {"a": "text"}, "data": {"b": "eA=="}})

    assert made["data"] == {"a": "dGV4dA==", "b": "eA=="}
    assert made["type"] == "Opaque"
    assert "stringData" not in made
    patched = await world.patch("secrets", "s", {"stringData": {"b": "y"}})
    assert patched["data"]["b"] == "eQ=="


async def test_a_secret_made_by_apply_has_the_default_type(world: World) -> None:
    assert (await world.apply("secrets", {"metadata": {"name": "s"}}, "kubectl-applyset"))["type"] == "Opaque"


async def test_secrets_are_base64_and_never_quoted_in_refusals(world: World) -> None:
    async with refused(422, 'data.a: Invalid value: "(confidential)": data holds base64') as caught:
        await world.create("secrets", {"metadata": {"name": "s"}, "data": {"a": "hunter2!"}})
    assert "hunter2" not in caught.value.message

    await world.create("secrets", {"metadata": {"name": "s"}})
    async with refused(422, "strict decoding error") as caught:
        await world.patch("secrets", "s", {"date": {"a": "hunter2!"}}, field_validation="Strict")
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("data", [{"stringData": "x"}, {"stringData": {"a": "b"}, "data": 5}, {"data": {"a": 5}}])
async def test_a_secret_of_the_wrong_shape_is_invalid(world: World, data: dict[str, Any]) -> None:
    async with refused(422, "is invalid"):
        await world.create("secrets", {"metadata": {"name": "s"}, **data})


async def test_the_type_of_a_secret_stays_and_selects(world: World) -> None:
    await world.create("secrets", {"metadata": {"name": "s"}, "type": "helm.sh/release.v1"})
    await world.create("secrets", {"metadata": {"name": "t"}})

    assert await world.names("secrets", fields="type=helm.sh/release.v1") == ["s"]
    async with refused(422, 'type: Invalid value: "Opaque": field is immutable'):
        await world.patch("secrets", "s", {"type": "Opaque"})


async def test_immutable_data_stays(world: World) -> None:
    await world.create("configmaps", {**config_map(a="1"), "immutable": True})

    async with refused(422, "data: Forbidden: field is immutable when `immutable` is set"):
        await world.patch("configmaps", "settings", {"data": {"a": "2"}})
    async with refused(422, "immutable: Forbidden: field is immutable when `immutable` is set"):
        await world.patch("configmaps", "settings", {"immutable": False})
    await world.patch("configmaps", "settings", {"metadata": {"labels": {"a": "b"}}})


async def test_keys_of_a_config_map_are_file_names(world: World) -> None:
    await world.create("configmaps", {**config_map("ok"), "data": {"a.b-c_D": "x"}, "binaryData": {"e": "eA=="}})

    async with refused(422, 'data[a b]: Invalid value: "a b": a valid config key'):
        await world.create("configmaps", {**config_map(), "data": {"a b": "x"}})
    async with refused(422, 'binaryData[a]: Invalid value: "a": duplicate of key present in data'):
        await world.create("configmaps", {**config_map(), "data": {"a": "x"}, "binaryData": {"a": "eA=="}})


async def test_a_lease_is_renewed_with_microseconds(world: World) -> None:
    lease = {"metadata": {"name": "n"}, "spec": {"holderIdentity": "n", "renewTime": "2026-01-31T08:00:00.123456Z"}}

    await world.create("leases", lease, "plum-node-lease")
    lease["spec"]["renewTime"] = "2026-01-31T08:00:05.654321Z"
    made = await world.update("leases", lease, "plum-node-lease")

    assert made["spec"]["renewTime"] == "2026-01-31T08:00:05.654321Z"
