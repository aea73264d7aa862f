"""Disks that are full or fail: clear errors, nothing half written, and the store goes on by itself when the disk does."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import apsw
import pytest
from plum_controller.store import writer
from plum_controller.store.base import LogEntry, RowPut, Transaction
from plum_controller.store.errors import (
    PreconditionError,
    StoreClosedError,
    StoreError,
    StoreFullError,
    StoreOutcomeError,
    StoreUnavailableError,
)
from plum_controller.store.sqlite import SqliteStore

from tests.support.store import collect, data_of, names, opened, put, read_all, transaction, until
from tests.support.store_disk import FaultyDisk


class Fault:
    """Lets a number of operations through and fails those after, until it is lifted."""

    def __init__(self, error: type[apsw.Error], only: str = "") -> None:
        self.error = error
        self.only = only
        """Part of `operation path` that fails: `sync plum.db-wal`; empty for everything that writes."""
        self.let_through = 0
        self.active = False
        self.hits = 0

    def __call__(self, operation: str, path: str) -> None:
        if not self.active or self.only not in f"{operation} {Path(path).name}" or (operation == "delete"):
            return
        if self.let_through > 0:
            self.let_through -= 1
            return
        self.hits += 1
        raise self.error("injected")


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
async def store(disk: FaultyDisk, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(SqliteStore(tmp_path / "plum.db", vfs=disk.vfs_name)) as store:
        assert isinstance(store, SqliteStore)
        yield store


async def reopened(tmp_path: Path) -> list[LogEntry]:
    """What the next process finds."""
    async with opened(SqliteStore(tmp_path / "plum.db")) as store:
        return await read_all(store)


@pytest.mark.parametrize("let_through", range(6))
async def test_a_full_disk_refuses_and_recovers_without_a_restart(
    store: SqliteStore, disk: FaultyDisk, tmp_path: Path, let_through: int
) -> None:
    await store.commit(transaction(put("a", "kept")))
    heard: list[LogEntry] = []
    store.subscribe(heard.extend)
    fault = Fault(apsw.FullError, "write")
    disk.before = fault
    fault.let_through, fault.active = let_through, True

    for _ in range(3):
        with pytest.raises(StoreFullError, match="no space left"):
            await store.commit(transaction(*(put(f"big{number}", "x" * 5000) for number in range(10))))
    assert names(await collect(store)) == ["a"]
    assert (store.revision, heard) == (1, [])

    fault.active = False
    assert await store.commit(transaction(put("b"))) == 2
    await store.close()
    assert [entry.key.name for entry in await reopened(tmp_path)] == ["a", "b"]


async def test_a_full_disk_keeps_reads_and_refuses_whoever_was_judged_by_the_lost_write(
    store: SqliteStore, disk: FaultyDisk
) -> None:
    await store.commit(transaction(put("a", "kept")))
    fault = Fault(apsw.FullError, "write")
    disk.before = fault
    fault.active = True

    answers = await asyncio.gather(
        store.commit(transaction(put("a", expect=1))),
        store.commit(transaction(put("a", expect=1))),  # stale only if the first one is written, which it is not
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers] == [StoreFullError, StoreFullError]
    [entry] = await store.read_at(1, "things.plum.dev")
    assert data_of(entry.value) == "kept"


async def test_compaction_and_backup_on_a_full_disk_fail_clearly_and_later_work(
    store: SqliteStore, disk: FaultyDisk, tmp_path: Path
) -> None:
    for number in range(20):
        await store.commit(transaction(put("a", number)))
    fault = Fault(apsw.FullError, "write")
    disk.before = fault
    fault.active = True
    with pytest.raises(StoreFullError):
        await store.compact(10)
    fault.active = False

    assert await store.compact(10) == 9
    with pytest.raises(StoreError):
        await store.backup("/proc/nowhere/backup.db")
    assert await store.backup(str(tmp_path / "backup.db")) == 20
    assert await store.commit(transaction(put("a"))) == 21
    assert sorted(path.name for path in tmp_path.glob("*.partial")) == []


@pytest.mark.parametrize("only", ["sync plum.db-wal", "write plum.db-wal", "sync", "write", "truncate"])
@pytest.mark.parametrize("let_through", range(4))
async def test_after_a_failed_write_the_answer_is_what_is_on_disk(
    store: SqliteStore, disk: FaultyDisk, tmp_path: Path, only: str, let_through: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RECOVERY_SECONDS", (0.001, 0.01))
    fault = Fault(apsw.IOError, only)
    disk.before = fault
    acknowledged: list[int] = []
    refused: list[int] = []
    for round_number in range(6):
        fault.let_through, fault.active = let_through + round_number, True
        tasks = [asyncio.create_task(store.commit(transaction(put(f"a{round_number}-{n}", "x" * 3000)))) for n in range(4)]
        tasks.append(asyncio.create_task(store.commit(transaction(put("counter", round_number)))))
        await asyncio.wait(tasks, timeout=0.05)
        fault.active = False  # the disk works again: nobody restarts anything
        for number, answer in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
            (acknowledged if isinstance(answer, int) else refused).append(round_number * 10 + number)
            assert isinstance(answer, int | StoreUnavailableError)
    assert await store.commit(transaction(put("last"))) == store.revision

    state = {name for entry in await collect(store) if (name := entry.key.name).startswith("a")}
    expected = {f"a{number // 10}-{number % 10}" for number in acknowledged if number % 10 < 4}
    assert state == expected
    log = await read_all(store)
    await store.close()
    assert await reopened(tmp_path) == log
    assert [entry.revision for entry in log] == sorted({entry.revision for entry in log})


async def test_a_commit_that_reached_the_disk_before_the_error_is_acknowledged(
    store: SqliteStore, disk: FaultyDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flush fails after everything was written, and closing fails too: the next opening finds the commit."""
    monkeypatch.setattr(writer, "RECOVERY_SECONDS", (0.001, 0.01))
    await store.commit(transaction(put("a")))
    failed = 0

    def fail(operation: str, path: str) -> None:
        nonlocal failed
        if operation == "sync" and failed < 2:
            failed += 1
            raise apsw.IOError("injected")

    disk.before = fail
    heard: list[LogEntry] = []
    store.subscribe(heard.extend)

    answer = (await asyncio.gather(store.commit(transaction(put("b"))), return_exceptions=True))[0]

    assert failed == 2
    found = names(await collect(store))
    assert found == (["a", "b"] if answer == 2 else ["a"])
    assert len(heard) == len(found) - 1
    log = await read_all(store)
    await store.close()
    assert await reopened(tmp_path) == log


@pytest.mark.parametrize("fails_at", [1, 2])
async def test_rows_alone_are_acknowledged_exactly_when_they_are_on_disk(
    store: SqliteStore, disk: FaultyDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """The log says nothing about them, so the batch's own number must."""
    monkeypatch.setattr(writer, "RECOVERY_SECONDS", (0.001, 0.01))
    await store.commit(Transaction([put("a")], (), [RowPut("s", "0", b"0")]))
    seen = 0

    def fail(operation: str, path: str) -> None:
        nonlocal seen
        if operation in ("sync", "write") and path.endswith("-wal"):
            seen += 1
            if seen == fails_at:
                raise apsw.IOError("injected")

    disk.before = fail

    answers = []
    for number in range(1, 4):
        found = await asyncio.gather(store.commit(Transaction((), (), [RowPut("s", f"{number}", b"x")])), return_exceptions=True)
        answers.append(found[0])

    kept = [key for key, _ in await store.rows("s")]
    assert kept == ["0", *(f"{number}" for number, answer in enumerate(answers, 1) if not isinstance(answer, BaseException))]
    await store.close()
    again = SqliteStore(tmp_path / "plum.db")
    await again.open()
    assert [key for key, _ in await again.rows("s")] == kept
    await again.close()


async def test_while_the_disk_fails_new_commits_are_refused_at_once(
    store: SqliteStore, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RECOVERY_SECONDS", (0.001, 0.01))
    fault = Fault(apsw.IOError)
    disk.before = fault
    fault.active = True
    unknown = asyncio.create_task(store.commit(transaction(put("a"))))
    await until(lambda: fault.hits > 2)

    with pytest.raises(StoreUnavailableError, match="nothing was written"):
        await store.commit(transaction(put("b")))
    assert not unknown.done()

    fault.active = False
    with pytest.raises(StoreUnavailableError):
        await unknown
    assert await store.commit(transaction(put("c"))) == 1


async def test_closing_while_the_outcome_is_unknown_says_so(
    store: SqliteStore, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RECOVERY_SECONDS", (0.001, 0.01))
    fault = Fault(apsw.IOError)
    disk.before = fault
    fault.active = True
    unknown = asyncio.create_task(store.commit(transaction(put("a"))))
    await until(lambda: fault.hits > 2)

    await store.close()

    with pytest.raises(StoreOutcomeError):
        await unknown
    with pytest.raises(StoreClosedError):
        await store.commit(transaction(put("b")))
    fault.active = False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root; the simulated full disk is tested above")
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"tmpfs cannot be mounted here: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


async def test_a_really_full_disk_refuses_and_recovers_without_a_restart(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(900 << 10))
    store = SqliteStore(small_disk / "plum.db")
    await store.open()
    written = 0
    with pytest.raises(StoreFullError):
        while True:
            written = await store.commit(transaction(put(f"a{written}", "x" * 10_000)))
    assert written > 3
    with pytest.raises(StoreFullError):
        await store.commit(transaction(put("a", "x" * 100_000)))
    with pytest.raises(PreconditionError):
        await store.commit(transaction(put("a0", expect=99)))
    assert len(await collect(store)) == written

    ballast.unlink()

    assert await store.commit(transaction(put("b", "x" * 10_000))) == written + 1
    await store.close()
    async with opened(SqliteStore(small_disk / "plum.db")) as again:
        assert len(await collect(again)) == written + 1
