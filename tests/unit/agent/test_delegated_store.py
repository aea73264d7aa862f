"""The node's memory of delegated runs: what is on disk, what is still to be told, and how both sides come to agree."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_agent.workflows.store import Ending, Head, RunStore
from plum_flow.delegation import Bundle
from plum_flow.running.journal import space_of
from plum_schemas.base import ObjectMeta, OwnerReference
from plum_schemas.core import Secret
from plum_schemas.taskrun import TaskRun, TaskRunSpec, TaskRunStatus
from plum_schemas.workflow import WorkflowSpec
from plum_schemas.workflowrun import WorkflowRun, WorkflowRunSpec

UID = "u-1"
SPACE = space_of(UID)


def head() -> Head:
    run = WorkflowRun(metadata=ObjectMeta(name="r", namespace="default", uid=UID), spec=WorkflowRunSpec(workflow_ref="w"))
    return Head(run=run, bundle=Bundle(definition=WorkflowSpec(), definition_hash="h", params={}), token=1)


def task(name: str, phase: str) -> TaskRun:
    owner = OwnerReference(api_version="plum.dev/v1", kind="WorkflowRun", name="r", uid=UID)
    metadata = ObjectMeta(name=name, namespace="default", owner_references=[owner])
    status = TaskRunStatus(phase=phase)  # type: ignore[arg-type]
    return TaskRun(metadata=metadata, spec=TaskRunSpec(task_ref="t"), status=status)


KEYS = ["!run", "a", "b", "loop", "loop[00000000].x", "loop[00000000].y", "loop[00000001].x"]
commits = st.tuples(
    st.just("commit"),
    st.dictionaries(st.sampled_from(KEYS), st.binary(min_size=1, max_size=4), min_size=1, max_size=4),
    st.lists(st.sampled_from(["loop[00000000].", "loop[00000001].", "loop["]), max_size=2),
)
tasks = st.tuples(st.just("task"), st.sampled_from(["t1", "t2"]), st.sampled_from(["Running", "Succeeded"]))
sends = st.tuples(
    st.just("send"), st.sampled_from(["arrives", "is lost", "arrives, the answer is lost"]), st.integers(1, 3), st.integers(1, 2)
)
others = st.one_of(st.tuples(st.just("restart")), st.tuples(st.just("late copy"), st.integers(0, 9)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(commits, tasks, sends, others), max_size=25))
def test_whatever_is_lost_or_repeated_both_sides_agree_in_the_end(events: list[tuple[object, ...]]) -> None:
    async def play(folder: Path) -> None:
        store = RunStore(folder)
        await store.open()
        await store.put_head(head())
        here: dict[str, tuple[bytes, bool]] = {}
        there: dict[str, tuple[bytes, bool]] = {}
        ended: set[str] = set()
        told: set[str] = set()
        sent: list[object] = []
        merged = 0

        def take_in(piece: object) -> None:
            nonlocal merged
            if piece.last <= merged:  # type: ignore[attr-defined]
                return  # overtaken
            merged = piece.last  # type: ignore[attr-defined]
            for key, value, live in piece.rows:  # type: ignore[attr-defined]
                there[key] = (value, live)
            told.update(one.metadata.name for one in piece.tasks)  # type: ignore[attr-defined]

        for event in [*events, *[("send", "arrives", 3, 2)] * 40]:
            match event:
                case "commit", dict(rows), list(folds):
                    await store.commit(SPACE, rows, folds)
                    here |= {key: (value, True) for key, value in rows.items()}
                    for prefix in folds:
                        here |= {key: (value, False) for key, (value, _) in here.items() if key.startswith(prefix)}
                case "task", str(name), str(phase):
                    if name not in ended:
                        await store.put_task(UID, task(name, phase))
                        ended |= {name} if phase == "Succeeded" else set()
                case "send", how, int(rows_at_once), int(tasks_at_once):
                    piece = await store.piece(UID, rows_at_once, tasks_at_once, 8)
                    if piece is None:
                        continue
                    if how == "is lost":
                        sent.append(piece)  # or only held up
                        continue
                    take_in(piece)
                    sent.append(piece)
                    if how == "arrives":
                        await store.confirm(UID, piece.last)
                case ("restart",):
                    await store.close()
                    store = RunStore(folder)
                    await store.open()
                    assert [known.uid for known in await store.heads()] == [UID]
                case "late copy", int(number):
                    if sent:
                        take_in(sent[number % len(sent)])  # what was sent long ago arrives now
        assert await store.piece(UID, 1, 1, 1) is None, "nothing is left to tell"
        assert {key: found for key, found in there.items() if key in here} == here
        assert told == ended
        live = dict(await store.live(SPACE))
        assert live == {key: value for key, (value, is_live) in here.items() if is_live}
        left = dict(await store.read(SPACE))
        assert left == live, "history that has arrived is not kept"
        await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


async def test_a_step_that_the_disk_refuses_leaves_nothing(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    await store.open()
    await store.put_head(head(), {"!run": b"1"})
    size = (await store._do(store._read, "PRAGMA page_count"))[0][0]
    await store._do(store._read, f"PRAGMA max_page_count = {size}")

    with pytest.raises(sqlite3.OperationalError):
        await store.commit(SPACE, {f"k{number}": b"x" * 4000 for number in range(50)})

    assert dict(await store.live(SPACE)) == {"!run": b"1"}
    await store._do(store._read, "PRAGMA max_page_count = 100000")
    await store.commit(SPACE, {"k": b"x"})
    assert dict(await store.live(SPACE)) == {"!run": b"1", "k": b"x"}
    await store.close()


async def test_an_unreadable_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_bytes(b"this is no database" * 100)

    store = RunStore(tmp_path)
    await store.open()

    assert await store.heads() == []
    assert (tmp_path / "runs.db.corrupt").exists()
    await store.close()


async def test_a_run_that_is_forgotten_leaves_nothing(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    await store.open()
    await store.put_head(head(), {"!run": b"1"})
    await store.put_task(UID, task("t1", "Running"))
    assert [one.metadata.name for one in await store.going_tasks()] == ["t1"]

    await store.forget(UID)

    assert (await store.heads(), await store.going_tasks(), await store.live(SPACE)) == ([], [], [])
    assert msgspec.json.decode(msgspec.json.encode(head()), type=Head).token == 1
    await store.close()


async def test_a_run_inside_is_known_until_the_run_around_it_is_forgotten(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    await store.open()
    outer = head()
    await store.put_head(outer, {"!run": b"1"})
    for uid, parent in (("u-2", UID), ("u-3", "u-2"), ("u-4", UID)):
        metadata = ObjectMeta(name=uid, namespace="default", uid=uid)
        bundle = msgspec.structs.replace(outer.bundle, secrets=[Secret(metadata=ObjectMeta(name="s"))])
        inner = Head(run=msgspec.structs.replace(outer.run, metadata=metadata), bundle=bundle, token=1, parent=parent)
        await store.put_head(inner, {"!run": b"1"})
        await store.put_task(uid, task(f"t-{uid}", "Running"))
    assert await store.inner("u-2") == (True, None)
    assert await store.inner("u-9") == (False, None)
    kept = {one.uid: one for one in await store.heads()}
    assert kept.keys() == {UID, "u-2", "u-3", "u-4"}
    assert kept["u-2"].bundle.secrets == [], "what it was given is kept once"

    ending = Ending(phase="Succeeded", outputs={"n": 1})
    await store.end_inner("u-2", ending)
    await store.close()
    store = RunStore(tmp_path)
    await store.open()

    assert await store.inner("u-2") == (True, ending), "none is begun a second time"
    assert {one.uid for one in await store.heads()} == {UID, "u-3", "u-4"}
    assert await store.live(space_of("u-2")) == []
    await store.forget(UID)
    assert (await store.heads(), await store.going_tasks()) == ([], [])
    assert [await store.inner(uid) for uid in ("u-2", "u-3", "u-4")] == [(False, None)] * 3
    await store.close()


async def test_the_file_of_an_agent_before_this_one_is_taken_over(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    await store.open()
    await store.put_head(head(), {"!run": b"1"})
    await store._do(store._read, "DROP TABLE inner")
    await store.close()

    store = RunStore(tmp_path)
    await store.open()
    assert [one.uid for one in await store.heads()] == [UID]
    assert await store.inner("u-2") == (False, None)
    await store.close()
