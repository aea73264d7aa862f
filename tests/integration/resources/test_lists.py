"""Lists: order, selectors, pages of one moment, and every form of resourceVersion."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from plum_controller.resources.options import ListOptions, ListResult

from tests.support.resources import World, config_map, deployment, refused


async def fill(world: World, count: int = 7, namespace: str = "default") -> None:
    for number in range(count):
        data = config_map(f"c-{number:03}", n=str(number))
        data["metadata"]["labels"] = {"parity": "even" if number % 2 == 0 else "odd", "n": str(number)}
        await world.create("configmaps", data, namespace)


async def page(world: World, plural: str = "configmaps", **options: Any) -> ListResult:
    return await world.service.list(world.kind(plural), ListOptions(**options))


def names(result: ListResult) -> list[str]:
    return [entry.key.name for entry in result.entries]


async def pages(world: World, **options: Any) -> list[ListResult]:
    found = [await page(world, **options)]
    while found[-1].continue_token:
        found.append(await page(world, **{**options, "continue_token": found[-1].continue_token}))
    return found


async def test_a_list_is_ordered_by_namespace_and_name(world: World) -> None:
    for namespace, name in [("kube-system", "a"), ("default", "b"), ("default", "a"), ("default", "a.b"), ("default", "a-b")]:
        await world.create("configmaps", config_map(name), namespace)

    result = await page(world)

    assert [(entry.key.namespace, entry.key.name) for entry in result.entries] == [
        ("default", "a"), ("default", "a-b"), ("default", "a.b"), ("default", "b"), ("kube-system", "a"),
    ]  # fmt: skip
    assert names(await page(world, namespace="kube-system")) == ["a"]


async def test_the_revision_is_that_of_the_store_and_the_values_are_what_is_stored(world: World) -> None:
    await fill(world, 2)
    await world.create("deployments", deployment())

    result = await page(world)

    assert result.revision == world.cache.revision
    assert result.values == [
        world.service.get(world.kind("configmaps"), world.key("configmaps", name, "default")) for name in names(result)
    ]
    assert (result.continue_token, result.remaining) == ("", None)


async def test_pages_show_everything_once_with_one_revision(world: World) -> None:
    await fill(world, 7)

    found = await pages(world, limit=3)

    assert [names(result) for result in found] == [["c-000", "c-001", "c-002"], ["c-003", "c-004", "c-005"], ["c-006"]]
    assert [result.remaining for result in found] == [4, 1, None]
    assert len({result.revision for result in found}) == 1


async def test_later_pages_show_the_moment_of_the_first(world: World) -> None:
    await fill(world, 6)
    first = await page(world, limit=2)
    await world.delete("configmaps", "c-003")
    await world.patch("configmaps", "c-004", {"data": {"n": "changed"}})
    await world.create("configmaps", config_map("c-0025"))
    await world.create("configmaps", config_map("zzz"))

    second = await page(world, limit=2, continue_token=first.continue_token)
    third = await page(world, limit=2, continue_token=second.continue_token)

    assert names(second) + names(third) == ["c-002", "c-003", "c-004", "c-005"]
    assert msgspec.json.decode(third.values[0])["data"]["n"] == "4"
    assert second.revision == third.revision == first.revision
    assert (second.remaining, third.remaining, third.continue_token) == (2, None, "")


async def test_pages_with_selectors_do_not_count_what_remains(world: World) -> None:
    await fill(world, 8)

    found = await pages(world, limit=2, labels="parity=even")

    assert [names(result) for result in found] == [["c-000", "c-002"], ["c-004", "c-006"]]
    assert [result.remaining for result in found] == [None, None]


async def test_pages_of_one_namespace_stay_in_it(world: World) -> None:
    await fill(world, 3)
    await fill(world, 3, "kube-system")

    found = await pages(world, limit=2, namespace="default")

    assert [entry.key.namespace for result in found for entry in result.entries] == ["default"] * 3
    assert found[0].remaining == 1


async def test_an_expired_token_offers_the_inconsistent_rest(world: World) -> None:
    await fill(world, 6)
    first = await page(world, limit=2)
    await world.delete("configmaps", "c-003")
    await world.store.compact(world.store.revision)

    async with refused(410, "The provided continue parameter is too old", reason="Expired") as caught:
        await page(world, limit=2, continue_token=first.continue_token)

    rest = await page(world, limit=10, continue_token=caught.value.continue_token)
    assert names(rest) == ["c-002", "c-004", "c-005"]
    assert rest.revision == world.cache.revision
    assert caught.value.status()["metadata"]["continue"] == caught.value.continue_token


@pytest.mark.parametrize("token", ["abc", "!", "e30", "eyJydiI6IngifQ", "ü"])
async def test_a_bad_token_is_refused(world: World, token: str) -> None:
    async with refused(400, "continue key is not valid", reason="BadRequest"):
        await page(world, continue_token=token)


async def test_a_token_goes_with_no_revision(world: World) -> None:
    await fill(world, 3)
    first = await page(world, limit=1)

    async with refused(400, "specifying resource version is not allowed when using continue"):
        await page(world, limit=1, continue_token=first.continue_token, revision=str(first.revision))


async def test_any_revision_that_has_happened_shows_the_current_state(world: World) -> None:
    await fill(world, 2)
    old = world.cache.revision
    await world.create("configmaps", config_map("later"))

    for revision, match in [
        (None, None),
        ("", None),
        ("0", None),
        ("1", None),
        (str(old), None),
        (str(old), "NotOlderThan"),
        ("0", "NotOlderThan"),
    ]:
        result = await page(world, revision=revision, match=match)
        assert len(result.entries) == 3
        assert result.revision == world.cache.revision


async def test_exact_shows_the_state_of_then(world: World) -> None:
    await fill(world, 3)
    then = world.cache.revision
    await world.delete("configmaps", "c-001")
    await world.patch("configmaps", "c-000", {"data": {"n": "new"}})

    result = await page(world, revision=str(then), match="Exact")

    assert names(result) == ["c-000", "c-001", "c-002"]
    assert msgspec.json.decode(result.values[0])["data"]["n"] == "0"
    assert result.revision == then


async def test_exact_in_pages(world: World) -> None:
    await fill(world, 3)
    then = world.cache.revision
    await world.delete("configmaps", "c-001")

    first = await page(world, revision=str(then), match="Exact", limit=2)
    second = await page(world, limit=2, continue_token=first.continue_token)

    assert (names(first), names(second), first.remaining) == (["c-000", "c-001"], ["c-002"], 1)


async def test_exact_before_the_kept_history_is_expired(world: World) -> None:
    await fill(world, 3)
    await world.store.compact(world.store.revision)

    async with refused(410, "The resourceVersion for the provided list is too old.", reason="Expired"):
        await page(world, revision="2", match="Exact")


async def test_a_revision_in_the_future_is_a_timeout(world: World) -> None:
    current = world.cache.revision
    for match in (None, "NotOlderThan", "Exact"):
        async with refused(504, f"Too large resource version: 999999, current: {current}", reason="Timeout") as caught:
            await page(world, revision="999999", match=match)
        assert caught.value.details["causes"][0]["reason"] == "ResourceVersionTooLarge"
        assert caught.value.retry_after_seconds == 1
    async with refused(504, "Too large resource version"):
        world.get("namespaces", "default", revision="999999")


async def test_match_needs_a_revision_and_a_known_word(world: World) -> None:
    async with refused(422, "resourceVersionMatch is forbidden unless resourceVersion is provided"):
        await page(world, match="NotOlderThan")
    async with refused(422, "resourceVersionMatch", "Unsupported value"):
        await page(world, match="Roughly", revision="1")
    async with refused(422, "resourceVersionMatch", "forbidden"):
        await page(world, match="Exact", revision="0")


async def test_a_revision_that_is_no_number_is_refused(world: World) -> None:
    async with refused(400, "resourceVersion"):
        await page(world, revision="abc")


async def test_get_takes_any_revision_that_has_happened(world: World) -> None:
    for revision in (None, "", "0", "1", str(world.cache.revision)):
        assert world.get("namespaces", "default", revision=revision)["metadata"]["name"] == "default"
    async with refused(404, 'namespaces "x" not found'):
        world.get("namespaces", "x")


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("parity=even", [0, 2, 4]),
        ("parity==odd", [1, 3]),
        ("parity!=even", [1, 3, 9]),
        ("n in (1,3)", [1, 3]),
        ("n notin (1,3)", [0, 2, 4, 9]),
        ("parity", [0, 1, 2, 3, 4]),
        ("!parity", [9]),
        ("n>2", [3, 4]),
        ("n<1", [0]),
        ("parity=even,n!=2", [0, 4]),
    ],
)
async def test_label_selectors(world: World, selector: str, found: list[int]) -> None:
    await fill(world, 5)
    await world.create("configmaps", config_map("c-009"))

    assert names(await page(world, labels=selector)) == [f"c-{number:03}" for number in found]


async def test_field_selectors(world: World) -> None:
    await fill(world, 3)

    assert names(await page(world, fields="metadata.name=c-001")) == ["c-001"]
    assert names(await page(world, fields="metadata.name!=c-001,metadata.namespace==default")) == ["c-000", "c-002"]


async def test_bad_selectors_are_refused(world: World) -> None:
    async with refused(400, "unable to parse requirement: found '=', expected: identifier"):
        await page(world, labels="a===b")
    async with refused(400, "field label not supported: spec.replicas"):
        await page(world, "deployments", fields="spec.replicas=1")
    async with refused(400, "invalid selector: 'abc'; can't understand 'abc'"):
        await page(world, fields="abc")


async def test_fields_that_a_kind_declares_are_selectable(world: World) -> None:
    for number in range(4):
        data = {"metadata": {"name": f"i-{number}"}, "spec": {"nodeName": f"node-{number % 2}", "template": {"command": ["x"]}}}
        await world.create("instances", data)

    assert names(await page(world, "instances", fields="spec.nodeName=node-1")) == ["i-1", "i-3"]
