"""Concurrency keys of tasks in delegated runs: never more at once than the limit, a turn for everybody, after restarts too."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_agent.workflows.store import RunStore
from plum_agent.workflows.tasks import LocalTasks
from plum_client.clock import SystemClock
from plum_flow.calls import Call
from plum_flow.delegation import Bundle
from plum_schemas.base import ObjectMeta, OwnerReference
from plum_schemas.retry import Concurrency
from plum_schemas.taskdefinition import HttpCall, TaskDefinitionSpec
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun, TaskRunSpec
from plum_schemas.workflow import WorkflowSpec


class Gate:
    """Carries out calls: each goes on until it is let go."""

    def __init__(self) -> None:
        self.going: dict[str, asyncio.Event] = {}
        self.most = 0
        self.order: list[str] = []

    async def execute(self, call: Call) -> Any:
        self.going[call.name] = asyncio.Event()
        self.order.append(call.name)
        self.most = max(self.most, len(self.going))
        try:
            await self.going[call.name].wait()
        finally:
            del self.going[call.name]
        return {}


def bundle(limit: int, on_limit: str = "Queue") -> Bundle:
    concurrency = Concurrency(key="tool", limit=limit, on_limit=on_limit)  # type: ignore[arg-type]
    task = TaskDefinitionSpec(executor="http", http=HttpCall(url="http://x"), concurrency=concurrency)
    return Bundle(definition=WorkflowSpec(), definition_hash="h", params={}, tasks={"t": task})


def task(name: str, run: str = "u-1", priority: int | None = None) -> TaskRun:
    owner = OwnerReference(api_version="plum.dev/v1", kind="WorkflowRun", name=run, uid=run)
    metadata = ObjectMeta(name=name, namespace="default", owner_references=[owner])
    return TaskRun(metadata=metadata, spec=TaskRunSpec(task_ref="t", priority=priority))


async def no_secret(namespace: str, name: str) -> None:
    return None


async def make(folder: Path, gate: Gate) -> tuple[LocalTasks, RunStore, list[TaskRun]]:
    store = RunStore(folder, inline=True)
    await store.open()
    tasks = LocalTasks("node-1", store, SystemClock(), Random(1), lambda uid: gate, no_secret)
    ended: list[TaskRun] = []
    tasks.on_ended = ended.append
    await tasks.load()
    return tasks, store, ended


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def leave(tasks: LocalTasks, store: RunStore) -> None:
    left = list(tasks.close())
    await asyncio.gather(*left, return_exceptions=True)
    await store.close()


moves = st.one_of(
    st.tuples(st.just("create"), st.integers(0, 3)),
    st.tuples(st.just("end"), st.integers(0, 9)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("forget"), st.integers(0, 1)),
)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.lists(moves, max_size=30))
def test_never_more_go_on_than_the_limit_and_each_has_its_turn(limit: int, wanted: list[tuple[str, int]]) -> None:
    async def play(folder: Path) -> None:
        gate = Gate()
        tasks, store, ended = await make(folder, gate)
        made: dict[str, TaskRun] = {}
        count = 0
        for move, number in wanted:
            match move:
                case "create":
                    batch = [task(f"t{count + i}", f"u-{(count + i) % 2}") for i in range(number + 1)]
                    count += len(batch)
                    made |= {one.metadata.name: one for one in batch}
                    owners = [one.metadata.owner_references[0].uid for one in batch]
                    await asyncio.gather(*(tasks.create(uid, one, bundle(limit)) for uid, one in zip(owners, batch, strict=True)))
                case "end" if gate.going:
                    sorted(gate.going.items())[number % len(gate.going)][1].set()
                case "cancel" if made:
                    await tasks.cancel(sorted(made.values(), key=lambda one: one.metadata.name)[number % len(made)].key)
                case "forget":
                    tasks.forget(f"u-{number}")
                    made = {name: one for name, one in made.items() if one.metadata.owner_references[0].uid != f"u-{number}"}
            await settle()
            assert len(gate.going) <= limit
        for _ in range(60):
            for event in list(gate.going.values()):
                event.set()
            await settle()
        assert gate.most <= limit
        assert {one.metadata.name for one in ended} >= made.keys(), "everybody had a turn"
        assert {one.status.phase for one in ended} <= {"Succeeded", "Canceled"}
        await leave(tasks, store)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


async def test_a_restart_keeps_those_that_wait_waiting_in_their_order(tmp_path: Path) -> None:
    gate = Gate()
    tasks, store, _ = await make(tmp_path, gate)
    for name, priority in (("a", None), ("b", None), ("c", 5)):
        await tasks.create("u-1", task(name, priority=priority), bundle(1))
    await settle()
    assert list(gate.going) == ["a"]
    waiting = await store.task("u-1", "b")
    assert waiting is not None and (waiting.status.phase, waiting.status.reason) == ("Queued", "ConcurrencyLimit")
    assert waiting.status.error == "waits for a place of t/tool; 1 at once on node node-1; a go on"
    await leave(tasks, store)

    again = Gate()
    tasks, store, ended = await make(tmp_path, again)
    for _ in range(5):
        await settle()
        for event in list(again.going.values()):
            event.set()
    await settle()

    assert again.order == ["a", "c", "b"], "the call of `a` was lost with its agent and is made again; then whoever comes first"
    assert {one.metadata.name: one.status.phase for one in ended} == dict.fromkeys("abc", "Succeeded")
    await leave(tasks, store)


@pytest.mark.parametrize(("on_limit", "phases"), [("Reject", ["Running", "Failed"]), ("Replace", ["Canceled", "Running"])])
async def test_reject_and_replace_do_what_they_say(tmp_path: Path, on_limit: str, phases: list[str]) -> None:
    gate = Gate()
    tasks, store, _ = await make(tmp_path, gate)
    for name in ("a", "b"):
        await tasks.create("u-1", task(name), bundle(1, on_limit))
        await settle()
    await settle()

    found = [await store.task("u-1", name) for name in ("a", "b")]
    assert [one.status.phase for one in found if one is not None] == phases
    assert all(one is None or one.status.phase not in TERMINAL_PHASES or one.status.finished_at for one in found)
    if on_limit == "Reject":
        assert found[1] is not None and "1 runs of t/tool go on already on node node-1 (a)" in found[1].status.error
    await leave(tasks, store)
