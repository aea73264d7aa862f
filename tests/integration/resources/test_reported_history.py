"""What devices reported, over time: rows in the same transaction as the status, read in pages, kept within bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from plum_controller.api.reported_history import ReportedHistoryApi
from plum_controller.api.requests import ApiRequest
from plum_controller.domain.reported_values import space_of
from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.reported_rows import SLACK, ReportedKeeper
from plum_controller.resources.transactions import Operation, Plan
from plum_schemas.base import ObjectKey

from tests.support.resources import Json, ManualClock, World, make_store


def radar(name: str = "radar-07", **spec: Any) -> Json:
    return {"apiVersion": "plum.dev/v1", "kind": "Resource", "metadata": {"name": name}, "spec": {"type": "Radar", **spec}}


async def report(world: World, name: str = "radar-07", **values: Any) -> None:
    time = world.clock.now().isoformat().replace("+00:00", "Z")
    entries = {key: {"value": value, "time": time} for key, value in values.items()}
    await world.patch("resources", name, {"status": {"reported": entries}}, subresource="status")


async def page(world: World, name: str = "radar-07", **query: str) -> Json:
    path = ["apis", "plum.dev", "v1", "namespaces", "default", "resources", name, "history"]
    api = ReportedHistoryApi(world.service, world.store)
    answer = await api.answer(ApiRequest("GET", path, {key.rstrip("_"): value for key, value in query.items()}))
    assert answer is not None
    value: Json = msgspec.json.decode(answer.body)
    return value


async def items(world: World, name: str = "radar-07", **query: str) -> list[Json]:
    """All pages."""
    found, token = [], ""
    while True:
        body = await page(world, name, **query, continue_=token)
        found += body["items"]
        token = body["metadata"]["continue"]
        if not token:
            return found
        assert body["items"], "a page that goes on has items"


@asynccontextmanager
async def keeping(world: World) -> AsyncIterator[ReportedKeeper]:
    keeper = ReportedKeeper(world.store, world.cache, world.clock)
    keeper.start()
    yield keeper
    await keeper.close()


async def until(condition: Any, seconds: float = 40.0) -> None:
    import asyncio

    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.005)


async def test_reported_values_are_kept_in_the_order_of_their_times(world: World) -> None:
    await world.create("resources", radar())
    for number in range(3):
        await report(world, range=number, active=number == 1)
        world.clock.advance(1)

    found = await items(world, property="range")

    assert [(item["property"], item["value"]) for item in found] == [("range", 0), ("range", 1), ("range", 2)]
    assert found[0]["time"] == "2026-01-31T08:00:00.000000Z"
    assert [item["property"] for item in await items(world, property="*")] == ["active"] * 3 + ["range"] * 3
    assert [item["value"] for item in await items(world, since="2s")] == [True, False, 1, 2]
    assert [item["value"] for item in await items(world, property="range", until="2026-01-31T08:00:01Z")] == [0, 1]


async def test_a_write_that_is_refused_leaves_no_value(world: World) -> None:
    made = await world.create("resources", radar())
    await report(world, range=1)
    stale = {
        "metadata": {"resourceVersion": made["metadata"]["resourceVersion"]},
        "status": {"reported": {"range": {"value": 2}}},
    }

    with pytest.raises(ApiStatusError):
        await world.patch("resources", "radar-07", stale, subresource="status")
    await world.patch(
        "resources", "radar-07", {"status": {"reported": {"range": {"value": 3}}}}, subresource="status", dry_run=True
    )

    assert [item["value"] for item in await items(world, property="range")] == [1]


async def test_values_written_in_a_transaction_over_several_objects_are_kept(world: World) -> None:
    for name in ("a", "b"):
        await world.create("resources", radar(name))
    kind = world.kind("resources")

    def plan() -> Plan:
        operations = [
            Operation(
                "patch",
                kind,
                ObjectKey("default", name),
                {"status": {"reported": {"range": {"value": name, "time": "2026-01-31T08:00:00Z"}}}},
                WriteOptions(subresource="status"),
            )
            for name in ("a", "b")
        ]
        return Plan([], operations, [], plan)

    await world.service.transact(plan())

    assert [item["value"] for name in ("a", "b") for item in await items(world, name, property="range")] == ["a", "b"]


async def test_pages_and_spans_say_what_one_read_of_all_says(world: World) -> None:
    random = Random(5)
    await world.create("resources", radar())
    written: list[tuple[str, float, float]] = []
    start = world.clock.now().timestamp()
    for _ in range(120):
        world.clock.advance(random.choice([0.25, 0.5, 3]))
        values = {name: random.randrange(100) for name in ("a", "a-b", "a/b", "ä") if random.random() < 0.5}
        await report(world, **values)
        written += [(name, world.clock.now().timestamp() - start, value) for name, value in values.items()]

    for limit in ("1", "7", "1000"):
        found = await items(world, property="*", limit=limit)
        assert sorted((item["property"], item["value"]) for item in found) == sorted((name, value) for name, _, value in written)
        for name in ("a", "a-b", "a/b", "ä"):
            own = [item["value"] for item in found if item["property"] == name]
            assert own == [value for written_name, _, value in written if written_name == name]

    for limit in ("1", "5", "1000"):
        spans = await items(world, property="a,ä", step="10s", limit=limit)
        assert spans == await items(world, property="ä,a", step="10s")
        assert sum(item["count"] for item in spans) == sum(name in ("a", "ä") for name, _, _ in written)
        for item in spans:
            assert item["min"] <= item["avg"] <= item["max"]
            assert item["time"].endswith("0.000000Z")


async def test_a_history_stays_within_its_count_and_age(world: World) -> None:
    await world.create("resources", radar(history={"maxCount": 32, "maxAge": "1h"}))
    made = world.get("resources", "radar-07")
    async with keeping(world):
        for number in range(100):
            await report(world, range=number, active=True)
            world.clock.advance(1)

        async def trimmed() -> bool:
            rows = await world.store.rows(space_of(made["metadata"]["uid"]))
            return len(rows) <= 2 * (32 + 32 // SLACK)

        await until(trimmed)
        assert [item["value"] for item in await items(world, property="range")][-32:] == list(range(68, 100))

        world.clock.advance(3600)
        assert await items(world, property="range") == [], "what is too old is not shown, even before it is removed"
        await report(world, range=100)
        await report(world, range=101)

        async def only_new() -> bool:
            return len(await world.store.rows(space_of(made["metadata"]["uid"]), prefix="range/")) == 2

        await until(only_new)


async def test_the_history_goes_with_its_resource(world: World) -> None:
    first = await world.create("resources", radar())
    await report(world, range=1)
    async with keeping(world):
        await world.delete("resources", "radar-07")
        second = await world.create("resources", radar())
        await report(world, range=2)

        async def dropped() -> bool:
            return await world.store.row_spaces("reported/") == [space_of(second["metadata"]["uid"])]

        await until(dropped)
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert [item["value"] for item in await items(world, property="range")] == [2]


async def test_what_nobody_dropped_is_dropped_at_the_next_start(world: World) -> None:
    await world.create("resources", radar())
    await world.create("resources", radar("other"))
    await report(world, range=1)
    await report(world, "other", range=1)
    await world.delete("resources", "radar-07")
    kept = world.get("resources", "other")["metadata"]["uid"]

    async with keeping(world):

        async def dropped() -> bool:
            return await world.store.row_spaces("reported/") == [space_of(kept)]

        await until(dropped)


async def test_the_history_is_part_of_a_backup(tmp_path: Path) -> None:
    world = World(make_store("sqlite", tmp_path), ManualClock())
    await world.start()
    await world.create("resources", radar())
    await report(world, range=1)
    await world.store.backup(str(tmp_path / "copy.db"))
    await report(world, range=2)
    await world.stop()

    restored = tmp_path / "restored"
    restored.mkdir()
    (tmp_path / "copy.db").rename(restored / "plum.db")
    again = World(make_store("sqlite", restored), ManualClock())
    await again.start()

    assert [item["value"] for item in await items(again, property="range")] == [1]
    await again.stop()


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"since": "yesterday"}, "since"),
        ({"until": "12:00"}, "until"),
        ({"step": "often"}, "step"),
        ({"step": "0s"}, "step"),
        ({"property": "a", "limit": "many"}, "limit"),
        ({"property": "a", "continue_": "x"}, "continue"),
    ],
)
async def test_parameters_that_cannot_be_used_are_named(world: World, query: dict[str, str], named: str) -> None:
    await world.create("resources", radar())

    with pytest.raises(ApiStatusError, match=named) as caught:
        await page(world, **query)
    assert caught.value.code == 400


async def test_a_resource_that_is_not_there_has_no_history(world: World) -> None:
    with pytest.raises(ApiStatusError) as caught:
        await page(world, property="range")
    assert caught.value.code == 404
