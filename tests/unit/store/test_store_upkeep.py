"""The file stays small and commits stay quick, however much history there is and whoever reads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from plum_controller.store import backup, compaction
from plum_controller.store.base import LogEntry, Revision
from plum_controller.store.compactor import Compactor, KeepWindow
from plum_controller.store.database import CHECKPOINT_PAGES, TRUNCATE_PAGES
from plum_controller.store.memory import MemoryStore
from plum_controller.store.sqlite import SqliteStore

from tests.support.store import RESOURCE, collect, opened, put, transaction, until

PAGE = 4096


async def fill(store: SqliteStore, commits: int, rows: int = 50, size: int = 1000) -> None:
    for turn in range(commits):
        await store.commit(transaction(*(put(f"a{number}", [turn, "x" * size]) for number in range(rows))))


async def test_compaction_gives_pages_back_to_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "plum.db"
    async with opened(SqliteStore(path)) as store:
        await fill(store, 120)
        full = path.stat().st_size
        assert full > 5 << 20

        await store.compact(store.revision)

        assert path.stat().st_size < full / 3
        assert len(await collect(store)) == 50


@pytest.mark.slow
async def test_the_write_ahead_log_stays_small_under_constant_readers(tmp_path: Path) -> None:
    path = tmp_path / "plum.db"
    log = tmp_path / "plum.db-wal"
    async with opened(SqliteStore(path)) as store:
        await fill(store, 20)
        largest = 0
        stop = False

        async def read() -> None:
            while not stop:
                await store.read_at(store.revision - 10, RESOURCE)

        readers = [asyncio.create_task(read()) for _ in range(8)]
        for _ in range(150):
            await fill(store, 1)
            largest = max(largest, log.stat().st_size)
        stop = True
        await asyncio.gather(*readers)

        assert largest > CHECKPOINT_PAGES * PAGE / 2  # otherwise this test says nothing
        assert largest < (TRUNCATE_PAGES + 2 * CHECKPOINT_PAGES) * PAGE


@pytest.mark.slow
async def test_a_list_that_is_read_slowly_does_not_pin_the_log(tmp_path: Path) -> None:
    path = tmp_path / "plum.db"
    async with opened(SqliteStore(path)) as store:
        await store.commit(transaction(*(put(f"b{number:04}", "x" * 500) for number in range(1500))))
        pieces = store.snapshot()
        first = await anext(pieces)

        await fill(store, 300)

        assert (tmp_path / "plum.db-wal").stat().st_size < (TRUNCATE_PAGES + 2 * CHECKPOINT_PAGES) * PAGE
        rest = [entry async for piece in pieces for entry in piece]
        assert len(first) + len(rest) == 1500


async def test_compaction_and_backup_go_in_steps_between_which_commits_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "STEP_SECONDS", 0.0)  # about 200 steps each
    monkeypatch.setattr(backup, "STEP_PAGES", 16)
    async with opened(SqliteStore(tmp_path / "plum.db")) as store:
        await fill(store, 200)
        for upkeep in (store.backup(str(tmp_path / "backup.db")), store.compact(store.revision - 1)):
            task = asyncio.create_task(upkeep)
            committed = 0
            while not task.done():
                await store.commit(transaction(put("b", committed)))
                committed += 1
            await task

            assert committed >= 30


async def test_what_compaction_looks_at_is_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(SqliteStore(tmp_path / "plum.db")) as store:
        await store.commit(transaction(*(put(f"b{number}") for number in range(5000))))
        await store.compact(store.revision)
        steps = 0
        sweep = compaction.sweep

        def counting(*arguments) -> compaction.Step:
            nonlocal steps
            steps += 1
            return sweep(*arguments)

        monkeypatch.setattr(compaction, "sweep", counting)
        await store.commit(transaction(put("b1", "new")))

        assert await store.compact(store.revision) == 1
        assert steps <= 2


async def test_large_values_are_read_piece_by_piece(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "plum.db")) as store:
        for number in range(12):
            await store.commit(transaction(put(f"a{number:02}", "x" * 1_000_000)))

        pieces = [[entry.key.name for entry in piece] async for piece in store.snapshot()]

        assert len(pieces) >= 3
        assert [name for piece in pieces for name in piece] == [f"a{number:02}" for number in range(12)]
        assert len(await store.read(0)) <= 5


class Recorded(MemoryStore):
    """Remembers what it was asked to forget."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Revision] = []

    async def compact(self, upto: Revision) -> int:
        self.asked.append(upto)
        return await super().compact(upto)


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def kept_after(keep: KeepWindow, seconds: int, rows_per_second: int, size: int = 0) -> tuple[Recorded, int]:
    """Write for some seconds, with a look of the compactor at each. Answers with the store and the rows that are left."""
    store, time = Recorded(), Time()
    await store.open()
    compactor = Compactor(store, keep, monotonic=time)
    store.subscribe(compactor.count)
    compactor.sample()
    for second in range(seconds):
        time.now = second + 1.0
        for number in range(rows_per_second):
            await store.commit(transaction(put("a", [second, number, "x" * size])))
        compactor.sample()
        await compactor.compact()
    return store, len(await store.read(store.compacted, 1_000_000))


@pytest.mark.parametrize(
    ("keep", "seconds", "size", "low", "high"),
    [
        (KeepWindow(seconds=60, rows=10**9, bytes=10**9, least_seconds=5), 200, 0, 600, 610),
        (KeepWindow(seconds=60, rows=10**9, bytes=10**9, least_seconds=5), 40, 0, 400, 400),
        (KeepWindow(seconds=10**6, rows=100, bytes=10**9, least_seconds=5), 200, 0, 90, 110),
        (KeepWindow(seconds=10**6, rows=100, bytes=10**9, least_seconds=50), 200, 0, 500, 510),
        (KeepWindow(seconds=10**6, rows=10**9, bytes=110_000, least_seconds=5), 200, 1000, 90, 110),
    ],
)
async def test_history_is_bounded_by_age_rows_and_bytes_but_never_too_short(
    keep: KeepWindow, seconds: int, size: int, low: int, high: int
) -> None:
    _, kept = await kept_after(keep, seconds, 10, size)

    assert low <= kept <= high


async def test_an_idle_store_forgets_its_old_history_and_then_rests() -> None:
    store, time = Recorded(), Time()
    await store.open()
    compactor = Compactor(store, KeepWindow(seconds=60, least_seconds=5), monotonic=time)
    store.subscribe(compactor.count)
    compactor.sample()
    for _ in range(10):
        await store.commit(transaction(put("a")))
    for second in range(200):
        time.now = float(second)
        compactor.sample()
        await compactor.compact()

    assert store.compacted == store.revision == 10
    assert store.asked == [10]


async def test_the_compactor_works_in_the_background_and_outlives_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(SqliteStore(tmp_path / "plum.db")) as store:
        compactor = Compactor(store, KeepWindow(seconds=0, least_seconds=0), interval_seconds=0.001)
        full = True

        def promise(*arguments):
            if full:
                raise OSError("injected")
            return real(*arguments)

        real = compaction.promise
        monkeypatch.setattr(compaction, "promise", promise)
        compactor.start()
        await fill(store, 5)
        await until(lambda: "compaction failed" in caplog.text)

        full = False
        await fill(store, 5)

        await until(lambda: store.compacted == store.revision)
        await compactor.stop()
        await compactor.stop()


def test_the_window_finds_a_long_way_back_and_a_short_one() -> None:
    from plum_controller.store.events import Change, Entry, Indexed
    from plum_controller.store.window import Window

    from tests.support.store import key

    window = Window(most_changes=150, most_bytes=10**9)
    previous: Entry | None = None
    for revision in range(1, 201):
        entry = Entry(key("a"), revision, b"x", Indexed({}, (), {}))
        window.add([Change(entry, previous, deleted=False)])
        previous = entry

    assert window.start == 50
    for since in (50, 51, 100, 137, 199, 200):
        assert [change.entry.revision for change in window.after(since)] == list(range(since + 1, 201))
    past = window.undone(60, RESOURCE)
    assert past is not None
    found = past[key("a")]
    assert found is not None
    assert found.revision == 60
    assert window.undone(49, RESOURCE) is None


def test_the_window_is_bounded_by_bytes_and_keeps_commits_whole() -> None:
    from plum_controller.store.events import Change, Entry, Indexed
    from plum_controller.store.window import Window

    from tests.support.store import key

    window = Window(most_changes=10**6, most_bytes=1000)
    for revision in range(1, 50):
        entries = [Entry(key(name), revision, b"x" * 100, Indexed({}, (), {})) for name in "abc"]
        window.add([Change(entry, None, deleted=False) for entry in entries])

    kept = window.after(window.start)
    assert len(kept) % 3 == 0
    assert 700 <= sum(len(change.entry.value) for change in kept) <= 1000
    assert kept[0].entry.revision == window.start + 1


async def test_a_listener_that_fails_costs_nobody_an_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[LogEntry] = []

    def broken(_entries: object) -> None:
        raise RuntimeError("broken")

    async with opened(SqliteStore(tmp_path / "plum.db")) as store:
        store.subscribe(broken)
        store.subscribe(heard.extend)

        assert await store.commit(transaction(put("a"))) == 1

    assert len(heard) == 1
    assert "listener failed" in caplog.text
