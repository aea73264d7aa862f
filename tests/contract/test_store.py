"""What every engine of the store promises. A new engine joins through `tests.support.store.ENGINES`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from plum_controller.store.base import ABSENT, Check, LogEntry, RowDelete, RowFold, RowPut, Store, Transaction
from plum_controller.store.errors import (
    CompactedError,
    FutureRevisionError,
    PreconditionError,
    StoreClosedError,
    StoreInUseError,
)

from tests.support.store import (
    ENGINES,
    RESOURCE,
    Clock,
    Engine,
    collect,
    data_of,
    delete,
    key,
    names,
    opened,
    put,
    read_all,
    revision_in,
    transaction,
)


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


@pytest.fixture(params=[name for name, engine in ENGINES.items() if engine.durable])
def durable(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(engine: Engine, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with opened(engine.make(tmp_path, clock)) as store:
        yield store


# Commits


async def test_revisions_count_commits_from_one(store: Store) -> None:
    assert store.revision == 0

    given = [await store.commit(transaction(put(name))) for name in "abc"]

    assert given == [1, 2, 3]
    assert store.revision == 3


async def test_the_revision_is_written_into_the_value(store: Store) -> None:
    await store.commit(transaction(put("a")))
    await store.commit(transaction(put("a", "new")))

    [entry] = await collect(store)

    assert revision_in(entry.value) == entry.revision == 2
    assert data_of(entry.value) == "new"


async def test_a_transaction_is_one_revision_in_the_order_of_its_writes(store: Store) -> None:
    revision = await store.commit(transaction(put("b"), put("a"), put("c")))

    entries = await store.read(0)

    assert [(entry.revision, entry.key.name) for entry in entries] == [(revision, "b"), (revision, "a"), (revision, "c")]


async def test_a_transaction_without_writes_is_judged_and_takes_no_revision(store: Store) -> None:
    await store.commit(transaction(put("a")))

    assert await store.commit(Transaction((), (Check(key("a"), 1),))) == 1
    with pytest.raises(PreconditionError):
        await store.commit(Transaction((), (Check(key("a"), 7),)))
    assert store.revision == 1


@pytest.mark.parametrize("expect", [ABSENT, 2, 99])
async def test_a_stale_write_is_refused_and_says_what_is_there(store: Store, expect: int) -> None:
    await store.commit(transaction(put("a")))
    await store.commit(transaction(put("b")))

    with pytest.raises(PreconditionError) as caught:
        await store.commit(transaction(put("a", expect=expect)))

    assert (caught.value.key, caught.value.expected, caught.value.actual) == (key("a"), expect, 1)


async def test_a_refused_transaction_writes_nothing_and_takes_no_revision(store: Store) -> None:
    await store.commit(transaction(put("a")))

    with pytest.raises(PreconditionError):
        await store.commit(transaction(put("b"), put("a", expect=99)))
    with pytest.raises(PreconditionError):
        await store.commit(Transaction([put("b")], [Check(key("a"), ABSENT)]))

    assert names(await collect(store)) == ["a"]
    assert await store.commit(transaction(put("c"))) == 2


async def test_a_deletion_keeps_the_last_state_in_the_log_only(store: Store) -> None:
    await store.commit(transaction(put("a", "last")))
    await store.commit(transaction(delete("a", "last", expect=1)))

    assert await collect(store) == []
    [_, gone] = await store.read(0)
    assert gone.deleted
    assert gone.previous == 1
    assert data_of(gone.value) == "last"
    assert revision_in(gone.value) == 2


async def test_deleting_what_is_not_there_is_refused(store: Store) -> None:
    for write in (delete("a"), delete("a", expect=ABSENT)):
        with pytest.raises(PreconditionError):
            await store.commit(transaction(write))

    assert store.revision == 0


async def test_an_object_created_again_has_no_previous_revision(store: Store) -> None:
    await store.commit(transaction(put("a")))
    await store.commit(transaction(delete("a")))
    await store.commit(transaction(put("a", expect=ABSENT)))
    await store.commit(transaction(put("a")))

    assert [entry.previous for entry in await store.read(0)] == [0, 1, 0, 3]


async def test_a_key_written_twice_is_a_mistake_of_the_program(store: Store) -> None:
    with pytest.raises(ValueError, match="once"):
        await store.commit(transaction(put("a"), put("a")))


async def test_names_that_no_engine_can_store_harm_only_their_own_transaction(store: Store) -> None:
    good = asyncio.create_task(store.commit(transaction(put("ü"))))
    with pytest.raises(UnicodeEncodeError):
        await store.commit(transaction(put(key("\ud800"))))

    assert await good == 1


async def test_one_of_many_concurrent_writers_wins_each_round(store: Store) -> None:
    await store.commit(transaction(put("a", 0)))
    wins = 0

    async def increment() -> None:
        nonlocal wins
        for _ in range(5):
            [entry] = await store.read_at(store.revision, RESOURCE, "default", "a")
            try:
                await store.commit(transaction(put("a", data_of(entry.value) + 1, expect=entry.revision)))
                wins += 1
            except PreconditionError:
                pass

    await asyncio.gather(*(increment() for _ in range(20)))

    [entry] = await collect(store)
    assert data_of(entry.value) == wins == store.revision - 1
    assert wins >= 5


async def test_commits_of_one_caller_keep_their_order(store: Store) -> None:
    tasks = [asyncio.create_task(store.commit(transaction(put("a", number)))) for number in range(50)]

    assert await asyncio.gather(*tasks) == list(range(1, 51))
    assert [data_of(entry.value) for entry in await store.read(0)] == list(range(50))


async def test_a_caller_that_gives_up_harms_nobody(store: Store) -> None:
    tasks = [asyncio.create_task(store.commit(transaction(put(f"a{number:02}")))) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    stored = names(await collect(store))

    assert set(stored) >= {f"a{number:02}" for number in range(1, 20, 2)}
    assert store.revision == len(stored)


# Listeners


async def test_a_listener_sees_each_commit_once_in_order_before_its_caller(store: Store) -> None:
    seen: list[LogEntry] = []
    store.subscribe(seen.extend)

    async def write(number: int) -> None:
        revision = await store.commit(transaction(put(f"a{number}"), put(f"b{number}")))
        assert revision in {entry.revision for entry in seen}
        assert revision <= store.revision

    await asyncio.gather(*(write(number) for number in range(40)))

    assert seen == await read_all(store)
    assert [entry.revision for entry in seen] == [1 + number // 2 for number in range(80)]


# Reads


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
async def test_read_gives_whole_commits_and_always_one(store: Store, limit: int) -> None:
    for sizes in ("ab", "cde", "f", "ghij"):
        await store.commit(transaction(*(put(name) for name in sizes)))

    found: list[str] = []
    since = 0
    while entries := await store.read(since, limit):
        assert entries[0].revision == since + 1
        found += names(entries)
        since = entries[-1].revision

    assert "".join(found) == "abcdefghij"
    assert since == 4


async def test_read_from_the_present_or_the_future_is_empty(store: Store) -> None:
    await store.commit(transaction(put("a")))

    assert list(await store.read(1)) == []
    assert list(await store.read(5)) == []


async def test_snapshot_is_in_key_order(store: Store) -> None:
    keys = [key("b", "z"), key("a", ""), key("c", "a", "alpha"), key("é", "z"), key("z", "a"), key("B", "z")]
    for where in keys:
        await store.commit(transaction(put(where)))

    assert [entry.key for entry in await collect(store)] == sorted(keys)


async def test_snapshot_is_of_one_moment_while_writers_go_on(store: Store) -> None:
    for start in range(0, 1200, 100):
        await store.commit(transaction(*(put(f"a{number:04}", "old") for number in range(start, start + 100))))
    revision = store.revision
    found: list[LogEntry] = []

    async for piece in store.snapshot():
        found += piece
        await store.commit(
            transaction(put("a1199", "new"), put("zzz"), delete("a1100") if len(found) == 500 else put("a0000", "new"))
        )

    assert len(found) == 1200
    assert max(entry.revision for entry in found) <= revision
    assert {data_of(entry.value) for entry in found} == {"old"}


async def test_read_at_answers_as_it_was(store: Store) -> None:
    await store.commit(transaction(put("a", 1), put("b", 1)))
    await store.commit(transaction(put("a", 2)))
    await store.commit(transaction(delete("b", 1)))
    await store.commit(transaction(put("c", 4), put(key("b", "other"), 4)))
    await store.commit(transaction(put("b", 5)))

    async def at(revision: int, namespace: str = "default", name: str = "") -> list[tuple[str, int]]:
        return [(e.key.name, data_of(e.value)) for e in await store.read_at(revision, RESOURCE, namespace, name)]

    assert await at(1) == [("a", 1), ("b", 1)]
    assert await at(2) == [("a", 2), ("b", 1)]
    assert await at(3) == [("a", 2)]
    assert await at(4, "") == [("a", 2), ("c", 4), ("b", 4)]
    assert await at(5) == [("a", 2), ("b", 5), ("c", 4)]
    assert await at(3, name="b") == []
    assert await at(2, name="b") == [("b", 1)]
    assert await at(4, "", "b") == [("b", 4)]
    assert list(await store.read_at(5, "others.plum.dev")) == []


async def test_read_at_the_future_is_refused(store: Store) -> None:
    with pytest.raises(FutureRevisionError):
        await store.read_at(1, RESOURCE)


async def test_history_is_newest_first_across_deletions(store: Store) -> None:
    for write in (put("a", 1), put("x"), put("a", 3), delete("a", 3), put("y"), put("a", 6)):
        await store.commit(transaction(write))

    entries = await store.history(key("a"))

    assert [(entry.revision, entry.deleted) for entry in entries] == [(6, False), (4, True), (3, False), (1, False)]
    assert [entry.revision for entry in await store.history(key("a"), limit=2)] == [6, 4]
    assert list(await store.history(key("nobody"))) == []


async def test_history_shows_a_deleted_object(store: Store) -> None:
    await store.commit(transaction(put("a")))
    await store.commit(transaction(delete("a")))

    assert [entry.deleted for entry in await store.history(key("a"))] == [True, False]


async def test_revision_at_finds_the_last_commit_before_a_time(store: Store, clock: Clock) -> None:
    for moment in (100.0, 200.0, 300.0):
        clock.now = moment
        await store.commit(transaction(put("a")))

    found = [await store.revision_at(moment) for moment in (99.9, 100.0, 250.0, 300.0, 1e9)]

    assert found == [0, 1, 2, 3, 3]


async def test_revision_at_before_the_kept_window_is_refused(store: Store, clock: Clock) -> None:
    for moment in (100.0, 200.0, 300.0):
        clock.now = moment
        await store.commit(transaction(put("a")))
    await store.compact(2)

    assert await store.revision_at(200.0) == 2
    assert await store.revision_at(299.0) == 2
    with pytest.raises(CompactedError):
        await store.revision_at(199.0)


# Compaction


async def test_compaction_forgets_only_what_no_later_read_needs(store: Store) -> None:
    for write in (put("a", 1), put("a", 2), put("b", 3), delete("b", 3), put("a", 5), put("c", 6)):
        await store.commit(transaction(write))
    before = [await store.read_at(revision, RESOURCE) for revision in (4, 5, 6)]

    removed = await store.compact(4)

    assert removed == 3  # a at 1, b at 3, and the deletion of b
    assert store.compacted == 4
    assert [await store.read_at(revision, RESOURCE) for revision in (4, 5, 6)] == before
    assert [entry.revision for entry in await store.read(4)] == [5, 6]
    assert [entry.revision for entry in await store.history(key("a"))] == [5, 2]
    assert list(await store.history(key("b"))) == []


async def test_reads_before_the_kept_window_are_refused(store: Store) -> None:
    for _ in range(4):
        await store.commit(transaction(put("a")))
    await store.compact(3)

    with pytest.raises(CompactedError) as caught:
        await store.read(2)
    with pytest.raises(CompactedError):
        await store.read_at(2, RESOURCE)
    with pytest.raises(CompactedError):
        await store.read_at(2, RESOURCE, "default", "a")

    assert (caught.value.revision, caught.value.compacted) == (2, 3)


async def test_compaction_never_goes_back_or_beyond_the_present(store: Store) -> None:
    for _ in range(4):
        await store.commit(transaction(put("a")))

    assert await store.compact(3) == 2
    assert await store.compact(1) == 0
    assert store.compacted == 3
    assert await store.compact(100) == 1
    assert store.compacted == store.revision == 4


async def test_compaction_of_a_last_deletion_does_not_give_its_revision_again(
    engine: Engine, store: Store, tmp_path: Path, clock: Clock
) -> None:
    await store.commit(transaction(put("a")))
    await store.commit(transaction(delete("a")))
    await store.compact(2)
    if engine.durable:
        await store.close()
        store = engine.make(tmp_path, clock)
        await store.open()

    assert await store.commit(transaction(put("a", expect=ABSENT))) == 3
    assert [entry.revision for entry in await store.history(key("a"))] == [3]
    await store.close()


async def test_writers_and_readers_go_on_during_compaction(store: Store) -> None:
    for start in range(0, 3000, 100):
        await store.commit(transaction(*(put(f"a{number % 50}", number) for number in range(start, start + 50))))
    compaction = asyncio.create_task(store.compact(store.revision - 1))
    written = 0
    while not compaction.done():
        await store.commit(transaction(put("b", written)))
        written += 1
        assert data_of((await store.history(key("b"), limit=1))[0].value) == written - 1
        await asyncio.sleep(0)

    assert await compaction == 28 * 50
    assert names(await collect(store))[-1] == ("b" if written else "a9")


# Backup


async def test_a_backup_opens_with_the_same_objects_and_later_revisions(
    engine: Engine, store: Store, tmp_path: Path, clock: Clock
) -> None:
    for number in range(30):
        await store.commit(transaction(put(f"a{number % 10}", number)))
    path = tmp_path / "backup"

    revision = await store.backup(str(path))

    original = await collect(store)
    for number in range(100):
        await store.commit(transaction(put("later", number)))
    async with opened(engine.restore(path, clock)) as copy:
        assert revision == 30
        assert await collect(copy) == original
        assert copy.revision > store.revision
        assert await copy.commit(transaction(put("a1", "new", expect=original[1].revision))) > store.revision
        with pytest.raises(CompactedError):
            await copy.read(store.revision)
        assert len(await copy.history(key("a0"))) == 3
        resumed = copy.revision
    if engine.durable:
        async with opened(engine.restore(path, clock)) as again:
            assert again.revision == resumed


async def test_a_backup_is_of_one_moment_while_writers_go_on(engine: Engine, store: Store, tmp_path: Path, clock: Clock) -> None:
    for _ in range(20):
        await store.commit(transaction(*(put(f"a{number:03}", "x" * 1000) for number in range(100))))
    stop = False
    written = 0

    async def write() -> None:
        nonlocal written
        while not stop:
            written = await store.commit(transaction(put("left", written), put("right", written)))

    writer = asyncio.create_task(write())
    path = tmp_path / "backup"
    revision = await store.backup(str(path))
    stop = True
    await writer

    async with opened(engine.restore(path, clock)) as copy:
        state = {entry.key.name: entry for entry in await collect(copy)}
        assert len(state) in (100, 102)
        if len(state) == 102:
            assert state["left"].revision == state["right"].revision <= revision
        assert max(entry.revision for entry in state.values()) == revision


# Opening and closing


async def test_close_finishes_what_was_accepted_and_refuses_the_rest(engine: Engine, tmp_path: Path, clock: Clock) -> None:
    store = engine.make(tmp_path, clock)
    await store.open()
    tasks = [asyncio.create_task(store.commit(transaction(put(f"a{number}")))) for number in range(20)]
    await asyncio.sleep(0)

    await store.close()
    await store.close()

    assert sorted(await asyncio.gather(*tasks)) == list(range(1, 21))
    with pytest.raises(StoreClosedError):
        await store.commit(transaction(put("late")))


async def test_a_durable_store_opens_with_what_was_acknowledged(durable: Engine, tmp_path: Path, clock: Clock) -> None:
    async with opened(durable.make(tmp_path, clock)) as store:
        for write in (put("a", 1), put("b", 2), put("a", 3), delete("b", 2), put("c", 5)):
            await store.commit(transaction(write))
        log = await read_all(store)
        await store.compact(2)

    async with opened(durable.make(tmp_path, clock)) as store:
        assert store.revision == 5
        assert store.compacted == 2
        assert await read_all(store, 2) == log[2:]
        assert names(await collect(store)) == ["a", "c"]
        with pytest.raises(PreconditionError):
            await store.commit(transaction(put("a", expect=1)))
        assert await store.commit(transaction(put("b", expect=ABSENT))) == 6
        assert [entry.revision for entry in await store.history(key("b"))] == [6, 4, 2]


async def test_two_openings_of_one_store_are_refused(durable: Engine, tmp_path: Path, clock: Clock) -> None:
    async with opened(durable.make(tmp_path, clock)) as store:
        with pytest.raises(StoreInUseError):
            await durable.make(tmp_path, clock).open()

        assert await store.commit(transaction(put("a"))) == 1


# Rows beside the objects


def rows(*changes: RowPut | RowFold | RowDelete) -> Transaction:
    return Transaction((), (), changes)


async def test_rows_are_kept_in_key_order_and_take_no_revision(store: Store) -> None:
    seen: list[LogEntry] = []
    store.subscribe(seen.extend)

    await store.commit(rows(RowPut("a", "2", b"two"), RowPut("a", "1", b"one"), RowPut("b", "1", b"other")))
    await store.commit(rows(RowPut("a", "2", b"new")))

    assert await store.rows("a") == [("1", b"one"), ("2", b"new")]
    assert await store.row_spaces() == ["a", "b"]
    assert store.revision == 0
    assert seen == []


async def test_rows_and_objects_share_a_transaction(store: Store) -> None:
    await store.commit(Transaction([put("x")], (), [RowPut("a", "1", b"one")]))
    with pytest.raises(PreconditionError):
        await store.commit(Transaction([put("x", expect=ABSENT)], (), [RowPut("a", "2", b"two")]))
    with pytest.raises(PreconditionError):
        await store.commit(Transaction((), [Check(key("x"), ABSENT)], [RowPut("a", "3", b"three")]))

    assert await store.rows("a") == [("1", b"one")]


async def test_rows_that_were_folded_are_not_live(store: Store) -> None:
    await store.commit(rows(RowPut("a", "it[0].x", b"1"), RowPut("a", "it[1].x", b"2"), RowPut("a", "it", b"0")))
    await store.commit(rows(RowPut("a", "it[0].y", b"3"), RowFold("a", "it[0]."), RowPut("a", "it[2].x", b"4", live=False)))
    await store.commit(rows(RowPut("a", "it[0].z", b"5")))

    assert [key for key, _ in await store.rows("a", live=True)] == ["it", "it[0].z", "it[1].x"]
    assert [key for key, _ in await store.rows("a", prefix="it[0].")] == ["it[0].x", "it[0].y", "it[0].z"]
    assert [key for key, _ in await store.rows("a", after="it[0].y", limit=2)] == ["it[0].z", "it[1].x"]


async def test_transactions_on_rows_keep_their_order_in_one_batch(store: Store) -> None:
    """What is put after a fold stays live, what is deleted after it was put is gone, whatever was gathered together."""
    await asyncio.gather(
        store.commit(rows(RowPut("a", "p1", b"1"), RowPut("a", "q", b"1"))),
        store.commit(rows(RowFold("a", "p"))),
        store.commit(rows(RowPut("a", "p2", b"2"), RowDelete("a", "q"))),
        store.commit(rows(RowDelete("a", "none"))),
    )

    assert await store.rows("a") == [("p1", b"1"), ("p2", b"2")]
    assert await store.rows("a", live=True) == [("p2", b"2")]


async def test_rows_of_a_space_are_dropped_together(store: Store) -> None:
    await store.commit(rows(*(RowPut("run/1", f"{number:04}", b"x") for number in range(1200)), RowPut("run/2", "1", b"x")))

    assert await store.drop_rows("run/1") == 1200
    assert await store.row_spaces("run/") == ["run/2"]
    assert await store.row_spaces("run/", after="run/2") == []
    assert await store.row_spaces("s") == []


async def test_a_row_needs_a_space_and_is_put_or_deleted(store: Store) -> None:
    for wrong in (rows(RowPut("", "1", b"")), rows(RowPut("a", "1", b""), RowDelete("a", "1"))):
        with pytest.raises(ValueError, match="row"):
            await store.commit(wrong)


async def test_rows_survive_closing_and_backups(durable: Engine, tmp_path: Path, clock: Clock) -> None:
    async with opened(durable.make(tmp_path, clock)) as store:
        await store.commit(rows(RowPut("a", "1", b"one"), RowPut("a", "2", b"two", live=False)))
        await store.backup(str(tmp_path / "copy"))
    async with opened(durable.make(tmp_path, clock)) as store:
        assert await store.rows("a") == [("1", b"one"), ("2", b"two")]
        await store.commit(rows(RowPut("a", "3", b"three")))
        assert await store.rows("a", live=True) == [("1", b"one"), ("3", b"three")]
    async with opened(durable.restore(tmp_path / "copy", clock)) as store:
        assert await store.rows("a") == [("1", b"one"), ("2", b"two")]


async def test_rows_are_trimmed_to_the_last_of_a_prefix_and_to_those_behind_a_key(store: Store) -> None:
    await store.commit(rows(*(RowPut("a", f"p/{number:04}", b"x", live=False) for number in range(1200))))
    await store.commit(rows(RowPut("a", "o/1", b"x"), RowPut("a", "q/1", b"x"), RowPut("b", "p/0001", b"x")))

    assert await store.trim_rows("a", "p/", 1300) == 0
    assert await store.trim_rows("a", "p/", 20) == 1180
    assert await store.trim_rows("a", "p/", 20, below="p/1190") == 10

    assert [key for key, _ in await store.rows("a")] == ["o/1", *(f"p/{number}" for number in range(1190, 1200)), "q/1"]
    assert await store.rows("b") == [("p/0001", b"x")]
    assert await store.trim_rows("a", "p/", 0) == 10
    assert await store.trim_rows("none", "p/", 0, below="z") == 0


async def test_trimming_never_leaves_its_prefix(store: Store) -> None:
    await store.commit(rows(RowPut("a", "o/1", b"x"), RowPut("a", "p/1", b"x"), RowPut("a", "q/1", b"x")))

    assert await store.trim_rows("a", "p/", 10, below="z") == 1

    assert [key for key, _ in await store.rows("a")] == ["o/1", "q/1"]
