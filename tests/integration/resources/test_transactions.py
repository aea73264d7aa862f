"""Transactions over the real stores: against a model, many at once, and with others in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.transactions import Comparison, Operation, Plan, Result
from plum_schemas.base import ObjectKey

from tests.support.resources import ManualClock, World, make_store, refused

NAMES = ("a", "b", "c")
Steps = list[tuple[str, str, int]]


def compare(world: World, name: str, **wanted: Any) -> Comparison:
    return Comparison(world.kind("configmaps"), ObjectKey("default", name), **wanted)


def operation(world: World, verb: Any, name: str, number: int = 0) -> Operation:
    kind, key = world.kind("configmaps"), ObjectKey("default", name)
    data = {"data": {"n": str(number)}}
    if verb == "create":
        return Operation("create", kind, ObjectKey("default", ""), {"metadata": {"name": name}, **data}, WriteOptions("test"))
    if verb == "patch":
        return Operation("patch", kind, key, data, WriteOptions("test"))
    return Operation(verb, kind, key, delete=DeleteOptions())


async def transact(world: World, compares: list[Comparison], then: Steps, otherwise: Steps = [], **options: Any) -> Result:  # noqa: B006
    def plan() -> Plan:
        return Plan(
            compares,
            [operation(world, verb, name, number) for verb, name, number in then],
            [operation(world, verb, name, number) for verb, name, number in otherwise],
            plan,
            **options,
        )

    return await world.service.transact(plan())


def now(world: World) -> dict[str, int]:
    """What is stored, by name."""
    entries = world.cache.list("configmaps", "default")
    return {one.key.name: int(msgspec.json.decode(one.value)["data"]["n"]) for one in entries}


async def test_a_reader_in_between_makes_it_begin_again(world: World) -> None:
    """The compared object is written after it was looked at and before the commit: nobody may notice."""
    await transact(world, [], [("create", "a", 0), ("create", "b", 0)])

    async def copy(number: int) -> bool:
        result = await transact(world, [compare(world, "a", path=("data", "n"), value="0")], [("patch", "b", number)])
        return result.succeeded

    # The change is on its way to the disk when the first copy looks.
    change = world.patch("configmaps", "a", {"data": {"n": "1"}})
    _, *done = await asyncio.gather(change, *(copy(number + 1) for number in range(20)))

    history = await world.service.history(world.kind("configmaps"), ObjectKey("default", "a"))
    last_change = history[0].revision
    later = await world.service.history(world.kind("configmaps"), ObjectKey("default", "b"))
    assert all(version.revision < last_change for version in later)
    assert sum(map(bool, done)) == len(later) - 1


async def test_increments_by_compare_are_all_counted(world: World) -> None:
    await transact(world, [], [("create", "a", 0)])
    lost = 0

    async def add() -> None:
        nonlocal lost
        for _ in range(10):
            while True:
                number = now(world)["a"]
                await asyncio.sleep(0)  # others read the same number
                true = [compare(world, "a", path=("data", "n"), value=str(number))]
                if (await transact(world, true, [("patch", "a", number + 1)])).succeeded:
                    break
                lost += 1

    await asyncio.gather(*(add() for _ in range(16)))

    assert now(world) == {"a": 160}
    assert lost, "nobody was ever too late, so nothing was tried"


async def test_money_moves_and_none_is_made(world: World) -> None:
    """Transfers between three accounts at once, each two patches: the sum stays at every revision."""
    await transact(world, [], [("create", name, 100) for name in NAMES])
    sums: set[int] = set()

    async def transfer(giver: str, taker: str) -> None:
        for amount in range(1, 8):
            while True:
                have = now(world)
                true = [compare(world, name, path=("data", "n"), value=str(have[name])) for name in (giver, taker)]
                then = [("patch", giver, have[giver] - amount), ("patch", taker, have[taker] + amount)]
                if (await transact(world, true, then)).succeeded:
                    sums.add(sum(now(world).values()))
                    break

    pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("b", "a"), ("c", "b"), ("a", "c")]
    await asyncio.gather(*(transfer(*pair) for pair in pairs))

    assert sums == {300}
    assert now(world) == dict.fromkeys(NAMES, 100)


async def test_two_that_want_the_same_objects_in_another_order_do_not_wait_for_ever(world: World) -> None:
    await transact(world, [], [("create", "a", 0), ("create", "b", 0)])
    forth, back = [("patch", "a", 1), ("patch", "b", 1)], [("patch", "b", 2), ("patch", "a", 2)]

    async with asyncio.timeout(30):
        await asyncio.gather(*(transact(world, [], steps) for _ in range(20) for steps in (forth, back)))

    assert now(world) in ({"a": 1, "b": 1}, {"a": 2, "b": 2})


async def test_a_cancelled_one_lets_the_next_one_in(world: World) -> None:
    await transact(world, [], [("create", "a", 0), ("create", "b", 0)])
    both = [("patch", "a", 1), ("patch", "b", 1)]
    tasks = [asyncio.create_task(transact(world, [], both)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    await asyncio.wait_for(transact(world, [], [("patch", "a", 9), ("patch", "b", 9)]), 10)

    assert now(world) == {"a": 9, "b": 9}


async def test_an_object_is_not_deleted_and_made_again(world: World) -> None:
    await transact(world, [], [("create", "a", 0)])

    async with refused(400, "then[1]", "delete"):
        await transact(world, [], [("delete", "a", 0), ("create", "a", 1)])
    async with refused(400, "then[1]", "delete"):
        await transact(world, [], [("create", "b", 0), ("delete", "b", 0)])

    assert now(world) == {"a": 0}


async def test_a_namespace_that_ends_takes_nothing_more(world: World) -> None:
    await world.create("namespaces", {"metadata": {"name": "ends"}}, "")
    await world.delete("namespaces", "ends", "")
    kind = world.kind("configmaps")
    data = {"metadata": {"name": "late"}}

    def plan() -> Plan:
        return Plan([], [Operation("create", kind, ObjectKey("ends", ""), dict(data), WriteOptions("test"))], [], plan)

    async with refused(403, "being terminated"):
        await world.service.transact(plan())


# ---- against a model

STEPS = st.lists(st.tuples(st.sampled_from(["create", "patch", "delete", "get"]), st.sampled_from(NAMES), st.integers(0, 3)))
COMPARES = st.lists(st.tuples(st.sampled_from(["exists", "value"]), st.sampled_from(NAMES), st.integers(0, 3)), max_size=2)


class Model:
    """A dictionary that does transactions the simple way: on a copy."""

    def __init__(self) -> None:
        self.objects: dict[str, int] = {}

    def transact(self, compares: Steps, then: Steps, otherwise: Steps) -> tuple[str, list[int | None]]:
        """`then` or `else` with what was read, or the refusal."""
        branch = "then" if all(self._holds(*one) for one in compares) else "else"
        state, seen, made, gone = dict(self.objects), list[int | None](), set[str](), set[str]()
        for index, (verb, name, number) in enumerate(then if branch == "then" else otherwise):
            there = name in state
            if verb == "create":
                if there:
                    return f"{branch}[{index}] 409", []
                if name in gone:
                    return f"{branch}[{index}] 400", []
                made.add(name)
                state[name] = number
            elif verb == "get":
                seen.append(state.get(name))
            elif not there:
                return f"{branch}[{index}] 404", []
            elif verb == "patch":
                state[name] = number
            else:
                if name in made:
                    return f"{branch}[{index}] 400", []
                gone.add(name)
                del state[name]
        self.objects = state
        return branch, seen

    def _holds(self, what: str, name: str, number: int) -> bool:
        return name in self.objects if what == "exists" else self.objects.get(name) == number


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(script=st.lists(st.tuples(COMPARES, STEPS, STEPS), max_size=8))
def test_any_transactions_do_what_a_copied_dictionary_does(tmp_path_factory: pytest.TempPathFactory, script: Any) -> None:
    async def run() -> None:
        world = World(make_store("memory", Path()), ManualClock())
        await world.start()
        model = Model()
        try:
            for compares, then, otherwise in script:
                wanted = [
                    compare(world, name, exists=True)
                    if what == "exists"
                    else compare(world, name, path=("data", "n"), value=str(number))
                    for what, name, number in compares
                ]
                before = world.cache.revision
                expected, seen = model.transact(compares, then, otherwise)
                try:
                    result = await transact(world, wanted, then, otherwise)
                except ApiStatusError as error:
                    assert f"{error.details['operation']} {error.code}" == expected
                    assert world.cache.revision == before
                else:
                    assert ("then" if result.succeeded else "else") == expected
                    got = [one.value for one in result.done if one.verb == "get"]
                    assert [None if one is None else int(msgspec.json.decode(one)["data"]["n"]) for one in got] == seen
                    assert world.cache.revision in (before, before + 1)
                assert now(world) == model.objects
        finally:
            await world.stop()

    asyncio.run(run())
