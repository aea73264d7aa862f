"""The node's own memory of delegated runs: one SQLite file, one thread, one connection; what is written is on disk.

    runs    uid -> head: the run, what it was given, the token it was taken with; how far it was merged
    rows    uid, key -> the newest state of a row, whether it is needed to go on, and a number that grows with every change
    tasks   uid, name -> a TaskRun as it is now, the same number
    inner   uid -> the run it is inside of, and how it ended: known until that run is forgotten, so that none is begun twice

What the controller has not confirmed is what has a number above the confirmed one: a row that changed ten times goes once.
A row that is history and has arrived is deleted, so the file is as large as what goes on and what is not merged yet.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from plum_flow.delegation import Bundle
from plum_flow.running.journal import RUNS
from plum_schemas.base import ObjectKey, Struct
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun
from plum_schemas.workflow import WorkflowSpec
from plum_schemas.workflowrun import WorkflowRun

from plum_agent.workflows.switch import FILE

logger = logging.getLogger(__name__)

T = TypeVar("T")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (uid TEXT PRIMARY KEY, head BLOB NOT NULL, merged INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (
  uid TEXT, key TEXT, value BLOB NOT NULL, live INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (uid, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rows_by_seq ON rows (uid, seq);
CREATE TABLE IF NOT EXISTS tasks (
  uid TEXT, name TEXT, value BLOB NOT NULL, ended INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (uid, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tasks_by_seq ON tasks (uid, seq);
CREATE TABLE IF NOT EXISTS inner (uid TEXT PRIMARY KEY, parent TEXT NOT NULL, ending BLOB) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS inner_by_parent ON inner (parent);
"""
_LAST = "\U0010ffff"
"""Behind every key."""


class Ending(Struct):
    """How a run inside of another one ended."""

    phase: str
    reason: str = ""
    message: str = ""
    outputs: dict[str, Any] = {}


class Head(Struct):
    """One run."""

    run: WorkflowRun
    """As it was last seen."""
    bundle: Bundle
    token: int
    """With which it was, or will be, taken."""
    taken: bool = False
    """The controller has confirmed that it is ours."""
    taken_at: datetime | None = None
    parent: str = ""
    """Uid of the run that it is inside of. What such a run was given is that of the outermost one, and not kept twice."""

    @property
    def uid(self) -> str:
        return self.run.metadata.uid

    @property
    def key(self) -> ObjectKey:
        return self.run.key


class Piece(NamedTuple):
    """What is to be merged next."""

    rows: Sequence[tuple[str, bytes, bool]]
    tasks: Sequence[TaskRun]
    last: int
    """Confirm this number once it has arrived."""


_encode = msgspec.json.Encoder().encode
_decode_ending = msgspec.json.Decoder(Ending).decode
_decode_head = msgspec.json.Decoder(Head).decode
_decode_task = msgspec.json.Decoder(TaskRun).decode


def _slim(head: Head) -> Head:
    """As it is kept: what a run inside was given is kept with the outermost one."""
    if not head.parent:
        return head
    bundle = Bundle(definition=WorkflowSpec(), definition_hash=head.bundle.definition_hash, params={})
    return msgspec.structs.replace(head, bundle=bundle)


class RunStore:
    """Methods are coroutines, in the order in which they were called. They raise `sqlite3.Error` when the disk does not take
    it; then nothing of the call was written."""

    def __init__(self, directory: Path, *, inline: bool = False, pause: Callable[[], float] = lambda: 0.0) -> None:
        """`inline`: without a thread, for simulations. `pause`: seconds for which others have their turn then, as while a thread
        works."""
        self._pause = pause
        self._path = directory / FILE
        self._thread = None if inline else ThreadPoolExecutor(1, "delegated-runs")
        self._connection: sqlite3.Connection | None = None
        self._last = 0

    async def open(self) -> None:
        """A file that cannot be read is set aside: what it held is reported as lost."""
        await self._do(self._open)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            logger.warning(
                "memory of delegated runs is unreadable, set aside", extra={"path": str(self._path), "error": str(error)}
            )
            self._path.rename(self._path.with_name(f"{FILE}.corrupt"))
            for ending in ("-wal", "-shm"):
                self._path.with_name(FILE + ending).unlink(missing_ok=True)
            self._connect()

    def _connect(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._path.chmod(0o600)  # it holds the secrets that the runs were given
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-1024")
        connection.executescript(_SCHEMA)
        found = connection.execute(
            "SELECT max(coalesce((SELECT max(seq) FROM rows), 0), coalesce((SELECT max(seq) FROM tasks), 0),"
            " coalesce((SELECT max(merged) FROM runs), 0))"
        ).fetchone()
        self._last = int(found[0])
        self._connection = connection

    async def close(self) -> None:
        """Everything is written already."""
        await self._do(self._close)
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _do(self, work: Callable[..., T], *arguments: Any) -> T:
        if self._thread is None:
            done = work(*arguments)
            await asyncio.sleep(self._pause())
            return done
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *arguments))

    def _read(self, statement: str, *values: Any) -> list[Any]:
        assert self._connection is not None  # noqa: S101
        return self._connection.execute(statement, values).fetchall()

    def _write(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        assert self._connection is not None  # noqa: S101
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in statements:
                self._connection.execute(statement, values)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    # ---- runs

    async def heads(self) -> list[Head]:
        """All runs there are."""
        return [_decode_head(value) for (value,) in await self._do(self._read, "SELECT head FROM runs ORDER BY uid")]

    async def put_head(self, head: Head, rows: Mapping[str, bytes] | None = None) -> None:
        """Write a run down; `rows` are those that it begins with, which the controller knows."""
        statements: list[tuple[str, Sequence[Any]]] = [
            (
                "INSERT INTO runs (uid, head) VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET head = excluded.head",
                (head.uid, _encode(_slim(head))),
            )
        ]
        if head.parent:
            statements.append(("INSERT OR IGNORE INTO inner VALUES (?, ?, NULL)", (head.uid, head.parent)))
        statements += [
            ("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, 1, 0)", (head.uid, key, value)) for key, value in (rows or {}).items()
        ]
        await self._do(self._write, statements)

    async def forget(self, uid: str) -> None:
        """All of a run goes. Safe to repeat."""
        uids = [uid]
        for one in uids:
            uids += [found for (found,) in await self._do(self._read, "SELECT uid FROM inner WHERE parent = ?", one)]
        tables = ("runs", "rows", "tasks", "inner")
        await self._do(self._write, [(f"DELETE FROM {table} WHERE uid = ?", (one,)) for one in uids for table in tables])  # noqa: S608

    # ---- runs inside

    async def inner(self, uid: str) -> tuple[bool, Ending | None]:
        """Whether a run inside was ever begun, and how it ended."""
        found = await self._do(self._read, "SELECT ending FROM inner WHERE uid = ?", uid)
        return bool(found), _decode_ending(found[0][0]) if found and found[0][0] is not None else None

    async def end_inner(self, uid: str, ending: Ending) -> None:
        """A run inside has ended and is told: of it only that is kept."""
        await self._do(self._write, [
            ("UPDATE inner SET ending = ? WHERE uid = ?", (_encode(ending), uid)),
            *((f"DELETE FROM {table} WHERE uid = ?", (uid,)) for table in ("runs", "rows", "tasks")),  # noqa: S608
        ])  # fmt: skip

    # ---- rows: the engine's journal

    async def commit(self, space: str, rows: Mapping[str, bytes], folds: Sequence[str] = ()) -> None:
        """Write rows and fold others, all or nothing."""
        await self._do(self._commit, space.removeprefix(RUNS), rows, folds)

    def _commit(self, uid: str, rows: Mapping[str, bytes], folds: Sequence[str]) -> None:
        number = self._last
        statements: list[tuple[str, Sequence[Any]]] = []
        for key, value in rows.items():
            number += 1
            statements.append(("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, 1, ?)", (uid, key, value, number)))
        folded = {
            key
            for prefix in folds
            for (key,) in self._read(
                "SELECT key FROM rows WHERE uid = ? AND key >= ? AND key < ? AND live = 1", uid, prefix, prefix + _LAST
            )
        }
        folded |= {key for key in rows if any(key.startswith(prefix) for prefix in folds)}
        for key in sorted(folded):
            number += 1
            statements.append(("UPDATE rows SET live = 0, seq = ? WHERE uid = ? AND key = ?", (number, uid, key)))
        self._write(statements)
        self._last = number

    async def live(self, space: str) -> list[tuple[str, bytes]]:
        """The rows that are needed to go on, in key order."""
        uid = space.removeprefix(RUNS)
        return await self._do(self._read, "SELECT key, value FROM rows WHERE uid = ? AND live = 1 ORDER BY key", uid)

    async def read(self, space: str, after: str = "", limit: int = 2000, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        """All rows that are still here, in key order."""
        uid = space.removeprefix(RUNS)
        statement = "SELECT key, value FROM rows WHERE uid = ? AND key > ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
        return await self._do(self._read, statement, uid, after, prefix, prefix + _LAST, limit)

    async def get(self, space: str, key: str) -> bytes | None:
        """One row."""
        found = await self._do(self._read, "SELECT value FROM rows WHERE uid = ? AND key = ?", space.removeprefix(RUNS), key)
        return found[0][0] if found else None

    async def spaces(self, prefix: str, after: str = "", limit: int = 2000) -> Sequence[str]:
        """The runs that have rows."""
        found = await self._do(self._read, "SELECT uid FROM runs ORDER BY uid")
        return [space for (uid,) in found if (space := RUNS + uid).startswith(prefix) and space > after][:limit]

    async def drop(self, space: str) -> int:
        """Forget the rows of a run."""
        uid = space.removeprefix(RUNS)
        count = (await self._do(self._read, "SELECT count(*) FROM rows WHERE uid = ?", uid))[0][0]
        await self._do(self._write, [("DELETE FROM rows WHERE uid = ?", (uid,))])
        return int(count)

    # ---- tasks

    async def put_task(self, uid: str, task: TaskRun) -> None:
        """Write a task down as it is now."""
        await self._do(self._put_task, uid, task)

    def _put_task(self, uid: str, task: TaskRun) -> None:
        ended = task.status.phase in TERMINAL_PHASES
        values = (uid, task.metadata.name, _encode(task), ended, self._last + 1)
        self._write([("INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?)", values)])
        self._last += 1

    async def task(self, uid: str, name: str) -> TaskRun | None:
        """One task, ended ones too."""
        found = await self._do(self._read, "SELECT value FROM tasks WHERE uid = ? AND name = ?", uid, name)
        return _decode_task(found[0][0]) if found else None

    async def going_tasks(self) -> list[TaskRun]:
        """Tasks of all runs that have not ended."""
        return [_decode_task(value) for (value,) in await self._do(self._read, "SELECT value FROM tasks WHERE ended = 0")]

    # ---- merging

    async def piece(self, uid: str, rows: int, tasks: int, size: int) -> Piece | None:
        """What has changed and was not confirmed, oldest change first; None when nothing is left."""
        return await self._do(self._piece, uid, rows, tasks, size)

    def _piece(self, uid: str, most_rows: int, most_tasks: int, size: int) -> Piece | None:
        merged = self._read("SELECT merged FROM runs WHERE uid = ?", uid)
        if not merged:
            return None
        after = merged[0][0]
        found = self._read(
            "SELECT key, value, live, seq FROM rows WHERE uid = ? AND seq > ? ORDER BY seq LIMIT ?", uid, after, most_rows
        )
        ended = self._read(
            "SELECT value, seq FROM tasks WHERE uid = ? AND seq > ? AND ended = 1 ORDER BY seq LIMIT ?", uid, after, most_tasks
        )
        bound = self._last
        if len(found) == most_rows:
            bound = min(bound, found[-1][3])
        if len(ended) == most_tasks:
            bound = min(bound, ended[-1][1])
        rows: list[tuple[str, bytes, bool]] = []
        total = 0
        for key, value, live, number in found:
            total += len(value)
            if number > bound or (rows and total > size):
                bound = min(bound, number - 1)
                break
            rows.append((key, value, bool(live)))
        picked = [_decode_task(value) for value, number in ended if number <= bound]
        return Piece(rows, picked, bound) if rows or picked else None

    async def confirm(self, uid: str, number: int) -> None:
        """What has a number up to this one has arrived: history of it is not needed here any more."""
        await self._do(self._write, [
            ("UPDATE runs SET merged = ? WHERE uid = ? AND merged < ?", (number, uid, number)),
            ("DELETE FROM rows WHERE uid = ? AND live = 0 AND seq <= ?", (uid, number)),
        ])  # fmt: skip

    async def is_merged(self, uid: str) -> bool:
        """Nothing is left to tell but the status."""
        return await self.piece(uid, 1, 1, 1) is None
