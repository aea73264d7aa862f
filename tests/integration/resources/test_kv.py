"""The short way of a put stores what the long way would."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plum_controller.resources.kv import Put, Typed
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.transactions import Operation, Plan
from plum_schemas.base import ObjectKey
from plum_schemas.kv import kv_name, type_of

from tests.support.resources import Json, ManualClock, World, make_store

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "odd key"]),
        st.tuples(st.just("json"), JSON)
        | st.tuples(st.just("int"), st.integers(-9, 9))
        | st.tuples(st.just(""), st.text(max_size=2)),
        st.sampled_from(["", "1h"]),
        st.sampled_from(["one", "one", "one", "two"]),
        st.sampled_from(["put", "put", "put", "label", "delete"]),
    ),
    max_size=8,
)


def comparable(world: World, key: str) -> Json | None:
    """An entry without what is random."""
    entry = world.service.entries.find("default", key)
    if entry is None:
        return None
    data: Json = msgspec.json.decode(entry.value)
    del data["metadata"]["uid"], data["metadata"]["resourceVersion"]
    data["metadata"]["managedFields"] = sorted(data["metadata"]["managedFields"], key=lambda owner: owner["manager"])
    return data


async def put_shortly(world: World, key: str, kind: str, value: Any, ttl: str, manager: str) -> bool:
    put = Put("default", key, lambda wanted: Typed(kind or wanted or type_of(value), value), kind, ttl)
    return (await world.service.entries.put(put, WriteOptions(manager))).changed


async def put_fully(world: World, key: str, kind: str, value: Any, ttl: str, manager: str) -> bool:
    spec = {"value": value, **({"type": kind} if kind else {}), **({"ttl": ttl} if ttl else {})}
    if kv_name(key) != key:
        spec["key"] = key

    def plan() -> Plan:
        name = ObjectKey("default", kv_name(key))
        operation = Operation(
            "put", world.kind("kvs"), name, msgspec.json.decode(msgspec.json.encode(spec)), WriteOptions(manager)
        )
        return Plan([], [operation], [], plan)

    return (await world.service.transact(plan())).done[0].changed


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_both_ways_store_the_same(steps: Any) -> None:
    """Values of all types over each other, with and without a ttl, by two writers, with labels and deletions in between."""

    async def run() -> None:
        worlds = [World(make_store("memory", Path()), ManualClock()) for _ in range(2)]
        for world in worlds:
            await world.start()
        try:
            for key, (kind, value), ttl, manager, action in steps:
                answers: list[object] = []
                for world, put in zip(worlds, (put_shortly, put_fully), strict=True):
                    world.clock.advance(1.5)
                    there = world.service.entries.find("default", key) is not None
                    if action == "put":
                        try:
                            answers.append(await put(world, key, kind, value, ttl, manager))
                        except Exception as error:
                            answers.append(str(error).replace("then[0] ", "")[-20:] and type(error).__name__)
                    elif there and action == "label":
                        await world.patch("kvs", kv_name(key), {"metadata": {"labels": {"a": ttl}}}, field_manager=manager)
                    elif there:
                        await world.delete("kvs", kv_name(key))
                assert len(set(answers)) <= 1, answers
                for name in ("a", "odd key"):
                    assert comparable(worlds[0], name) == comparable(worlds[1], name)
        finally:
            for world in worlds:
                await world.stop()

    asyncio.run(run())
