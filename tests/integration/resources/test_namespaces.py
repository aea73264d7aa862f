"""Namespaces: what always exists, what may be created where, and how one ends."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from tests.support.resources import World, config_map, decode, deployment, refused


async def make(world: World, name: str = "team") -> dict[str, Any]:
    return await world.create("namespaces", {"metadata": {"name": name}})


async def test_some_namespaces_always_exist(world: World) -> None:
    assert await world.names("namespaces") == ["default", "kube-public", "kube-system", "plum-node-lease"]
    before = world.cache.revision

    await world.service.start()

    assert world.cache.revision == before


async def test_a_new_namespace_is_labelled_active_and_holds_its_contents(world: World) -> None:
    made = await make(world)

    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}
    assert made["spec"]["finalizers"] == ["kubernetes"]
    assert made["status"]["phase"] == "Active"
    assert "generation" not in made["metadata"]


@pytest.mark.parametrize("name", ["a.b", "x" * 64, "Team"])
async def test_namespaces_are_labels(world: World, name: str) -> None:
    async with refused(422, f'Namespace "{name}" is invalid: metadata.name: Invalid value: "{name}": '):
        await make(world, name)


async def test_in_an_absent_namespace_nothing_is_created(world: World) -> None:
    async with refused(404, reason="NotFound") as caught:
        await world.create("deployments", deployment(), "nowhere")

    assert caught.value.message == 'namespaces "nowhere" not found'
    async with refused(404, 'namespaces "nowhere" not found'):
        await world.apply("deployments", {"metadata": {"name": "web"}, "spec": deployment()["spec"]}, "tool", "nowhere")


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public", "plum-node-lease"])
async def test_namespaces_that_always_exist_stay(world: World, name: str) -> None:
    async with refused(403, f'namespaces "{name}" is forbidden: this namespace may not be deleted', reason="Forbidden"):
        await world.delete("namespaces", name)


async def test_a_deleted_namespace_terminates_and_takes_no_more(world: World) -> None:
    await make(world)
    live = await world.create("configmaps", config_map(a="1"), "team")

    outcome = await world.delete("namespaces", "team")

    assert not outcome.gone
    assert decode(outcome)["status"]["phase"] == "Terminating"
    assert decode(outcome)["metadata"]["deletionTimestamp"]
    async with refused(403, "because it is being terminated", reason="Forbidden") as caught:
        await world.create("configmaps", config_map("other"), "team")
    assert caught.value.message == (
        'configmaps "other" is forbidden: unable to create new content in namespace team because it is being terminated'
    )
    assert caught.value.details["causes"] == [
        {"reason": "NamespaceTerminating", "message": "namespace team is being terminated", "field": "metadata.namespace"}
    ]
    live["data"] = {"a": "2"}
    assert (await world.update("configmaps", live, "team"))["data"] == {"a": "2"}, "what is there may still change"
    await world.delete("configmaps", "settings", "team")


async def test_a_label_with_the_word_in_it_does_not_end_a_namespace(world: World) -> None:
    await world.create("namespaces", {"metadata": {"name": "team", "labels": {"deletionTimestamp": "x"}}})

    await world.create("configmaps", config_map(), "team")


async def test_finalize_takes_the_namespace_away(world: World) -> None:
    await make(world)
    await world.delete("namespaces", "team")
    sent = world.get("namespaces", "team")
    sent["spec"]["finalizers"] = []

    plain = await world.update("namespaces", copy.deepcopy(sent))
    assert plain["spec"]["finalizers"] == ["kubernetes"], "the main endpoint leaves the finalizers alone"

    await world.update("namespaces", sent, subresource="finalize")
    assert not world.exists("namespaces", "team")


async def test_finalize_of_a_namespace_that_is_not_deleted_keeps_it(world: World) -> None:
    sent = await make(world)
    sent["spec"]["finalizers"] = []

    made = await world.update("namespaces", sent, subresource="finalize")

    assert made["spec"].get("finalizers", []) == []
    assert world.exists("namespaces", "team")
    assert (await world.delete("namespaces", "team")).gone


async def test_finalizers_of_metadata_hold_a_finalized_namespace(world: World) -> None:
    await world.create("namespaces", {"metadata": {"name": "team", "finalizers": ["plum.dev/x"]}})
    await world.delete("namespaces", "team")
    sent = world.get("namespaces", "team")
    sent["spec"]["finalizers"] = []
    await world.update("namespaces", sent, subresource="finalize")

    assert world.exists("namespaces", "team")
    await world.patch("namespaces", "team", {"metadata": {"finalizers": None}})
    assert not world.exists("namespaces", "team")


async def test_conditions_can_be_reported_while_it_ends(world: World) -> None:
    await make(world)
    await world.delete("namespaces", "team")
    condition = {"type": "NamespaceContentRemaining", "status": "True", "reason": "SomeResourcesRemain", "message": "2 left"}

    made = await world.patch("namespaces", "team", {"status": {"conditions": [condition]}}, subresource="status")

    assert made["status"]["phase"] == "Terminating"
    assert made["status"]["conditions"][0]["message"] == "2 left"


async def test_namespaces_are_selectable_by_phase(world: World) -> None:
    await make(world)
    await world.delete("namespaces", "team")

    assert await world.names("namespaces", fields="status.phase=Terminating") == ["team"]


async def test_nothing_slips_into_a_namespace_whose_deletion_was_answered(world: World) -> None:
    """Creates race with the deletion: each either came before it or is refused."""
    for round_number in range(10):
        name = f"team-{round_number}"
        await make(world, name)

        async def fill(number: int, name: str = name) -> int:
            for index in range(20):
                try:
                    await world.create("configmaps", config_map(f"c-{number}-{index}"), name)
                except Exception as error:
                    assert getattr(error, "code", None) == 403
                    return index
            return 20

        async def end(name: str = name) -> int:
            await asyncio.sleep(0)
            deleted = await world.delete("namespaces", name)
            return deleted.revision

        *_, ended = await asyncio.gather(*(fill(number) for number in range(4)), end())

        later = [entry for entry in world.cache.list("configmaps", name) if entry.revision > ended]
        assert later == []


async def test_a_write_of_the_namespace_meanwhile_does_not_refuse_a_create(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await make(world)
    commit, first = world.store.commit, True

    async def slow(transaction: Any) -> int:
        nonlocal first
        if first and transaction.checks:
            first = False
            await world.patch("namespaces", "team", {"metadata": {"labels": {"a": "b"}}})
        return await commit(transaction)

    monkeypatch.setattr(world.store, "commit", slow)

    await world.create("configmaps", config_map(), "team")

    assert world.exists("configmaps", "settings", "team")
    assert not first
