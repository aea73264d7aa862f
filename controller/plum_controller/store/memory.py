"""The store in memory: the reference that other engines are compared with, and the copy that `plum plan` works on.

Nothing is durable and nothing waits, so every commit is published before `commit` gives up control.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
from sortedcontainers import SortedDict

from plum_controller.store.base import (
    ABSENT,
    Key,
    Listener,
    LogEntry,
    Revision,
    RowChange,
    RowDelete,
    RowFold,
    RowPut,
    Transaction,
)
from plum_controller.store.errors import CompactedError, FutureRevisionError, StoreClosedError, StoreCorruptError
from plum_controller.store.statements import LAST_TEXT
from plum_controller.store.transactions import check_form, plan, revision_after_restore

SNAPSHOT_BATCH = 500
Content = tuple[int, float, float, list[LogEntry], dict[str, dict[str, tuple[bool, bytes]]]]
"""What `backup` writes: revision, when it was taken, time of the last compaction, log, rows."""


class MemoryStore:
    """Implements `Store` on a dictionary and a list."""

    def __init__(self, clock: Callable[[], float] = time.time, path: str | None = None) -> None:
        """`path` names a file written by `backup` to start from."""
        self._clock = clock
        self._path = path
        self._log: list[LogEntry] = []
        self._live: dict[Key, LogEntry] = {}
        self._rows: dict[str, SortedDict[str, tuple[bool, bytes]]] = {}
        self._listeners: list[Listener] = []
        self._revision = 0
        self._compacted = 0
        self._compacted_time = 0.0
        self._open = False

    @property
    def revision(self) -> Revision:
        return self._revision

    @property
    def compacted(self) -> Revision:
        return self._compacted

    async def open(self) -> None:
        """Be ready. A closed store opens again with what it held. Raises `StoreCorruptError` for an unreadable `path`."""
        if self._path is not None and not self._log:
            self._load(self._path)
        self._open = True

    async def close(self) -> None:
        self._open = False

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def commit(self, transaction: Transaction) -> Revision:
        return self._commit(transaction)

    def _commit(self, transaction: Transaction) -> Revision:
        if not self._open:
            raise StoreClosedError("the store is closed")
        check_form(transaction)
        entries = plan(transaction, self._current, self._revision + 1, self._clock())
        self._change_rows(transaction.rows)
        if not entries:
            return self._revision
        self._log.extend(entries)
        for entry in entries:
            if entry.deleted:
                del self._live[entry.key]
            else:
                self._live[entry.key] = entry
        self._revision += 1
        for listener in self._listeners:
            listener(entries)
        return self._revision

    def begin(self, transaction: Transaction) -> asyncio.Future[Revision]:
        future: asyncio.Future[Revision] = asyncio.get_running_loop().create_future()
        future.set_result(self._commit(transaction))
        return future

    async def snapshot(self) -> AsyncIterator[Sequence[LogEntry]]:
        entries = sorted(self._live.values(), key=lambda entry: entry.key)
        for start in range(0, len(entries), SNAPSHOT_BATCH):
            yield entries[start : start + SNAPSHOT_BATCH]

    async def read(self, since: Revision, limit: int = 1000) -> Sequence[LogEntry]:
        if since < self._compacted:
            raise CompactedError(since, self._compacted)
        start = bisect_right(self._log, since, key=_revision_of)
        end = min(start + max(limit, 1), len(self._log))
        if end < len(self._log) and self._log[end - 1].revision == self._log[end].revision:
            cut = self._log[end].revision
            whole = bisect_right(self._log, cut - 1, lo=start, key=_revision_of)
            end = whole if whole > start else bisect_right(self._log, cut, lo=start, key=_revision_of)
        return self._log[start:end]

    async def read_at(self, revision: Revision, resource: str, namespace: str = "", name: str = "") -> Sequence[LogEntry]:
        self._check_readable(revision)
        found: dict[Key, LogEntry] = {}
        for entry in self._log[: bisect_right(self._log, revision, key=_revision_of)]:
            key = entry.key
            if key.resource != resource or (namespace and key.namespace != namespace) or (name and key.name != name):
                continue
            if entry.deleted:
                found.pop(key, None)
            else:
                found[key] = entry
        return [found[key] for key in sorted(found)]

    async def history(self, key: Key, limit: int = 100) -> Sequence[LogEntry]:
        return [entry for entry in reversed(self._log) if entry.key == key][:limit]

    async def revision_at(self, time: float) -> Revision:
        for entry in reversed(self._log):
            if entry.revision <= self._compacted:
                break
            if entry.time <= time:
                return entry.revision
        if self._compacted and time < self._compacted_time:
            raise CompactedError(0, self._compacted)
        return self._compacted

    async def compact(self, upto: Revision) -> int:
        upto = min(upto, self._revision)
        if upto <= self._compacted:
            return 0
        end = bisect_right(self._log, upto, key=_revision_of)
        kept: dict[Key, LogEntry] = {}
        for entry in self._log[:end]:
            if entry.revision > self._compacted:
                self._compacted_time = entry.time
            if entry.deleted:
                kept.pop(entry.key, None)
            else:
                kept[entry.key] = entry
        keep = sorted(kept.values(), key=_revision_of)
        self._log[:end] = keep
        self._compacted = upto
        return end - len(keep)

    async def rows(
        self, space: str, *, live: bool = False, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, bytes]]:
        rows = self._rows.get(space)
        found: list[tuple[str, bytes]] = []
        if rows is None:
            return found
        for key in rows.irange(max(prefix, after)):
            if not key.startswith(prefix) or len(found) >= limit:
                break
            is_live, value = rows[key]
            if key > after and (is_live or not live):
                found.append((key, value))
        return found

    async def row_spaces(self, prefix: str = "", after: str = "", limit: int = 1000) -> Sequence[str]:
        return [space for space in sorted(self._rows) if space.startswith(prefix) and space > after][:limit]

    async def drop_rows(self, space: str) -> int:
        return len(self._rows.pop(space, ()))

    async def trim_rows(self, space: str, prefix: str, keep: int, below: str = "") -> int:
        rows = self._rows.get(space)
        if rows is None:
            return 0
        found = list(rows.irange(prefix, prefix + LAST_TEXT, inclusive=(True, False)))
        gone = {*found[: max(0, len(found) - keep)], *(key for key in found if key < below)}
        for key in gone:
            del rows[key]
        if not rows:
            del self._rows[space]
        return len(gone)

    async def backup(self, path: str) -> Revision:
        rows = {space: dict(found) for space, found in self._rows.items()}
        content = (self._revision, self._clock(), self._compacted_time, self._log, rows)
        Path(path).write_bytes(msgspec.msgpack.encode(content))  # noqa: ASYNC240 - a copy in memory, for tests and plans
        return self._revision

    def adopt(self, entries: Sequence[LogEntry], revision: Revision) -> None:
        """Start from the live objects of another store at one revision. Their bytes are shared, their history is not taken."""
        self._log = sorted(entries, key=_revision_of)
        self._live = {entry.key: entry for entry in entries}
        self._revision = self._compacted = revision

    def _load(self, path: str) -> None:
        """Start from a backup. Revisions given since then may be known to clients: continue far above them."""
        try:
            content = msgspec.msgpack.decode(Path(path).read_bytes(), type=Content)
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreCorruptError(f"{path} is not a backup of a memory store") from error
        revision, taken, self._compacted_time, self._log, rows = content
        self._rows = {space: SortedDict(found) for space, found in rows.items()}
        for entry in self._log:
            if entry.deleted:
                self._live.pop(entry.key, None)
            else:
                self._live[entry.key] = entry
        self._revision = self._compacted = revision_after_restore(revision, taken, self._clock())

    def _change_rows(self, changes: Sequence[RowChange]) -> None:
        for change in changes:
            if isinstance(change, RowPut):
                self._rows.setdefault(change.space, SortedDict())[change.key] = (change.live, change.value)
            elif isinstance(change, RowDelete) and change.space in self._rows:
                self._rows[change.space].pop(change.key, None)
                if not self._rows[change.space]:
                    del self._rows[change.space]
        for change in changes:
            if isinstance(change, RowFold) and change.space in self._rows:
                rows = self._rows[change.space]
                for key in list(rows.irange(change.prefix, change.prefix + LAST_TEXT, inclusive=(True, False))):
                    rows[key] = (False, rows[key][1])

    def _current(self, key: Key) -> Revision:
        entry = self._live.get(key)
        return entry.revision if entry is not None else ABSENT

    def _check_readable(self, revision: Revision) -> None:
        if revision < self._compacted:
            raise CompactedError(revision, self._compacted)
        if revision > self._revision:
            raise FutureRevisionError(revision, self._revision)


def _revision_of(entry: LogEntry) -> Revision:
    return entry.revision
